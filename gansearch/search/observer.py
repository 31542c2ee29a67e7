"""What the driver does while Tune runs: rows that no worker can write, progress, limits.

A worker writes the rows of trials that reach an end of their own. The driver writes STOPPED (a decision of
the scheduler), FAILED (the worker was lost) and INTERRUPTED (the sweep was stopped), from the last draft
that the trial reported.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from gansearch import schema
from gansearch.recorder import Recorder
from gansearch.rows import Row, draft_row, final_rows
from gansearch.search.progress import Best, Progress
from gansearch.search.searchers import METRIC, SPEC
from gansearch.search.sections import Limits
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
        digests: digest of each split of the data set, by its name.
        progress: what is known of the stage before it starts.
        started: when the sweep started, by `time.monotonic`.
        searched: names of the searched parameters, for display.
        publish: called with the progress as it goes.
    """

    def __init__(
        self,
        recorder: Recorder,
        digests: Mapping[str, str],
        progress: Progress,
        *,
        started: float,
        searched: tuple[str, ...],
        publish: Callable[[Progress], None],
    ) -> None:
        self._recorder, self._digests = recorder, digests
        self._progress, self._started, self._searched, self._publish = progress, started, searched, publish
        self._published = 0.0
        self._running: dict[str, TrialSpec] = {}
        self._drafts: dict[str, Row] = {}
        self._since: dict[str, float] = {}
        self.ended: collections.Counter[str] = collections.Counter()
        self._durations: list[float] = []

    @property
    def trial_seconds(self) -> float:
        """Seconds that all trials of the stage have taken together so far."""
        now = time.monotonic()
        return sum(self._durations) + sum(now - since for since in self._since.values())

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Note that a trial runs."""
        self._running[trial.trial_id] = TrialSpec.from_dict(trial.config[SPEC])
        self._since.setdefault(trial.trial_id, time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Result, **info: Any
    ) -> None:
        """Keep a trial's draft, and the best value so far."""
        draft = self._drafts[trial.trial_id] = result["draft"][0]
        value = result.get(METRIC)
        if value is not None and (self._progress.best is None or value > self._progress.best.value):
            config = self._running[trial.trial_id].config
            active = config.to_dict()
            changes = [f"{name}={config.get(name)}" for name in self._searched if name.partition(".")[0] in active]
            best = Best(value=value, config_id=config.config_id, epoch=draft["epochs"], changes=" ".join(changes))
            self._update(best=best)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Write the row of a trial that the scheduler stopped."""
        status = (trial.last_result or {}).get("status")
        if status is None:
            status = schema.STOPPED
            epochs = self._drafts[trial.trial_id]["epochs"]
            self._write(trial.trial_id, status, f"stopped by the scheduler after {epochs} epochs")
        self._end(trial.trial_id, status)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Write the row of a trial whose worker was lost for good."""
        if trial.trial_id not in self._running:  # its worker died before it was ready
            self._running[trial.trial_id] = TrialSpec.from_dict(trial.config[SPEC])
        error = trial.get_error()
        last = " ".join(str(error).split())[-300:] if error else "no reason given"
        self._write(trial.trial_id, schema.FAILED, f"its worker was lost {trial.num_failures} times: {last}")
        self._end(trial.trial_id, schema.FAILED)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Publish the progress from time to time."""
        if time.monotonic() - self._published >= PROGRESS_SECONDS:
            self._update()

    @property
    def unfinished(self) -> int:
        """Trials that started and have not ended."""
        return len(self._running)

    def interrupt(self, reason: str) -> int:
        """Write the rows of trials that were stopped before their end; return how many there were."""
        unfinished = list(self._running)
        for trial_id in unfinished:
            self._write(trial_id, schema.INTERRUPTED, reason)
            self._end(trial_id, schema.INTERRUPTED)
        return len(unfinished)

    @property
    def progress(self) -> Progress:
        """What is known now."""
        return self._progress

    def _write(self, trial_id: str, status: str, error: str) -> None:
        spec = self._running[trial_id]
        if self._recorder.rows(spec.key, [p.id for p in spec.protocols[:1]]):
            return  # its worker wrote the row and was lost after that
        draft = self._drafts.get(trial_id) or draft_row(spec, self._digests)
        for row in final_rows(draft, spec, status, error=error):
            self._recorder.trial(spec.key, row)
        if status != schema.INTERRUPTED:
            self._recorder.drop_checkpoint(spec.key)

    def _end(self, trial_id: str, status: str) -> None:
        self.ended[status] += 1
        self._running.pop(trial_id, None)
        self._drafts.pop(trial_id, None)
        self._durations.append(time.monotonic() - self._since.pop(trial_id, time.monotonic()))
        self._update()

    def _update(self, **changes: Any) -> None:
        done, now = sum(self.ended.values()), time.monotonic()
        left = None
        if self._durations:
            waiting = max(self._progress.planned - done - len(self._running), 0)
            mean = sum(self._durations) / len(self._durations)
            spent = sum(min(now - since, mean) for since in self._since.values())
            left = max((waiting + len(self._running)) * mean - spent, 0) / max(len(self._running), 1)
        self._progress = dataclasses.replace(
            self._progress,
            running=len(self._running),
            ended=dict(self.ended),
            elapsed=now - self._started,
            left=left,
            updated=time.time(),
            **changes,
        )
        self._published = now
        self._publish(self._progress)


class Limiter(tune.Stopper):
    """Ends a stage when a limit of the study is reached or somebody asks for it.

    Args:
        limits: the study's limits.
        observer: what the stage has come to.
        gpus: GPUs a trial takes.
        stop_request: the file whose existence asks for the end.
        deadline: when the stage must end, by `time.monotonic`; None for never.
    """

    def __init__(
        self, limits: Limits, observer: Observer, *, gpus: float, stop_request: Path, deadline: float | None
    ) -> None:
        self._limits, self._observer, self._gpus = limits, observer, gpus
        self._stop_request, self._deadline = stop_request, deadline
        self.reason: str | None = None

    @property
    def max_failures(self) -> int:
        """Restarts of a trial whose worker was lost."""
        return self._limits.max_failures

    def __call__(self, trial_id: str, result: Result) -> bool:  # noqa: ARG002  # Tune's interface
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether the stage must end now, and note why."""
        if self.reason is None:
            self.reason = self._find_reason()
        return self.reason is not None

    def _find_reason(self) -> str | None:
        limits, ended = self._limits, self._observer.ended
        if self._stop_request.exists():
            return "stopped on request"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return f"the time limit of {limits.time_limit:g} s was reached"
        hours = self._observer.trial_seconds * self._gpus / 3600
        if limits.gpu_hours is not None and hours > limits.gpu_hours:
            return f"the limit of {limits.gpu_hours:g} GPU hours was reached"
        first = limits.stop_if_first_fail
        if first is not None and ended[schema.FAILED] >= first and ended.total() == ended[schema.FAILED]:
            return f"the first {ended[schema.FAILED]} trials all failed"
        return None
