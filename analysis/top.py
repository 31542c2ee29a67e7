"""The first of a run's configurations in the order of validation, with the values that the search gave them.

By `score` it is the order that `selection.choose` makes: the first one is what `best` gives. By `report` every trial
is a line of its own, those that the scheduler stopped included, in the order of what searcher and scheduler saw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.best import read_choice
from analysis.plan import searched_parameters
from analysis.records import Row, arrow_records
from analysis.seed_counts import SeedCounts, count_seeds
from analysis.selection import check_data, one_protocol
from analysis.trial_columns import Texts, described, texts
from gansearch import results, schema
from gansearch.config import parameters
from gansearch.errors import ResultsError
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from analysis.ranking import Floats, Integers, Truths

BY = ("score", "report")
STAGES = ("search", "confirm")
_REPORT_TEXTS = ("stage", "status", "report_protocol_id", "report_protocol_json", "data_valid_digest", "protocol_id")
_REPORT_RULE = (
    "the highest `report_ll_mean`, the best of a trial's reports under the cheap report protocol; ties: the smaller "
    "config_id, then the smaller seed"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TopRow:
    """One line: a configuration, or by `report` a trial.

    Attributes:
        rank: its place, from 1.
        config_id: hash of the configuration.
        seed: the trial's seed; None for a configuration.
        ll: mean validation log-likelihood over the completed seeds, or the trial's best report, in nats.
        se_seeds: standard error of that mean over seeds, in nats; None for fewer than 2 of them, and for a trial.
        counts: how the seeds ended.
        epochs: most epochs that one of them ran; None where no row says.
        values: by dotted name, what the search varies, without what does not act in this configuration.
    """

    rank: int
    config_id: str
    seed: int | None
    ll: float
    se_seeds: float | None
    counts: SeedCounts
    epochs: int | None
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The first lines of a ranking.

    Attributes:
        run: name of the run directory.
        by: `score` or `report`.
        stage: `search` or `confirm`.
        protocol_id: the protocol that all ranked values share.
        rule: how they were ranked, in words.
        ranked: how many were ranked.
        rows: the first of them.
        notes: what a reader must know.
        skipped: damaged parts that were left out.
    """

    run: str
    by: str
    stage: str
    protocol_id: str
    rule: str
    ranked: int
    rows: tuple[TopRow, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]


def top(
    run: Location | str, count: int = 20, *, stage: str | None = None, by: str = "score", skip_damaged: bool = False
) -> Top:
    """Return the best of a run by validation.

    Args:
        run: the run directory.
        count: how many, 1 or more.
        stage: `search` or `confirm`; by default the stage that `best` chooses from, by `report` the search.
        by: `score` ranks configurations by the rule of `best`; `report` ranks trials by their best report.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, or nothing in it can be ranked.
        ConfigError: when its plan file cannot be read.
        ValueError: for another count, stage or order.
    """
    if count < 1 or stage not in (None, *STAGES) or by not in BY:
        raise ValueError(f"top takes a count of 1 or more, a stage of {STAGES} and by of {BY}")
    if by == "report":
        return _by_report(run, count, stage or "search", skip_damaged)
    return _by_score(run, count, stage, skip_damaged)


def _by_score(run: Location | str, count: int, stage: str | None, skip_damaged: bool) -> Top:
    choice, skipped = read_choice(run, stage=stage, skip_damaged=skip_damaged)
    first = choice.ranking[:count]
    names, rows = _settings(run, [c.config_id for c in first], choice.stage, skip_damaged)
    own: dict[str, list[Row]] = {c.config_id: [] for c in first}
    for row in rows:
        if row["protocol_id"] == choice.protocol_id:
            own[row["config_id"]].append(row)
    return Top(
        run=location(run).resolve().name,
        by="score",
        stage=choice.stage,
        protocol_id=choice.protocol_id,
        rule=choice.rule,
        ranked=len(choice.ranking),
        rows=tuple(
            TopRow(
                rank=rank,
                config_id=one.config_id,
                seed=None,
                ll=one.valid_ll_mean,
                se_seeds=one.valid_ll_se_seeds,
                counts=one.counts,
                epochs=max((r["epochs"] for r in own[one.config_id] if r["epochs"] is not None), default=None),
                values=_values(own[one.config_id][0], names),
            )
            for rank, one in enumerate(first, 1)
        ),
        notes=choice.notes,
        skipped=skipped,
    )


