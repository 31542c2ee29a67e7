"""Means over seeds, with intervals that hold at 3 to 10 seeds.

Scores of a configuration's seeds are treated as independent normal draws: t intervals then cover as stated,
while a percentile bootstrap of 3 seeds covers 73% instead of 95%. Seeds that collapse break the normal
picture (coverage falls to about one half where a fifth of the seeds collapse), so their share is counted
and gets an exact interval of its own.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

_LEAST_FOR_SPREAD = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval.

    Attributes:
        low: its lower end.
        high: its upper end.
    """

    low: float
    high: float


def mean(values: Sequence[float]) -> float:
    """Return the mean, exact up to one rounding: it does not depend on the order.

    Raises:
        ValueError: when there are no values.
    """
    if not values:
        raise ValueError("the mean of no values is not defined")
    return statistics.fmean(values)


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean over seeds, s / sqrt(n), or None for fewer than 2 values."""
    if len(values) < _LEAST_FOR_SPREAD:
        return None
    return statistics.stdev(values) / math.sqrt(len(values))


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the t interval for the mean over all seeds, or None for fewer than 2 values.

    Args:
        values: one score a seed.
        level: coverage, in (0, 1).
    """
    error = standard_error(values)
    return None if error is None else _around(values, error, level)


def prediction_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the t prediction interval for one more seed, or None for fewer than 2 values.

    Args:
        values: one score a seed.
        level: coverage, in (0, 1).
    """
    error = standard_error(values)
    return None if error is None else _around(values, error * math.sqrt(len(values) + 1), level)


def _around(values: Sequence[float], scale: float, level: float) -> Interval:
    from scipy import special  # where there is no interval, a command starts sooner without

    half = float(special.stdtrit(len(values) - 1, (1 + level) / 2)) * scale
    centre = mean(values)
    return Interval(centre - half, centre + half)


def share_interval(count: int, total: int, level: float = 0.95) -> Interval:
    """Return the exact (Clopper-Pearson) interval for a share of which `count` of `total` were seen.

    Args:
        count: seeds that collapsed, say; 0 to `total`.
        total: seeds, 1 or more.
        level: coverage is at least this, in (0, 1).

    Raises:
        ValueError: when the counts are out of range.
    """
    if not 0 <= count <= total or total < 1:
        raise ValueError(f"a share needs 0 <= count <= total and a total of 1 or more, got {count} of {total}")
    from scipy import special

    tail = (1 - level) / 2
    low = float(special.betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(special.betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Interval(low, high)
