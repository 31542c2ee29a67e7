"""The benchmark's study, its Sobol points, and where any point lies in the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from gansearch.search.domains import Choice, Domain, Integers
from gansearch.search.space import Space
from gansearch.search.study import Study, load_study

STUDY = "quickstart"
EPOCHS = 54
"""Budget of a trial."""
REPORT_EVERY = 2
"""Epochs from report to report: 27 of them, a power of three, so that halving by three has four rungs."""
POINTS = 256
SEEDS = 2
SOBOL_SEED = 0

FloatArray = NDArray[np.float64]


def benchmark_study(
    searcher: str = "random", scheduler: Mapping[str, object] | str = "none", *, num_trials: int = 1, seed: int = 0
) -> Study:
    """Return the shipped digits study with the benchmark's budget and reports, under a strategy.

    Args:
        searcher: how points are chosen.
        scheduler: which trials are stopped early, by name or with options.
        num_trials: configurations, 1 or more.
        seed: the sweep's seed.
    """
    plan = load_study(STUDY).to_dict()
    plan["base"]["score"]["report_every"] = REPORT_EVERY
    plan.update(searcher=searcher, scheduler=scheduler, num_trials=num_trials, seed=seed)
    # Written under both names, which must agree.
    plan["base"]["algorithm"]["epochs"] = plan["epochs"] = EPOCHS
    plan["confirm"] = {"seeds": 0}
    return Study.parse(plan, "digits_sobol")


def sobol(space: Space, count: int = POINTS) -> FloatArray:
    """Return the first scrambled Sobol points of the unit cube of a space without conditions.

    Args:
        space: its parameters are the axes, in their order.
        count: points, a power of two.

    Returns:
        Coordinates in [0,1), one point a row.
    """
    return np.asarray(qmc.Sobol(d=len(space.parameters), scramble=True, seed=SOBOL_SEED).random(count))


def point_at(space: Space, u: Sequence[float] | FloatArray) -> dict[str, object]:
    """Return the point at quantiles u, one for each parameter."""
    return {p.name: p.domain.at(float(q)) for p, q in zip(space.parameters, u, strict=True)}


def quantile(domain: Domain, value: object) -> float:
    """Return the quantile of a value: of an integer or a choice, the centre of its cell in [0,1].

    It inverts `Domain.at`, so that two values are as far apart as the space's own draws make them.
    """
    if isinstance(domain, Choice):
        return (domain.values.index(value) + 0.5) / len(domain.values)
    number = float(str(value))
    if isinstance(domain, Integers):
        if domain.log:
            low, high = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
            return (math.log(number) - low) / (high - low)
        return (number - domain.low + 0.5) / (domain.high - domain.low + 1)
    if domain.log:
        return math.log(number / domain.low) / math.log(domain.high / domain.low)
    return (number - domain.low) / (domain.high - domain.low)


def coordinates(space: Space, point: Mapping[str, object]) -> FloatArray:
    """Return a point's place in the unit cube, one coordinate for each parameter."""
    return np.array([quantile(p.domain, point[p.name]) for p in space.parameters])
