"""Numbers and words as a reader of the page sees them. Rounding happens here and nowhere before."""

from __future__ import annotations

import decimal
import math
import unicodedata
from collections.abc import Iterable

from analysis.finalists import Estimate
from analysis.render import decimal_place, rounded
from analysis.statistics import Interval

LONGEST = 300
"""Characters of one value that are shown; a value of a configuration is a few."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_LAYOUT = "\n\t"


def visible(value: object) -> object:
    """Return a text with what cannot be seen written out, such as a mark that turns the direction of writing.

    Anything that is no text, and what is HTML already, stays as it is. Lone surrogates, which a file's name may hold
    and UTF-8 cannot, are written out too.
    """
    if not isinstance(value, str) or hasattr(value, "__html__") or (value.isascii() and value.isprintable()):
        return value
    return "".join(c if c in _LAYOUT or unicodedata.category(c) not in _INVISIBLE else _escape(c) for c in value)


def _escape(character: str) -> str:
    return f"\\u{ord(character):04x}"


def brief(value: object) -> str:
    """Return a value of a configuration: numbers with four significant digits, texts cut where they are endless."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def duration(seconds: float) -> str:
    """Return a time with two significant digits or to the second, such as `2.4 hours`; `not known` for NaN."""
    if not math.isfinite(seconds):
        return "not known"
    if seconds < _MINUTE:
        return f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:.2g} seconds"
    for size, noun, limit in ((_MINUTE, "minutes", 2 * _HOUR), (_HOUR, "hours", 2 * _DAY)):
        if seconds < limit:
            return f"{_two_digits(seconds / size)} {noun}"
    return f"{_two_digits(seconds / _DAY)} days"


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def listed(items: Iterable[str]) -> str:
    """Return a list as a sentence has it: `a, b and c`."""
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def mean_of(estimate: Estimate) -> str:
    """Return a mean with as many digits as its interval over seeds, else its error over images, lets count."""
    return rounded(estimate.mean, _place(estimate.interval, estimate.se_examples))


def ends(interval: Interval) -> str:
    """Return an interval, such as `12.8 to 18.4`."""
    place = _place(interval, None)
    return f"{rounded(interval.low, place)} to {rounded(interval.high, place)}"


def difference(mean: float, interval: Interval | None) -> str:
    """Return how far one mean lies from another, without its sign."""
    return rounded(abs(mean), _place(interval, None))


def _place(interval: Interval | None, error: float | None) -> decimal.Decimal:
    half = (interval.high - interval.low) / 2 if interval is not None else error
    return decimal_place([half] if half is not None and math.isfinite(half) else [])
