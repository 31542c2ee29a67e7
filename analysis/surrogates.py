"""A random forest that stands for a search's outcome, and the encoding of its trials.

Numbers stand on the scale that the search drew them on, the logarithm where that is uniform, so that averages over a
parameter's range weigh it as the search does. A choice stands by its number, which a tree can split anywhere.

A configuration that was tried from several seeds counts once, with the mean that its searcher was told. Its seeds are
no independent trials: a forest that knows one of them knows the others by their place, whether or not a parameter
matters.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.comparison import Array
from analysis.planned_search import Parameter
from analysis.search_rows import BAD, Search, SearchTrial
from gansearch import schema
from gansearch.errors import ResultsError

LEAST_TRIALS = 10
"""Trials with a value that are needed."""
MOST_TRIALS = 1000
"""Trials that are used, at most: a random choice where there are more."""
TREES = 100
_LEAF = 2
"""Trials in a leaf, at least: smoother curves."""
_SEED = 20140610
_TAIL = 0.1
_HEAVY = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Trials in which the same parameters act.

    Attributes:
        where: what the trials have in common, in words; empty for all trials.
        parameters: which act in all of them and take several values.
        constant: names of those that take one value only.
        trials: the trials, each with a value; one a configuration, with the mean over its seeds.
        places: places of the parameters' values, of shape (trials, parameters).
        values: what the searcher was told, in nats, of shape (trials,).
        whole: how many there were before some were chosen at random, under all conditions.
        left_out: trials with a value that were left out because they were stopped early.
    """

    where: str
    parameters: tuple[Parameter, ...]
    constant: tuple[str, ...]
    trials: tuple[SearchTrial, ...]
    places: Array
    values: Array
    whole: int
    left_out: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """A forest that was fitted to trials.

    Attributes:
        sample: what it was fitted to.
        forest: scikit-learn's `RandomForestRegressor`.
        r2: share of the values' variance that it explains of trials that a tree has not seen (out of bag); 0 or
            below: it knows nothing.
    """

    sample: Sample
    forest: Any
    r2: float


def samples(search: Search, *, only_complete: bool = False) -> tuple[Sample, ...]:
    """Return the trials to learn from: all of them, then for each condition those that meet it.

    Args:
        search: the search.
        only_complete: leave out trials that were stopped early.

    Raises:
        ResultsError: when the run has no plan, too few trials have a value, all have the same, or no parameter takes
            several values.
    """
    plan = search.need_plan()
    valued = [t for t in search.valued if not only_complete or t.status == schema.COMPLETE]
    left_out = len(search.valued) - len(valued)
    seeds, valued = len(valued), _by_configuration(valued)
    one = "trials" if seeds == len(valued) else "configurations"
    kind = f"completed {one}" if only_complete else f"{one} with a value"
    if len(valued) < LEAST_TRIALS:
        raise ResultsError(
            f"{search.run} has {len(valued)} {kind}, and {LEAST_TRIALS} are needed to learn from: {search.counts}",
            hint="extend the search: `gansearch resume RUN --num-trials N`",
        )
    outside = [
        t.key.config_id for t in valued if not all(p.holds(t.values[p.name]) for p in _acting(plan.parameters, t))
    ]
    if outside:
        raise ResultsError(
            f"search trial {outside[0]} of {search.run} lies outside the plan's space",
            hint="the plan file is not that of these trials",
        )
    if len({t.value for t in valued}) == 1:
        raise ResultsError(f"all {len(valued)} {kind} of {search.run} have the same value: nothing explains anything")
    whole, valued = len(valued), _thinned(valued)
    groups: dict[str, tuple[Parameter, ...]] = collections.defaultdict(tuple)
    for parameter in plan.parameters:
        groups[_condition(parameter)] += (parameter,)
    always = groups.pop("", ())
    found = [_sample("", always, valued, whole, left_out)]
    for where, conditional in groups.items():
        inside = [t for t in valued if all(p.name in t.values for p in conditional)]
        if len(inside) >= LEAST_TRIALS and len({t.value for t in inside}) > 1:
            found.append(_sample(where, (*always, *conditional), inside, whole, left_out))
    found = [s for s in found if s.parameters]
    if not found:
        raise ResultsError(
            f"no searched parameter of {search.run} takes more than one value in its {len(valued)} trials"
        )
    return tuple(found)


def _acting(parameters: Sequence[Parameter], trial: SearchTrial) -> list[Parameter]:
    return [p for p in parameters if p.name in trial.values]


def _condition(parameter: Parameter) -> str:
    conditions = (f"{name} is {' or '.join(map(parameter.show, values))}" for name, values in parameter.when)
    return " and ".join(conditions)


def _by_configuration(trials: Sequence[SearchTrial]) -> list[SearchTrial]:
    """Return one trial a configuration, with the mean of its seeds' values; it is complete where all of them are."""
    groups: dict[str, list[SearchTrial]] = collections.defaultdict(list)
    for trial in trials:
        groups[trial.key.config_id].append(trial)
    return [own[0] if len(own) == 1 else _together(own) for own in groups.values()]


