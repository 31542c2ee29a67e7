"""What a run's tables say has been tried: a sweep that is resumed goes on from there and from nothing else."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from analysis.records import records
from gansearch import parts, results, schema
from gansearch.config import TrialConfig
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.search.proposals import Known, Outcome, Point, Proposal, row_outcome
from gansearch.search.specs import search_spec
from gansearch.search.study import Study
from gansearch.spec import TrialSpec
from gansearch.storage import Location

CURVE_COLUMNS = ("config_id", "seed", "stage", "fold", "epoch", "report_ll_mean")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A point that was tried, or is being tried.

    Attributes:
        number: its place in the search's sequence.
        point: the point.
        ended: rows of its trials that have an outcome, one a replicate.
        todo: its trials that are unfinished or have not started.
    """

    number: int
    point: Point
    ended: tuple[Row, ...] = ()
    todo: tuple[TrialSpec, ...] = ()

    @property
    def outcome(self) -> Outcome | None:
        """What its trials came to; None while some have no outcome."""
        return None if self.todo else row_outcome(self.ended)

    @property
    def known(self) -> Known:
        """What a strategy needs of it."""
        return Known(number=self.number, point=self.point, outcome=self.outcome)


def search_history(run: Location, study: Study) -> tuple[Tried, ...]:
    """Return what the search of a run has tried, in the order of the numbers.

    Args:
        run: the run directory.
        study: what the run's plan asks for now; every row must lie in its space.

    Raises:
        ResultsError: when the tables cannot be read, or a row is not of this study.
    """
    groups: dict[int, list[Row]] = collections.defaultdict(list)
    for row in _numbered(stage_rows(run, "search", study.protocols.final.id)):
        groups[row["number"]].append(row)
    return tuple(_tried(study, number, rows) for number, rows in sorted(groups.items()))


def stage_rows(run: Location, stage: str, protocol_id: str) -> list[Row]:
    """Return a stage's rows under one protocol; nothing where the run has no rows yet.

    Raises:
        ResultsError: when the tables cannot be read, or a row of the stage stands under no such protocol.
    """
    if not RunPaths(run).table(schema.TRIALS.name).is_dir():
        return []
    trials = results.read(run, schema.TRIALS.name)
    staged = trials[trials["stage"] == stage]
    rows = records(staged[staged["protocol_id"] == protocol_id], schema.TRIALS)
    if len(staged) and not rows:
        found = ", ".join(sorted(set(staged["protocol_id"])))
        raise ResultsError(f"{run}: its {stage} trials are scored under {found}, not under {protocol_id}")
    return rows


def row_config(row: Mapping[str, Any]) -> TrialConfig:
    """Return the configuration of a row."""
    return TrialConfig.from_dict(json.loads(row["cfg_json"]))


def row_key(row: Mapping[str, Any]) -> TrialKey:
    """Return what identifies a row's trial."""
    return TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"])


def outside(run: Location, study: Study) -> list[str]:
    """Return the search trials that the study's space does not hold, each with the reason."""
    found = {}
    for row in stage_rows(run, "search", study.protocols.final.id):
        reason = _outside(study, row_config(row))
        if reason:
            found[row["config_id"]] = f"{row['config_id']} ({reason})"
    return list(found.values())


def _outside(study: Study, config: TrialConfig) -> str | None:
    """Return why a configuration is no point of the study's space, or None."""
    space = study.space
    point = space.point(config)
    for p in space.parameters:
        if p.name in point and not p.domain.contains(point[p.name]):
            return f"{p.name} = {point[p.name]}"
    if space.config(point).config_id != dataclasses.replace(config, schedule=()).config_id:
        return "it differs in what the space holds fixed"
    return None


def _numbered(rows: Sequence[Row]) -> Iterable[Row]:
    """Yield the rows, all with a number: those of an older version of the schema by the order of their start."""
    given = [row["number"] for row in rows if row["number"] is not None]
    # A replicate that was run again since has a number, which is that of the others.
    order = {row["config_id"]: row["number"] for row in rows if row["number"] is not None}
    after = itertools.count(max(given, default=-1) + 1)
    for row in sorted((r for r in rows if r["number"] is None), key=lambda r: (r["run_started"], r["config_id"])):
        if row["config_id"] not in order:
            order[row["config_id"]] = next(after)
    for row in rows:
        yield row if row["number"] is not None else {**row, "number": order[row["config_id"]]}


