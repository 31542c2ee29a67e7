"""How a sweep ends when somebody or something ends it: rows stay, nothing runs on."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gansearch.search.progress import lines, read_progress
from tests.search.small_studies import (
    Sweeping,
    descendants,
    endless,
    gone,
    plan,
    progress_of,
    stuck,
    trials,
    workers,
)

pytestmark = pytest.mark.slow

GIVE_UP_SECONDS = 100.0
"""Ray waits a minute for a cluster that is gone."""
_PATIENT = """
from ray.tune.execution.tune_controller import TuneController
TuneController._actor_force_cleanup_timeout = property(lambda self: 600, lambda self, seconds: None)
"""
"""Gives trials that are told to end ten minutes, not ten seconds: whoever waits for them is late on any machine."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Return what starts a sweep; all are ended with the test."""
    sweeps: list[Sweeping] = []

    def start(given: dict[str, Any], before: str = "") -> Sweeping:
        sweeps.append(Sweeping(tmp_path, given, before=before))
        return sweeps[-1]

    yield start
    for sweeping in sweeps:
        sweeping.kill()


def check_stopped(sweeping: Sweeping, reason: str) -> None:
    """Check what a sweep that was stopped during its search leaves behind."""
    said, rows = progress_of(sweeping.run), trials(sweeping.run)
    assert (said["stage"], said["note"], said["running"]) == ("stopped", reason, 0)
    interrupted = rows[rows["status"] == "INTERRUPTED"]
    assert said["ended"] == rows["status"].value_counts().to_dict()
    assert len(interrupted) >= 1
    assert interrupted["error"].tolist() == [reason] * len(interrupted)
    assert interrupted["valid_ll_mean"].isna().all()
    assert rows["test_ll_mean"].isna().all()
    assert set(rows["stage"]) == {"search"}
    assert not (sweeping.run / "stop").exists()
    assert f"ended early: {reason}" in sweeping.out
    assert sweeping.err == ""


@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGINT, True), (signal.SIGHUP, True), (signal.SIGTERM, False)],
    ids=["ctrl-c", "terminal-closed", "kill"],
)
def test_signal_ends_a_sweep_cleanly(started: Any, number: signal.Signals, to_group: bool) -> None:
    sweeping = started(endless())
    sweeping.wait_for(lambda: "best" in sweeping.out)
    processes = [*descendants(sweeping.process.pid), sweeping.process.pid]
    assert workers(sweeping.process.pid)
    sweeping.send(number, to_group=to_group)
    assert sweeping.end() == 0
    assert gone(processes)
    check_stopped(sweeping, f"interrupted by {number.name}")
    assert trials(sweeping.run)["report_ll_mean"].notna().any()


def _one_ended_one_endless(started: Any) -> Any:
    """Start a sweep whose base ends after a few epochs, and whose other configuration never would."""
    sweeping = started(
        endless(
            epochs=3,
            searcher="grid",
            num_trials=2,
            max_concurrent=1,
            space={"algorithm.epochs": {"choice": [3, 1_000_000]}},
        )
    )
    sweeping.wait_for(lambda: "1 COMPLETE" in sweeping.out and "1 running" in sweeping.out.splitlines()[-1])
    return sweeping


def test_stop_file_ends_a_sweep_and_finished_rows_stay(started: Any) -> None:
    sweeping = _one_ended_one_endless(started)
    parts = (sweeping.run / "trials").glob("*.parquet")
    (finished,) = [path for path in parts if pd.read_parquet(path)["status"].tolist() == ["COMPLETE"]]
    content = finished.read_bytes()
    (sweeping.run / "stop").touch()
    assert sweeping.end() == 0
    check_stopped(sweeping, "stopped on request")
    assert trials(sweeping.run)["status"].value_counts().to_dict() == {"COMPLETE": 1, "INTERRUPTED": 1}
    assert finished.read_bytes() == content


def test_trials_in_the_middle_of_an_epoch_do_not_hold_a_sweep_up(started: Any) -> None:
    sweeping = started(stuck())
    sweeping.wait_for_running()
    time.sleep(2)  # into the epoch, which takes minutes
    sweeping.send(signal.SIGINT)
    assert sweeping.end() == 0
    check_stopped(sweeping, "interrupted by SIGINT")
    assert set(trials(sweeping.run)["epochs"]) == {0}


def test_second_ctrl_c_waits_for_nothing(started: Any) -> None:
    sweeping = started(stuck(), before=_PATIENT)
    sweeping.wait_for_running()
    time.sleep(2)
    processes = list(descendants(sweeping.process.pid))
    sweeping.send(signal.SIGINT)
    time.sleep(1.5)  # into the time that trials are given
    sweeping.send(signal.SIGINT)
    assert sweeping.end() != 0
    assert gone(processes)
    assert progress_of(sweeping.run)["stage"] == "stopped"
    assert set(trials(sweeping.run)["status"]) == {"INTERRUPTED"}
    assert sweeping.err.rstrip().endswith("KeyboardInterrupt")


def test_ignored_sigint_stays_ignored(tmp_path: Path) -> None:
    """As under `nohup` or for a job that a script put into the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sweeping = Sweeping(tmp_path, plan(epochs=60), keep_signals=True)  # seconds, to be seen running
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        sweeping.wait_for_running()
        sweeping.send(signal.SIGINT)
        assert sweeping.end(180) == 0
        assert progress_of(sweeping.run)["stage"] == "done"
    finally:
        sweeping.kill()


@pytest.mark.parametrize(
    ("number", "to_group"), [(signal.SIGKILL, False), (signal.SIGTERM, True)], ids=["driver-killed", "all-terminated"]
)
def test_driver_that_cannot_end_cleanly_leaves_its_rows_and_no_processes(
    started: Any, number: signal.Signals, to_group: bool
) -> None:
    """Nobody can write a row after SIGKILL, nor be sure to when a batch system ends Ray beside the driver."""
    sweeping = _one_ended_one_endless(started)
    assert read_progress(sweeping.run).alive
    # Ray's agents notice it later, in their own time.
    processes = [pid for pid, name in descendants(sweeping.process.pid).items() if not name.endswith("Agent")]
    assert len(processes) > len(workers(sweeping.process.pid)) > 0
    sweeping.send(number, to_group=to_group)
    sweeping.end(GIVE_UP_SECONDS)
    assert gone(processes)
    rows = trials(sweeping.run)
    assert rows["status"].value_counts()["COMPLETE"] == 1
    assert set(rows["status"]) <= {"COMPLETE", "INTERRUPTED", "RUNNING"}
    said = read_progress(sweeping.run)
    assert not said.alive
    assert said.stage == "stopped" or "(its driver is gone)" in lines(said)[0]


def test_trial_whose_worker_is_killed_too_often_is_a_failed_row(started: Any) -> None:
    sweeping = started(endless(num_trials=1, limits={"max_failures": 0}))
    sweeping.wait_for(lambda: "best" in sweeping.out)
    (worker,) = workers(sweeping.process.pid)
    os.kill(worker, signal.SIGKILL)
    assert sweeping.end() == 0
    (row,) = trials(sweeping.run).to_dict("records")
    assert row["status"] == "FAILED"
    assert row["error"].startswith("its worker was lost 1 time: ")
    assert "unexpectedly" in row["error"]
    assert row["epochs"] >= 1
    assert math.isfinite(row["report_ll_mean"])
    said = progress_of(sweeping.run)
    assert (said["stage"], said["ended"]) == ("stopped", {"FAILED": 1})
    assert sweeping.err == ""
    assert all(line.startswith(("[", "ended early")) for line in sweeping.out.splitlines()), sweeping.out
