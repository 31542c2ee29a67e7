"""The driver's rows and progress, from the events that Tune sends."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.tune.experiment import Trial as TuneTrial

from gansearch import schema
from gansearch.rows import draft_row, final_rows
from gansearch.search.proposals import Proposal
from gansearch.search.searchers import SPEC
from gansearch.search.specs import confirm_spec, search_spec
from tests.search.stages import DIGESTS, FOUND, Stage


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


def test_bests_epoch_is_that_of_its_value(stage: Stage) -> None:
    trial = stage.start(1)
    stage.report(trial, 5, -3.0, report_epoch=2)
    best = stage.observer.progress.best
    assert best is not None
    assert (best.value, best.epoch) == (-3.0, 2)


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
