"""Trials whose worker was lost: what it was lost by, what becomes of them, and those that are lost without a word."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from gansearch.search import tune_actors
from gansearch.search.heartbeat import AUTOMATIC_LEAST, Heartbeat
from gansearch.search.observer import Observer
from gansearch.search.searchers import SPEC
from gansearch.search.sections import Limits, Resources
from gansearch.spec import TrialSpec

if TYPE_CHECKING:
    from ray.actor import ActorHandle
    from ray.tune.experiment import Trial as TuneTrial

_log = logging.getLogger(__name__)

ROOM_SECONDS = 10.0
"""Longest wait for the room that is kept idle."""
MAX_ERROR = 400
"""Characters of Ray's account of a lost worker that a row keeps."""
_NODE = "ray.io/node-id"
"""Ray's label of a node's id."""
_HEADING = re.compile(r"^Failure # \d+.*\n", re.MULTILINE)
_FAULT = re.compile(r"^gansearch\.faults\.\w+: (.+)", re.MULTILINE)
_MEMORY = ("out of memory", tune_actors.OUT_OF_MEMORY)
"""What the account of a trial that ran out of memory begins with."""


class LostWorkers(tune.Callback):
    """Follows the workers of one stage, beside an observer, which writes the rows.

    Args:
        observer: what is known of the trials.
        limits: the study's: how long a trial may be silent, and what becomes of one that ran out of memory.
        resources: what each trial takes.
    """

    def __init__(self, observer: Observer, limits: Limits, resources: Resources) -> None:
        self._observer, self._limits = observer, limits
        # A trial that waits for its storage says nothing either.
        least = max(AUTOMATIC_LEAST, 1.5 * limits.storage_patience)
        self._heartbeat = Heartbeat(limits.heartbeat, least=least)
        self._rooms = Rooms(resources)
        self._trials: dict[str, TuneTrial] = {}
        self._actors: dict[str, ActorHandle[Any]] = {}
        self._silent: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles what it is given, and an actor's handle is of no use there."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Note which actor runs a trial."""
        actor = tune_actors.actor_of(trial)
        if actor is not None:
            self._actors[trial.trial_id] = actor
        self._trials[trial.trial_id] = trial
        self._heartbeat.start(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Note that a trial is alive."""
        self._heartbeat.report(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Forget a trial that has ended."""
        self._forget(trial.trial_id)
        self._rooms.give_back(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Make room for a trial that is restarted for want of memory, or end it."""
        account, actor = self._account(trial), self._actors.get(trial.trial_id)
        self._bury(trial.trial_id)
        short = for_want_of_memory(account)
        if short and self._limits.out_of_memory == "fail":
            # Its next worker finds that it has ended.
            self._observer.fail(trial, f"{account} (limits.out_of_memory: fail)")
            return
        spec = TrialSpec.from_dict(trial.config[SPEC])
        _log.warning(
            "trial %s lost its worker and goes on from its last checkpoint (restart %d of %d): %s",
            f"{spec.config.config_id} (seed {spec.seed})",
            trial.num_failures,
            self._limits.max_failures,
            account,
        )
        if short and actor is not None:
            self._rooms.keep(trial.trial_id, tune_actors.machine_of(actor))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Have the row written of a trial whose worker was lost for good."""
        lost = max(trial.num_failures, 1)
        self._observer.lost(trial, f"its worker was lost {lost} time{'s' if lost > 1 else ''}: {self._account(trial)}")
        self._bury(trial.trial_id)
        self._rooms.give_back(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Kill the workers of trials that have been silent for too long: Tune restarts those whose worker died."""
        for trial_id, silent in self._heartbeat.step().items():
            self._heartbeat.end(trial_id)
            if self._trials[trial_id].status == "RUNNING" and trial_id in self._actors:
                self._silent[trial_id] = silent
                ray.kill(self._actors[trial_id])

    def close(self) -> None:
        """Give back all room that is kept."""
        self._rooms.close()

    def _account(self, trial: TuneTrial) -> str:
        """Return what a trial's worker was lost by."""
        silent = self._silent.get(trial.trial_id)
        if silent is not None:
            return f"it made no report for {silent:.0f} s and was killed (limits.heartbeat)"
        return last_account(trial)

    def _bury(self, trial_id: str) -> None:
        """Forget a trial's worker, and see to it that it is no more: a GPU that failed may hold up its end."""
        if (actor := self._actors.get(trial_id)) is not None:
            ray.kill(actor)
        self._forget(trial_id)

    def _forget(self, trial_id: str) -> None:
        self._heartbeat.end(trial_id)
        for known in (self._trials, self._actors, self._silent):
            known.pop(trial_id, None)


class Rooms:
    """Room that is taken off machines where the memory was short, each until a trial has ended.

    Args:
        resources: what a trial takes.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._kept: dict[str, list[tuple[str, PlacementGroup]]] = {}

    def keep(self, trial_id: str, machine: str | None) -> bool:
        """Keep room of one more trial idle on a machine; return whether there is any to spare.

        Args:
            trial_id: until when: this trial's end.
            machine: id of its node.
        """
        taken = sum(where == machine for kept in self._kept.values() for where, _ in kept)
        if machine is None or self._fit(machine) - taken < 2:  # one trial must still fit
            return False
        group = placement_group([self._resources.bundle()], bundle_label_selector=[{_NODE: machine}])
        self._kept.setdefault(trial_id, []).append((machine, group))
        group.wait(ROOM_SECONDS)  # before Tune asks for the room that the lost worker has left
        return True

    def give_back(self, trial_id: str) -> None:
        """Give back what is kept for a trial."""
        for _, group in self._kept.pop(trial_id, []):
            remove_placement_group(group)

    def close(self) -> None:
        """Give back everything."""
        for trial_id in list(self._kept):
            self.give_back(trial_id)

    def _fit(self, machine: str) -> int:
        found = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] == machine]
        return sum(map(self._resources.fit_on, found))


def last_account(trial: TuneTrial) -> str:
    """Return Ray's account of what a trial's worker was lost by the last time, in one line."""
    path = trial.error_file  # beside the driver; `get_error` looks in storage, where it is put at the end only
    if not path or not Path(path).exists():
        return "no reason given"
    text = _HEADING.split(Path(path).read_text(encoding="utf-8"))[-1]
    if faults := _FAULT.findall(text):
        return str(faults[-1])[:MAX_ERROR]
    return _in_a_line(text)


def account_of(error: RayError) -> str:
    """Return what an actor was lost by, in one line: an error of its own, or the loss of its process or machine."""
    if isinstance(error, RayTaskError):
        return _in_a_line(str(error.cause))
    return _in_a_line(str(tune_actors.as_actor_loss(error)))


def for_want_of_memory(account: str) -> bool:
    """Return whether an account is of a loss for want of memory."""
    return account.startswith(_MEMORY)


def _in_a_line(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("\t")]  # names and numbers of the actor
    return " ".join(" ".join(lines).split())[:MAX_ERROR]
