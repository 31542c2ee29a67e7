"""The trials of a run's search, one entry a trial, with the values that its searcher was told."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis import statistics
from analysis.planned_search import Parameter, PlannedSearch, planned_search
from analysis.records import Row, records
from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.storage import Location, location

BAD = (schema.DIVERGED, schema.FAILED, schema.COLLAPSED)
"""Statuses that end a trial without a value."""
_COLUMNS = (
    *("config_id", "seed", "stage", "fold", "replicate", "number", "status", "error", "collapsed"),
    *("valid_ll_mean", "report_protocol_id", "report_ll_mean", "report_last_ll_mean", "epochs", "flops"),
    *("data_valid_digest", "cfg_dataset_name", "cfg_algorithm_epochs", "cfg_score_at", "cfg_schedule"),
    *("run_started", "run_seconds", "run_threads", "run_gpu_share"),
)

Reports = Mapping[TrialKey, Sequence[tuple[int, float]]]
"""Each trial's (epoch, value) reports in the order of the epochs; values in nats."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchTrial:
    """One trial of a search.

    Attributes:
        key: what identifies it.
        number: place in the order in which the search tried its configurations, from 0.
        replicate: which of the configuration's seeds it is, from 0.
        status: how it ended.
        error: why it did not complete; None where it did.
        values: the searched parameters that act in it, by dotted name.
        value: what the searcher was told, in nats: validation log-likelihood under the report protocol, of the best
            report (of the last one under `score.at: last`); None where it is unfinished or went bad.
        valid: validation log-likelihood under the final protocol, in nats; None unless it completed.
        epochs: epochs that it ran.
        budget: epochs that it would have run.
        seconds: wall-clock time.
        threads: CPU threads.
        gpu_share: share of a GPU.
        flops: floating-point operations of its training.
        started: when it started.
    """

    key: TrialKey
    number: int
    replicate: int
    status: str
    error: str | None
    values: Mapping[str, object]
    value: float | None
    valid: float | None
    epochs: int | None
    budget: int | None
    seconds: float | None
    threads: int | None
    gpu_share: float | None
    flops: float | None
    started: datetime.datetime | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search of one run.

    Attributes:
        run: the run directory's name.
        dataset: name of the data set; None where no row says it.
        plan: what the run's plan says of it; None where there is none.
        trials: in the order in which they were tried.
        skipped: damaged parts that were left out.
    """

    run: str
    dataset: str | None
    plan: PlannedSearch | None
    trials: tuple[SearchTrial, ...]
    skipped: tuple[str, ...]

    @property
    def valued(self) -> tuple[SearchTrial, ...]:
        """The trials that have a value: those that completed or were stopped early."""
        return tuple(t for t in self.trials if t.value is not None)

    @property
    def means(self) -> dict[int, float]:
        """Each configuration's value by its number, the mean over its seeds; those that have none are left out."""
        groups: dict[int, list[float]] = collections.defaultdict(list)
        for trial in self.trials:
            if trial.value is not None:
                groups[trial.number].append(trial.value)
        return {number: statistics.mean(own) for number, own in groups.items()}

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The searched parameters; none without a plan."""
        return () if self.plan is None else self.plan.parameters

    @property
    def counts(self) -> str:
        """How many trials ended in each way, in words."""
        found = collections.Counter(t.status for t in self.trials)
        return ", ".join(f"{found[s]} {s}" for s in schema.STATUSES if found[s])

    @property
    def stopped_by(self) -> str:
        """What stopped trials early, in words: the scheduler by its name, the limit of a trial's time, or both."""
        limited = [by_time_limit(t.error) for t in self.trials if t.status == schema.STOPPED]
        names = [] if all(limited) or self.plan is None else [self.plan.scheduler]
        return " and ".join([*names, *(["the time limit of a trial"] if any(limited) else [])]) or "the scheduler"

    def need_plan(self) -> PlannedSearch:
        """Return the plan.

        Raises:
            ResultsError: when the run has none.
        """
        if self.plan is None:
            raise ResultsError(
                f"{self.run} has no plan file with a space: what was searched is not known",
                hint="give the directory that `gansearch sweep --out` wrote",
            )
        return self.plan


