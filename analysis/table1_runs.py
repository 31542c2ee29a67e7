"""What one run gives to Table 1: its confirmed configuration's scores, and what holds them against other runs'."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import pyarrow.compute as pc

from analysis import reference, statistics
from analysis.best import choice_of
from analysis.ledger import read_ledger
from analysis.plan import planned_confirm_seeds, planned_folds
from analysis.records import Row
from analysis.scored_data import DIGESTS, parse_protocol
from analysis.seed_counts import count_seeds
from analysis.selection import count_at_edge, edge_note
from analysis.table1_rows import Kind, Score, TableRow
from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.protocols import PROTOCOLS, Protocol
from gansearch.storage import Location

_MODEL, _CONDITIONAL = "Adversarial nets", "Conditional adversarial nets"
_DATA_COLUMNS = ("cfg_dataset_name", *DIGESTS.values())
_COLUMNS = (
    *schema.TRIALS.key,
    "replicate",
    "status",
    *(f"{split}_{name}" for split in ("valid", "test") for name in ("ll_mean", "ll_se_examples", "n")),
    "num_samples",
    "sigma_at_edge",
    "collapsed",
    "weights_digest",
    "cfg_condition_on",
    *_DATA_COLUMNS,
    "protocol_json",
)

_CODED = ("stage", "protocol_id", "status", *_DATA_COLUMNS, "protocol_json")
"""Those of them that hold few texts many times."""

Key = tuple[object, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What one run gives to the table.

    Attributes:
        run: the run directory, as it was given.
        label: what it is called.
        dataset: name of its data set.
        digests: digest of each split of it, of its first fold; None where the rows do not say.
        folds: the folds that it was scored on.
        planned_folds: how many folds each seed is to be trained on.
        rows: its confirmed configuration under each protocol.
        protocols: the protocols by id, in the order of the rows.
        evaluations: the test evaluations in its ledger; None without one.
        seeds: its confirm trials.
        weights: digests of their weights.
        notes: what a reader must know.
        skipped: damaged parts that were left out.
    """

    run: str
    label: str
    dataset: str
    digests: Mapping[str, str | None]
    folds: tuple[int, ...]
    planned_folds: int
    rows: tuple[TableRow, ...]
    protocols: Mapping[str, Protocol]
    evaluations: frozenset[Key] | None
    seeds: frozenset[Key]
    weights: frozenset[str]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run's plan asks of its confirm stage.

    Attributes:
        seeds: seeds of each configuration; None where it is not known.
        folds: folds that each seed is trained on.
    """

    seeds: int | None
    folds: int


def confirmed(run: Location | str, label: str, *, skip_damaged: bool = False) -> Confirmed:
    """Return what a run gives to the table. Of its trials only those of the confirm stage are read whole.

    Args:
        run: the run directory.
        label: what it is called.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when it cannot be read, has no confirmed configuration or no test score, or when the seeds of
            that configuration were not all scored on the same images, by the same protocol.
        ConfigError: when its plan file cannot be read.
    """
    arrow, skipped = results.read_arrow(
        run,
        schema.TRIALS,
        columns=_COLUMNS,
        where=pc.field("stage") == "confirm",
        coded=_CODED,
        skip_damaged=skip_damaged,
    )
    staged: list[Row] = arrow.to_pylist()
    choice = choice_of(run, skip_damaged=skip_damaged) if staged else None
    if choice is None or choice.stage != "confirm":
        problem = "none of its confirm trials has ended" if staged else "no confirm row is in its trials"
        raise ResultsError(
            f"{run} has no confirmed configuration: {problem}",
            hint="let `gansearch sweep` run to its end; the confirm stage is its last act",
        )
    leader = choice.leader.config_id
    rows = sorted(
        (row for row in staged if row["config_id"] == leader), key=lambda r: (r["replicate"], r["seed"], r["fold"])
    )
    by_protocol: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rows:
        by_protocol[row["protocol_id"]].append(row)
    planned = Planned(seeds=planned_confirm_seeds(run), folds=max(planned_folds(run), len({r["fold"] for r in rows})))
    protocols = {p: _protocol(own, run) for p, own in by_protocol.items()}
    found = {p: _row(label, protocols[p], p, own, planned) for p, own in by_protocol.items()}
    scored = {p: row for p, row in found.items() if row is not None}
    if not scored:
        raise ResultsError(f"{run} has no test score: none of the confirm rows of {leader} holds one")
    dataset, digests = _data([row for row in rows if is_scored(row)], run)
    order = sorted(scored, key=lambda p: (p != PROTOCOLS[reference.RELEASED_CODE].id, p != choice.protocol_id, p))
    notes = [*choice.notes, *_chosen(len(choice.ranking))]
    for p in order:
        at_edge = 0 if p == choice.protocol_id else count_at_edge(by_protocol[p])  # the choice told of its own
        completed = sum(r["status"] == schema.COMPLETE for r in by_protocol[p])
        own_notes = [*edge_note(at_edge, completed), *_score_notes(scored[p], by_protocol[p], protocols[p])]
        notes += [f"under {p}, {note}" for note in own_notes]
    made, unread = read_ledger(run, skip_damaged=skip_damaged)
    return Confirmed(
        run=str(run),
        label=label,
        dataset=dataset,
        digests=digests,
        folds=tuple(sorted({row["fold"] for row in rows})),
        planned_folds=planned.folds,
        rows=tuple(scored[p] for p in order),
        protocols={p: protocols[p] for p in order},
        evaluations=made,
        seeds=frozenset((r["config_id"], r["seed"]) for r in staged),
        weights=frozenset(r["weights_digest"] for r in staged if r["weights_digest"] is not None),
        notes=tuple(f"{label}: {note}" for note in notes),
        skipped=(*skipped, *unread),
    )


def _chosen(ranked: int) -> Iterable[str]:
    """Say from how many configurations the run's was chosen by the scores of the very models that are shown."""
    if ranked > 1:
        yield (
            f"chosen by validation as the highest of {ranked} means: as estimates for other seeds its scores flatter "
            "it by that maximum, on test too, which is of the same models, and so does its share of bad seeds"
        )


