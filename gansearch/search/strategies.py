"""The strategies that a study can name: searchers choose points, schedulers stop trials, executors run them.

A strategy's paragraph says when to use it; `gansearch spaces --strategies` prints them all. What cannot be
combined is refused by `gansearch.search.pairings`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from gansearch.errors import ConfigError, nearest
from gansearch.search.sections import require


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What there is to know of a strategy before it is used.

    Attributes:
        options: the section's fields that it reads.
        when: when to use it, in a paragraph.
    """

    options: tuple[str, ...]
    when: str


SEARCHERS: Mapping[str, Strategy] = {
    "random": Strategy(
        options=(),
        when="Independent draws. The baseline that every other searcher has to beat; best with many workers, with "
        "asha, and wherever the sample itself is analysed afterwards, since it is unbiased. Point i is a "
        "function of (seed, i), so a resumed sweep tries the very same configurations.",
    ),
    "sobol": Strategy(
        options=(),
        when="A scrambled Sobol sequence: as random, but spread evenly, so that a few dozen points leave no corner "
        "of the space empty. Use it in place of random for maps of the space and for 2 to 10 parameters. Point i "
        "is a function of (seed, i).",
    ),
    "grid": Strategy(
        options=(),
        when="Every combination of listed values. For two or three parameters whose effect is to be shown in a "
        "table; it wastes trials wherever a parameter matters little.",
    ),
    "tpe": Strategy(
        options=("startup_trials", "multivariate"),
        when="Optuna's tree-structured Parzen estimator, the searcher to start with: it takes every kind of "
        "parameter, conditional ones too, costs milliseconds a trial, and bears workers that ask at the same time "
        "(constant liar). It needs some tens of trials to pay.",
    ),
    "gp": Strategy(
        options=("startup_trials",),
        when="A Gaussian process with log expected improvement. The most careful choice of each point: for up to "
        "about 200 trials of a costly configuration and up to about 10 unconditional parameters. Its own cost "
        "grows steeply: half a second a trial at 250 trials, five at 1,000.",
    ),
    "cmaes": Strategy(
        options=("startup_trials",),
        when="CMA-ES, an evolution strategy that learns the shape of the valley. For 3 to 20 numeric, "
        "unconditional parameters and several hundred trials or more; slower than tpe below that.",
    ),
    "nsga2": Strategy(
        options=("population_size",),
        when="An evolutionary search for two objectives at once: the validation log-likelihood, to be raised, and "
        "the training cost in floating-point operations, to be lowered. Use it when what a configuration costs "
        "matters; its result is a front, which `gansearch front` shows; `gansearch best` returns its end of "
        "the highest likelihood.",
    ),
}

SCHEDULERS: Mapping[str, Strategy] = {
    "none": Strategy(
        options=(),
        when="Every trial gets its whole budget. For small studies, for maps of the space, and where early values "
        "say little about late ones.",
    ),
    "asha": Strategy(
        options=("grace_epochs", "reduction_factor"),
        when="Asynchronous successive halving, the scheduler to start with: at each rung only the best one in "
        "reduction_factor goes on, and nobody waits. Saves most of the epochs where the order of trials shows "
        "early. Mind grace_epochs: a generator starts near the mean image, which scores well, so that the first "
        "reports order trials badly, and too short a grace costs more than it saves.",
    ),
    "hyperband": Strategy(
        options=("reduction_factor",),
        when="Synchronous successive halving in several brackets, some of which stop late: for when it is not known "
        "how early the order shows. Trials wait for their bracket. With tpe this is BOHB-style search.",
    ),
    "median": Strategy(
        options=("grace_epochs", "min_trials"),
        when="Stops a trial whose value is below the median of the others' averages at the same epoch. Gentler "
        "than asha: it saves less, and rarely stops a late bloomer.",
    ),
    "pbt": Strategy(
        options=("interval_epochs", "quantile", "resample_probability"),
        when="Population based training: every interval_epochs the worst members of the population continue from a "
        "copy of one of the best, with learning rates, momentum and dropout changed at random. Finds schedules "
        "rather than values; num_trials is the population, 8 or more.",
    ),
    "pb2": Strategy(
        options=("interval_epochs", "quantile"),
        when="As pbt, but a time-varying Gaussian process chooses the changed values within the space's bounds: for "
        "small populations, 4 to 16.",
    ),
}


