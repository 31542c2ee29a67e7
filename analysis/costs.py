"""What a run cost: time by stage and by how trials ended, what early stopping saved, and what was gained for it.

A trial's CPU-hours are its wall-clock time, that of reports and scoring included, times its CPU threads; its GPU-hours
the same times its share of a GPU. A trial counts once, however many protocols it was scored under. Time of trials that
were lost and started over is not in the tables, nor is that in which machines had nothing to do.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from analysis.records import Row, records
from analysis.search_rows import Search, by_time_limit, finite, read_search
from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.storage import Location, location

SECONDS_AN_HOUR = 3600
_COLUMNS = (
    *("config_id", "seed", "stage", "fold", "status", "error", "epochs", "cfg_algorithm_epochs"),
    *("run_started", "run_seconds", "run_train_seconds", "run_score_seconds", "run_threads", "run_gpu_share"),
)
_ENDED_EARLY: Sequence[tuple[str, str, Callable[[Row], bool]]] = (
    (schema.STOPPED, "the scheduler", lambda r: not by_time_limit(r["error"]) and not _replaced(r)),
    (schema.STOPPED, "the time limit of a trial", lambda r: by_time_limit(r["error"])),
    (schema.COLLAPSED, "the guard against collapse", lambda _: True),
)
"""Statuses of trials that were ended early, by what, and which of the status those are."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What some trials took.

    Attributes:
        trials: how many.
        untimed: of them, those whose rows do not say how long they took; they count for nothing below.
        hours: wall-clock time of the trials, added up.
        train_hours: of it, in Algorithm 1.
        score_hours: of it, in reports and scoring.
        cpu_hours: hours times CPU threads.
        gpu_hours: hours times the share of a GPU.
        epochs: epochs run.
    """

    trials: int
    untimed: int
    hours: float
    train_hours: float
    score_hours: float
    cpu_hours: float
    gpu_hours: float
    epochs: int

    @property
    def score_share(self) -> float | None:
        """Share of the time that went into reports and scoring; None where no time is known."""
        return self.score_hours / self.hours if self.hours else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What the trials of a stage took that ended in one way.

    Attributes:
        stage: search, confirm, train or reproduce.
        status: how they ended.
        amount: what they took.
    """

    stage: str
    status: str
    amount: Amount


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What trials that were ended early did not take.

    Each trial's epochs that were not run, times what an epoch of that very trial took, its reports included. The score
    at the end, which they were spared too, is not in it.

    Attributes:
        status: how they ended.
        by: what ended them, in words.
        trials: how many ended so.
        unknown: of them, those whose rows do not say what an epoch took; they count for nothing below.
        epochs: epochs not run.
        planned_epochs: epochs that they would have run.
        cpu_hours: CPU-hours not taken.
        gpu_hours: GPU-hours not taken.
    """

    status: str
    by: str
    trials: int
    unknown: int
    epochs: int
    planned_epochs: int
    cpu_hours: float
    gpu_hours: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the search gained over the configuration that it began with.

    Values are those that the searcher was told, under the report protocol; a maximum over trials and reports, and
    therefore optimistic.

    Attributes:
        first: value of the base, the first configuration tried, in nats (mean over its replicates).
        best: highest value of a configuration, in nats (mean over its replicates).
        hours: wall-clock time from the search's first start to its last end, pauses included; None where not known.
        cpu_hours: CPU-hours of the search.
        gpu_hours: GPU-hours of the search.
    """

    first: float
    best: float
    hours: float | None
    cpu_hours: float
    gpu_hours: float

    @property
    def nats(self) -> float:
        """How far the best lies above the first."""
        return self.best - self.first

    @property
    def nats_per_hour(self) -> float | None:
        """Nats gained an hour of wall-clock time; None where that is not known."""
        return self.nats / self.hours if self.hours else None

    @property
    def nats_per_cpu_hour(self) -> float | None:
        """Nats gained a CPU-hour; None where those are not known."""
        return self.nats / self.cpu_hours if self.cpu_hours else None

    @property
    def nats_per_gpu_hour(self) -> float | None:
        """Nats gained a GPU-hour; None where no GPU was used."""
        return self.nats / self.gpu_hours if self.gpu_hours else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a run cost.

    Attributes:
        run: the run directory's name.
        lines: by stage and status, in the order of the schema.
        saved: what ended trials of the search early, and what that saved.
        gain: what the search gained; None where it has no search, or the base has no value.
        notes: what a reader must know.
        skipped: damaged parts that were left out.
    """

    run: str
    lines: tuple[CostLine, ...]
    saved: tuple[Saved, ...]
    gain: Gain | None
    notes: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def total(self) -> Amount:
        """All of it."""
        return _added(line.amount for line in self.lines)

    @property
    def stages(self) -> dict[str, Amount]:
        """By stage alone."""
        names = dict.fromkeys(line.stage for line in self.lines)
        return {name: _added(line.amount for line in self.lines if line.stage == name) for name in names}

    @property
    def cpu_hours(self) -> float:
        """CPU-hours of all of it."""
        return self.total.cpu_hours

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all of it."""
        return self.total.gpu_hours


