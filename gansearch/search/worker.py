"""A trial inside a Ray worker."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ray import tune

from gansearch.core.datasets import Dataset
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.search.searchers import CURRENT, METRIC, SPEC
from gansearch.spec import TrialSpec
from gansearch.trial import Report, Trial


class TrialWorker(tune.Trainable):
    """Runs trials one after another in one process (`reuse_actors`).

    Nothing is written before the first step: with reused actors Tune may set one trial up in two
    processes, and steps only one of them.
    """

    def setup(  # type: ignore[override]  # Tune hands over what `with_parameters` was given as keywords
        self, config: dict[str, Any], run: str, data: Dataset, placement: Placement
    ) -> None:
        """Prepare the first trial.

        Args:
            config: Tune's configuration; holds the spec.
            run: the run directory.
            data: the data set, read in place from the node's object store.
            placement: what a trial of this sweep is given.
        """
        self._data, self._placement, self._recorder = data, placement, Recorder(Path(run))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the next trial in this process."""
        self._trial = Trial(TrialSpec.from_dict(new_config[SPEC]), self._data, self._recorder, self._placement)
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next report."""
        return as_result(self._trial.advance())


def as_result(report: Report) -> dict[str, Any]:
    """Return a report as Tune's result; without values where a trial failed or diverged."""
    # In a list, for Tune would flatten a mapping and keep statistics of every number in it.
    result: dict[str, Any] = {"epoch": report.epoch, "draft": [report.draft], "done": report.status is not None}
    if report.status is not None:
        result["status"] = report.status
    if report.objective is not None and math.isfinite(report.objective):
        result[METRIC] = report.objective
        result[CURRENT] = report.draft["report_last_ll_mean"]
    return result
