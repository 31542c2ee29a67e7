"""What Tune keeps of trials that have ended, and what it writes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

from gansearch.search.tune_memory import first_snapshot_only, forget


def test_results_of_a_trial_that_ended_are_not_kept() -> None:
    trial = TuneTrial("worker", config={}, trial_id="t1", stub=True)
    trial.update_last_result({"objective": 3.5, "training_iteration": 1, "draft": [{"a": 1}]})
    kept = trial.run_metadata
    assert kept.last_result
    assert kept.metric_n_steps
    forget(trial)
    assert [kept.last_result, kept.metric_analysis, kept.metric_n_steps] == [{}, {}, {}]


def test_each_stage_writes_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr(TuneController, "checkpoint", lambda controller, **_: written.append(controller))
    own = TuneController.checkpoint
    first, second = SimpleNamespace(name="search"), SimpleNamespace(name="confirm")
    for stage in (first, second):
        with first_snapshot_only():
            for force in (False, False, True):
                TuneController.checkpoint(stage, force=force)  # type: ignore[arg-type]  # only told apart
        assert TuneController.checkpoint is own
    assert written == [first, second]
