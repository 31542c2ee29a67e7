"""The packed executor: a few engines, each of which trains many trials at once, under Tune's searcher and scheduler.

Tune runs one trial a process. Here each process, an actor, is an `Engine` with its device; Tune's own searcher and
scheduler objects are asked and told as Tune would. An engine trains all of its trials for an epoch, the reports are
decided on, and a place that came free is given to the next configuration before the engine goes on.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from gansearch.core.datasets import Dataset
from gansearch.search.capacity import Room
from gansearch.search.engines import Advance, EngineActor
from gansearch.search.head import head_watched
from gansearch.search.heartbeat import AUTOMATIC_LEAST, Heartbeat
from gansearch.search.lost_workers import account_of, for_want_of_memory
from gansearch.search.observer import Observer, Result
from gansearch.search.ray_tune import placement
from gansearch.search.searchers import SpecSearcher
from gansearch.search.sections import Resources
from gansearch.search.stopping import Limiter
from gansearch.search.study import Study

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

_log = logging.getLogger(__name__)

WAIT_SECONDS = 0.5
"""Longest wait for an engine before limits and requests are looked at."""
FAREWELL_SECONDS = 10.0
"""Longest wait for engines to write checkpoints when a stage is ended early."""


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    """An engine as the driver sees it.

    Attributes:
        name: what the heartbeat knows it by.
        actor: the actor.
        slots: trials that fit.
        trials: the trials that it has been given.
        join: those of them that it does not know yet.
        leave: trials that it does not know to be ended.
        ready: whether it has a place in the cluster, and runs.
        call: what it is doing, at first becoming ready; None where it waits.
    """

    name: str
    actor: ActorHandle[Any]
    slots: int
    trials: dict[str, TuneTrial] = dataclasses.field(default_factory=dict)
    join: list[str] = dataclasses.field(default_factory=list)
    leave: list[str] = dataclasses.field(default_factory=list)
    ready: bool = False
    call: ObjectRef[Any] | None = None

    def go_on(self) -> None:
        """Have it train an epoch, where it waits and has anything to do."""
        if self.call is None and (self.trials or self.leave):
            join = [(name, self.trials[name].config) for name in self.join]
            self.call = self.actor.advance.remote(self.leave, join)
            self.leave, self.join = [], []


def run_packed(
    searcher: SpecSearcher,
    scheduler: TrialScheduler,
    *,
    study: Study,
    data: Dataset,
    room: Room,
    observer: Observer,
    limiter: Limiter,
) -> None:
    """Run the searcher's trials to their ends, or until the limiter ends the stage.

    Args:
        searcher: what is tried.
        scheduler: who is stopped early; one that decides by reports alone.
        study: says what each engine takes, its slots, and how often a trial is restarted when its engine is lost.
        data: what the trials may read; placed once in each node's object store.
        room: how many engines the cluster has room for.
        observer: hears what happens, as Tune would tell it.
        limiter: ends the stage.
    """
    stage = _Stage(searcher, scheduler, study, data, room, observer)
    hint = f"`gansearch resume {observer.recorder.run}` goes on, on this cluster when it is back or on another"
    with head_watched(observer.write_interrupted, hint):
        try:
            while not limiter.stop_all() and stage.step():
                observer.on_step_end(0, [])
        finally:
            stage.close(limiter.reason.text if limiter.reason else None)


class _Stage:
    """The engines of a stage and their trials."""

    def __init__(
        self,
        searcher: SpecSearcher,
        scheduler: TrialScheduler,
        study: Study,
        data: Dataset,
        room: Room,
        observer: Observer,
    ) -> None:
        self._searcher, self._study = searcher, study
        self._scheduler: Any = scheduler  # those that are driven here take no controller
        self._room, self._observer = room, observer
        self._slots = study.executor.slots
        self._data = ray.put(data)
        self._make = ray.remote(EngineActor).options(**_options(study.resources))
        self._heartbeat = Heartbeat(
            study.limits.heartbeat, least=max(AUTOMATIC_LEAST, 1.5 * study.limits.storage_patience)
        )
        self._workers: list[_Worker] = []
        self._again: list[TuneTrial] = []  # those whose engine was lost
        self._reports: collections.Counter[str] = collections.Counter()
        self._failures: collections.Counter[str] = collections.Counter()
        self._numbers = itertools.count()
        self._finished = False

    def step(self) -> bool:
        """Hand out trials, wait for an engine, decide on its reports; return whether there is more to do."""
        self._hand_out()
        for worker in self._workers:
            if worker.call is None and worker.trials:
                self._heartbeat.start(worker.name)
            worker.go_on()
        calls: dict[Any, _Worker] = {worker.call: worker for worker in self._workers if worker.call is not None}
        if not calls:
            if self._finished and not self._again:
                return False
            time.sleep(WAIT_SECONDS)  # for room, or for a trial that equals one that runs
            return True
        ready, _ = ray.wait(list(calls), num_returns=1, timeout=WAIT_SECONDS)
        for call in ready:
            self._hear(calls[call], call)
        for name, silent in self._heartbeat.step().items():
            worker = next(one for one in self._workers if one.name == name)
            self._lost(worker, f"it made no report for {silent:.0f} s and was killed (limits.heartbeat)")
        return True

    def close(self, reason: str | None) -> None:
        """End all engines; where the stage ends early, after they have written checkpoints.

        Args:
            reason: why it ends early; None where it does not.
        """
        if reason is not None:
            calls: list[Any] = [
                worker.actor.interrupt.remote(worker.leave, reason) for worker in self._workers if worker.ready
            ]
            if calls:
                ray.wait(calls, num_returns=len(calls), timeout=FAREWELL_SECONDS)
        for worker in self._workers:
            ray.kill(worker.actor)

    def _hand_out(self) -> None:
        """Give places to trials, first to those whose engine was lost; start engines where there is room."""
        for trial in list(self._again):
            alone = self._last_life(trial.trial_id)
            if self._open(alone=alone) or self._startable:
                self._again.remove(trial)
                self._give(trial, alone=alone)
        while not self._finished and (self._open() or self._startable):
            found = self._next()
            if found is None:
                return
            self._give(found)

    @property
    def _startable(self) -> bool:
        """Whether one more engine may be started, on a machine that may have to be started for it."""
        return len(self._workers) < max(self._room.limit, 1)

    def _open(self, *, alone: bool = False) -> list[_Worker]:
        """Return the engines that have a place for a trial, or for one that is to be alone there."""
        free = []
        for worker in self._workers:
            taken = len(worker.trials)
            if not taken or (not alone and taken < worker.slots and not any(map(self._last_life, worker.trials))):
                free.append(worker)
        return free

    def _give(self, trial: TuneTrial, *, alone: bool = False) -> None:
        """Give a trial to the engine with the fewest, or to one that is started for it."""
        worker = min(self._open(alone=alone), key=lambda one: len(one.trials), default=None)
        # On machines that are there, another engine is worth its start before the first is crowded.
        if worker is None or (worker.trials and self._startable and len(self._workers) < self._room.there):
            worker = self._start()
        worker.trials[trial.trial_id] = trial
        worker.join.append(trial.trial_id)
        # Though its engine may have to start first: were it not in the rows, a resumption could pass its number over.
        self._observer.on_trial_start(0, [], trial)

    def _next(self) -> TuneTrial | None:
        """Return the searcher's next trial; None where there is none now."""
        trial_id = f"{next(self._numbers):08d}"
        config = self._searcher.suggest(trial_id)
        if config == Searcher.FINISHED:
            self._finished = True
            return None
        if config is None:
            return None
        trial = TuneTrial("packed", config=config, trial_id=trial_id, stub=True)
        trial.set_status(TuneTrial.RUNNING)
        self._scheduler.on_trial_add(None, trial)
        return trial

    def _start(self) -> _Worker:
        actor: Any = self._make.remote(self._data, self._observer.recorder, placement(self._study), self._slots)
        worker = _Worker(name=f"engine {next(self._numbers)}", actor=actor, slots=self._slots)
        worker.call = actor.__ray_ready__.remote()
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker, call: ObjectRef[Any]) -> None:
        """Decide on what an engine reports."""
        worker.call = None
        try:
            said: Advance | bool = ray.get(call)
        except RayError as error:
            self._lost(worker, account_of(error))
            return
        if not isinstance(said, Advance):
            worker.ready = True
            return
        self._heartbeat.report(worker.name)
        if said.slots < worker.slots:
            fit, fitted = _trials(said.slots), worker.slots
            _log.warning("the memory of an engine's device holds %s at a time, not %d", fit, fitted)
        worker.slots = said.slots
        for name, result in said.reports:
            self._decide(worker, worker.trials[name], result)
        for name, account in said.short.items():
            self._fail(worker.trials.pop(name), account, short=True)
        if not worker.trials:
            self._heartbeat.end(worker.name)

    def _decide(self, worker: _Worker, trial: TuneTrial, result: Result) -> None:
        name = trial.trial_id
        self._reports[name] += 1
        result = {**result, "training_iteration": self._reports[name], "trial_id": name}
        trial.run_metadata.last_result = result
        self._observer.on_trial_result(0, [], trial, result)
        if result["done"]:
            self._scheduler.on_trial_complete(None, trial, result)
        else:
            self._searcher.on_trial_result(name, result)
            decision = self._scheduler.on_trial_result(None, trial, result)
            if decision == TrialScheduler.CONTINUE:
                return
            worker.leave.append(name)
        self._searcher.on_trial_complete(name, result=result)
        self._observer.on_trial_complete(0, [], trial)
        del worker.trials[name]
        self._forget(name)

    def _forget(self, name: str) -> None:
        for counts in (self._reports, self._failures):
            counts.pop(name, None)

    def _lost(self, worker: _Worker, account: str) -> None:
        """Start the trials of a lost engine again elsewhere, from their checkpoints; end those that lost too many."""
        ray.kill(worker.actor)
        self._workers.remove(worker)
        self._heartbeat.end(worker.name)
        short = for_want_of_memory(account)
        _log.warning("an engine of %s was lost: %s", _trials(len(worker.trials)), account)
        if short and len(worker.trials) > 1:
            self._slots = max(min(self._slots, len(worker.trials)) // 2, 1)
            _log.warning("engines train %s at a time from here on", _trials(self._slots))
        for trial in worker.trials.values():
            self._fail(trial, account, short=short and len(worker.trials) == 1)

    def _fail(self, trial: TuneTrial, account: str, *, short: bool) -> None:
        """Start a trial again that lost its engine, or end it.

        Args:
            trial: the trial.
            account: what the engine was lost by.
            short: whether memory did not suffice for the trial alone.
        """
        name, limits = trial.trial_id, self._study.limits
        self._failures[name] += 1
        times, ends = self._failures[name], short and limits.out_of_memory == "fail"
        if times <= limits.max_failures and not ends:
            self._again.append(trial)
            return
        lost = f"its worker was lost {times} time{'s' if times > 1 else ''}: {account}"
        self._observer.lost(trial, f"{account} (limits.out_of_memory: fail)" if ends else lost)
        self._scheduler.on_trial_error(None, trial)
        self._searcher.on_trial_complete(name, error=True)
        self._forget(name)

    def _last_life(self, name: str) -> bool:
        """Return whether the next loss of its engine ends a trial: it is alone then, lest it ends others."""
        return 0 < self._failures[name] >= self._study.limits.max_failures


def _options(resources: Resources) -> dict[str, Any]:
    """Return what an engine takes, as Ray's options of an actor."""
    bundle = resources.bundle()
    taken = {"num_cpus": bundle.pop("CPU", 0), "num_gpus": bundle.pop("GPU", 0)}
    memory = bundle.pop("memory", None)
    return {**taken, **({"memory": memory} if memory else {}), "resources": bundle or None}


def _trials(n: int) -> str:
    return "1 trial" if n == 1 else f"{n} trials"
