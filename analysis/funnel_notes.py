"""What a reader of the confirmed configurations must know beside the numbers."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from analysis.example_scores import ExampleScores
from analysis.finalists import Finalist
from analysis.records import Row
from analysis.selection import count_at_edge, edge_note
from gansearch import schema
from gansearch.config import TrialConfig

_LEAST_FOR_SPREAD = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the notes are made from.

    Attributes:
        finalists: as they stand in the table, the leader first.
        rows: their confirm rows under the protocol that ranks, by config_id.
        base: the study's base; None where the run has no plan file.
        search: search rows under the same protocol.
        examples: the scores image by image.
        planned: confirm seeds that the run's plan asks for; None where it is not known.
    """

    finalists: tuple[Finalist, ...]
    rows: Mapping[str, Sequence[Row]]
    base: TrialConfig | None
    search: Sequence[Row]
    examples: ExampleScores
    planned: int | None


def notes(evidence: Evidence) -> tuple[str, ...]:
    """Return what a reader must know, but for what the choice of the leader says already."""
    parts = (_maximum, _paper, _lost, _spread, _collapse, _edges, _copies, _test, _examples)
    return tuple(note for part in parts for note in part(evidence))


def _maximum(evidence: Evidence) -> Iterable[str]:
    scored = [f for f in evidence.finalists if f.valid is not None]
    if len(scored) > 1:
        yield (
            f"the leader has the highest of {len(scored)} means: as estimates for other seeds its means, that on test "
            "too, which is of the same models, and the differences to it are optimistic by that maximum"
        )
    else:
        yield "one configuration has a score: there is nothing to compare it with"


def _paper(evidence: Evidence) -> Iterable[str]:
    paper = next((f for f in evidence.finalists if f.is_paper), None)
    if evidence.base is None:
        yield "the run has no plan file: which configuration is the study's base is not known"
    elif paper is None:
        yield f"the study's base {evidence.base.config_id} was not confirmed: nothing is compared with it"
    elif paper.valid is None:
        yield "no confirm seed of the study's base completed: nothing is compared with it"
    elif paper.rank == 1:
        yield "the study's base leads: the search found none that validation puts before it"


def _lost(evidence: Evidence) -> Iterable[str]:
    """Tell of seeds without a score; of the leader's own, the choice has told."""
    for f in evidence.finalists[1:]:
        planned = max(evidence.planned or 0, f.counts.seeds)
        absent = planned - f.counts.seeds
        losses = ", ".join(text for text in (f.counts.losses(), f"{absent} not run yet" if absent else "") if text)
        if f.valid is None:
            yield f"{f.config_id}: none of {planned} seeds completed ({losses}); it has no score and no rank"
        elif f.counts.completed < planned:
            yield f"{f.config_id}: {f.counts.completed} of {planned} seeds completed ({losses}); its mean is over those"


def _spread(evidence: Evidence) -> Iterable[str]:
    scored = [f for f in evidence.finalists if f.valid is not None]
    single = [f.config_id for f in scored if f.counts.completed < _LEAST_FOR_SPREAD]
    if single:
        yield (
            f"one completed seed has no spread, so no interval and no p-value: {', '.join(single)}; a comparison "
            "without a p-value is tied, and does not count in Holm's correction"
        )
    if any(f.counts.completed == _LEAST_FOR_SPREAD for f in scored):
        yield (
            "the interval of a mean of 2 seeds is 12.7 standard errors to each side, that of a difference up to as "
            "many: hardly anything is told apart by it"
        )
    for f in scored:
        if f.counts.completed > 1 and f.valid is not None and f.valid.se_seeds == 0:
            yield (
                f"{f.config_id}: its seeds have one and the same score, which independent trainings do not: its spread "
                "of 0 is no measure of the noise, and p-values of its comparisons are too small"
            )


def _collapse(evidence: Evidence) -> Iterable[str]:
    collapsed = [f"{f.config_id} {f.counts.collapsed}" for f in evidence.finalists if f.counts.collapsed]
    if collapsed:
        yield (
            f"completed seeds that collapsed count in means and intervals ({', '.join(collapsed)}); scores that fall "
            "into two groups are not normal, and a t interval of a few of them covers less than it says: read the "
            "share of bad seeds beside it"
        )
    shares = {f.counts.bad / f.counts.ended for f in evidence.finalists if f.counts.ended}
    if len(shares) > 1:
        yield "shares of bad seeds differ: a mean over survivors, or one that collapse pulls down, does not show it"


def _edges(evidence: Evidence) -> Iterable[str]:
    """Tell of sigmas at the end of the grid; of the leader's own, the choice has told."""
    for f in evidence.finalists[1:]:
        for note in edge_note(count_at_edge(evidence.rows[f.config_id]), f.counts.completed):
            yield f"{f.config_id}: {note}"


def _copies(evidence: Evidence) -> Iterable[str]:
    """Tell of confirm seeds that are no fresh, independent draws."""
    searched = {(r["config_id"], r["seed"]) for r in evidence.search}
    for config_id, rows in evidence.rows.items():
        weights = collections.Counter(r["weights_digest"] for r in rows if r["weights_digest"] is not None)
        if any(count > 1 for count in weights.values()):
            yield f"{config_id}: seeds share the same weights: they are copies, and its spread over seeds is too small"
        if again := sum((config_id, r["seed"]) in searched for r in rows):
            yield f"{config_id}: {again} of its confirm seeds were used by the search already: they are not fresh"


def _test(evidence: Evidence) -> Iterable[str]:
    for f in evidence.finalists:
        scored = 0 if f.test is None else len(f.test.per_seed)
        if scored < f.counts.completed:
            yield f"{f.config_id}: {scored} of {f.counts.completed} completed seeds have a test score"
    complete = [r for rows in evidence.rows.values() for r in rows if r["status"] == schema.COMPLETE]
    if len({r["data_test_digest"] for r in complete if r["test_ll_mean"] is not None}) > 1:
        yield "test scores are of different test images: they are not compared"


def _examples(evidence: Evidence) -> Iterable[str]:
    if evidence.examples.missing:
        yield "the run has no table of scores image by image: there is no bootstrap"
        return
    without = {
        split: [
            f.config_id
            for f in evidence.finalists
            for c in (f.to_leader, f.to_paper)
            if c is not None and (contrast := getattr(c, split)) is not None and contrast.bootstrap is None
        ]
        for split in ("valid", "test")
    }
    for split, ids in without.items():
        if ids:
            yield (
                f"scores image by image on {split} are missing, or do not average to a seed's score: no bootstrap for "
                f"{', '.join(dict.fromkeys(ids))}"
            )