EXECUTORS: Mapping[str, Strategy] = {
    "tune": Strategy(
        options=(),
        when="Ray Tune with a process for each trial at a time: takes every scheduler, and uses all cores of a CPU.",
    ),
    "packed": Strategy(
        options=("slots",),
        when="Engines that train many trials at once, each by one batched computation: for networks too small to keep "
        "a GPU busy. `resources` is what an engine takes, the whole device. Takes the schedulers none, asha and "
        "median. A trial comes to the same as alone, but for the last bits of sums.",
    ),
    "auto": Strategy(
        options=("slots",),
        when="packed where it pays, else tune; the sweep says which and why.",
    ),
}


RESUMED: Mapping[str, str] = {
    "hyperband": "hyperband's brackets are formed anew of the trials that are left: trials that ended keep their rows, "
    "unfinished ones go on from their checkpoints, but who was to be halved with whom is forgotten",
    "pbt": "the population goes on from its members' checkpoints with the values they had; which of them were the best "
    "is learned anew at the next interval",
    "pb2": "the population goes on from its members' checkpoints with the values they had; what the Gaussian process "
    "had learned is lost, and learned anew from here",
}
"""What a resumed sweep does under schedulers whose memory is not rebuilt from the tables, in words."""


def _check(where: str, section: Any, strategies: Mapping[str, Strategy]) -> None:
    """Raise ConfigError for an unknown name."""
    if section.name not in strategies:
        raise ConfigError(
            f"{where}.name is '{section.name}', which is not known", hint=nearest(section.name, strategies)
        )


def _acting(section: Any, strategies: Mapping[str, Strategy]) -> dict[str, Any]:
    """Return the name and the options that act."""
    return {"name": section.name} | {key: getattr(section, key) for key in strategies[section.name].options}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Searcher:
    """How points are chosen.

    Attributes:
        name: one of `SEARCHERS`.
        startup_trials: random points before a model is used, 1 or more (tpe, gp, cmaes).
        multivariate: whether parameters are modelled jointly (tpe).
        population_size: points of a generation, 2 or more (nsga2).
    """

    name: str = "random"
    startup_trials: int = 10
    multivariate: bool = True
    population_size: int = 20

    def __post_init__(self) -> None:
        _check("searcher", self, SEARCHERS)
        require(self.startup_trials >= 1, "searcher.startup_trials", "1 or more", self.startup_trials)
        require(self.population_size >= 2, "searcher.population_size", "2 or more", self.population_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that act."""
        return _acting(self, SEARCHERS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """Which trials are stopped early, or changed on the way.

    Attributes:
        name: one of `SCHEDULERS`.
        grace_epochs: epochs that every trial is given, 1 or more (asha, median).
        reduction_factor: one in this many trials goes on at each rung, above 1 (asha, hyperband).
        min_trials: trials with a value at an epoch before one is stopped there, 1 or more (median).
        interval_epochs: epochs between two changes of the population, 1 or more (pbt, pb2).
        quantile: share of the population that is replaced, and that it is replaced from, in (0, 0.5] (pbt, pb2).
        resample_probability: of drawing a value anew instead of changing it by a factor, in [0, 1] (pbt).
    """

    name: str = "none"
    grace_epochs: int = 1
    reduction_factor: float = 3.0
    min_trials: int = 3
    interval_epochs: int = 5
    quantile: float = 0.25
    resample_probability: float = 0.25

    def __post_init__(self) -> None:
        _check("scheduler", self, SCHEDULERS)
        require(self.grace_epochs >= 1, "scheduler.grace_epochs", "1 or more", self.grace_epochs)
        require(1 < self.reduction_factor < math.inf, "scheduler.reduction_factor", "above 1", self.reduction_factor)
        require(self.min_trials >= 1, "scheduler.min_trials", "1 or more", self.min_trials)
        require(self.interval_epochs >= 1, "scheduler.interval_epochs", "1 or more", self.interval_epochs)
        require(0 < self.quantile <= 0.5, "scheduler.quantile", "above 0 and at most 0.5", self.quantile)
        probability = self.resample_probability
        require(0 <= probability <= 1, "scheduler.resample_probability", "in [0, 1]", probability)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that act."""
        return _acting(self, SCHEDULERS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """How trials are run.

    Attributes:
        name: one of `EXECUTORS`.
        slots: trials that an engine trains at once, at most, 1 or more (packed, auto).
    """

    name: str = "tune"
    slots: int = 32

    def __post_init__(self) -> None:
        _check("executor", self, EXECUTORS)
        require(self.slots >= 1, "executor.slots", "1 or more", self.slots)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that act."""
        return _acting(self, EXECUTORS)