def read_search(run: Location | str, *, skip_damaged: bool = False) -> Search:
    """Return the search of a run.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, no row of it is of a search, or its values cannot be compared.
        ConfigError: when its plan file cannot be read.
    """
    plan = planned_search(run)
    searched = [p.column for p in (plan.parameters if plan else ())]
    columns = list(dict.fromkeys([*_COLUMNS, *searched]))
    frame = results.read(run, schema.TRIALS.name, columns=columns, skip_damaged=skip_damaged)
    rows = records(frame[frame["stage"] == "search"], schema.TRIALS)
    if not rows:
        raise ResultsError(f"{run} has no trial of a search", hint="`gansearch sweep` and `gansearch status` tell more")
    for column, what in (
        ("report_protocol_id", "report protocols"),
        ("cfg_dataset_name", "data sets"),
        ("data_valid_digest", "validation images"),
    ):
        found = sorted({str(row[column]) for row in rows if row[column] is not None})
        if len(found) > 1:
            raise ResultsError(
                f"{run}: its search trials are of different {what} and cannot be compared: {' and '.join(found)}"
            )
    # A trial has one row under each protocol that it was scored under.
    single = {(row["config_id"], row["seed"], row["fold"]): row for row in rows}.values()
    trials = sorted(_trials(list(single), plan), key=lambda t: (t.number, t.replicate, t.key.seed, t.key.fold))
    return Search(
        run=location(run).resolve().name,
        dataset=next((row["cfg_dataset_name"] for row in rows if row["cfg_dataset_name"] is not None), None),
        plan=plan,
        trials=tuple(trials),
        skipped=tuple(frame.attrs["skipped"]),
    )


def _trials(rows: Sequence[Row], plan: PlannedSearch | None) -> list[SearchTrial]:
    numbers = _numbers(rows)
    return [
        SearchTrial(
            key=TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"]),
            number=numbers[row["config_id"]],
            replicate=row["replicate"],
            status=row["status"],
            error=row["error"],
            values={} if plan is None else plan.values(row),
            value=_value(row),
            valid=finite(row["valid_ll_mean"]) if row["status"] == schema.COMPLETE else None,
            epochs=row["epochs"],
            budget=row["cfg_algorithm_epochs"],
            seconds=finite(row["run_seconds"]),
            threads=row["run_threads"],
            gpu_share=finite(row["run_gpu_share"]),
            flops=finite(row["flops"]),
            started=_python_time(row["run_started"]),
        )
        for row in rows
    ]


def _numbers(rows: Sequence[Row]) -> dict[str, int]:
    """Return each configuration's number; rows of an older schema come after, in the order of their start."""
    found = {row["config_id"]: row["number"] for row in rows if row["number"] is not None}
    after = itertools.count(max(found.values(), default=-1) + 1)
    without = [row for row in rows if row["config_id"] not in found]
    for row in sorted(without, key=lambda r: (r["run_started"] is None, r["run_started"], r["config_id"])):
        if row["config_id"] not in found:
            found[row["config_id"]] = next(after)
    return found


def _value(row: Row) -> float | None:
    if row["status"] in (*BAD, *schema.UNFINISHED):
        return None
    return finite(row["report_last_ll_mean" if row["cfg_score_at"] == "last" else "report_ll_mean"])


def _python_time(value: Any) -> datetime.datetime | None:
    """Return pandas' time as Python's."""
    found: datetime.datetime | None = None if value is None else value.to_pydatetime()
    return found


def finite(value: float | None) -> float | None:
    """Return a value; None for one that is missing or not finite."""
    return value if value is not None and math.isfinite(value) else None


def by_time_limit(error: str | None) -> bool:
    """Return whether a STOPPED trial's reason says that the time limit of a trial ended it, and not the scheduler."""
    return error is not None and error.startswith("guards.trial_time_limit")


def search_reports(run: Location | str, *, skip_damaged: bool = False) -> Reports:
    """Return the reports of a run's search trials; those without a finite value are left out.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the curves cannot be read.
    """
    if not RunPaths(location(run)).table(schema.CURVES.name).is_dir():
        return {}
    columns = ("config_id", "seed", "stage", "fold", "epoch", "report_ll_mean")
    frame = results.read(run, schema.CURVES.name, columns=columns, skip_damaged=skip_damaged)
    frame = frame[frame["stage"] == "search"].sort_values("epoch", kind="stable")
    found: dict[TrialKey, list[tuple[int, float]]] = collections.defaultdict(list)
    names = (frame[name].tolist() for name in columns)
    for config_id, seed, stage, fold, epoch, value in zip(*names, strict=True):
        if math.isfinite(value):
            found[TrialKey(config_id, int(seed), stage, int(fold))].append((int(epoch), float(value)))
    return dict(found)
