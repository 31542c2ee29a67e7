"""What the driver does while Tune runs: the rows that no worker can write, and the progress.

A worker writes the rows of trials that reach an end of their own. The driver writes STOPPED (a decision of
the scheduler), FAILED (the worker was lost) and INTERRUPTED (the sweep was stopped), from the last draft
that the trial reported.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ray import tune

from gansearch import schema
from gansearch.recorder import Recorder
from gansearch.rows import Row, draft_row, final_rows
from gansearch.search import tune_memory
from gansearch.search.progress import Best, Progress, changes_of
from gansearch.search.proposals import value_epoch
from gansearch.search.searchers import METRIC, SPEC
from gansearch.spec import TrialSpec

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

PROGRESS_SECONDS = 1.0
"""Least time between two progress reports."""

Result = dict[str, Any]


class Observer(tune.Callback):
    """Follows one stage of a sweep.

    Args:
        recorder: the run directory.
        digests: of each fold of the data set the digest of each split, by its name.
        progress: what is known of the stage before it starts: trials that ended earlier, and the best of them.
        slots: trials that run at a time, at most.
        searched: names of the searched parameters, for display.
        publish: called with the progress as it goes.
        on_outcome: told of each trial that has its rows, all with an outcome.

    Attributes:
        recorder: the run directory.
        progress: what is known now.
        ended: trials that ended, by status.
    """

    def __init__(
        self,
        recorder: Recorder,
        digests: Mapping[int, Mapping[str, str]],
        progress: Progress,
        *,
        slots: int,
        searched: tuple[str, ...],
        publish: Callable[[Progress], None],
        on_outcome: Callable[[TrialSpec], None] = lambda _: None,
    ) -> None:
        self.recorder, self._digests = recorder, digests
        self._slots, self._searched, self._publish, self._on_outcome = slots, searched, publish, on_outcome
        self._started, self._elapsed_before = time.monotonic(), progress.elapsed
        self._published = 0.0
        self._running: dict[str, TrialSpec] = {}
        self._trials: dict[str, TuneTrial] = {}
        self._drafts: dict[str, Row] = {}
        # Of those that run; the best of those that ended stands under a name that no trial has.
        self._values: dict[str, Best] = {"": progress.best} if progress.best is not None else {}
        self._since: dict[str, float] = {}  # of those that run at this moment
        self._before: dict[str, float] = {}  # seconds that a trial ran before it last waited
        self._spent = 0.0  # seconds that the trials took which ended here
        self._counted = 0  # how many those are
        self.progress = progress
        self.ended: collections.Counter[str] = collections.Counter(progress.ended)
        self.last_error: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles what it is given, and would write the data set with it."""
        return {}

    @property
    def trial_seconds(self) -> float:
        """Seconds that all trials of the stage have taken together so far."""
        now = time.monotonic()
        return self._spent + sum(self._seconds(trial_id, now) for trial_id in self._running)

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Note that a trial runs, in its rows too: a sweep that is killed finds there what it was doing."""
        # One that has waited may be another than it began as: see `on_trial_result`.
        spec = self._running.setdefault(trial.trial_id, TrialSpec.from_dict(trial.config[SPEC]))
        self._trials[trial.trial_id] = trial
        self._since.setdefault(trial.trial_id, time.monotonic())
        self._write_running(trial.trial_id, spec)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Result, **info: Any
    ) -> None:
        """Keep a trial's draft, and the best of what the trials of the search say now."""
        value, spec = result.get(METRIC), self._running[trial.trial_id]
        if SPEC in result and (now := TrialSpec.from_dict(result[SPEC][0])).key != spec.key:
            self._replace(trial.trial_id, now)
            spec = now
        draft = self._drafts[trial.trial_id] = result["draft"][0]
        if spec.stage != "search":  # it competes with nothing: the best of the search stays on display
            return
        # A trial's value may fall, when its samples leave collapse, and it has none once it has diverged.
        self._values.pop(trial.trial_id, None)
        if value is not None:
            config_id = spec.config.config_id
            epoch = value_epoch(draft, spec.config.score.at)
            # What trained that epoch: changes after it came too late.
            changes = changes_of(spec.config.at_epoch(max(epoch - 1, 0)), self._searched)
            self._values[trial.trial_id] = Best(value=value, config_id=config_id, epoch=epoch, changes=changes)
        best = max(self._values.values(), key=lambda known: known.value, default=None)
        if best != self.progress.best:
            self.progress = dataclasses.replace(self.progress, best=best)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Write the row of a trial that the scheduler stopped."""
        status = (trial.last_result or {}).get("status")
        if status is None:
            epochs = self._drafts[trial.trial_id]["epochs"]
            status = self._write(trial.trial_id, schema.STOPPED, f"stopped by the scheduler after {epochs} epochs")
        elif status == schema.FAILED:
            spec = self._running[trial.trial_id]
            self.last_error = next((row["error"] for row in self.recorder.rows(spec.key, [spec.protocols[0].id])), None)
        self._end(trial.trial_id, status)
        tune_memory.forget(trial)

    def lost(self, trial: TuneTrial, error: str) -> None:
        """Write the row of a trial whose worker was lost for good, and end it."""
        if trial.trial_id not in self._running:  # its worker was lost before it was ready
            self._running[trial.trial_id] = TrialSpec.from_dict(trial.config[SPEC])
        self.last_error = error
        self._end(trial.trial_id, self._write(trial.trial_id, schema.FAILED, error))

    def fail(self, trial: TuneTrial, error: str) -> None:
        """Write the row of a trial that is not to go on; it ends when a worker finds the row."""
        if trial.trial_id in self._running:
            self._write(trial.trial_id, schema.FAILED, error)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Publish the progress from time to time."""
        now = time.monotonic()
        for trial_id in [one for one in self._since if self._trials[one].status == "PAUSED"]:
            self._before[trial_id] = self._seconds(trial_id, now)
            del self._since[trial_id]
        if now - self._published >= PROGRESS_SECONDS:
            self._update()

    def write_interrupted(self, reason: str) -> None:
        """Write the rows of the trials that run as they are now; one that still ends by itself replaces its own.

        One that ends at the very moment of this writing may have its outcome replaced instead: what that costs
        is time. The resumed sweep runs it again, to the same outcome, and finds its test evaluation in the ledger.
        """
        for trial_id in list(self._running):
            self._write(trial_id, schema.INTERRUPTED, reason)

    def interrupt(self, reason: str) -> int:
        """Take the trials that run for stopped and write their rows; return how many there were.

        Called after Tune's `fit` has returned. Workers have then ended or, where they did not within ten
        seconds, been killed. (Ray does not wait for a kill: `write_interrupted` says what a late one costs.)
        """
        unfinished = list(self._running)
        for trial_id in unfinished:
            self._end(trial_id, self._write(trial_id, schema.INTERRUPTED, reason))
        return len(unfinished)

    def _write(self, trial_id: str, status: str, error: str) -> str:
        """Write a trial's rows and return its status: another one where the trial ended by itself meanwhile."""
        spec = self._running[trial_id]
        found = self._rows(spec)
        if _ended(spec, found):
            return str(found[0]["status"])
        self._write_rows(trial_id, spec, found, status, error)
        if status != schema.INTERRUPTED:
            self.recorder.drop_checkpoint(spec.key)
        return status

    def _write_running(self, trial_id: str, spec: TrialSpec) -> None:
        """Write the rows of a trial that runs, unless it has ended."""
        rows = self._rows(spec)
        if not _ended(spec, rows):
            self._write_rows(trial_id, spec, rows, schema.RUNNING)

    def _write_rows(
        self, trial_id: str, spec: TrialSpec, found: list[Row], status: str, error: str | None = None
    ) -> None:
        """Write a trial's rows; a status that is no outcome replaces none, under whichever protocol there is one."""
        kept = [row["protocol_id"] for row in found if row["status"] not in schema.UNFINISHED]
        for row in final_rows(self._draft(trial_id, spec, found), spec, status, error=error):
            if status not in schema.UNFINISHED or row["protocol_id"] not in kept:
                self.recorder.trial(spec.key, row)

    def _replace(self, trial_id: str, spec: TrialSpec) -> None:
        """End the trial that a member of a population was, and note which it is now."""
        # First the new: a sweep that is killed between the two has a member too many, and not one too few.
        before = self._drafts.pop(trial_id, None)
        self._write_running(trial_id, spec)
        if before is not None:
            self._drafts[trial_id] = before
        epochs = before["epochs"] if before is not None else 0
        error = f"replaced at epoch {epochs} by a copy of {spec.parent_id}"
        self.ended[self._write(trial_id, schema.STOPPED, error)] += 1
        self._on_outcome(self._running[trial_id])
        self._running[trial_id] = spec
        self._update(planned=self.progress.planned + 1)

    def _seconds(self, trial_id: str, now: float) -> float:
        """Return the seconds that a trial has run."""
        return self._before.get(trial_id, 0.0) + now - self._since.get(trial_id, now)

    def _rows(self, spec: TrialSpec) -> list[Row]:
        return self.recorder.rows(spec.key, [p.id for p in spec.protocols])

    def _draft(self, trial_id: str, spec: TrialSpec, rows: list[Row]) -> Row:
        """Return what is known of a trial: its last draft, else what an earlier driver left of it.

        Not from a row with an outcome: its scores are those of one protocol.
        """
        left = next((row for row in rows if row["status"] in schema.UNFINISHED), None)
        return self._drafts.get(trial_id) or left or draft_row(spec, self._digests[spec.fold])

    def _end(self, trial_id: str, status: str) -> None:
        self.ended[status] += 1
        if status not in schema.UNFINISHED:
            self._on_outcome(self._running[trial_id])
        self._spent += self._seconds(trial_id, time.monotonic())
        self._counted += 1
        self._keep_value(trial_id)
        for known in (self._running, self._trials, self._drafts, self._since, self._before):
            known.pop(trial_id, None)
        self._update()

    def _keep_value(self, trial_id: str) -> None:
        """Keep the value of a trial that ended while none of those is better: to look through all would take long."""
        value, kept = self._values.pop(trial_id, None), self._values.get("")
        if value is not None and (kept is None or value.value > kept.value):
            self._values[""] = value

    def _update(self, **changes: Any) -> None:
        """Say how far the stage has come; in the run directory from time to time, for a file takes long."""
        now = time.monotonic()
        self.progress = dataclasses.replace(
            self.progress,
            running=len(self._since),
            ended=dict(self.ended),
            elapsed=self._elapsed_before + now - self._started,
            left=self._left(now),
            updated=time.time(),
            **changes,
        )
        if now - self._published >= PROGRESS_SECONDS:
            self._published = now
            self._publish(self.progress)

    def _left(self, now: float) -> float | None:
        """Return the seconds to the end of the stage if trials go on as they went, or None before one has ended."""
        if not self._counted:
            return None
        mean = self._spent / self._counted
        unfinished = max(self.progress.planned - self.ended.total(), len(self._running))
        spent = sum(min(self._seconds(trial_id, now), mean) for trial_id in self._running)
        return (unfinished * mean - spent) / max(min(self._slots, unfinished), 1)


def _ended(spec: TrialSpec, rows: list[Row]) -> bool:
    """Return whether a trial has an outcome under each of its protocols."""
    return len(rows) == len(spec.protocols) and all(row["status"] not in schema.UNFINISHED for row in rows)