def is_scored(row: Row) -> bool:
    """Return whether a row is of a completed seed with finite scores on validation and test."""
    values = [row[name] for name in ("valid_ll_mean", "test_ll_mean")]
    return row["status"] == schema.COMPLETE and all(value is not None and math.isfinite(value) for value in values)


def _protocol(rows: Sequence[Row], run: Location | str) -> Protocol:
    """Return the protocol of rows that share its id; ResultsError where they hold different ones."""
    name = rows[0]["protocol_id"]
    texts = dict.fromkeys(row["protocol_json"] for row in rows)
    first, *others = (parse_protocol(text, f"{run}: protocol {name}") for text in texts)
    if any(other != first for other in others):
        raise ResultsError(f"{run}: rows under {name} were scored by different protocols, and do not compare")
    return first


def _data(rows: Sequence[Row], run: Location | str) -> tuple[str, dict[str, str | None]]:
    """Return the data set of scored rows and the digests of its splits; ResultsError where it is not one."""
    of = {(row["fold"], *(row[name] for name in _DATA_COLUMNS)): row for row in rows}
    folds = {row["fold"] for row in rows}
    if len(of) > len(folds) or len({row["cfg_dataset_name"] for row in rows}) > 1:
        seeds = " and ".join(str(row["seed"]) for row in list(of.values())[:2])
        raise ResultsError(
            f"{run}: the confirm seeds of {rows[0]['config_id']} were not all scored on the same images, those of "
            f"seeds {seeds} differ, and their mean says nothing"
        )
    _, dataset, *digests = min(of, key=lambda key: key[0])
    return str(dataset), dict(zip(DIGESTS, digests, strict=True))


