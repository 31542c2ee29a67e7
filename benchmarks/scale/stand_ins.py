"""Trials that do everything a sweep's trial does except train: at its ends the same files, the same result."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from typing import Any

from ray import tune

from gansearch import schema
from gansearch.core.datasets import Dataset
from gansearch.placement import Placement
from gansearch.provenance import environment
from gansearch.recorder import Recorder
from gansearch.rows import Row, draft_row, final_rows, identity
from gansearch.search.searchers import SPEC
from gansearch.search.worker import as_result
from gansearch.spec import TrialSpec
from gansearch.trial import Report

SLEEP_SECONDS = 1.0


class StandIn(tune.Trainable, abc.ABC):
    """Reads its spec and its rows, works, and writes a curve and a COMPLETE row of made-up values, as `TrialWorker`."""

    def setup(  # type: ignore[override]  # Tune hands over `with_parameters` as keywords
        self, config: dict[str, Any], recorder: Recorder, data: Dataset, placement: Placement
    ) -> None:
        """Prepare the first trial."""
        self._data, self._placement, self._recorder = data, placement, recorder
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the next trial in this process."""
        self._spec = TrialSpec.from_dict(new_config[SPEC])
        return True

    def step(self) -> dict[str, Any]:
        """Run the trial: one report, which is its end."""
        return stand_in(self._spec, self._recorder, self._data, self._placement, self.work)

    @abc.abstractmethod
    def work(self) -> None:
        """Take as long as a trial's training takes."""


class NoOp(StandIn):
    """Trains for no time at all."""

    def work(self) -> None:
        """Do nothing."""


class Sleeper(StandIn):
    """Trains for a second, without using a processor."""

    def work(self) -> None:
        """Sleep."""
        time.sleep(SLEEP_SECONDS)


def stand_in(
    spec: TrialSpec, recorder: Recorder, data: Dataset, placement: Placement, work: Callable[[], None]
) -> dict[str, Any]:
    """Do what a trial does at its ends, and `work` between them; return its result as Tune gets it."""
    started = time.monotonic()
    recorder.rows(spec.key, [p.id for p in spec.protocols])  # whether it has ended already
    draft = draft_row(spec, data.digests)
    work()
    value = made_up(spec)
    epochs = spec.config.algorithm.epochs
    draft |= {
        **environment(placement.claim(), placement.threads),
        "epochs": epochs,
        "report_epoch": epochs,
        "report_ll_mean": value,
        "report_last_ll_mean": value,
        "run_gpu_share": placement.gpu_share,
        "run_seconds": time.monotonic() - started,
    }
    recorder.table(schema.CURVES, spec.key, [_curve(spec, value)])
    scores = [{"valid_ll_mean": value, "scored_epoch": epochs} for _ in spec.protocols]
    for row in final_rows(draft, spec, schema.COMPLETE, scores=scores):
        recorder.trial(spec.key, row)
    recorder.drop_checkpoint(spec.key)
    report = Report(epoch=epochs, objective=value, status=schema.COMPLETE, draft=draft)
    return as_result(report, spec)


def made_up(spec: TrialSpec) -> float:
    """Return a value that differs from trial to trial."""
    return (spec.seed % 100_003) / 1000


def _curve(spec: TrialSpec, value: float) -> Row:
    return {
        **identity(spec),
        "epoch": spec.config.algorithm.epochs,
        "report_protocol_id": spec.report_protocol.id,
        "report_ll_mean": value,
    }
