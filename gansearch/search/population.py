"""Populations: members that go on from a better member's checkpoint with values of their own (PBT and PB2).

Tune sees `num_trials` members that live as long as the sweep. What it calls an exploit ends the trial that a
member is and begins another: the donor's configuration with a change at the epoch of its checkpoint, under the
donor's seed. So a trial's configuration tells its whole lineage, and training it alone gives the same bits.

A member's Tune configuration holds the spec that it started with; from its first exploit on, the spec that it
really is travels in the checkpoints (`worker`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray import tune

from gansearch.search.domains import Interval
from gansearch.search.searchers import SPEC
from gansearch.search.study import Study
from gansearch.seeds import stream
from gansearch.spec import TrialSpec

TURN = "turn"
"""Name under which a member's Tune configuration holds the number of the trial that it is now."""
VALUES = "values"
"""Name under which it holds the values of that trial, as (name, value) pairs: Tune would flatten a mapping."""
FACTORS = (0.8, 1.2)
"""What a value is changed by. Source: Jaderberg et al. 2017, "Population based training", section 4."""
TRIES = 10
"""Changes that come to what another copy of the donor has, before all values are drawn anew."""
NEAR = 1e-3
"""Values closer than this share of their interval come to the same: PB2 likes corners, and rounds to 24 bits."""

Values = dict[str, float]


class Explorer:
    """Changes the values that a copy of a member starts with; no two copies of one member start with the same.

    Args:
        domains: the searched intervals, by the parameters' names.
        resample: probability of drawing a value anew instead of changing it by a factor.
        seed: the sweep's seed.
        next_number: the number of the next trial.
        guided: whether Tune has chosen the values (PB2); they stand in the configuration, logarithms where the
            interval is logarithmic.
    """

    def __init__(
        self, domains: Mapping[str, Interval], *, resample: float, seed: int, next_number: int, guided: bool
    ) -> None:
        self.domains = domains
        self._resample, self._guided = resample, guided
        self._random = np.random.default_rng(stream(seed, "search/population", next_number))
        self._numbers = itertools.count(next_number)
        self._taken: dict[int, list[Values]] = {}

    @property
    def bounds(self) -> dict[str, list[float]]:
        """The intervals as Tune's PB2 takes them."""
        return {name: [_encoded(d, d.low), _encoded(d, d.high)] for name, d in self.domains.items()}

    def encoded(self, values: Values) -> dict[str, float]:
        """Return what stands for values in a configuration that PB2 chooses; nothing without it."""
        return {name: _encoded(self.domains[name], value) for name, value in values.items()} if self._guided else {}

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration of a copy, given its donor's with the values that Tune has chosen."""
        before: Values = dict(config[VALUES])
        taken = self._taken.setdefault(config[TURN], [before])  # the donor itself goes on with its own
        values = self._chosen(config) if self._guided else self._changed(before, self._resample)
        for attempt in itertools.count(1):
            if not self._is_taken(values, taken, NEAR if attempt <= 2 * TRIES else 0.0):
                break
            values = self._changed(before, self._resample if attempt <= TRIES else 1.0)
        taken.append(values)
        return {**config, **self.encoded(values), VALUES: list(values.items()), TURN: next(self._numbers)}

    def _is_taken(self, values: Values, taken: Sequence[Values], near: float) -> bool:
        """Return whether some taken values are as good as these: none further away, on the interval's own scale."""
        places = {name: _place(domain, values[name]) for name, domain in self.domains.items()}
        return any(
            all(abs(_place(domain, other[name]) - places[name]) <= near for name, domain in self.domains.items())
            for other in taken
        )

    def _chosen(self, config: Mapping[str, Any]) -> Values:
        return {
            name: _clipped(domain, math.exp(config[name]) if domain.log else config[name])
            for name, domain in self.domains.items()
        }

    def _changed(self, before: Values, resample: float) -> Values:
        values = {}
        for name, domain in self.domains.items():
            if self._random.random() < resample:
                values[name] = domain.at(self._random.random())
            else:
                values[name] = _clipped(domain, before[name] * FACTORS[self._random.integers(len(FACTORS))])
        return values


class Population:
    """The members that a sweep starts with, for `run_trials`.

    Args:
        study: the study; its scheduler is one of `pairings.POPULATION`.
        specs: what each member starts with, each with a number of its own; one that goes on from a checkpoint of
            an earlier driver has the schedule that it got there by.
        next_number: the number of the first trial that comes of an exploit, above those of all trials before.
    """

    def __init__(self, study: Study, specs: Sequence[TrialSpec], next_number: int) -> None:
        self._specs = tuple(specs)
        self.explorer = Explorer(
            {p.name: p.domain for p in study.space.parameters if isinstance(p.domain, Interval)},
            resample=study.scheduler.resample_probability,
            seed=study.seed,
            next_number=next_number,
            guided=study.scheduler.name == "pb2",
        )

    @property
    def num_trials(self) -> int:
        """Members."""
        return len(self._specs)

    @property
    def handed_out(self) -> bool:
        """Whether every member was handed out: a population is, as a whole."""
        return True

    def param_space(self) -> dict[str, Any]:
        """Return the members as Tune's grid: it takes no searcher beside a population's scheduler."""
        members = {spec.number: self._member(spec) for spec in self._specs}
        names = next(iter(members.values()))
        return {
            TURN: tune.grid_search(list(members)),
            **{name: tune.sample_from(_Lookup({turn: m[name] for turn, m in members.items()})) for name in names},
        }

    def _member(self, spec: TrialSpec) -> dict[str, Any]:
        now = spec.config.at_epoch(spec.config.algorithm.epochs)
        values = {name: float(str(now.get(name))) for name in self.explorer.domains}
        return {SPEC: spec.to_dict(), VALUES: list(values.items()), **self.explorer.encoded(values)}


@dataclasses.dataclass(frozen=True)
class _Lookup:
    """What a member's configuration holds under one name, by the number of its trial."""

    values: Mapping[int | None, Any]

    def __call__(self, config: Mapping[str, Any]) -> Any:
        return self.values[config[TURN]]


def child(donor: TrialSpec, epochs: int, config: Mapping[str, Any]) -> TrialSpec:
    """Return the trial that goes on from a donor's checkpoint.

    Args:
        donor: the trial of the checkpoint.
        epochs: epochs done at the checkpoint, below the budget.
        config: the member's Tune configuration, as an `Explorer` made it.
    """
    return dataclasses.replace(
        donor,
        config=donor.config.changed(epochs, dict(config[VALUES])),
        number=config[TURN],
        parent_id=donor.config.config_id,
    )


def _encoded(domain: Interval, value: float) -> float:
    return math.log(value) if domain.log else value


def _place(domain: Interval, value: float) -> float:
    """Return where a value lies in its interval, from 0 to 1 on the interval's own scale."""
    low, high = _encoded(domain, domain.low), _encoded(domain, domain.high)
    return (_encoded(domain, value) - low) / (high - low)


def _clipped(domain: Interval, value: float) -> float:
    return float(min(max(value, domain.low), domain.high))
