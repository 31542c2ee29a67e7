"""What a run cost, by hand on a small table."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.costs import as_plain, costs
from gansearch import schema
from gansearch.errors import ResultsError
from tests.analysis.rows import PUBLISHED, STARTED, config, confirm_rows, trial_row
from tests.analysis.search_runs import search_row, write_search

ROUNDING = 1e-12


def _timed(seconds: float, threads: int, gpu: float, score: float, **more: Any) -> dict[str, Any]:
    return {
        "run_seconds": seconds,
        "run_threads": threads,
        "run_gpu_share": gpu,
        "run_score_seconds": score,
        "run_train_seconds": seconds - score,
        **more,
    }


def _run(folder: Path) -> Path:
    """Write a search of four trials, of which two were ended early, and a confirmed one."""
    configs = [config(algorithm__k=k) for k in (1, 2, 3, 4)]
    ended = {"status": schema.STOPPED, "valid_ll_mean": None}
    guarded = {"status": schema.COLLAPSED, "valid_ll_mean": None}
    hour = datetime.timedelta(hours=1)
    rows = [
        search_row(0, 40.0, configs[0], **_timed(3600, 2, 0.5, 360), run_started=STARTED),
        search_row(1, 61.0, configs[1], **_timed(7200, 1, 0.25, 720), run_started=STARTED + hour),
        # 3 of 12 epochs in 1800 s: nine more would have taken 5400 s.
        search_row(2, 30.0, configs[2], **_timed(1800, 4, 0.5, 90, epochs=3, **ended), run_started=STARTED),
        # 8 of 12 epochs in 800 s: four more would have taken 400 s.
        search_row(3, 20.0, configs[3], **_timed(800, 1, 1.0, 80, epochs=8, **guarded), run_started=STARTED),
        *confirm_rows(configs[1], 21, 58.0, 55.0, **_timed(9000, 2, 0.25, 900)),
    ]
    return write_search(folder / "run", rows)


def test_hours_by_stage_and_status(tmp_path: Path) -> None:
    found = costs(_run(tmp_path))
    lines = {(line.stage, line.status): line.amount for line in found.lines}
    assert list(lines) == [
        ("search", "COMPLETE"),
        ("search", "STOPPED"),
        ("search", "COLLAPSED"),
        ("confirm", "COMPLETE"),
    ]
    complete = lines["search", "COMPLETE"]
    assert (complete.trials, complete.epochs) == (2, 24)
    assert complete.hours == pytest.approx(3.0, rel=ROUNDING)
    assert complete.cpu_hours == pytest.approx(2 + 2, rel=ROUNDING)
    assert complete.gpu_hours == pytest.approx(0.5 + 0.5, rel=ROUNDING)
    assert complete.score_share == pytest.approx(0.1, rel=ROUNDING)
    # The confirmed trial has a row under each of two protocols, and counts once.
    confirmed = lines["confirm", "COMPLETE"]
    assert confirmed.trials == 1
    assert confirmed.cpu_hours == pytest.approx(5.0, rel=ROUNDING)
    assert found.cpu_hours == pytest.approx(4 + 2 + 800 / 3600 + 5, rel=ROUNDING)
    assert found.gpu_hours == pytest.approx(1 + 0.25 + 800 / 3600 + 0.625, rel=ROUNDING)
    assert set(found.stages) == {"search", "confirm"}
    assert found.total.trials == 5


def test_what_early_ends_saved(tmp_path: Path) -> None:
    scheduler, guard = costs(_run(tmp_path)).saved
    assert (scheduler.status, scheduler.trials, scheduler.epochs, scheduler.planned_epochs) == ("STOPPED", 1, 9, 12)
    assert scheduler.cpu_hours == pytest.approx(1.5 * 4, rel=ROUNDING)
    assert scheduler.gpu_hours == pytest.approx(1.5 * 0.5, rel=ROUNDING)
    assert (guard.status, guard.epochs) == ("COLLAPSED", 4)
    assert guard.cpu_hours == pytest.approx(400 / 3600, rel=ROUNDING)


def test_what_was_not_saved_by_the_scheduler_is_not_said_to_be(tmp_path: Path) -> None:
    """A trial that ran out of its time, and a member of a population whose place a copy took, which ran the rest."""
    ended = {"status": schema.STOPPED, "valid_ll_mean": None, "epochs": 4}
    reasons = {
        "stopped by the scheduler after 4 epochs": 2,
        "guards.trial_time_limit: it has taken 60 s, of 50 s at most": 1,
        "replaced at epoch 4 by a copy of 0123456789ab": 3,
    }
    errors = [None, *(error for error, count in reasons.items() for _ in range(count))]
    rows = [
        search_row(i, 40.0, config(noise__dim=20 + i), **({} if error is None else {**ended, "error": error}))
        for i, error in enumerate(errors)
    ]
    found = costs(write_search(tmp_path / "run", rows)).saved
    assert [(s.by, s.trials, s.epochs) for s in found] == [
        ("the scheduler", 2, 16),
        ("the time limit of a trial", 1, 8),
    ]


def test_seeds_of_the_base_alone_gain_nothing(tmp_path: Path) -> None:
    rows = [search_row(0, value, config(), seed=i, replicate=i) for i, value in enumerate((40.0, 61.0, 46.0))]
    gain = costs(write_search(tmp_path / "run", rows)).gain
    assert gain is not None
    assert (gain.first, gain.best, gain.nats) == (49.0, 49.0, 0.0)


def test_nats_an_hour(tmp_path: Path) -> None:
    gain = costs(_run(tmp_path)).gain
    assert gain is not None
    assert (gain.first, gain.best, gain.nats) == (40.0, 61.0, 21.0)
    assert gain.hours == pytest.approx(3.0, rel=ROUNDING)  # from the first start to the second trial's end
    assert gain.nats_per_hour == pytest.approx(7.0, rel=ROUNDING)
    assert gain.nats_per_cpu_hour == pytest.approx(21 / (4 + 2 + 800 / 3600), rel=ROUNDING)
    assert gain.nats_per_gpu_hour == pytest.approx(21 / (1 + 0.25 + 800 / 3600), rel=ROUNDING)


def test_a_base_that_was_stopped_early_is_told(tmp_path: Path) -> None:
    rows = [
        search_row(0, 40.0, config(), status=schema.STOPPED, valid_ll_mean=None, epochs=3),
        search_row(1, 61.0, config(algorithm__k=2)),
    ]
    found = costs(write_search(tmp_path / "run", rows))
    assert found.gain is not None
    assert found.gain.nats == 21.0
    assert any("began with was stopped early" in note for note in found.notes)


def test_json_has_what_follows_from_the_numbers(tmp_path: Path) -> None:
    plain = as_plain(costs(_run(tmp_path)))
    assert plain["gain"]["nats_per_hour"] == pytest.approx(7.0, rel=ROUNDING)
    assert plain["total"]["trials"] == 5
    assert plain["stages"]["search"]["score_share"] == pytest.approx((360 + 720 + 90 + 80) / 13400, rel=ROUNDING)


def test_times_that_are_not_known_count_for_nothing_and_are_told(tmp_path: Path) -> None:
    rows = [
        search_row(0, 40.0, config(), run_seconds=None, run_started=None),
        search_row(1, 30.0, config(algorithm__k=2), run_seconds=None, status=schema.STOPPED, valid_ll_mean=None),
    ]
    found = costs(write_search(tmp_path / "run", rows))
    assert found.cpu_hours == 0
    assert found.total.score_share is None
    assert found.saved[0].unknown == 1
    assert any("2 trials do not say how long they took" in note for note in found.notes)
    assert any("1 trials that were ended early do not say" in note for note in found.notes)
    assert found.gain is not None
    assert (found.gain.nats, found.gain.nats_per_cpu_hour, found.gain.nats_per_gpu_hour) == (0.0, None, None)


def test_a_run_without_a_search_costs_too(tmp_path: Path) -> None:
    found = costs(write_search(tmp_path / "run", [trial_row(config(), 1, "train", 3.0)], space=None))
    assert found.gain is None
    assert found.saved == ()
    assert found.cpu_hours == pytest.approx(12.5 / 3600, rel=ROUNDING)
    assert "nothing was searched" in found.notes[0]


def test_only_failed_trials_cost_and_gain_nothing(tmp_path: Path) -> None:
    bad = {"status": schema.FAILED, "valid_ll_mean": None, "report_ll_mean": None}
    found = costs(write_search(tmp_path / "run", [search_row(0, None, config(), **bad)]))
    assert found.gain is None
    assert "has no value" in found.notes[-1]


def test_values_that_cannot_be_compared_leave_the_hours(tmp_path: Path) -> None:
    rows = [search_row(i, 1.0, config(algorithm__k=i + 1)) for i in range(2)]
    rows[1]["report_protocol_id"] = PUBLISHED.id
    found = costs(write_search(tmp_path / "run", rows))
    assert found.total.trials == 2
    assert found.gain is None
    assert any("different report protocols" in note for note in found.notes)


def test_a_run_without_trials_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run" / "trials").mkdir(parents=True)
    with pytest.raises(ResultsError):
        costs(tmp_path / "run")
