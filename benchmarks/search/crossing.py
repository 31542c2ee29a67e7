"""From single replays to what is shown: mean curves with intervals, and the budget at which one reaches a quality."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from benchmarks.search.points import FloatArray
from benchmarks.search.simulate import Step

RESAMPLES = 2_000
LEVEL = 0.95


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The epochs after which a mean curve has reached a quality; infinite where it never does.

    Attributes:
        epochs: of the mean over all repetitions.
        low: lower end of the 95% bootstrap interval.
        high: its upper end.
    """

    epochs: float
    low: float
    high: float


def on_grid(steps: Sequence[Step], grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the quality of the incumbent at each budget, among all trials and among complete ones.

    Args:
        steps: one repetition.
        grid: (B,) budgets in epochs, ascending.

    Returns:
        Two (B,) arrays in nats: the state after the last report within each budget; NaN before the first.
    """
    epochs = np.array([step.epochs for step in steps])
    last = np.searchsorted(epochs, grid, side="right") - 1
    columns = []
    for name in ("reported", "complete"):
        values = np.array([getattr(step, name) for step in steps])
        columns.append(np.where(last >= 0, values[np.maximum(last, 0)], np.nan))
    return columns[0], columns[1]


def mean_interval(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean over repetitions and the half width of its 95% t interval, at each budget.

    Both are NaN where some repetition has no incumbent yet: a mean over the others would be of the lucky ones.

    Args:
        curves: (N, B) one repetition a row, N of 2 or more.
    """
    n = len(curves)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * curves.std(axis=0, ddof=1) / math.sqrt(n)
    return curves.mean(axis=0), half


def first_reaching(mean: FloatArray, grid: FloatArray, target: float) -> float:
    """Return the first budget at which the mean curve is at least the target, infinite where it never is."""
    reached = np.flatnonzero(mean >= target)
    return float(grid[reached[0]]) if len(reached) else math.inf


def crossing(curves: FloatArray, reference: FloatArray, grid: FloatArray, seed: int = 0) -> Crossing:
    """Return when a strategy reaches the quality that the reference has at the end of the budget.

    The interval resamples the repetitions of both, each on its own, so that the target's noise is in it.

    Args:
        curves: (N, B) the strategy's repetitions.
        reference: (M, B) the reference's.
        grid: (B,) budgets in epochs.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    found = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        mine = curves[rng.integers(len(curves), size=len(curves))].mean(axis=0)
        target = reference[rng.integers(len(reference), size=len(reference)), -1].mean()
        found[i] = first_reaching(mine, grid, float(target))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")  # no interpolation towards infinity
    # Of the whole mean curve, as the strategy's own: another order of the sum would round to another target.
    point = first_reaching(curves.mean(axis=0), grid, float(reference.mean(axis=0)[-1]))
    return Crossing(epochs=point, low=float(low), high=float(high))
