"""A trial inside a Ray worker."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

from ray import tune

from gansearch import outbox
from gansearch.core.datasets import Dataset
from gansearch.errors import ResultsError
from gansearch.placement import Placement
from gansearch.recorder import Checkpoint, Recorder, load
from gansearch.search.population import TURN, child
from gansearch.search.searchers import CURRENT, METRIC, REPEAT, SPEC
from gansearch.spec import TrialSpec
from gansearch.training import copy_course
from gansearch.trial import Report, Trial

_IDENTITY = "trial.json"
_COPY = "checkpoint.safetensors"
"""Files of a Tune checkpoint: which trial it is of, and in a population a copy of that trial's own checkpoint."""


class TrialWorker(tune.Trainable):
    """Runs trials one after another in one process (`reuse_actors`).

    Nothing is written before the first step: with reused actors Tune may set one trial up in two
    processes, and steps only one of them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Tune would make the trial's folder the current one. Set in the driver, the variable would reach this process
        # too, but not one that Ray holds ready: Tune would have another one started for each trial.
        os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
        super().__init__(*arguments, **options)

    def setup(  # type: ignore[override]  # Tune hands over `with_parameters` as keywords
        self, config: dict[str, Any], recorder: Recorder, data: Dataset, placement: Placement
    ) -> None:
        """Prepare the first trial.

        Args:
            config: Tune's configuration; holds the spec.
            recorder: where outcomes go.
            data: the data set, read in place from the node's object store.
            placement: what a trial of this sweep is given.
        """
        self._data, self._placement, self._recorder = data, placement, recorder
        self._trial: Trial | None = None
        with contextlib.suppress(ResultsError):  # rows of an earlier process here; storage may be away still
            outbox.deliver(recorder.run)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the next trial in this process."""
        self.cleanup()
        self._config = new_config
        self._spec = TrialSpec.from_dict(new_config[SPEC])
        self._copied: tuple[TrialSpec, Checkpoint] | None = None
        self._trial = None
        return True

    def cleanup(self) -> None:
        """Leave the trial that ran here last, where somebody else has ended it or let it wait."""
        if self._trial is not None:
            self._trial.leave()

    def step(self) -> dict[str, Any]:
        """Train to the next report."""
        if self._trial is None:
            if self._copied is not None:
                copy_course(self._recorder, self._copied[0], self._spec, self._copied[1])
            data = self._data.of_fold(self._spec.fold)
            self._trial = Trial(self._spec, data, self._recorder, self._placement)
        # Of no effect but for the trial's first call.
        return as_result(self._trial.advance(repeat=self._config.get(REPEAT, False)), self._spec)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the trial's checkpoint to the run; give Tune what identifies it.

        In a population Tune gets a copy as well: a trial that goes on replaces its own.
        """
        if self._trial is None:
            raise ResultsError("a trial cannot be saved before its first report")
        self._trial.checkpoint()
        turn = self._config.get(TURN)
        identity = {"spec": self._spec.to_dict(), "turn": turn}
        (Path(checkpoint_dir) / _IDENTITY).write_text(json.dumps(identity), encoding="utf-8")
        if turn is not None:
            (Path(checkpoint_dir) / _COPY).write_bytes(self._recorder.paths.checkpoint(self._spec.key).read_bytes())

    def restore(self, checkpoint_path: Any) -> None:
        """Go on from a Tune checkpoint, as Tune's own `restore` does but for one thing.

        That one unpickles a certain file wherever it lies in a checkpoint, and checkpoints of schedulers that pause lie
        in the run directory: whoever can write there could run code. Here no pickle is read.
        """
        checkpoint, metrics = checkpoint_path.checkpoint, checkpoint_path.metrics
        self._iteration = metrics.get("training_iteration", 0)
        self._time_total = metrics.get("time_total_s", 0.0)
        self._time_since_restore, self._iterations_since_restore = 0.0, 0
        with checkpoint.as_directory() as folder:
            self.load_checkpoint(folder)
        self._restored = True

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        """Go on with the trial of a Tune checkpoint; as a copy of it where it is another member's."""
        folder = Path(str(checkpoint))
        identity = json.loads((folder / _IDENTITY).read_text(encoding="utf-8"))
        self._spec = TrialSpec.from_dict(identity["spec"])
        if identity["turn"] != self._config.get(TURN):
            donor, saved = self._spec, load(folder / _COPY)
            self._spec, self._copied = child(donor, saved.state["epochs"], self._config), (donor, saved)


def as_result(report: Report, spec: TrialSpec) -> dict[str, Any]:
    """Return a report as Tune's result, with the trial that it is of; no values where a trial failed or diverged."""
    result: dict[str, Any] = {"epoch": report.epoch, "done": report.status is not None}
    # In lists, for Tune would flatten a mapping and keep statistics of every number in it.
    result |= {"draft": [report.draft], SPEC: [spec.to_dict()]}
    if report.status is not None:
        result["status"] = report.status
    if report.objective is not None and math.isfinite(report.objective):
        result[METRIC] = report.objective
        result[CURRENT] = report.draft["report_last_ll_mean"]
    return result
