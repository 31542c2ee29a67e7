"""What a random search may expect to find with a smaller budget.

Notation: v_(1) <= ... <= v_(N) are the values of the N configurations that the search drew, independently and from the
same distribution. The expected highest of n of them, drawn without replacement,

    sum over i of v_(i) * C(i - 1, n - 1) / C(N, n),

is an unbiased estimate of what n draws would find (Tang, Lee, Xin, Liu, Yu and Lin 2020, "Showing Your Work Doesn't
Always Work", section 3). The estimate of Dodge et al. 2019 draws with replacement, and is too low.

Here a draw is a configuration and its value the mean over its replicates, as its searcher was told. A draw that went
bad has no value. The expectation is then the one given that some of the n draws has one; how often none has is
reported beside it. As a ratio of two unbiased estimates it is unbiased itself only where no draw went bad.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from analysis.comparison import Array
from analysis.costs import SECONDS_AN_HOUR
from analysis.search_rows import Search, SearchTrial, read_search
from analysis.statistics import Interval
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.storage import Location

POINTS = 60
"""Budgets at which the curve is computed, at most."""
RESAMPLES = 1000
"""Bootstrap samples of the draws."""
LEVEL = 0.95
"""Of the bootstrap band, at each budget."""
LEAST_DRAWS = 3
_SEED = 20140610
"""Of the bootstrap; any number does."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A configuration that the search drew.

    Attributes:
        number: its place in the search, from 1.
        value: mean over its replicates of what the searcher was told, in nats; None where it went bad.
        epochs: epochs that its trials ran; None where one of them does not say.
        cpu_hours: CPU-hours that they took; None where one of them does not say.
        gpu_hours: GPU-hours that they took; None where one of them does not say.
    """

    number: int
    value: float | None
    epochs: float | None
    cpu_hours: float | None
    gpu_hours: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a budget may be expected to find.

    Attributes:
        draws: configurations tried.
        best: expected highest value among them, in nats, given that some have one.
        band: pointwise bootstrap band of it; None where no bootstrap sample has a value.
        none: probability that all of them go bad.
        epochs: epochs that so many draws take, on average; None where not known.
        cpu_hours: CPU-hours that they take, on average; None where not known.
        gpu_hours: GPU-hours that they take, on average; None where not known.
    """

    draws: int
    best: float
    band: Interval | None
    none: float
    epochs: float | None
    cpu_hours: float | None
    gpu_hours: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedBest:
    """The expected best value of a random search against its budget.

    Attributes:
        run: the run directory's name.
        draws: what was drawn, in its order.
        curve: from one draw to all of them.
        notes: what a reader must know.
        skipped: damaged parts that were left out.
    """

    run: str
    draws: tuple[Draw, ...]
    curve: tuple[Budget, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def at_half(self) -> Budget:
        """The entry nearest to half the draws."""
        return min(self.curve, key=lambda b: abs(b.draws - len(self.draws) / 2))


def expected_best(run: Location | str, *, skip_damaged: bool = False) -> ExpectedBest:
    """Return the expected best value of a run's search against its budget.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, its search did not draw at random, or too few draws have a value.
        ConfigError: when its plan file cannot be read.
    """
    return expected_best_of(read_search(run, skip_damaged=skip_damaged))


def expected_best_of(search: Search) -> ExpectedBest:
    """Return the expected best value of a search against its budget; as `expected_best`."""
    plan = search.need_plan()
    if plan.searcher != "random":
        raise ResultsError(
            f"the expected best against budget is defined for independent draws, and {search.run} was searched by "
            f"{plan.searcher}",
            hint=f"`gansearch plots` shows the best so far of this search; {plan.searcher} in another order, or with "
            "fewer trials, would have chosen other configurations",
        )
    if plan.scheduler in ("pbt", "pb2"):
        raise ResultsError(
            f"the expected best against budget is defined for independent draws, and the trials of {search.run} copied "
            f"each other under {plan.scheduler}"
        )
    drawn = draws(search)
    valued = sum(d.value is not None for d in drawn)
    if valued < LEAST_DRAWS:
        raise ResultsError(
            f"{search.run} has {valued} random draws with a value, and {LEAST_DRAWS} are needed: {search.counts}",
            hint="the base configuration is not drawn, and does not count",
        )
    return ExpectedBest(
        run=search.run,
        draws=drawn,
        curve=_curve(drawn),
        notes=_notes(search, drawn),
        skipped=search.skipped,
    )


def draws(search: Search) -> tuple[Draw, ...]:
    """Return what a search drew and finished: without the base, what `start_from` named, and unfinished ones."""
    first = 0 if search.plan is None else search.plan.first
    groups: dict[int, list[SearchTrial]] = collections.defaultdict(list)
    for trial in search.trials:
        if trial.number >= first:
            groups[trial.number].append(trial)
    return tuple(
        _draw(number, trials)
        for number, trials in sorted(groups.items())
        if all(t.status not in schema.UNFINISHED for t in trials)
    )


def _draw(number: int, trials: Sequence[SearchTrial]) -> Draw:
    values = [t.value for t in trials if t.value is not None]
    return Draw(
        number=number,
        value=math.fsum(values) / len(values) if values else None,
        epochs=_sum([t.epochs for t in trials]),
        cpu_hours=_sum([_hours(t, t.threads) for t in trials]),
        gpu_hours=_sum([_hours(t, t.gpu_share) for t in trials]),
    )


def _hours(trial: SearchTrial, amount: float | None) -> float | None:
    return None if trial.seconds is None or amount is None else trial.seconds * amount / SECONDS_AN_HOUR


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) if len(known) == len(values) else None


