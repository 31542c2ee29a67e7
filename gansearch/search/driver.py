"""The stages of one sweep, one after the other: what each runs, and how the sweep ends."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ray.tune.schedulers import TrialScheduler

from gansearch import schema, storage
from gansearch.compaction import Compactor
from gansearch.core.datasets import Dataset
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.search import history
from gansearch.search.capacity import Room
from gansearch.search.confirm import confirm_history, finalists
from gansearch.search.executors import executor_of
from gansearch.search.lease import Lease
from gansearch.search.observer import Observer
from gansearch.search.packed import run_packed
from gansearch.search.pairings import PAUSING, POPULATION
from gansearch.search.population import Population
from gansearch.search.progress import ENDED, Best, Progress, changes_of
from gansearch.search.proposals import Listed, make_strategy, row_outcome, value_epoch
from gansearch.search.ray_tune import run_trials
from gansearch.search.rungs import REBUILT, Course, KeyedScheduler, courses
from gansearch.search.schedulers import make_scheduler
from gansearch.search.searchers import SpecSearcher
from gansearch.search.sections import Limits
from gansearch.search.specs import search_spec
from gansearch.search.stopping import Limiter, Reason, StopRequest
from gansearch.search.strategies import Scheduler
from gansearch.search.study import Study
from gansearch.search.warm_start import WarmStart
from gansearch.search.worker import TrialWorker
from gansearch.spec import TrialSpec
from gansearch.storage import Location
from gansearch.tracking.destinations import destinations
from gansearch.tracking.following import prepare
from gansearch.trial import describe as describe_error

if TYPE_CHECKING:
    from ray import tune
    from ray.tune.schedulers import TrialScheduler


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        run: the run directory, which holds everything else.
        complete: whether all its stages ran.
        reason: what ended it early, or ended its search early; None where nothing did.
        ended: trials by status, over all stages, those of earlier drivers among them.
    """

    run: Location
    complete: bool
    reason: str | None
    ended: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What one stage runs.

    Attributes:
        name: `search` or `confirm`.
        searcher: its trials.
        tried: what of them was tried before.
        scheduler: who is stopped early.
        data: what they may read.
        limits: when it ends early.
    """

    name: str
    searcher: SpecSearcher
    tried: tuple[history.Tried, ...]
    scheduler: Scheduler
    data: Dataset
    limits: Limits


class Driver:
    """The stages of one sweep, one after the other, from wherever the run's tables stand.

    Args:
        study: the study.
        data: its data set, test split included.
        run: the run directory, which holds the plan.
        lease: this process's hold on the run.
        room: what the cluster has room for.
        on_progress: hears each progress.
        warm_start: what `start_from` gives the searcher.
        search: whether the search stage runs; without it, confirm alone.
        worker: what runs a trial in its process.
    """

    def __init__(
        self,
        study: Study,
        data: Dataset,
        run: Location,
        *,
        lease: Lease,
        room: Room,
        on_progress: Callable[[Progress], None],
        warm_start: WarmStart | None = None,
        search: bool = True,
        worker: type[tune.Trainable] = TrialWorker,
    ) -> None:
        self._study, self._data, self._run, self._room = study, data, run, room
        self._lease, self._on_progress, self._searches = lease, on_progress, search
        self._warm_start, self._worker = warm_start or WarmStart(), worker
        self._packed = executor_of(study).name == "packed"
        self._request = StopRequest(run, lease)
        self._started = time.monotonic() - _elapsed_before(run)
        self._ended: collections.Counter[str] = collections.Counter()
        self._planned = study.num_trials * study.repeats
        self._progress = Progress(study=study.name, stage="search", planned=self._planned)

    def run(self) -> SweepResult:
        """Run the stages; whatever happens, the last progress says how it ended."""
        self._request.clear_file()
        storage.write_json(RunPaths(self._run).progress, self._progress.to_dict())
        try:
            with self._request.listening():
                complete, reason = self._stages()
        except KeyboardInterrupt:
            self._finish("stopped", "interrupted")
            raise
        except BaseException as error:
            self._finish("failed", f"the driver met an error: {describe_error(error)}")
            raise
        finally:
            self._request.clear_file()
        note = reason.text if reason else None
        self._finish("done" if complete else "stopped", note)
        return SweepResult(run=self._run, complete=complete, reason=note, ended=dict(self._ended))

    def _stages(self) -> tuple[bool, Reason | None]:
        """Run search and confirm; return whether all came to an end, and what ended one early."""
        tried = history.search_history(self._run, self._study)
        reason = None
        if self._searches:
            reason = self._run_stage(self._search(tried))
        else:
            self._ended += history.counts(tried)
            self._progress = dataclasses.replace(self._progress, best=_best(self._study, tried))
        if reason is not None and not reason.spent:
            return False, reason
        if self._study.confirm.seeds == 0:
            return True, reason
        try:
            chosen = finalists(self._run, self._study)
        except ResultsError as error:
            return False, reason or Reason(error.message)
        if chosen.chosen < self._study.confirm.top and reason is None:
            reason = Reason(
                f"only {chosen.completed} configurations completed a search trial, so {chosen.chosen} were confirmed "
                f"instead of {self._study.confirm.top}",
                spent=True,
            )
        stage = self._confirm(confirm_history(self._run, self._study, chosen.configs))
        self._planned += stage.searcher.num_trials
        completed = self._ended[schema.COMPLETE]
        stopped = self._run_stage(stage)
        if stopped is None and self._ended[schema.COMPLETE] == completed:
            stopped = Reason("no confirm trial completed")
        return stopped is None, stopped or reason

    def _search(self, tried: tuple[history.Tried, ...]) -> _Stage:
        study = self._study
        # In a population, later numbers are of copies: they take no member's place.
        drawn = [one for one in tried if one.number < study.num_trials or study.scheduler.name not in POPULATION]
        known = [*(one.known for one in drawn), *self._warm_start.history]
        return _Stage(
            name="search",
            searcher=SpecSearcher(
                make_strategy(study, known, self._warm_start.first),
                study.num_trials + len(tried) - len(drawn),
                study.repeats,
                lambda proposal, replicate: search_spec(study, proposal, replicate),
                tried,
                # Trials that wait for others are among those that there are: only the room decides how many run.
                *(() if study.scheduler.name in PAUSING else (self._limit,)),
            ),
            tried=tried,
            scheduler=study.scheduler,
            data=self._data.without_test(),
            limits=study.limits,
        )

    def _confirm(self, tried: tuple[history.Tried, ...]) -> _Stage:
        study = self._study
        return _Stage(
            name="confirm",
            searcher=SpecSearcher(
                Listed(()),
                len(tried),
                study.confirm.seeds * len(study.confirm_folds),
                lambda proposal, replicate: search_spec(study, proposal, replicate),
                tried,
                self._limit,
            ),
            tried=tried,
            scheduler=Scheduler(name="none"),
            data=self._data,
            limits=dataclasses.replace(study.limits, time_limit=None, gpu_hours=None),
        )

    def _run_stage(self, stage: _Stage) -> Reason | None:
        """Run what is left of one stage; return why it ended early, or None."""
        study, ended = self._study, history.counts(stage.tried)
        progress = dataclasses.replace(
            self._progress,
            stage=stage.name,
            planned=stage.searcher.num_trials,
            running=0,
            ended=dict(ended),
            left=None,
            elapsed=time.monotonic() - self._started,
            best=_best(study, stage.tried) if stage.name == "search" else self._progress.best,
        )
        if stage.searcher.handed_out:
            self._ended += ended
            self._progress = progress
            return None
        compactor = Compactor(self._run, self._lease.claim.id)
        for row in (row for one in stage.tried for row in one.ended if stage.name == "search"):
            compactor.ended(history.row_key(row), [row["protocol_id"]])

        def on_outcome(spec: TrialSpec) -> None:
            if spec.stage == "search":  # what was confirmed is few, and is read trial by trial
                compactor.ended(spec.key, [p.id for p in spec.protocols])

        track = destinations(study.track, self._run)
        prepare(track)
        observer = Observer(
            Recorder(self._run, self._lease.claim.id, study.limits.storage_patience, track),
            {data.fold: data.digests for data in (self._data, *self._data.others)},
            progress,
            slots=self._limit(),
            searched=tuple(p.name for p in study.space.parameters),
            publish=self._publish,
            on_outcome=on_outcome,
        )
        limiter = Limiter(stage.limits, observer, gpus=self._gpus, request=self._request, room=self._room)
        try:
            self._run_trials(stage, observer, limiter)
        finally:
            compactor.close()
            reason = limiter.reason
            left = 0 if self._lease.lost else observer.interrupt(reason.text if reason else "the driver ended")
            self._ended += observer.ended
            self._progress = observer.progress
        if self._lease.lost:
            raise ResultsError(
                f"another driver took {self._run} over: this one had not renewed its claim for long",
                hint=f"gansearch status {self._run}",
            )
        if reason is None and (left or not stage.searcher.handed_out):
            return Reason("Ray Tune ended before its trials did")
        return reason

    def _run_trials(self, stage: _Stage, observer: Observer, limiter: Limiter) -> None:
        """Run the stage's trials on the study's executor."""
        searcher, scheduler = self._tune(stage)
        if self._packed and isinstance(searcher, SpecSearcher):
            run_packed(
                searcher,
                scheduler,
                study=self._study,
                data=stage.data,
                room=self._room,
                observer=observer,
                limiter=limiter,
            )
            return
        run_trials(
            searcher,
            scheduler,
            study=self._study,
            data=stage.data,
            max_concurrent=self._study.max_concurrent or stage.searcher.num_trials,
            observer=observer,
            limiter=limiter,
            worker=self._worker,
        )

    @property
    def _gpus(self) -> float:
        """GPUs that a trial takes: in a full engine, its share."""
        return self._study.resources.gpu / (self._study.executor.slots if self._packed else 1)

    def _tune(self, stage: _Stage) -> tuple[SpecSearcher | Population, TrialScheduler]:
        """Return what Tune is given: the stage's trials, and who decides how far they go."""
        epochs = self._study.epochs
        if stage.scheduler.name in POPULATION:
            specs = list(iter(stage.searcher.take, None))
            numbers = [
                *(one.number for one in stage.tried),
                *(spec.number for spec in specs if spec.number is not None),
            ]
            population = Population(self._study, specs, max(numbers) + 1)
            return population, make_scheduler(stage.scheduler, epochs, population.explorer)
        scheduler = make_scheduler(stage.scheduler, epochs)
        if stage.scheduler.name in REBUILT:
            scheduler = KeyedScheduler(scheduler, _courses(self._run, stage.tried))
        return stage.searcher, scheduler

    def _limit(self) -> int:
        """Return how many trials there may be at a time now."""
        if not self._packed:
            return self._room.limit
        limit = self._room.limit * self._study.executor.slots
        return min(limit, self._study.max_concurrent or limit)

    def _publish(self, progress: Progress) -> None:
        if self._lease.lost:
            return
        if progress.stage not in ENDED:
            progress = dataclasses.replace(progress, note=self._room.note)
        # A sweep outlives a moment in which its directory cannot be written.
        with contextlib.suppress(ResultsError):
            storage.write_json(RunPaths(self._run).progress, progress.to_dict())
        self._on_progress(progress)

    def _finish(self, stage: str, note: str | None) -> None:
        self._publish(
            dataclasses.replace(
                self._progress,
                stage=stage,
                ended=dict(self._ended),
                planned=self._ended.total() if stage == "done" else max(self._planned, self._ended.total()),
                running=0,
                left=None,
                elapsed=time.monotonic() - self._started,
                updated=time.time(),
                note=note,
            )
        )


