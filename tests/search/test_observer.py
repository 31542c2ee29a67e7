"""The driver's rows, progress and limits, from the events that Tune sends."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray.tune.experiment import Trial as TuneTrial

from gansearch import schema
from gansearch.core.datasets import load
from gansearch.recorder import Recorder
from gansearch.rows import draft_row, final_rows
from gansearch.search import stopping
from gansearch.search.observer import Observer
from gansearch.search.progress import Progress
from gansearch.search.proposals import Proposal
from gansearch.search.searchers import METRIC, SPEC
from gansearch.search.sections import Limits
from gansearch.search.specs import confirm_spec, search_spec
from gansearch.search.stopping import Limiter, StopRequest
from tests.search.small_studies import study

FOUND = study()
DIGESTS = load("digits", data_dir=None).digests


class Stage:
    """An observer, and the events of trials as Tune sends them."""

    def __init__(self, run: Path, planned: int = 7, slots: int = 2) -> None:
        self.said: list[Progress] = []
        self.recorder = Recorder(run)
        self.observer = Observer(
            self.recorder,
            DIGESTS,
            Progress(study="small", stage="search", planned=planned),
            slots=slots,
            searched=("adam.lr_g", "algorithm.k"),
            publish=self.said.append,
        )

    def trial(self, index: int) -> TuneTrial:
        spec = search_spec(FOUND, Proposal(number=index, point=FOUND.space.sample(index, 5)), 0)
        return TuneTrial("worker", config={SPEC: spec.to_dict()}, trial_id=f"t{index}", stub=True)

    def start(self, index: int) -> TuneTrial:
        trial = self.trial(index)
        self.observer.on_trial_start(0, [], trial)
        return trial

    def report(self, trial: TuneTrial, epoch: int, value: float | None, status: str | None = None) -> None:
        spec = search_spec(FOUND, Proposal(number=1, point=FOUND.space.sample(int(trial.trial_id[1:]), 5)), 0)
        draft = draft_row(spec, DIGESTS) | {"epochs": epoch, "report_ll_mean": value}
        result: dict[str, Any] = {"draft": [draft], "epoch": epoch, "done": status is not None}
        result |= {} if value is None else {METRIC: value}
        result |= {} if status is None else {"status": status}
        trial.run_metadata.last_result = result
        self.observer.on_trial_result(0, [], trial, result)

    def complete(self, trial: TuneTrial) -> None:
        self.observer.on_trial_complete(0, [], trial)

    def rows(self) -> pd.DataFrame:
        return pd.read_parquet(str(self.recorder.run / "trials"))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_scheduler_decision_becomes_a_stopped_row_of_the_last_report(stage: Stage) -> None:
    trial = stage.start(1)
    stage.report(trial, 2, -5.0)
    stage.report(trial, 3, -4.0)
    stage.complete(trial)
    (row,) = stage.rows().to_dict("records")
    assert (row["status"], row["epochs"], row["report_ll_mean"]) == ("STOPPED", 3, -4.0)
    assert row["error"] == "stopped by the scheduler after 3 epochs"
    assert row["protocol_id"] == FOUND.protocols.final.id
    assert stage.observer.ended == {"STOPPED": 1}


def test_trial_that_ended_by_itself_is_counted_and_not_written(stage: Stage) -> None:
    trial = stage.start(1)
    stage.report(trial, 4, -4.0, status=schema.COMPLETE)
    stage.complete(trial)
    assert stage.observer.ended == {"COMPLETE": 1}
    assert stage.rows()["status"].tolist() == ["RUNNING"]  # its worker writes the outcome


def test_row_that_a_worker_wrote_before_it_was_lost_stays(stage: Stage) -> None:
    """It ended, but Ray never heard of it."""
    trial = stage.start(1)
    stage.report(trial, 3, -4.0)
    spec = search_spec(FOUND, Proposal(number=1, point=FOUND.space.sample(1, 5)), 0)
    score = {"valid_ll_mean": -3.5}
    (written,) = final_rows(draft_row(spec, DIGESTS), spec, schema.COMPLETE, scores=[score])
    stage.recorder.trial(spec.key, written)
    assert stage.observer.interrupt("interrupted by SIGINT") == 1
    assert stage.rows()["status"].tolist() == ["COMPLETE"]
    assert stage.observer.ended == {"COMPLETE": 1}


def test_worker_lost_before_it_was_ready_is_a_failed_row(stage: Stage) -> None:
    stage.observer.lost(stage.trial(1), "its worker was lost 1 time: its node went away")
    (row,) = stage.rows().to_dict("records")
    assert (row["status"], row["epochs"]) == ("FAILED", 0)
    assert row["error"] == "its worker was lost 1 time: its node went away"
    assert row["data_train_digest"] == DIGESTS["train"]
    assert stage.observer.last_error == row["error"]


def test_a_trial_that_is_not_to_go_on_ends_when_a_worker_finds_its_row(stage: Stage) -> None:
    trial = stage.start(1)
    stage.report(trial, 3, -4.0)
    stage.observer.fail(trial, "its machine ran out of memory")
    (row,) = stage.rows().to_dict("records")
    assert (row["status"], row["epochs"], row["error"]) == ("FAILED", 3, "its machine ran out of memory")
    assert not stage.observer.ended.total()
    stage.start(1)
    stage.report(trial, 3, None, status=schema.FAILED)
    stage.complete(trial)
    assert stage.observer.ended == {"FAILED": 1}
    assert stage.rows()["error"].tolist() == ["its machine ran out of memory"]


def test_interrupt_writes_a_row_of_every_running_trial(stage: Stage) -> None:
    running, ended = stage.start(1), stage.start(2)
    stage.start(3)
    stage.report(running, 2, -6.0)
    stage.report(ended, 4, -5.0, status=schema.COMPLETE)
    stage.complete(ended)
    assert stage.observer.interrupt("interrupted by SIGTERM") == 2
    rows = stage.rows()
    rows = rows[rows["status"] != "RUNNING"]  # the one that ended by itself, whose worker writes its outcome
    assert rows["status"].tolist() == ["INTERRUPTED"] * 2
    assert set(rows["error"]) == {"interrupted by SIGTERM"}
    assert sorted(rows["epochs"]) == [0, 2]
    assert stage.observer.ended == {"COMPLETE": 1, "INTERRUPTED": 2}
    assert stage.observer.interrupt("again") == 0


def test_best_is_the_highest_value_with_its_searched_parameters(stage: Stage) -> None:
    first, second = stage.start(1), stage.start(2)
    stage.report(first, 1, None)
    assert stage.observer.progress.best is None
    for trial, value in ((first, -7.0), (second, -3.0), (first, -4.0)):
        stage.report(trial, 2, value)
    best, point = stage.observer.progress.best, FOUND.space.sample(2, 5)
    assert best is not None
    assert (best.value, best.epoch) == (-3.0, 2)
    assert best.config_id == FOUND.space.config(point).config_id
    assert best.changes == f"adam.lr_g={point['adam.lr_g']:.4g} algorithm.k={point['algorithm.k']}"


def test_best_falls_with_its_trials_value_and_goes_with_a_trial_that_diverged(stage: Stage) -> None:
    def best() -> float | None:
        found = stage.observer.progress.best
        return None if found is None else found.value

    first, second = stage.start(1), stage.start(2)
    seen = []
    for trial, value in ((first, -3.0), (second, -7.0), (first, -9.0), (first, -4.0)):
        stage.report(trial, 2, value)
        seen.append(best())
    assert seen == [-3.0, -3.0, -7.0, -4.0]
    stage.report(first, 4, None, status=schema.DIVERGED)
    stage.complete(first)
    assert best() == -7.0
    stage.complete(second)  # ended, and still the best
    assert best() == -7.0


def test_best_of_many_ended_trials_is_kept_and_no_other(stage: Stage) -> None:
    """What the driver keeps, and looks through at each report, must not grow with the trials that have ended."""
    values = (-6.0, -2.0, -9.0, -4.0)
    for index, value in enumerate(values, 1):
        trial = stage.start(index)
        stage.report(trial, 4, value, status=schema.COMPLETE)
        stage.complete(trial)
    best = stage.observer.progress.best
    assert best is not None
    assert best.value == max(values)
    assert best.config_id == FOUND.space.config(FOUND.space.sample(1 + values.index(max(values)), 5)).config_id
    assert len(stage.observer._values) == 1


def test_confirm_trials_leave_the_best_of_the_search_on_display(stage: Stage) -> None:
    trial = stage.start(1)
    stage.report(trial, 4, -5.0, status=schema.COMPLETE)
    stage.complete(trial)
    shown = stage.observer.progress.best
    spec = confirm_spec(FOUND, FOUND.space.config(FOUND.space.sample(2, 5)), 0)
    confirm = TuneTrial("worker", config={SPEC: spec.to_dict()}, trial_id="t2", stub=True)
    stage.observer.on_trial_start(0, [], confirm)
    stage.report(confirm, 2, -1.0)
    assert stage.observer.progress.best == shown
    assert shown is not None
    assert shown.value == -5.0


def test_time_left_counts_waiting_trials_over_the_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("gansearch.search.observer.time.monotonic", lambda: clock[0])
    stage = Stage(tmp_path, planned=7, slots=2)
    first, second = stage.start(1), stage.start(2)
    clock[0] += 30
    assert stage.observer.progress.left is None
    stage.report(first, 4, -5.0, status=schema.COMPLETE)
    stage.complete(first)
    # Six trials of 30 s, of which 30 s are done, two at a time.
    assert stage.observer.progress.left == pytest.approx((6 * 30 - 30) / 2)
    stage.start(3)
    clock[0] += 500  # the running ones take longer than any before: nothing is left of them, as far as is known
    stage.observer.on_step_end(0, [])
    assert stage.observer.progress.left == pytest.approx((6 * 30 - 2 * 30) / 2)
    stage.report(second, 4, -5.0, status=schema.COMPLETE)
    stage.complete(second)
    left = stage.observer.progress.left
    assert left is not None
    assert left >= 0


def test_progress_is_published_about_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("gansearch.search.observer.time.monotonic", lambda: clock[0])
    stage = Stage(tmp_path)
    for _ in range(50):
        clock[0] += 0.1
        stage.observer.on_step_end(0, [])
    assert 4 <= len(stage.said) <= 6


def test_trials_that_end_in_a_moment_are_published_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("gansearch.search.observer.time.monotonic", lambda: clock[0])
    stage = Stage(tmp_path)
    for index in (1, 2, 3):
        trial = stage.start(index)
        stage.report(trial, 4, -5.0, status=schema.COMPLETE)
        stage.complete(trial)
    assert [progress.done for progress in stage.said] == [1]
    assert stage.observer.progress.done == 3
    clock[0] += 1.0
    stage.observer.on_step_end(0, [])
    assert [progress.done for progress in stage.said] == [1, 3]


def limiter(stage: Stage, limits: Limits, gpus: float = 0.0) -> Limiter:
    return Limiter(limits, stage.observer, gpus=gpus, request=StopRequest(stage.recorder.run))


def test_gpu_hours_are_those_of_all_trials_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("gansearch.search.observer.time.monotonic", lambda: clock[0])
    stage = Stage(tmp_path)
    limit = limiter(stage, Limits(gpu_hours=1.0), gpus=0.25)
    first = stage.start(1)
    stage.start(2)
    clock[0] = 3600.0
    stage.report(first, 4, -5.0, status=schema.COMPLETE)
    stage.complete(first)
    stage.start(3)
    # One hour each of the first two, then one more each of the second and third, at a quarter of a GPU.
    assert stage.observer.trial_seconds == 7200.0
    clock[0] = 7200.0 - 1.0
    assert not limit.stop_all()
    clock[0] = 7200.0 + 1.0
    assert limit.stop_all()
    assert limit.reason == stopping.Reason("the limit of 1 GPU hours was reached", spent=True)


def test_time_limit_starts_with_the_stage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [500.0]
    monkeypatch.setattr("gansearch.search.stopping.time.monotonic", lambda: clock[0])
    limit = limiter(stage, Limits(time_limit=90.0))
    clock[0] += 89
    assert not limit.stop_all()
    clock[0] += 2
    assert limit.stop_all()
    assert limit.reason == stopping.Reason("the time limit of 90 s was reached", spent=True)


def test_failures_end_a_stage_only_while_nothing_else_has_happened(stage: Stage) -> None:
    limit = limiter(stage, Limits(stop_if_first_fail=2))
    stage.observer.ended.update({"FAILED": 1})
    assert not limit.stop_all()
    stage.observer.ended.update({"DIVERGED": 1})
    stage.observer.ended.update({"FAILED": 5})
    assert not limit.stop_all()
    del stage.observer.ended["DIVERGED"]
    assert limit.stop_all()
    assert limit.reason == stopping.Reason("the first 6 trials all failed, the last with: None")


def test_no_limit_ends_nothing(stage: Stage) -> None:
    limit = limiter(stage, Limits(stop_if_first_fail=None))
    stage.observer.ended.update({"FAILED": 50})
    assert not limit.stop_all()
    assert not limit("t1", {})


def test_stop_file_and_its_removal(stage: Stage) -> None:
    request = StopRequest(stage.recorder.run)
    assert request.reason() is None
    (stage.recorder.run / "stop").touch()
    assert request.reason() == stopping.Reason("stopped on request")
    request.clear_file()
    request.clear_file()
    assert request.reason() is None


def test_stop_file_is_looked_for_from_time_to_time_and_a_signal_heard_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("gansearch.search.stopping.time.monotonic", lambda: clock[0])
    limit = limiter(stage, Limits())
    assert not limit.stop_all()
    (stage.recorder.run / "stop").touch()
    clock[0] += stopping.LOOK_SECONDS / 2
    assert not limit.stop_all()
    clock[0] += stopping.LOOK_SECONDS
    assert limit.stop_all()
    request = StopRequest(stage.recorder.run)
    request.clear_file()
    other = Limiter(Limits(), stage.observer, gpus=0, request=request)
    assert not other.stop_all()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with request.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            assert other.stop_all()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_first_signal_is_a_request_and_the_second_what_it_was_before(tmp_path: Path, number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda n, _: heard.append(n))
    try:
        request = StopRequest(tmp_path)
        with request.listening():
            os.kill(os.getpid(), number)
            assert request.reason() == stopping.Reason(f"interrupted by {number.name}")
            assert heard == []
            os.kill(os.getpid(), number)
            assert heard == [number]
        os.kill(os.getpid(), number)
        assert heard == [number, number]
    finally:
        signal.signal(number, before)


def test_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        request = StopRequest(tmp_path)
        with request.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_listening_in_another_thread_leaves_signals_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def listen() -> None:
        with StopRequest(tmp_path).listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_trial_that_ended_under_one_protocol_keeps_that_row_and_gives_its_scores_to_no_other(stage: Stage) -> None:
    """Its worker was killed between the rows."""
    spec = confirm_spec(FOUND, FOUND.base, 0)
    scores = [{"valid_ll_mean": -9.0, "test_ll_mean": -8.0}, {}]
    first, second = final_rows(draft_row(spec, DIGESTS), spec, schema.COMPLETE, scores=scores)
    stage.recorder.trial(spec.key, first)
    stage.recorder.trial(spec.key, {**second, "status": schema.RUNNING})
    trial = TuneTrial("worker", config={SPEC: spec.to_dict()}, trial_id="t0", stub=True)
    stage.observer.on_trial_start(0, [], trial)
    stage.observer.write_interrupted("stopped")
    ids = [p.id for p in spec.protocols]
    kept, other = stage.recorder.rows(spec.key, ids)
    assert (kept["status"], kept["test_ll_mean"]) == ("COMPLETE", -8.0)
    assert (other["status"], other["test_ll_mean"], other["valid_ll_mean"]) == ("INTERRUPTED", None, None)