def log_weights(total: int, sizes: Sequence[int]) -> Array:
    """Return log(C(i-1, n-1) / C(N, n)) for i = 1 ... N and each n.

    In logarithms, for the binomials overflow from N = 1030 on. The gamma function's logarithm of 10,000 is known to
    1e-11, and so are the weights, relatively.

    Args:
        total: N, 1 or more.
        sizes: each n, from 1 to N.

    Returns:
        Of shape (n, N); minus infinity where i < n.
    """
    i, n = np.arange(1, total + 1, dtype=np.float64)[None, :], np.asarray(sizes, dtype=np.float64)[:, None]
    possible = i >= n
    j = np.where(possible, i, n)  # elsewhere the binomial is 0
    chosen = special.gammaln(j) - special.gammaln(n) - special.gammaln(j - n + 1)
    all_ = special.gammaln(total + 1) - special.gammaln(n + 1) - special.gammaln(total - n + 1)
    found: Array = np.where(possible, chosen - all_, -np.inf)
    return found


def expected_maximum(values: Sequence[float | None], sizes: Sequence[int]) -> tuple[Array, Array]:
    """Return the expected highest of n values drawn without replacement, given that some value is there.

    Args:
        values: N values; None where there is none.
        sizes: each n, from 1 to N.

    Returns:
        The expectations, of shape (n,), NaN where no value is there; and the probabilities that none of n is there.

    Raises:
        ValueError: when a size is out of range.
    """
    if not sizes or min(sizes) < 1 or max(sizes) > len(values):
        raise ValueError(f"sizes must lie from 1 to {len(values)}, the number of values, got {list(sizes)}")
    ordered = np.sort([-np.inf if v is None else v for v in values])[None, :]
    (best,), (none,) = _maxima(ordered, np.exp(log_weights(len(values), sizes)))
    return best, none


def _maxima(ordered: Array, weights: Array) -> tuple[Array, Array]:
    """Return expectations and probabilities of none, of shape (samples, n), of sorted values (samples, N)."""
    there = np.isfinite(ordered)
    some = there @ weights.T
    with np.errstate(invalid="ignore"):  # 0 / 0 where no value is there
        best = (np.where(there, ordered, 0.0) @ weights.T) / np.where(some > 0, some, np.nan)
    return best, np.clip(1.0 - some, 0.0, 1.0)


