"""Numbers as they are shown: rounded by the standard error beside them, here and nowhere before."""

from __future__ import annotations

import decimal
from collections.abc import Iterable


def decimal_place(errors: Iterable[float]) -> decimal.Decimal:
    """Return the place of the second significant digit of the largest error; hundredths where none is above 0."""
    largest = max(errors, default=0.0)
    if largest <= 0:
        return decimal.Decimal("0.01")
    return decimal.Decimal(1).scaleb(int(decimal.Decimal(f"{largest:.1e}").as_tuple().exponent))


def rounded(value: float, place: decimal.Decimal) -> str:
    """Return a value rounded to a decimal place, never as a negative zero."""
    shown = decimal.Decimal(value).quantize(place)
    return f"{abs(shown) if shown.is_zero() else shown:f}"


def rounded_error(se: float, place: decimal.Decimal) -> str:
    """Return a standard error; one above 0 that the place would show as 0 keeps one significant digit."""
    if se == 0:
        return "0"
    if decimal.Decimal(se).quantize(place).is_zero():
        return f"{decimal.Decimal(f'{se:.0e}'):f}"
    return rounded(se, place)