def costs(run: Location | str, *, skip_damaged: bool = False) -> Costs:
    """Return what a run cost.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, or holds no trial.
    """
    frame = results.read(run, schema.TRIALS.name, columns=_COLUMNS, skip_damaged=skip_damaged)
    rows = _trials(records(frame, schema.TRIALS))
    if not rows:
        raise ResultsError(f"{run} holds no trial, so nothing was spent", hint="`gansearch status` tells where it is")
    groups: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
    for row in rows:
        groups[row["stage"], row["status"]].append(row)
    order = {name: i for i, name in enumerate((*schema.STAGES, *schema.STATUSES))}
    keys = sorted(groups, key=lambda key: tuple(order.get(name, len(order)) for name in key))
    search = [row for row in rows if row["stage"] == "search"]
    lines = tuple(CostLine(stage=s, status=e, amount=_amount(groups[s, e])) for s, e in keys)
    ended = [(s, by, [r for r in search if r["status"] == s and which(r)]) for s, by, which in _ENDED_EARLY]
    saved = tuple(_saved(status, by, own) for status, by, own in ended if own)
    gain, why = _gain(run, search, skip_damaged)
    return Costs(
        run=location(run).resolve().name,
        lines=lines,
        saved=saved,
        gain=gain,
        notes=tuple(_notes(lines, saved, why)),
        skipped=tuple(frame.attrs["skipped"]),
    )


def _trials(rows: Sequence[Row]) -> list[Row]:
    """Return one row a trial: of those under several protocols the one that took longest, for a rescoring adds none."""
    found: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in ("config_id", "seed", "stage", "fold"))
        if key not in found or (row["run_seconds"] or 0.0) > (found[key]["run_seconds"] or 0.0):
            found[key] = row
    return list(found.values())


def _amount(rows: Sequence[Row]) -> Amount:
    timed = [row for row in rows if finite(row["run_seconds"]) is not None]

    def hours(name: str, times: str | None = None) -> float:
        products = ((finite(r[name]) or 0.0) * (1.0 if times is None else finite(r[times]) or 0.0) for r in timed)
        return math.fsum(products) / SECONDS_AN_HOUR

    return Amount(
        trials=len(rows),
        untimed=len(rows) - len(timed),
        hours=hours("run_seconds"),
        train_hours=hours("run_train_seconds"),
        score_hours=hours("run_score_seconds"),
        cpu_hours=hours("run_seconds", "run_threads"),
        gpu_hours=hours("run_seconds", "run_gpu_share"),
        epochs=sum(row["epochs"] or 0 for row in rows),
    )


def _added(amounts: Iterable[Amount]) -> Amount:
    parts = list(amounts)
    names = ("hours", "train_hours", "score_hours", "cpu_hours", "gpu_hours")
    return Amount(
        trials=sum(a.trials for a in parts),
        untimed=sum(a.untimed for a in parts),
        epochs=sum(a.epochs for a in parts),
        **{name: math.fsum(getattr(a, name) for a in parts) for name in names},
    )


