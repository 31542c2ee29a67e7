"""Choose one configuration of a run, by validation scores alone.

Confirm rows are ranked once there are any that were not merely interrupted; before that, search rows.
Configurations whose trials of the stage all completed come first: the mean of one that lost seeds is over
survivors, and is too high where the scheduler stopped the worse ones. Among them the highest mean validation
score leads. Only COMPLETE rows have a score, and only rows under the protocol of the search rows are ranked.
Test scores are not among the columns that are read (`trial_columns.COLUMNS`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis import trial_columns
from analysis.ranking import STATUSES, Candidate, Ranking
from analysis.trial_columns import Texts, TrialColumns
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.storage import Location

if TYPE_CHECKING:
    import pandas as pd

    from analysis.ranking import Integers, Truths
    from analysis.records import Row

_TIES = "ties: more completed seeds, then the smaller config_id"
_COMPLETE = STATUSES.index(schema.COMPLETE)
_UNFINISHED = [STATUSES.index(status) for status in schema.UNFINISHED]


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
    ranking: Ranking
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
    return choose_from(trial_columns.from_pandas(trials), planned_confirm_seeds=planned_confirm_seeds)


def choose_from(
    trials: TrialColumns,
    *,
    stage: str | None = None,
    searched_under: Mapping[str, str] | None = None,
    planned_confirm_seeds: int | None = None,
) -> Choice:
    """Return what `choose` does, from columns as arrays.

    Args:
        trials: rows of one run.
        stage: `search` or `confirm`, to rank that stage whatever there is of the other; by default the rule decides.
        searched_under: the protocols of the run's search rows, as JSON by their ids, where those rows are not among
            `trials`: of them, a choice among confirm rows needs no more.
        planned_confirm_seeds: as of `choose`.

    Raises:
        ResultsError: as `choose`.
    """
    order = trials.by_key()
    _check_keys(trials, order)
    search, confirm = trials.stage.equal("search"), trials.stage.equal("confirm")
    searched = {**(searched_under or {}), **trials.protocols(search)}
    protocol_id = one_protocol(searched or trials.protocols(confirm))
    cut_short = bool(searched) and bool(np.isin(trials.status[confirm], _UNFINISHED).all())
    chosen = stage or ("confirm" if confirm.any() and not cut_short else "search")
    staged = confirm if chosen == "confirm" else search
    ranked = staged & trials.protocol.equal(protocol_id)
    if staged.any() and not ranked.any():
        one_protocol({**searched, **trials.protocols(confirm)})
    complete = ranked & (trials.status == _COMPLETE)
    if protocol_id is None or not complete.any():
        raise ResultsError(f"no {chosen} trial completed, so none can be chosen: {_counts(trials.status[ranked])}")
    _check_scores(trials, complete)
    ranking = Ranking(trials.seeds(order[ranked[order]]))
    told = _search_notes(confirm=bool(confirm.any()), asked_for=stage is not None) if chosen == "search" else ()
    notes = (*told, *_leader_notes(chosen, ranking[0], planned_confirm_seeds), *_ranking_notes(ranking))
    return Choice(stage=chosen, protocol_id=protocol_id, ranking=ranking, notes=notes)


def edge_note(at_edge: int, completed: int) -> Iterable[str]:
    """Yield what a reader must know of completed seeds whose sigma is an end point of the grid; nothing for 0."""
    if at_edge:
        yield (
            f"sigma is an end point of the protocol's grid for {at_edge} of {completed} completed seeds: "
            "the best one may lie outside"
        )


def _check_keys(trials: TrialColumns, order: Integers) -> None:
    row = trials.first_repeated(order)
    if row is not None:
        count = sum(trials.key(i) == trials.key(row) for i in np.flatnonzero(trials.seed == trials.seed[row]).tolist())
        named = ", ".join(f"{n} {v}" for n, v in zip(schema.TRIALS.key, trials.key(row), strict=True))
        raise ResultsError(f"the trials table holds {count} rows of one trial ({named})")


def one_protocol(described: Mapping[str, str]) -> str | None:
    """Return the protocol that is the only one; None where there is none.

    Args:
        described: the protocols as JSON, by their ids.

    Raises:
        ResultsError: when there are several; it names what they differ in.
    """
    if len(described) <= 1:
        return next(iter(described), None)
    protocols = {protocol_id: json.loads(content) for protocol_id, content in described.items()}
    (first, one), (second, other) = sorted(protocols.items())[:2]
    fields = sorted(name for name in {*one, *other} - {"name"} if one.get(name) != other.get(name))
    difference = ", ".join(f"{name} {one.get(name)} against {other.get(name)}" for name in fields) or "name only"
    raise ResultsError(
        f"rows of different score protocols cannot be ranked together: {first} and {second} differ in {difference}"
    )


def _check_scores(trials: TrialColumns, complete: Truths) -> None:
    """Raise ResultsError unless all completed rows have a score on the same validation images."""
    wrong = complete & ~np.isfinite(trials.score)
    if wrong.any():
        row = int(wrong.argmax())
        raise ResultsError(
            f"trial {trials.config.at(row)} with seed {trials.seed[row]} is COMPLETE without a finite score"
        )
    for fold in np.unique(trials.fold[complete]):
        check_data(trials.digest, complete & (trials.fold == fold))


def check_data(digest: Texts, rows: Truths) -> None:
    """Raise ResultsError unless some rows, of one fold, are all of the same validation images.

    Args:
        digest: digests of the validation images.
        rows: which rows, [rows].
    """
    texts = [*digest.values.to_pylist(), None]
    counts = np.bincount(digest.codes[rows] % len(texts), minlength=len(texts))  # null is -1: the last
    digests = sorted(str(text) for text, count in zip(texts, counts, strict=True) if count)
    if len(digests) > 1:
        raise ResultsError(
            "rows of different data cannot be ranked together: "
            f"their validation images have the digests {' and '.join(digests)}"
        )


def check_one_fold(rows: Sequence[Row], run: Location | str) -> None:
    """Raise ResultsError where confirm trials are of several folds: what is said of seeds would be said of those."""
    folds = sorted({row["fold"] for row in rows})
    if len(folds) > 1:
        raise ResultsError(
            f"the confirm trials of {run} are of {len(folds)} folds, and a comparison over seeds takes one",
            hint=f"`gansearch table1 {run}` has the mean and the standard error over folds",
        )


def count_at_edge(rows: Iterable[Row]) -> int:
    """Return how many COMPLETE rows have a sigma that is an end point of the grid."""
    return sum(r["status"] == schema.COMPLETE and r.get("sigma_at_edge") is True for r in rows)


def _counts(statuses: Integers) -> str:
    counts = np.bincount(statuses, minlength=len(STATUSES)).tolist()
    return ", ".join(f"{n} {name}" for name, n in zip(STATUSES, counts, strict=True) if n) or "there are none"


def _search_notes(*, confirm: bool, asked_for: bool) -> Iterable[str]:
    """Say what the search's best is worth, and why it was the search that chose.

    Args:
        confirm: whether there are confirm rows.
        asked_for: whether the search was to choose whatever the confirm stage says.
    """
    optimistic = "the best of many search trials is optimistic, and has no test score"
    if asked_for:
        yield optimistic
        return
    if confirm:
        yield "no confirm trial has ended, so the search chose; `gansearch resume` continues them"
    state = "no confirm trial has ended" if confirm else "no confirm rows"
    yield f"{state} yet: {optimistic}"


def _leader_notes(stage: str, leader: Candidate, planned: int | None) -> Iterable[str]:
    counts = leader.counts
    lost = f" ({counts.losses()})" if counts.losses() else ""
    if stage == "confirm" and planned is not None and counts.completed < planned:
        yield f"{counts.completed} of {planned} planned confirm seeds completed{lost}; the mean is over those"
    elif not counts.all_completed:
        yield f"{counts.completed} of {counts.seeds} seeds completed{lost}; the mean is over those"
    if counts.collapsed:
        some = f"{counts.collapsed} of {counts.completed} completed seeds collapsed; the mean includes them"
        both = counts.collapsed < counts.completed
        yield f"{some}, and intervals over scores of two kinds cover less than they say" if both else some
    yield from edge_note(leader.sigma_at_edge, counts.completed)


def _ranking_notes(ranking: Ranking) -> Iterable[str]:
    means, whole = ranking.means, ranking.whole
    if whole[0] and (passed := int((means > means[0]).sum())):
        yield f"ranked behind it, with a higher mean but not all seeds completed: {passed}"
    tied = np.flatnonzero((means == means[0]) & (whole == whole[0]))[1:]
    if len(tied):
        yield f"tied with {', '.join(ranking.config_ids(tied))}; {_TIES}"