def _together(seeds: Sequence[SearchTrial]) -> SearchTrial:
    values = [t.value for t in seeds if t.value is not None]
    status = schema.COMPLETE if all(t.status == schema.COMPLETE for t in seeds) else schema.STOPPED
    return dataclasses.replace(seeds[0], value=math.fsum(values) / len(values), status=status)


def _thinned(trials: list[SearchTrial]) -> list[SearchTrial]:
    if len(trials) <= MOST_TRIALS:
        return trials
    chosen = np.random.default_rng(_SEED).choice(len(trials), MOST_TRIALS, replace=False)
    return [trials[i] for i in sorted(chosen)]


def _sample(
    where: str, parameters: Sequence[Parameter], trials: Sequence[SearchTrial], whole: int, left_out: int
) -> Sample:
    several = tuple(p for p in parameters if len({t.values[p.name] for t in trials}) > 1)
    return Sample(
        where=where,
        parameters=several,
        constant=tuple(p.name for p in parameters if p not in several),
        trials=tuple(trials),
        places=np.array([[p.place(t.values[p.name]) for p in several] for t in trials], dtype=np.float64),
        values=np.array([t.value for t in trials], dtype=np.float64),
        whole=whole,
        left_out=left_out,
    )


def fit(sample: Sample) -> Surrogate:
    """Return a forest fitted to trials."""
    forest = grow(sample.places, sample.values, trees=TREES, seed=_SEED, oob_score=True)
    return Surrogate(sample=sample, forest=forest, r2=float(forest.oob_score_))


def grow(places: Array, values: Array, *, trees: int, seed: int, oob_score: bool = False) -> Any:
    """Return a fitted random forest of scikit-learn."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        n_estimators=trees, min_samples_leaf=_LEAF, random_state=seed, oob_score=oob_score, n_jobs=1
    )
    return forest.fit(places, values)


def partial_dependence(forest: Any, background: Array, columns: Sequence[int], points: Array) -> Array:
    """Return a forest's mean prediction over a background, with some columns set to each of some points.

    Friedman 2001, "Greedy function approximation", section 8.2; in one call of the forest, where scikit-learn's
    `inspection.partial_dependence` makes one a point.

    Args:
        forest: a fitted regressor.
        background: places of the trials that are averaged over, of shape (background, parameters).
        columns: which parameters are set.
        points: what they are set to, of shape (points, columns).

    Returns:
        Of shape (points,), in nats.
    """
    rows = np.repeat(background[None, :, :], len(points), axis=0)
    rows[:, :, list(columns)] = points[:, None, :]
    predicted = forest.predict(rows.reshape(-1, background.shape[1]))
    means: Array = predicted.reshape(len(points), len(background)).mean(axis=1)
    return means


def background(places: Array, most: int) -> Array:
    """Return rows to average over: all of them, or `most` chosen at random."""
    if len(places) <= most:
        return places
    chosen: Array = places[np.random.default_rng(_SEED).choice(len(places), most, replace=False)]
    return chosen


def notes(search: Search, sample: Sample) -> tuple[str, ...]:
    """Return what a reader must know of the trials that something was learned from."""
    plan = search.need_plan()
    found = []
    stopped = sum(t.status == schema.STOPPED for t in sample.trials)
    if stopped:
        found.append(
            f"{stopped} of {len(sample.trials)} trials were stopped early by {search.stopped_by}: their values are of "
            "fewer epochs, so that parameters also matter by what they do early; without these trials only the "
            "survivors would be left"
        )
    if sample.left_out:
        found.append(
            f"{sample.left_out} trials that were stopped early are left out: what is said holds for the survivors, "
            "which were chosen by their values"
        )
    if len({t.key.config_id for t in search.valued}) < len(search.valued):
        found.append("a configuration counts once, as a trial with the mean of its seeds")
    bad = sum(t.status in BAD for t in search.trials)
    if bad:
        found.append(f"{bad} trials went bad and have no value: what is said holds for the others")
    if sample.whole > MOST_TRIALS:
        found.append(f"{MOST_TRIALS} of {sample.whole} trials with a value were used, chosen at random")
    if plan.searcher not in ("random", "sobol", "grid"):
        found.append(
            f"{plan.searcher} chose most trials where it expected good values: parameters are judged there rather than "
            "over their whole ranges"
        )
    if plan.scheduler in ("pbt", "pb2"):
        found.append(f"under {plan.scheduler} values change while a trial trains: those it began with are meant")
    heavy = _low_tail(sample.values)
    if heavy > _HEAVY:
        found.append(
            f"the lowest tenth of the values holds {heavy:.0%} of their variance: what fANOVA and the forest explain "
            "is mostly who fails badly; PED-ANOVA, which ranks, is not moved by it"
        )
    if sample.constant:
        found.append(f"one value only, and so left out: {', '.join(sample.constant)}")
    return tuple(found)


def _low_tail(values: Array) -> float:
    """Return the share of the sum of squares about the mean that the lowest tenth of the values brings."""
    squares = (values - values.mean()) ** 2
    lowest = np.argsort(values)[: max(1, round(_TAIL * len(values)))]
    return float(squares[lowest].sum() / squares.sum())