def _replaced(row: Row) -> bool:
    """Return whether a copy of another member of its population took a trial's place: that one ran what it left."""
    return row["error"] is not None and row["error"].startswith("replaced at epoch")


def _saved(status: str, by: str, rows: Sequence[Row]) -> Saved:
    known = [r for r in rows if r["epochs"] and r["cfg_algorithm_epochs"] and finite(r["run_seconds"]) is not None]

    def hours(name: str) -> float:
        return math.fsum(_left(r) * r["run_seconds"] / r["epochs"] * (finite(r[name]) or 0.0) for r in known)

    return Saved(
        status=status,
        by=by,
        trials=len(rows),
        unknown=len(rows) - len(known),
        epochs=sum(_left(r) for r in known),
        planned_epochs=sum(r["cfg_algorithm_epochs"] for r in known),
        cpu_hours=hours("run_threads") / SECONDS_AN_HOUR,
        gpu_hours=hours("run_gpu_share") / SECONDS_AN_HOUR,
    )


def _left(row: Row) -> int:
    left: int = max(row["cfg_algorithm_epochs"] - row["epochs"], 0)
    return left


def _gain(run: Location | str, search: Sequence[Row], skip_damaged: bool) -> tuple[Gain | None, str | None]:
    """Return what the search gained, and what must be known of it; without a gain, why that is not known."""
    if not search:
        return None, "no trial is of a search: nothing was searched"
    try:
        found = read_search(run, skip_damaged=skip_damaged)
    except ResultsError as error:  # its values cannot be compared; what they cost is known all the same
        return None, error.message
    values = found.means
    first = values.get(found.trials[0].number)
    if first is None:
        return None, "the configuration that the search began with has no value: what was gained over it is not known"
    amount = _amount(search)
    return (
        Gain(
            first=first,
            best=max(values.values()),
            hours=_span(search),
            cpu_hours=amount.cpu_hours,
            gpu_hours=amount.gpu_hours,
        ),
        _cut_short(found),
    )


def _cut_short(search: Search) -> str | None:
    """Return what a reader must know where the configuration that the search began with was stopped early."""
    first = [t for t in search.trials if t.number == search.trials[0].number]
    if all(t.status != schema.STOPPED for t in first):
        return None
    return "the configuration that the search began with was stopped early: it may have come nearer to the best later"


def _span(rows: Sequence[Row]) -> float | None:
    timed = [(r["run_started"], r["run_seconds"]) for r in rows if r["run_started"] is not None]
    if not timed:
        return None
    ends = [started + datetime.timedelta(seconds=finite(seconds) or 0.0) for started, seconds in timed]
    span: datetime.timedelta = max(ends) - min(started for started, _ in timed)
    return span.total_seconds() / SECONDS_AN_HOUR


def _notes(lines: Sequence[CostLine], saved: Sequence[Saved], why: str | None) -> Iterable[str]:
    untimed = sum(line.amount.untimed for line in lines)
    if untimed:
        yield f"{untimed} trials do not say how long they took, and count for nothing"
    unknown = sum(s.unknown for s in saved)
    if unknown:
        yield f"{unknown} trials that were ended early do not say what an epoch took, and count as saving nothing"
    if any(line.status in schema.UNFINISHED for line in lines):
        yield "unfinished trials count with what their rows say, which is up to their last checkpoint at most"
    if why is not None:
        yield why


def as_plain(found: Costs) -> dict[str, Any]:
    """Return the costs as JSON-able values, with every digit and what follows from them."""
    plain = dataclasses.asdict(found)
    plain["total"] = dataclasses.asdict(found.total) | {"score_share": found.total.score_share}
    plain["stages"] = {
        name: dataclasses.asdict(amount) | {"score_share": amount.score_share} for name, amount in found.stages.items()
    }
    if found.gain is not None:
        names = ("nats", "nats_per_hour", "nats_per_cpu_hour", "nats_per_gpu_hour")
        plain["gain"] |= {name: getattr(found.gain, name) for name in names}
    return plain
