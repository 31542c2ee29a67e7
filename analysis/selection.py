"""Choose one configuration of a run, by validation scores alone.

Confirm rows are ranked once there are any that were not merely interrupted; before that, search rows.
Configurations whose trials of the stage all completed come first: the mean of one that lost seeds is over
survivors, and is too high where the scheduler stopped the worse ones. Among them the highest mean validation
score leads. Only COMPLETE rows have a score, and only rows under the protocol of the search rows are ranked.
Test scores are dropped before anything is looked at.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from analysis import statistics
from analysis.records import Row, records
from analysis.seed_counts import SeedCounts, count_seeds
from gansearch import schema
from gansearch.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    *schema.TRIALS.key,
    "status",
    "valid_ll_mean",
    "collapsed",
    "sigma_at_edge",
    "data_valid_digest",
    "protocol_json",
)
_TIES = "ties: more completed seeds, then the smaller config_id"


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
class Choice:
    """What was chosen, and how.

    Attributes:
        stage: `confirm` or `search`, the stage whose seeds were ranked.
        protocol_id: the score protocol that all ranked rows share.
        ranking: every configuration with a completed seed, the best first.
        notes: what a reader of the result must know.
    """

    stage: str
    protocol_id: str
    ranking: tuple[Candidate, ...]
    notes: tuple[str, ...]

    @property
    def leader(self) -> Candidate:
        """The chosen configuration."""
        return self.ranking[0]

    @property
    def rule(self) -> str:
        """How the leader was chosen, in words."""
        return (
            f"configurations whose {self.stage} trials all completed come before those with a STOPPED, DIVERGED, "
            "COLLAPSED, FAILED or unfinished trial; then the highest mean validation log-likelihood over the completed "
            "seeds; "
            f"{_TIES}"
        )


def choose(trials: pd.DataFrame, *, planned_confirm_seeds: int | None = None) -> Choice:
    """Return the configuration that validation chooses.

    Args:
        trials: the `trials` table of one run.
        planned_confirm_seeds: confirm seeds that the run was to have; None where that is not known.

    Raises:
        ResultsError: when no row can be ranked, or the rows cannot be ranked against each other.
    """
    blind = trials.drop(columns=[name for name in trials.columns if str(name).startswith("test_")])
    rows = records(blind[[name for name in _COLUMNS if name in blind.columns]], schema.TRIALS)
    _check_keys(rows)
    search = [r for r in rows if r["stage"] == "search"]
    confirm = [r for r in rows if r["stage"] == "confirm"]
    protocol_id = _one_protocol(search or confirm)
    cut_short = bool(search) and all(r["status"] in schema.UNFINISHED for r in confirm)
    stage, staged = ("confirm", confirm) if confirm and not cut_short else ("search", search)
    ranked = [r for r in staged if r["protocol_id"] == protocol_id]
    if staged and not ranked:
        _one_protocol([*search, *confirm])
    complete = [r for r in ranked if r["status"] == schema.COMPLETE]
    if not complete or protocol_id is None:
        raise ResultsError(f"no {stage} trial completed, so none can be chosen: {_counts(ranked)}")
    _check_scores(complete)
    ranking = tuple(sorted(_candidates(ranked), key=_place))
    notes = [*_stage_notes(stage, confirm), *_leader_notes(stage, ranking[0], planned_confirm_seeds)]
    return Choice(stage=stage, protocol_id=protocol_id, ranking=ranking, notes=(*notes, *_ranking_notes(ranking)))


def edge_note(at_edge: int, completed: int) -> Iterable[str]:
    """Yield what a reader must know of completed seeds whose sigma is an end point of the grid; nothing for 0."""
    if at_edge:
        yield (
            f"sigma is an end point of the protocol's grid for {at_edge} of {completed} completed seeds: "
            "the best one may lie outside"
        )


def _check_keys(rows: Sequence[Row]) -> None:
    counts = collections.Counter(tuple(r[name] for name in schema.TRIALS.key) for r in rows)
    for key, count in counts.items():
        if count > 1:
            named = ", ".join(f"{n} {v}" for n, v in zip(schema.TRIALS.key, key, strict=True))
            raise ResultsError(f"the trials table holds {count} rows of one trial ({named})")


def _one_protocol(rows: Sequence[Row]) -> str | None:
    """Return the protocol that all rows share; None when there are no rows."""
    protocols = {r["protocol_id"]: json.loads(r["protocol_json"]) for r in rows}
    if len(protocols) <= 1:
        return next(iter(protocols), None)
    (first, one), (second, other) = sorted(protocols.items())[:2]
    fields = sorted(name for name in {*one, *other} - {"name"} if one.get(name) != other.get(name))
    difference = ", ".join(f"{name} {one.get(name)} against {other.get(name)}" for name in fields) or "name only"
    raise ResultsError(
        f"rows of different score protocols cannot be ranked together: {first} and {second} differ in {difference}"
    )


def _check_scores(complete: Sequence[Row]) -> None:
    """Raise ResultsError unless all completed rows have a score on the same validation images."""
    for row in complete:
        if row["valid_ll_mean"] is None or not math.isfinite(row["valid_ll_mean"]):
            raise ResultsError(f"trial {row['config_id']} with seed {row['seed']} is COMPLETE without a finite score")
    digests = sorted({str(r["data_valid_digest"]) for r in complete})
    if len(digests) > 1:
        raise ResultsError(
            "rows of different data cannot be ranked together: "
            f"their validation images have the digests {' and '.join(digests)}"
        )


def _candidates(ranked: Sequence[Row]) -> Iterable[Candidate]:
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in sorted(ranked, key=lambda r: (r["config_id"], r["seed"], r["fold"])):
        groups[row["config_id"]].append(row)
    for config_id, rows in groups.items():
        scores = tuple(r["valid_ll_mean"] for r in rows if r["status"] == schema.COMPLETE)
        if scores:
            yield Candidate(
                config_id=config_id, scores=scores, counts=count_seeds(rows), sigma_at_edge=count_at_edge(rows)
            )


def count_at_edge(rows: Iterable[Row]) -> int:
    """Return how many COMPLETE rows have a sigma that is an end point of the grid."""
    return sum(r["status"] == schema.COMPLETE and r.get("sigma_at_edge") is True for r in rows)


def _place(candidate: Candidate) -> tuple[bool, float, int, str]:
    """Return what candidates are sorted by, the best first: `Choice.rule`."""
    return (
        not candidate.counts.all_completed,
        -candidate.valid_ll_mean,
        -candidate.counts.completed,
        candidate.config_id,
    )


def _counts(rows: Sequence[Row]) -> str:
    counts = collections.Counter(r["status"] for r in rows)
    return ", ".join(f"{counts[s]} {s}" for s in schema.STATUSES if counts[s]) or "there are none"


def _stage_notes(stage: str, confirm: Sequence[Row]) -> Iterable[str]:
    if stage == "confirm":
        return
    if confirm:
        yield "no confirm trial has ended, so the search chose; `gansearch resume` continues them"
    state = "no confirm trial has ended" if confirm else "no confirm rows"
    yield f"{state} yet: the best of many search trials is optimistic, and has no test score"


def _leader_notes(stage: str, leader: Candidate, planned: int | None) -> Iterable[str]:
    counts = leader.counts
    lost = f" ({counts.losses()})" if counts.losses() else ""
    if stage == "confirm" and planned is not None and counts.completed < planned:
        yield f"{counts.completed} of {planned} planned confirm seeds completed{lost}; the mean is over those"
    elif not counts.all_completed:
        yield f"{counts.completed} of {counts.seeds} seeds completed{lost}; the mean is over those"
    if counts.collapsed:
        yield f"{counts.collapsed} of {counts.completed} completed seeds collapsed; the mean includes them"
    yield from edge_note(leader.sigma_at_edge, counts.completed)


def _ranking_notes(ranking: Sequence[Candidate]) -> Iterable[str]:
    leader = ranking[0]
    if leader.counts.all_completed and (passed := sum(c.valid_ll_mean > leader.valid_ll_mean for c in ranking[1:])):
        yield f"ranked behind it, with a higher mean but not all seeds completed: {passed}"
    tied = [c.config_id for c in ranking[1:] if _place(c)[:2] == _place(leader)[:2]]
    if tied:
        yield f"tied with {', '.join(tied)}; {_TIES}"