def _tried(study: Study, number: int, rows: Sequence[Row]) -> Tried:
    config = row_config(rows[0])
    reason = _outside(study, config)
    if reason:
        raise ResultsError(f"search trial {rows[0]['config_id']} is not of this study: {reason}")
    point = study.space.point(config)
    ended = tuple(row for row in rows if row["status"] not in schema.UNFINISHED)
    begun = tuple(_spec(study, row) for row in rows if row["status"] in schema.UNFINISHED)
    there = {row["replicate"] for row in rows}
    proposal = Proposal(number=number, point=point)
    missing = tuple(search_spec(study, proposal, r) for r in range(study.repeats) if r not in there)
    return Tried(number=number, point=point, ended=ended, todo=(*begun, *missing))


def _spec(study: Study, row: Row) -> TrialSpec:
    """Return the spec of a search trial that was begun: what the study asks for now, of the row's own trial."""
    config = row_config(row)
    asked = search_spec(study, Proposal(number=row["number"], point=study.space.point(config)), row["replicate"])
    return dataclasses.replace(asked, config=config, seed=row["seed"], parent_id=row["parent_id"])


def counts(tried: Iterable[Tried]) -> collections.Counter[str]:
    """Return how the trials ended that did."""
    return collections.Counter(row["status"] for one in tried for row in one.ended)


def unfinished(run: Location, keys: Iterable[TrialKey]) -> dict[TrialKey, int]:
    """Return the epochs that each trial's checkpoint holds; 0 where it starts over."""
    recorder = Recorder(run)
    return {key: recorder.checkpoint_epochs(key) for key in keys}


def started_keys(run: Location) -> set[TrialKey]:
    """Return the trials that have a row without an outcome."""
    if not RunPaths(run).table(schema.TRIALS.name).is_dir():
        return set()
    trials = results.read(run, schema.TRIALS.name, columns=["config_id", "seed", "stage", "fold", "status"])
    open_rows = records(trials[trials["status"].isin(schema.UNFINISHED)], schema.TRIALS)
    return {row_key(row) for row in open_rows}


def start_again(run: Location, claim_id: str, statuses: Collection[str]) -> int:
    """Give the search trials that ended in one of these ways another try; return how many there are."""
    recorder = Recorder(run, claim_id)
    trials = results.read(run, schema.TRIALS.name)
    chosen = trials[(trials["stage"] == "search") & trials["status"].isin(list(statuses))]
    rows = records(chosen, schema.TRIALS)
    for row in rows:
        recorder.drop_checkpoint(row_key(row))
        recorder.trial(row_key(row), {**row, "schema_version": schema.VERSION, "status": schema.INTERRUPTED})
    return len(rows)


def reports(run: Location, stage: str) -> dict[TrialKey, list[tuple[int, float]]]:
    """Return each trial's (epoch, value) reports, in the order of the epochs; values in nats."""
    if not RunPaths(run).table(schema.CURVES.name).is_dir():
        return {}
    curves = results.read(run, schema.CURVES.name, columns=CURVE_COLUMNS)
    found: dict[TrialKey, list[tuple[int, float]]] = collections.defaultdict(list)
    for row in records(curves[curves["stage"] == stage].sort_values("epoch"), schema.CURVES):
        if row["report_ll_mean"] is not None:
            found[row_key(row)].append((row["epoch"], row["report_ll_mean"]))
    return dict(found)


def migrate(run: Location, claim_id: str) -> int:
    """Rewrite parts of an older version of the schema, so that pandas reads all parts alike; return how many."""
    migrated = 0
    for table in schema.TABLES.values():
        if not RunPaths(run).table(table.name).is_dir():
            continue
        for path in results.part_files(run, table.name):
            if parts.version_of(path) == schema.VERSION:
                continue
            if not RunPaths(run).claim(claim_id).exists():
                raise ResultsError(f"another driver holds {run} now")
            parts.migrate(path, table)
            migrated += 1
    return migrated