def _by_report(run: Location | str, count: int, stage: str, skip_damaged: bool) -> Top:
    columns = ("config_id", "seed", "fold", "report_ll_mean", *_REPORT_TEXTS)
    rows, skipped = results.read_arrow(
        run, schema.TRIALS, columns=columns, coded=_REPORT_TEXTS, skip_damaged=skip_damaged
    )
    rows = rows.filter(pa.array(texts(rows["stage"]).equal(stage)))
    text = {name: texts(rows[name]) for name in _REPORT_TEXTS}
    values = rows["report_ll_mean"].fill_null(float("nan")).to_numpy()
    trials = _one_row_a_trial(rows, text["protocol_id"])
    reported = trials & np.isfinite(values)
    if not reported.any():
        found = (
            f"none of {int(trials.sum())} {stage} trials has a report" if len(rows) else f"there is no {stage} trial"
        )
        raise ResultsError(f"no trial of {run} can be ranked by its reports: {found}")
    protocols = described(text["report_protocol_id"], text["report_protocol_json"], reported)
    protocol_id = one_protocol(protocols)
    check_data(text["data_valid_digest"], reported & (text["data_valid_digest"].codes >= 0))
    first = _highest(rows, values, reported, count)
    ids, seeds, folds = (rows[name].take(first).to_pylist() for name in ("config_id", "seed", "fold"))
    names, found_rows = _settings(run, ids, stage, skip_damaged)
    by_key = {(r["config_id"], r["seed"], r["fold"]): r for r in found_rows}
    own = [by_key[key] for key in zip(ids, seeds, folds, strict=True)]
    lacking = int(trials.sum()) - int(reported.sum())
    return Top(
        run=location(run).resolve().name,
        by="report",
        stage=stage,
        protocol_id=str(protocol_id),
        rule=_REPORT_RULE,
        ranked=int(reported.sum()),
        rows=tuple(
            TopRow(
                rank=rank,
                config_id=row["config_id"],
                seed=row["seed"],
                ll=float(values[place]),
                se_seeds=None,
                counts=count_seeds([row]),
                epochs=row["epochs"],
                values=_values(row, names),
            )
            for rank, (row, place) in enumerate(zip(own, first, strict=True), 1)
        ),
        notes=tuple(_report_notes(str(protocol_id), lacking)),
        skipped=tuple(skipped),
    )


def _one_row_a_trial(rows: pa.Table, protocol: Texts) -> Truths:
    """Return which rows are the first of their trial: a report stands in each of its rows, one a protocol."""
    first = np.ones(len(rows), bool)
    if len(np.unique(protocol.codes)) > 1:
        keys = (rows["fold"].to_numpy(), rows["seed"].to_numpy(), texts(rows["config_id"]).codes)
        order = np.lexsort(keys)
        same = np.ones(len(order) - 1, bool)
        for key in keys:
            same &= key[order[1:]] == key[order[:-1]]
        first[order[1:][same]] = False
    return first


def _highest(rows: pa.Table, values: Floats, which: Truths, count: int) -> Integers:
    """Return the places of the highest values among some rows, the highest first."""
    places = np.flatnonzero(which)
    if len(places) > count:
        least = np.partition(values[places], len(places) - count)[len(places) - count]
        places = places[values[places] >= least]
    ids, seeds = rows["config_id"].take(places).to_pylist(), rows["seed"].take(places).to_pylist()
    order = sorted(range(len(places)), key=lambda i: (-values[places[i]], ids[i], seeds[i]))
    return places[order[:count]]


def _report_notes(protocol_id: str, lacking: int) -> Iterable[str]:
    yield (
        f"reports are scored under the cheap protocol {protocol_id}, and each trial's is the best of several: they are "
        "optimistic, and are compared with each other only, never with scores"
    )
    if lacking:
        yield f"{lacking:,} trials have no report and no place"


def _settings(
    run: Location | str, config_ids: Sequence[str], stage: str, skip_damaged: bool
) -> tuple[tuple[str, ...], list[Row]]:
    """Return the names of what varies, and the rows of some configurations in a stage with its values.

    What varies is what the plan says; without a plan, what differs among these configurations.
    """
    known = {name: schema.cfg_column(name) for name, _ in parameters()}
    searched = searched_parameters(run)
    names = tuple(known) if searched is None else tuple(name for name in searched if name in known)
    settings = (*(known[name] for name in names), "cfg_schedule")
    where = pc.field("config_id").isin(config_ids)
    if stage == "confirm":  # statistics tell Parquet where those rows are
        where &= pc.field("stage") == stage
    rows, _ = results.read_arrow(
        run,
        schema.TRIALS,
        columns=(*schema.TRIALS.key, "status", "collapsed", "epochs", *settings),
        where=where,
        coded=("stage", "protocol_id", "status"),
        skip_damaged=skip_damaged,
    )
    found = [row for row in arrow_records(rows) if row["stage"] == stage]
    if searched is None:
        names = tuple(name for name in names if len({row[known[name]] for row in found}) > 1)
    return names, found


def _values(row: Row, names: Sequence[str]) -> dict[str, Any]:
    columns = {name: schema.cfg_column(name) for name in (*names, "schedule")}
    return {name: row[column] for name, column in columns.items() if row[column] is not None}


def as_plain(found: Top) -> dict[str, Any]:
    """Return the lines as JSON-able values, with every digit."""
    plain = dataclasses.asdict(found)
    for row, values in zip(found.rows, plain["rows"], strict=True):
        values["counts"]["seeds"] = row.counts.seeds
    return plain
