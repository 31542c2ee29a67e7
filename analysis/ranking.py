"""Configurations in the order that validation gives them, a million as well as ten.

Rows stand in arrays. What is said of one configuration is made when it is asked for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final, overload

import numpy as np

from analysis import statistics
from analysis.seed_counts import SeedCounts, counts_of
from gansearch import schema

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Truths = NDArray[np.bool_]

STATUSES = tuple(schema.STATUSES)
_COMPLETE = STATUSES.index(schema.COMPLETE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One configuration in the ranking.

    Attributes:
        config_id: hash of the configuration.
        scores: mean validation log-likelihood of each completed seed, in nats, in the order of the seeds.
        counts: how all its seeds ended.
        sigma_at_edge: completed seeds whose sigma is an end point of the protocol's grid.
    """

    config_id: str
    scores: tuple[float, ...]
    counts: SeedCounts
    sigma_at_edge: int

    @property
    def valid_ll_mean(self) -> float:
        """Mean over the completed seeds, in nats."""
        return statistics.mean(self.scores)

    @property
    def valid_ll_se_seeds(self) -> float | None:
        """Its standard error over seeds, in nats; None for one seed."""
        return statistics.standard_error(self.scores)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Rows of `trials`, one a seed, of one stage and protocol: those of a configuration together, by seed and fold.

    Attributes:
        ids: the config_ids, [configurations], each once.
        config: of each row, the place in `ids`, [rows].
        status: of each row, the place in `STATUSES`, [rows].
        score: mean validation log-likelihood in nats, [rows]; finite where the status is COMPLETE.
        collapsed: whether the scored samples collapsed, [rows].
        at_edge: whether sigma is an end point of the grid, [rows].
    """

    ids: pa.StringArray
    config: Integers
    status: Integers
    score: Floats
    collapsed: Truths
    at_edge: Truths


@final
class Ranking(Sequence[Candidate]):
    """Every configuration with a completed seed, the best first.

    Those whose seeds all completed come first; then the highest mean over the completed seeds; ties go to more
    completed seeds, then to the smaller config_id.

    Args:
        seeds: the rows to rank.

    Attributes:
        means: mean validation log-likelihood of each configuration over its completed seeds, in nats, [n].
        whole: whether all seeds of each configuration completed, [n].
    """

    __slots__ = ("_config", "_first", "_last", "_seeds", "means", "whole")

    def __init__(self, seeds: Seeds) -> None:
        starts = np.flatnonzero(np.diff(seeds.config, prepend=-1))
        ends = np.append(starts[1:], len(seeds.config))
        complete = seeds.status == _COMPLETE
        before = np.concatenate([[0], np.cumsum(complete)])  # completed rows before each row
        completed = before[ends] - before[starts]
        scored = np.flatnonzero(completed)
        starts, ends, completed = starts[scored], ends[scored], completed[scored]
        means = exact_means(seeds.score[complete], completed)
        whole = completed == ends - starts
        order = np.lexsort((-completed, -means, ~whole))
        order = _ties_by_id(order, (completed, means, whole), seeds.config[starts], seeds.ids)
        self._seeds, self._first, self._last = seeds, starts[order], ends[order]
        self._config = seeds.config[self._first]
        self.means: Floats = means[order]
        self.whole: Truths = whole[order]

    def __len__(self) -> int:
        return len(self.means)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, place: int | slice) -> Candidate | tuple[Candidate, ...]:
        if isinstance(place, slice):
            return tuple(self._candidate(i) for i in range(*place.indices(len(self))))
        return self._candidate(range(len(self))[place])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranking):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Ranking of {len(self)} configurations, first {self[:1]}"

    def config_ids(self, places: Sequence[int] | Integers) -> list[str]:
        """Return the config_ids of these places in the ranking, 0 for the best."""
        found: list[str] = self._seeds.ids.take(self._config[places]).to_pylist()
        return found

    def _candidate(self, place: int) -> Candidate:
        own, seeds = slice(self._first[place], self._last[place]), self._seeds
        complete = seeds.status[own] == _COMPLETE
        return Candidate(
            config_id=seeds.ids[self._config[place]].as_py(),
            scores=tuple(seeds.score[own][complete].tolist()),
            counts=counts_of(
                [STATUSES[i] for i in seeds.status[own]], collapsed=int((seeds.collapsed[own] & complete).sum())
            ),
            sigma_at_edge=int((seeds.at_edge[own] & complete).sum()),
        )


def exact_means(values: Floats, counts: Integers) -> Floats:
    """Return the mean of each group of values, as `statistics.mean` rounds it: it does not depend on their order.

    Args:
        values: the values, those of a group together.
        counts: how many there are in each group, 1 or more.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    sums = values[starts]
    two = counts == 2
    sums[two] += values[starts[two] + 1]  # one addition is rounded once, as an exact sum is
    for i in np.flatnonzero(counts > 2).tolist():
        sums[i] = math.fsum(values[starts[i] : ends[i]].tolist())
    means: Floats = sums / counts
    return means


def _ties_by_id(
    order: Integers, keys: Sequence[NDArray[np.generic]], config: Integers, ids: pa.StringArray
) -> Integers:
    """Return an order in which what shares all keys is sorted by config_id."""
    same = np.ones(max(len(order) - 1, 0), bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if not len(tied):
        return order
    run = np.cumsum(np.append(True, ~same))[tied]
    names = ids.take(config[order[tied]]).to_pylist()
    inner = sorted(range(len(tied)), key=lambda i: (run[i], names[i]))
    order = order.copy()
    order[tied] = order[tied][inner]
    return order