def _curve(drawn: Sequence[Draw]) -> tuple[Budget, ...]:
    total = len(drawn)
    sizes = list(range(1, total + 1))
    if total > POINTS:
        sizes = sorted({round(x) for x in np.geomspace(1, total, POINTS)})
    values = np.array([-np.inf if d.value is None else d.value for d in drawn])
    weights = np.exp(log_weights(total, sizes))
    (best,), (none,) = _maxima(np.sort(values)[None, :], weights)
    bands = _bands(values, weights)
    rates = {
        name: None if (amount := _sum([getattr(d, name) for d in drawn])) is None else amount / total
        for name in ("epochs", "cpu_hours", "gpu_hours")
    }
    return tuple(
        Budget(
            draws=n,
            best=float(best[i]),
            band=bands[i],
            none=float(none[i]),
            **{name: None if rate is None else rate * n for name, rate in rates.items()},
        )
        for i, n in enumerate(sizes)
        if math.isfinite(best[i])
    )


def _bands(values: Array, weights: Array) -> list[Interval | None]:
    """Return the percentile bootstrap band at each size."""
    generator = np.random.default_rng(_SEED)
    found = []
    batch = max(1, 2_000_000 // len(values))  # some tens of MB at a time
    for start in range(0, RESAMPLES, batch):
        count = min(batch, RESAMPLES - start)
        again = generator.choice(values, size=(count, len(values)))
        found.append(_maxima(np.sort(again, axis=1), weights)[0])
    curves = np.concatenate(found)
    tail = (1 - LEVEL) / 2
    bands: list[Interval | None] = []
    for column in curves.T:
        known = column[np.isfinite(column)]
        ends = np.quantile(known, (tail, 1 - tail)) if len(known) else None
        bands.append(None if ends is None else Interval(float(ends[0]), float(ends[1])))
    return bands


def _notes(search: Search, drawn: Sequence[Draw]) -> tuple[str, ...]:
    plan = search.need_plan()
    trials = [t for t in search.trials if t.number >= plan.first]
    notes = [
        "values are what the searcher was told: validation under the report protocol; with `score.at: best` the "
        "highest of a trial's reports, and so an optimistic one",
        f"{len(drawn)} draws; the base and what start_from names are not drawn, and left out",
    ]
    if plan.widened:
        notes.append(
            "the space was widened on the way: the first draws are of a narrower one, so that the draws here "
            "are of no one distribution, and the estimate is biased for searches of either space"
        )
    stopped = sum(t.status == schema.STOPPED for t in trials)
    if stopped:
        notes.append(
            f"{stopped} of {len(trials)} trials were stopped early by {search.stopped_by} and count with the value "
            "that they had reached: this is what random search with such stops finds, not with full budgets, and whom "
            "a scheduler stops depends on the others, so that the estimate is unbiased only nearly"
        )
    bad = {d.number for d in drawn if d.value is None}
    if bad:
        counts = collections.Counter(t.status for t in trials if t.number in bad)
        kinds = ", ".join(f"{counts[s]} {s}" for s in schema.STATUSES if counts[s])
        notes.append(
            f"{len(bad)} of {len(drawn)} draws have no value ({kinds}): the expectation is that of the searches in "
            "which some draw has one, and `none` is the share of those in which none has"
        )
    valued = {d.number for d in drawn} - bad
    some = len({t.number for t in trials if t.number in valued and t.value is None})
    if some:
        notes.append(
            f"{some} draws lost some of their seeds: the value of each is the mean over the others, which flatters it"
        )
    unfinished = sum(t.status in schema.UNFINISHED for t in trials)
    if unfinished:
        notes.append(f"{unfinished} trials are unfinished, and left out")
    notes.append(
        f"band: {LEVEL:.0%} percentile bootstrap over the draws, at each budget for itself; it cannot see above the "
        "best value that was drawn, and is too narrow towards the whole budget"
    )
    return tuple(notes)


def best_so_far(search: Search) -> tuple[float | None, ...]:
    """Return the highest value up to each trial, in the order of the trials; None before the first value."""
    found: list[float | None] = []
    best: float | None = None
    for trial in search.trials:
        if trial.value is not None and (best is None or trial.value > best):
            best = trial.value
        found.append(best)
    return tuple(found)


def as_plain(found: ExpectedBest) -> dict[str, Any]:
    """Return the curve as JSON-able values, with every digit."""
    return dataclasses.asdict(found)
