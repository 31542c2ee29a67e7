"""Which hyperparameters a search's outcome depends on, and which act on each other; with what noise alone gives.

Importances are Optuna's: fANOVA (Hutter, Hoos and Leyton-Brown 2014), the share of a forest's variance that a
parameter explains by itself; and PED-ANOVA (Watanabe, Bansal and Hutter 2023), how much its distribution among the best
trials differs from that among all. Parameters stand on the scale that the search drew them on.

Optuna's public interface has no interactions. Here they are those of a random forest's partial dependence on two
parameters: the variance of what is left of it without the two means (the pairwise term of functional ANOVA, as in
Hutter et al. 2014, section 3), and Friedman's H squared, the share of it in the variance of the partial dependence
itself (Friedman and Popescu 2008, "Predictive learning via rule ensembles", section 8.1).

A handful of trials gives every parameter some importance. So each figure stands beside its standard deviation over
bootstrap samples of the trials, and beside what a parameter got that was made up: values of a real one, shuffled (as
the shadows of Kursa and Rudnicki 2010). What is not above that has not been shown to matter. What is above it may be
chance: of parameters that do not matter, 5 to 10 in 100 are, and of searches in which none matters a quarter have one
(3 to 7 parameters, 36 trials).
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from analysis import surrogates
from analysis.comparison import Array
from analysis.optuna_studies import silent, study_of
from analysis.planned_search import Parameter
from analysis.search_rows import Search, read_search
from analysis.surrogates import Sample, grow, partial_dependence
from gansearch.storage import Location

FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"
EVALUATORS = (FANOVA, PED_ANOVA)
RESAMPLES = 20
"""Bootstrap samples of the trials for the importances."""
INTERACTION_RESAMPLES = 8
"""The same for the interactions, of which there are many."""
MOST_TRIALS = 200
"""Trials that are evaluated, at most, chosen at random: fANOVA's time grows faster than their number."""
MOST_PARAMETERS = 8
"""Parameters whose pairs are looked at, the most important ones."""
_TREES = 32
_BEST_SHARE = 0.1
_BEST_TRIALS = 5
"""Trials among the best that PED-ANOVA is given, at least, as its authors advise; half of all at most."""
_GRID = 6
_BACKGROUND = 48
_SEED = 20140610
_SHADOW = "(made up)"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one parameter explains.

    Attributes:
        name: the parameter.
        share: its importance; those of all parameters sum to 1.
        sd: standard deviation of the share over bootstrap samples of the trials.
        noise: the highest share that a made-up parameter got in those samples.
    """

    name: str
    share: float
    sd: float
    noise: float

    @property
    def stands_out(self) -> bool:
        """Whether the share is above what a made-up parameter got."""
        return self.share > self.noise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """What two parameters explain together, beyond what each explains.

    Attributes:
        names: the parameters.
        share: variance of the pairwise term in that of the forest's predictions.
        h2: Friedman's H squared, from 0 (they add up) to 1 (neither acts alone).
        sd: standard deviation of the share over bootstrap samples of the trials.
        noise: the highest share that a pair with a made-up parameter got in those samples.
    """

    names: tuple[str, str]
    share: float
    h2: float
    sd: float
    noise: float

    @property
    def stands_out(self) -> bool:
        """Whether the share is above what a pair with a made-up parameter got."""
        return self.share > self.noise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What was found among trials in which the same parameters act.

    Attributes:
        where: what the trials have in common, in words; empty for all of them.
        conditional: names of the parameters that act there alone; none where it is all trials.
        trials: how many were used.
        r2: share of the variance that a forest of all such trials and parameters explains of trials that a tree has
            not seen.
        shares: importances by evaluator, the highest first.
        interactions: pairs, the strongest first.
        notes: what a reader must know.
    """

    where: str
    conditional: tuple[str, ...]
    trials: int
    r2: float
    shares: dict[str, tuple[Share, ...]]
    interactions: tuple[Interaction, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """What a search's outcome depends on.

    Attributes:
        run: the run directory's name.
        groups: what was found among all trials, then under each condition of a conditional parameter.
        skipped: damaged parts that were left out.
    """

    run: str
    groups: tuple[Group, ...]
    skipped: tuple[str, ...]


def importance(run: Location | str, *, only_complete: bool = False, skip_damaged: bool = False) -> Importance:
    """Return what the outcome of a run's search depends on.

    Args:
        run: the run directory.
        only_complete: leave out trials that were stopped early.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read or has no plan, too few trials have a value, all have the same, or no
            parameter takes several values.
        ConfigError: when its plan file cannot be read.
    """
    return importance_of(read_search(run, skip_damaged=skip_damaged), only_complete=only_complete)


def importance_of(search: Search, *, only_complete: bool = False) -> Importance:
    """Return what the outcome of a search depends on; as `importance`."""
    found = surrogates.samples(search, only_complete=only_complete)
    return Importance(run=search.run, groups=tuple(_group(search, sample) for sample in found), skipped=search.skipped)


def _group(search: Search, sample: Sample) -> Group:
    chosen = _chosen(len(sample.values))
    places, values = sample.places[chosen], sample.values[chosen]
    shares = {name: importances(name, sample.parameters, places, values) for name in EVALUATORS}
    rank = {s.name: i for i, s in enumerate(shares[FANOVA])}
    kept = sorted(range(len(sample.parameters)), key=lambda i: rank[sample.parameters[i].name])[:MOST_PARAMETERS]
    pairs = interactions([sample.parameters[i] for i in kept], places[:, kept], values)
    notes = list(surrogates.notes(search, sample))
    if len(chosen) < len(sample.values):
        notes.append(f"{len(chosen)} of these {len(sample.values)} trials were evaluated, chosen at random")
    notes.append(f"PED-ANOVA compares the best {best_trials(values)} of {len(chosen)} trials with all of them")
    if len(sample.parameters) > MOST_PARAMETERS:
        notes.append(f"interactions are those of the {MOST_PARAMETERS} most important parameters")
    return Group(
        where=sample.where,
        conditional=tuple(p.name for p in sample.parameters if sample.where and p.when),
        trials=len(chosen),
        r2=surrogates.fit(sample).r2,
        shares=shares,
        interactions=pairs,
        notes=tuple(notes),
    )


def _chosen(total: int) -> npt.NDArray[np.int64]:
    if total <= MOST_TRIALS:
        return np.arange(total)
    return np.sort(np.random.default_rng(_SEED).choice(total, MOST_TRIALS, replace=False))


def importances(
    evaluator: str, parameters: Sequence[Parameter], places: Array, values: Array, resamples: int = RESAMPLES
) -> tuple[Share, ...]:
    """Return the parameters' importances by one of `EVALUATORS`, the highest first.

    Args:
        evaluator: its name.
        parameters: the parameters.
        places: places of their values, of shape (trials, parameters).
        values: the trials' values, in nats, of shape (trials,).
        resamples: bootstrap samples, 2 or more.
    """
    names = [p.name for p in parameters]
    distributions = {p.name: _distribution(p) for p in parameters}
    own = _evaluate(evaluator, distributions, places, values, 0)
    generator = np.random.default_rng(_SEED)
    seen = []
    for seed in range(1, resamples + 1):
        rows, shadow, of = _resample(generator, places)
        more = {**distributions, _SHADOW: distributions[names[of]]}
        seen.append(_evaluate(evaluator, more, np.column_stack([places[rows], shadow]), values[rows], seed))
    noise = max(s[_SHADOW] for s in seen)
    shares = [
        Share(name=name, share=own[name], sd=float(np.std([s[name] for s in seen], ddof=1)), noise=noise)
        for name in names
    ]
    return tuple(sorted(shares, key=lambda s: -s.share))


def _resample(generator: np.random.Generator, places: Array) -> tuple[npt.NDArray[np.int64], Array, int]:
    """Return rows drawn with replacement, values of a made-up parameter for them, and which one it is a shuffle of."""
    rows = generator.integers(len(places), size=len(places))
    of = int(generator.integers(places.shape[1]))
    shadow = generator.permutation(places[:, of])[rows]  # a trial that is drawn twice has the same value twice
    return rows, shadow, of


def _distribution(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution of a parameter's places."""
    low, high = parameter.ends
    if parameter.kind == "choice":
        return CategoricalDistribution([float(i) for i in range(len(parameter.values))])
    if parameter.kind == "int" and not parameter.log:
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high)


def _evaluate(
    evaluator: str, distributions: dict[str, BaseDistribution], places: Array, values: Array, seed: int
) -> dict[str, float]:
    """Return importances that sum to 1 over the real parameters; of a made-up one, its share of all with it."""
    names = list(distributions)
    if np.ptp(values) == 0:  # a bootstrap sample of equal values: nothing explains anything
        return dict.fromkeys(names, 0.0)
    study = study_of(
        optuna.trial.create_trial(
            params={name: _exact(distributions[name], place) for name, place in zip(names, row, strict=True)},
            distributions=distributions,
            value=float(value),
        )
        for row, value in zip(places, values, strict=True)
    )
    with silent():
        found = get_param_importances(study, evaluator=_evaluator(evaluator, seed, len(values)), params=names)
    real = sum(float(value) for name, value in found.items() if name != _SHADOW)
    whole = sum(map(float, found.values()))
    return {
        name: float(value) / total if (total := whole if name == _SHADOW else real) else 0.0
        for name, value in found.items()
    }


def _exact(of: BaseDistribution, place: float) -> Any:
    """Return a place as a value of a distribution: an integer where it takes those, never beyond an end by rounding."""
    if isinstance(of, IntDistribution):
        return round(place)
    return min(max(float(place), of.low), of.high) if isinstance(of, FloatDistribution) else float(place)


def _evaluator(name: str, seed: int, trials: int) -> BaseImportanceEvaluator:
    if name == FANOVA:
        return FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
    # Called `baseline_quantile` before Optuna 4.6.
    known = inspect.signature(PedAnovaImportanceEvaluator.__init__).parameters
    quantile = "target_quantile" if "target_quantile" in known else "baseline_quantile"
    options: dict[str, Any] = {quantile: _quantile(trials)}
    return PedAnovaImportanceEvaluator(**options)


def _quantile(trials: int) -> float:
    """Return the share of the trials that PED-ANOVA takes for the best."""
    return min(0.5, max(_BEST_SHARE, _BEST_TRIALS / trials))


def best_trials(values: Array) -> int:
    """Return how many trials PED-ANOVA takes for the best: the share rounded up, and what is as high as its lowest."""
    rank = math.ceil(_quantile(len(values)) * len(values))
    return int(np.sum(values >= np.sort(values)[-rank]))


def interactions(
    parameters: Sequence[Parameter], places: Array, values: Array, resamples: int = INTERACTION_RESAMPLES
) -> tuple[Interaction, ...]:
    """Return what each pair of parameters explains beyond its two parameters, the strongest first.

    Args:
        parameters: the parameters.
        places: places of their values, of shape (trials, parameters).
        values: the trials' values, in nats, of shape (trials,).
        resamples: bootstrap samples, 2 or more.
    """
    count = len(parameters)
    pairs = list(itertools.combinations(range(count), 2))
    own = _pairwise(places, values, pairs, 0)
    generator = np.random.default_rng(_SEED)
    seen, shadows = [], [0.0]
    for seed in range(1, resamples + 1):
        rows, shadow, _ = _resample(generator, places)
        with_shadow = [*pairs, *((i, count) for i in range(count))]
        found = _pairwise(np.column_stack([places[rows], shadow]), values[rows], with_shadow, seed)
        seen.append([share for share, _ in found[: len(pairs)]])
        shadows += [share for share, _ in found[len(pairs) :]]
    noise, spread = max(shadows), np.std(seen, axis=0, ddof=1)
    pairwise = [
        Interaction(
            names=(parameters[i].name, parameters[j].name), share=share, h2=h2, sd=float(spread[k]), noise=noise
        )
        for k, ((i, j), (share, h2)) in enumerate(zip(pairs, own, strict=True))
    ]
    return tuple(sorted(pairwise, key=lambda p: -p.share))


def _pairwise(places: Array, values: Array, pairs: Sequence[tuple[int, int]], seed: int) -> list[tuple[float, float]]:
    """Return each pair's share of a forest's variance and its H squared."""
    forest = grow(places, values, trees=_TREES, seed=seed)
    total = float(np.var(forest.predict(places)))
    behind = surrogates.background(places, _BACKGROUND)
    # Each parameter's own quantiles: a product of the two marginal distributions, in equal weights.
    middles = (np.arange(_GRID) + 0.5) / _GRID
    grids = np.quantile(places, middles, axis=0, method="inverted_cdf")
    found = []
    for i, j in pairs:
        points = np.array(list(itertools.product(grids[:, i], grids[:, j])))
        surface = partial_dependence(forest, behind, (i, j), points).reshape(_GRID, _GRID)
        surface -= surface.mean()
        beyond = surface - surface.mean(axis=1, keepdims=True) - surface.mean(axis=0, keepdims=True)
        pairwise, whole = float(np.mean(beyond**2)), float(np.mean(surface**2))
        found.append((pairwise / total if total else 0.0, pairwise / whole if whole else 0.0))
    return found


def as_plain(found: Importance) -> dict[str, Any]:
    """Return the importances as JSON-able values, with every digit and what stands out."""
    plain = dataclasses.asdict(found)
    for group, values in zip(found.groups, plain["groups"], strict=True):
        for name, shares in group.shares.items():
            for share, value in zip(shares, values["shares"][name], strict=True):
                value["stands_out"] = share.stands_out
        for pair, value in zip(group.interactions, values["interactions"], strict=True):
            value["stands_out"] = pair.stands_out
    return plain