def _elapsed_before(run: Location) -> float:
    """Return the seconds that earlier drivers of the run took."""
    from gansearch.search.progress import read_progress

    try:
        return read_progress(run).elapsed
    except ResultsError:
        return 0.0


def _best(study: Study, tried: Sequence[history.Tried]) -> Best | None:
    """Return the best value that the search's trials would tell now."""
    found = []
    for row in (row for one in tried for row in one.ended):
        value = row_outcome([row]).value
        if value is not None:
            found.append((value, row))
    if not found:
        return None
    value, row = max(found, key=lambda pair: pair[0])
    return Best(
        value=value,
        config_id=row["config_id"],
        epoch=value_epoch(row, row["cfg_score_at"]),
        changes=_changes(study, row),
    )


def _changes(study: Study, row: Row) -> str:
    return changes_of(history.row_config(row), [p.name for p in study.space.parameters])


def _courses(run: Location, tried: Sequence[history.Tried]) -> list[Course]:
    """Return the reports of a stage's earlier trials that count."""
    keys: list[TrialKey] = []
    unfinished: list[TrialKey] = []
    for one in tried:
        unfinished += [spec.key for spec in one.todo]
        keys += [*(history.row_key(row) for row in one.ended), *(spec.key for spec in one.todo)]
    if not keys:
        return []
    ended = [row for one in tried for row in one.ended]
    diverged = {history.row_key(row): row["epochs"] for row in ended if row["status"] == schema.DIVERGED}
    return courses(keys, history.reports(run, keys[0].stage), history.unfinished(run, unfinished), diverged)