def _row(label: str, protocol: Protocol, protocol_id: str, rows: Sequence[Row], planned: Planned) -> TableRow | None:
    """Return the row of one configuration under one protocol; None where no seed has a test score."""
    scored = [row for row in rows if is_scored(row)]
    if not scored:
        return None
    several = planned.folds > 1
    unit = _per_fold if several else _per_seed
    values, valid = (unit(scored, f"{split}_ll_mean") for split in ("test", "valid"))
    first, error = scored[0], statistics.standard_error(values)
    score = Score(
        mean=statistics.mean(values),
        se_examples=_mean_error(scored, "test"),
        se_seeds=None if several else error,
        se_folds=error if several else None,
        folds=tuple(sorted({row["fold"] for row in scored})) if several else (),
        planned_folds=planned.folds,
        test_n=first["test_n"],
        valid_n=first["valid_n"],
        per_seed=values,
        valid_mean=statistics.mean(valid),
        valid_se_examples=_mean_error(scored, "valid"),
        valid_per_seed=valid,
        num_samples=first["num_samples"],
        comparable=first["num_samples"] in (None, protocol.num_samples),
    )
    return TableRow(
        kind=Kind.RUN,
        model=_CONDITIONAL if first["cfg_condition_on"] == "labels" else _MODEL,
        protocol_id=protocol_id,
        scores={reference.column_name(str(first["cfg_dataset_name"])): score},
        run=label,
        config_id=str(first["config_id"]),
        counts=count_seeds(rows),
        planned_seeds=planned.seeds,
    )


def _per_seed(scored: Sequence[Row], name: str) -> tuple[float, ...]:
    return tuple(row[name] for row in scored)


def _per_fold(scored: Sequence[Row], name: str) -> tuple[float, ...]:
    """Return the mean of each fold over its seeds: the paper's unit for the Toronto Face Database (Table 1)."""
    by_fold: dict[int, list[float]] = collections.defaultdict(list)
    for row in scored:
        by_fold[row["fold"]].append(row[name])
    return tuple(statistics.mean(by_fold[fold]) for fold in sorted(by_fold))


def _mean_error(rows: Sequence[Row], split: str) -> float | None:
    """Return the mean over seeds of the standard error over images; None where a seed has none."""
    errors = [row[f"{split}_ll_se_examples"] for row in rows]
    known = [e for e in errors if e is not None and math.isfinite(e)]
    return statistics.mean(known) if len(known) == len(errors) else None


def _score_notes(row: TableRow, rows: Sequence[Row], protocol: Protocol) -> Iterable[str]:
    """Say where seeds lack a test score, and where there are fewer validation images than the protocol asks for."""
    asked = 0 if protocol.valid_subset == "all" else protocol.valid_count
    completed = [r for r in rows if r["status"] == schema.COMPLETE]
    for score in row.scores.values():
        if (lacking := len(completed) - sum(map(is_scored, completed))) > 0:
            yield f"{lacking} of {len(completed)} completed seeds lack a finite test score; the mean is over the others"
        if score.folds:
            yield from _fold_notes(score, rows)
        if score.valid_n is not None and score.valid_n < asked:
            yield f"sigma was chosen on all {score.valid_n:,} validation images there are, not on {asked:,}"


def _fold_notes(score: Score, rows: Sequence[Row]) -> Iterable[str]:
    """Say what a mean over folds is over, and what it is not."""
    seeds = len({r["seed"] for r in rows})
    yield (
        f"the mean is over {len(score.folds)} folds, each with its own sigma and {seeds} seed"
        f"{'s' if seeds > 1 else ''}; its standard error is over folds, whose training sets overlap, so it is "
        "too small where they decide, and it knows of no spread over seeds but what is in the folds"
    )
    if lacking := score.planned_folds - len(score.folds):
        yield (
            f"{lacking} of {score.planned_folds} folds have no score: the mean is over the others, and is not to be "
            "held against one over all"
        )
    scored = collections.Counter(row["fold"] for row in rows if is_scored(row))
    if uneven := [f"fold {fold} {scored[fold]}" for fold in score.folds if scored[fold] < seeds]:
        yield f"seeds with a score, of {seeds}: {', '.join(uneven)}; the mean of such a fold is over survivors"
    yield (
        "one fold's training and validation images may be other folds' test images, as they are where groups take "
        "turns: the search, which is of the first fold, and what validation chose over all folds have then seen them"
    )
