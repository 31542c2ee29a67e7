"""What is tried next: points in a sequence, what became of them, and the strategies that learn nothing.

random, sobol and grid enumerate points that are known before the sweep starts: the base, the points of
`start_from`, then draw after draw. A point's number is its place there, so that a sweep that is resumed
enumerates anew, leaves out what it finds in its tables, and goes on as if it had never ended.
The strategies that learn are in `optuna_strategies`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gansearch import schema
from gansearch.search.pairings import INDEXED
from gansearch.seeds import stream

if TYPE_CHECKING:
    from gansearch.search.space import Space
    from gansearch.search.study import Study

MAX_REPEATS = 10_000
"""Draws in a row that bring no new point before a space is taken for exhausted."""

Point = dict[str, object]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a point.

    Attributes:
        value: validation log-likelihood in nats under the report protocol, mean over the replicates that have
            one; None where none has (diverged, failed).
        flops: floating-point operations of its training, mean over replicates; None where they are not known.
    """

    value: float | None
    flops: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A point to try.

    Attributes:
        number: its place in the sequence; 0 is the base. Numbers grow, but may leave gaps.
        point: the point.
    """

    number: int
    point: Point


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A point that was proposed before the strategy was made.

    Attributes:
        number: its place in the sequence; None where another run tried it, which is history and no more.
        point: the point; lies in the space.
        outcome: what became of it; None while it is unfinished, and told later under its number.
    """

    number: int | None
    point: Point
    outcome: Outcome | None


class Strategy(Protocol):
    """Something that proposes points and is told what became of them."""

    def suggest(self) -> Proposal | None:
        """Return the next point, or None when there is none left."""

    def tell(self, number: int, outcome: Outcome) -> None:
        """Hear what became of the point of that number."""


class Listed:
    """A strategy that proposes points in a given order and learns nothing.

    Args:
        proposals: the points, with their numbers.
    """

    def __init__(self, proposals: Iterable[Proposal]) -> None:
        self._proposals = iter(proposals)

    def suggest(self) -> Proposal | None:
        """Return the next point, or None after the last."""
        return next(self._proposals, None)

    def tell(self, number: int, outcome: Outcome) -> None:
        """Learn nothing."""


def make_strategy(study: Study, known: Sequence[Known] = (), first: Sequence[Point] = ()) -> Strategy:
    """Return the strategy that a study asks for.

    Args:
        study: the study.
        known: what was tried already: by this run, and by those that `start_from` names.
        first: points to try right after the base.
    """
    if study.searcher.name in INDEXED:
        return Listed(_enumerated(study, known, first))
    from gansearch.search.optuna_strategies import OptunaStrategy  # Optuna takes long to import

    return OptunaStrategy(study, known, first)


def point_key(point: Mapping[str, object]) -> Hashable:
    """Return what two equal points have in common."""
    return tuple(sorted((name, _frozen(value)) for name, value in point.items()))  # names differ: values never compare


def _frozen(value: object) -> object:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


def row_outcome(rows: Sequence[Mapping[str, Any]]) -> Outcome:
    """Return what a searcher is told of the trials of one configuration.

    A trial's value is that of the weights that are scored: the best report's, or the last one's under
    `score.at: last`. A diverged or failed trial has none. Trials that are unfinished are left out.

    Args:
        rows: rows of the trials table, the replicates of one configuration.
    """
    ended = [row for row in rows if row["status"] not in schema.UNFINISHED]
    valued = [row for row in ended if row["status"] not in (schema.DIVERGED, schema.FAILED)]
    return Outcome(
        value=_mean([row["report_ll_mean" if _scores_best(row) else "report_last_ll_mean"] for row in valued]),
        flops=_mean([row["flops"] for row in ended]),
    )


def value_epoch(row: Mapping[str, Any], score_at: str) -> int:
    """Return the epoch of the report that a trial's value is of, from its row or draft and its `score.at`."""
    epoch = row.get("report_epoch") if score_at == "best" else None
    return int(row["epochs"] if epoch is None else epoch)


def _scores_best(row: Mapping[str, Any]) -> bool:
    return bool(row["cfg_score_at"] == "best")


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that there are; pandas gives NaN for those that are not."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(found) / len(found) if found else None


def _enumerated(study: Study, known: Sequence[Known], first: Sequence[Point]) -> Iterator[Proposal]:
    """Yield the points of random, sobol or grid that are not known yet.

    A known point whose number belongs to another point now tells that the space has changed since: the
    sequence then goes on after the largest number. A grid is listed whole and numbered from there on, for
    what it lacks may stand anywhere.
    """
    tried = {k.number: point_key(k.point) for k in known if k.number is not None}
    seen = set(tried.values())
    after = max(tried, default=-1) + 1
    opening = [study.space.base_point(), *first]
    sequence = dict(_numbered(study, opening, 0, after))
    if all(number in sequence and point_key(sequence[number]) == key for number, key in tried.items()):
        everything = _distinct(_numbered(study, opening, 0), ())
        yield from (proposal for proposal in everything if point_key(proposal.point) not in seen)
    elif study.searcher.name == "grid":
        again = ((after + number, point) for number, point in _numbered(study, opening, 0))
        yield from _distinct(again, seen)
    else:
        yield from _distinct(_numbered(study, opening, after), seen)


def _numbered(
    study: Study, opening: Sequence[Point], start: int, stop: int | None = None
) -> Iterator[tuple[int, Point]]:
    """Yield the sequence from one number to before another: the opening, then draws of the study's searcher."""
    skipped = max(start - len(opening), 0)
    draws: Iterable[Point]
    if study.searcher.name == "grid":
        draws = study.space.grid()[1 + skipped :]
    elif study.searcher.name == "sobol":
        draws = _sobol(study.space, study.seed, skipped)
    else:
        draws = (study.space.sample(1 + index, study.seed) for index in itertools.count(skipped))
    points = itertools.chain(opening[start:], draws)
    return itertools.islice(enumerate(points, start), None if stop is None else max(stop - start, 0))


def _sobol(space: Space, seed: int, index: int) -> Iterator[Point]:
    """Yield the points of a scrambled Sobol sequence (Owen 1998) from an index on, a dimension a parameter."""
    from scipy.stats import qmc  # half a second, which workers and most sweeps can do without

    sequence = qmc.Sobol(len(space.parameters), scramble=True, seed=stream(seed, "search/sobol", 0))
    if index:  # SciPy cannot go forward by nothing
        sequence.fast_forward(index)
    while True:
        (row,) = sequence.random(1)
        yield space.at(dict(zip((p.name for p in space.parameters), map(float, row), strict=True)))


def _distinct(numbered: Iterable[tuple[int, Point]], tried: Container[Hashable]) -> Iterator[Proposal]:
    """Yield each point once, and none that was tried, until MAX_REPEATS in a row have brought nothing new."""
    seen: set[Hashable] = set()
    repeats = 0
    for number, point in numbered:
        key = point_key(point)
        if key not in seen and key not in tried:
            seen.add(key)
            repeats = 0
            yield Proposal(number=number, point=point)
        elif (repeats := repeats + 1) == MAX_REPEATS:
            return
