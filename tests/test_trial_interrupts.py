"""A trial that was interrupted or killed goes on as if nothing had happened."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gansearch import schema
from gansearch.core import algorithm1
from gansearch.core.datasets import load
from gansearch.paths import RunPaths
from gansearch.recorder import Recorder
from gansearch.spec import TrialSpec
from gansearch.trial import Report, Trial
from tests.trial_courses import ALTERNATING, WAVERING, call_raising, diverging
from tests.trials import (
    EVERY_REPORT,
    FULL,
    PUBLISHED,
    InterruptAfter,
    curves,
    digits,
    outcome,
    read,
    run_trial,
    spec,
)


@pytest.mark.parametrize(
    ("values", "reports"),
    [({}, 1), (ALTERNATING, 3), (ALTERNATING | {"score.report_every": 2, "score.at": "last"}, 2)],
    ids=["momentum", "adam-alternating", "every-second-epoch"],
)
def test_an_interrupted_trial_continues_bit_for_bit(tmp_path: Path, values: dict[str, Any], reports: int) -> None:
    trial = spec("confirm", values=values, protocols=(FULL, PUBLISHED))
    straight = run_trial(trial, tmp_path / "straight")
    folder = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, folder, on_report=InterruptAfter(reports))
    key, recorder = trial.key, Recorder(folder)
    interrupted = recorder.rows(key, [FULL.id, PUBLISHED.id])
    assert [row["status"] for row in interrupted] == [schema.INTERRUPTED] * 2
    assert interrupted[0]["error"] == "KeyboardInterrupt"
    assert recorder.paths.checkpoint(key).is_file()
    seen: list[int] = []
    resumed = run_trial(trial, folder, on_report=lambda report: seen.append(report.epoch))
    assert seen[0] > interrupted[0]["epochs"]
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    assert all(row["run_started"] == interrupted[0]["run_started"] for row in resumed)
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path / "straight"))
    pictures = [read(f, schema.SAMPLES) for f in (folder, tmp_path / "straight")]
    pd.testing.assert_frame_equal(pictures[0], pictures[1])
    assert not recorder.paths.checkpoint(key).exists()


def test_reports_after_the_checkpoint_are_forgotten_not_doubled(tmp_path: Path) -> None:
    trial, folder = spec(), tmp_path / "killed"
    straight = run_trial(trial, tmp_path / "straight")
    killed = Trial(trial, digits(), Recorder(folder), EVERY_REPORT)
    killed.advance()
    checkpoint = RunPaths(folder).checkpoint(trial.key)
    old = checkpoint.read_bytes()
    killed.advance()
    killed.advance()
    checkpoint.write_bytes(old)
    assert len(curves(folder)) == 3
    reports: list[Report] = []
    resumed = run_trial(trial, folder, on_report=reports.append)
    assert reports[0].epoch == 2
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path / "straight"))


def test_an_interrupt_amid_an_epoch_goes_on_from_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, folder = spec(), tmp_path / "interrupted"
    straight = run_trial(trial, tmp_path / "straight")
    with monkeypatch.context() as patch:
        call_raising(patch, algorithm1, "joint_step", 3 * 11 + 4)  # the fourth step of the fourth epoch
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, folder)
    (row,) = Recorder(folder).rows(trial.key, [FULL.id])
    assert (row["status"], row["epochs"]) == (schema.INTERRUPTED, 3)
    reports: list[Report] = []
    resumed = run_trial(trial, folder, on_report=reports.append)
    assert reports[0].epoch == 4
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]


@pytest.mark.parametrize("reports", [1, 5], ids=["best-collapsed", "best-not-collapsed"])
def test_whether_the_best_has_collapsed_outlives_an_interrupt(tmp_path: Path, reports: int) -> None:
    trial, points = spec(values=WAVERING), load("gaussian_mixture", data_dir=None)
    straight = run_trial(trial, tmp_path / "straight", data=points)
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, tmp_path / "interrupted", data=points, on_report=InterruptAfter(reports))
    resumed = run_trial(trial, tmp_path / "interrupted", data=points)
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]


@pytest.mark.parametrize("epochs", [2, 4], ids=["at-its-end", "before-its-end"])
def test_a_diverged_trial_interrupted_while_its_row_is_written_stays_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    trial, folder = diverging(spec(values={"algorithm.epochs": epochs})), tmp_path / "interrupted"
    straight = run_trial(trial, tmp_path / "straight")
    assert [(row["status"], row["epochs"]) for row in straight] == [(schema.DIVERGED, 2)]
    with monkeypatch.context() as patch:
        call_raising(patch, Recorder, "trial", 1)
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, folder)
    assert [r["status"] for r in Recorder(folder).rows(trial.key, [FULL.id])] == [schema.INTERRUPTED]
    resumed = run_trial(trial, folder)
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    assert resumed[0]["run_train_seconds"] > 0


def test_interrupt_before_anything_was_trained_leaves_a_row_that_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "interrupted"
    recorder = Recorder(run)
    trial = Trial(spec(), digits(), recorder, EVERY_REPORT)
    trial.interrupt("the sweep was stopped")
    (row,) = recorder.rows(spec().key, [FULL.id])
    assert (row["status"], row["epochs"], row["error"]) == (schema.INTERRUPTED, 0, "the sweep was stopped")
    assert trial.advance().status == schema.INTERRUPTED
    resumed = run_trial(spec(), run)
    assert [outcome(r) for r in resumed] == [outcome(r) for r in run_trial(spec(), tmp_path / "straight")]


def test_interrupt_never_replaces_what_is_known(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec(), tmp_path, on_report=InterruptAfter(2))
    Trial(spec(), digits(), recorder, EVERY_REPORT).interrupt("again, before it went on")
    (row,) = recorder.rows(spec().key, [FULL.id])
    assert (row["epochs"], row["error"]) == (2, "KeyboardInterrupt")
    trial = Trial(spec(), digits(), recorder, EVERY_REPORT)
    while trial.advance().status is None:
        pass
    done = recorder.rows(spec().key, [FULL.id])
    trial.interrupt("too late")
    Trial(spec(), digits(), recorder, EVERY_REPORT).interrupt("too late")
    assert recorder.rows(spec().key, [FULL.id]) == done
    assert done[0]["status"] == schema.COMPLETE
    assert not recorder.paths.checkpoint(spec().key).exists()


def test_what_on_report_raises_interrupts_the_trial_and_is_raised(tmp_path: Path) -> None:
    def broken(_report: Report) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        run_trial(spec(), tmp_path, on_report=broken)
    (row,) = Recorder(tmp_path).rows(spec().key, [FULL.id])
    assert (row["status"], row["error"]) == (schema.INTERRUPTED, "BrokenPipeError: nobody reads")


def _cut(paths: RunPaths[Path], trial: TrialSpec) -> None:
    checkpoint = paths.checkpoint(trial.key)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])


def _cut_curves(paths: RunPaths[Path], trial: TrialSpec) -> None:
    part = paths.part("curves", trial.key)
    part.write_bytes(part.read_bytes()[:-100])


def _swap(paths: RunPaths[Path], trial: TrialSpec) -> None:
    other = spec(values={"generator.hidden": (17,)})
    with pytest.raises(KeyboardInterrupt):
        run_trial(other, paths.root / "other", on_report=InterruptAfter(1))
    shutil.copy(RunPaths(paths.root / "other").checkpoint(other.key), paths.checkpoint(trial.key))


@pytest.mark.parametrize("damage", [_cut, _cut_curves, _swap])
def test_a_checkpoint_that_cannot_be_used_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[RunPaths[Path], TrialSpec], None]
) -> None:
    trial, folder = spec(), tmp_path / "damaged"
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, folder, on_report=InterruptAfter(3))
    damage(RunPaths(folder), trial)
    with caplog.at_level(logging.WARNING):
        resumed = run_trial(trial, folder)
    assert f"trial {trial.key} starts over" in caplog.text
    assert [outcome(r) for r in resumed] == [outcome(r) for r in run_trial(trial, tmp_path / "straight")]
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path / "straight"))


@pytest.mark.parametrize("values", [{}, {"score.at": "last"}, WAVERING], ids=["best", "last", "wavering"])
def test_a_trial_that_goes_on_can_make_its_last_report_once_more(tmp_path: Path, values: dict[str, Any]) -> None:
    trial = spec(values=values)
    recorder, data = Recorder(tmp_path), load(trial.config.dataset.name, data_dir=None, download=False)
    first = Trial(trial, data, recorder, EVERY_REPORT)
    reports = [first.advance(repeat=True) for _ in range(3)]
    assert [report.epoch for report in reports] == [1, 2, 3], "nothing to repeat without a checkpoint"
    second = Trial(trial, data, recorder, EVERY_REPORT)
    again = second.advance(repeat=True)
    assert (again.epoch, again.status, again.objective) == (3, None, reports[2].objective)
    assert outcome(again.draft) == outcome(reports[2].draft)
    assert second.advance(repeat=True).epoch == 4
    assert Trial(trial, data, recorder, EVERY_REPORT).advance().epoch == 5
