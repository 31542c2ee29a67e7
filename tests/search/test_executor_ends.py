"""Sweeps on both executors that are ended before their end, and go on: a signal, a request, limits, SIGKILL."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray

from gansearch.search.sweep import resume
from tests.kill_and_resume import STUDY, kill_and_resume
from tests.search.both_executors import EXECUTORS, TOO_WIDE, asked, swept
from tests.search.small_studies import Sweeping, descendants, gone, plan, progress_of, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> str:
    """Name each executor."""
    return str(request.param)


@pytest.fixture
def ray_here() -> Iterator[None]:
    """Start a Ray that sweeps of this process use and leave open."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run's unfinished trials."""
    return list((run / "checkpoints").glob("*/checkpoint.safetensors"))


def by_request(sweeping: Sweeping) -> str:
    """End a sweep as `gansearch stop` does; return its reason."""
    subprocess.run([sys.executable, "-m", "gansearch.cli", "stop", str(sweeping.run)], check=True, capture_output=True)
    return "stopped on request"


def by_signal(sweeping: Sweeping) -> str:
    """End a sweep as Ctrl-C does; return its reason."""
    sweeping.send(signal.SIGINT)
    return "interrupted by SIGINT"


@pytest.mark.parametrize("end", [by_request, by_signal])
def test_an_interrupted_sweep_goes_on_from_its_checkpoints_to_the_same_rows(
    tmp_path: Path, executor: str, end: Any
) -> None:
    """One trial at a time: in a pack of other sizes the last bits of sums would differ."""
    given: dict[str, Any] = {"epochs": 120, "max_concurrent": 1, "num_trials": 2, "confirm": {"seeds": 0}}
    given["limits"] = {"checkpoint_seconds": 3600}  # so that only those that are written at the end are there
    sweeping = Sweeping(tmp_path, plan(executor=asked(executor), **given))
    try:
        sweeping.wait_for(lambda: any(f"{n} running; best" in sweeping.out for n in (1, 2)))
        processes = list(descendants(sweeping.process.pid))
        reason = end(sweeping)
        assert sweeping.end() == 0
        assert gone(processes)
    finally:
        sweeping.kill()
    rows = trials(sweeping.run)
    (interrupted,) = rows[rows["status"] == "INTERRUPTED"].to_dict("records")
    assert interrupted["error"] == reason
    assert set(rows["status"]) <= {"INTERRUPTED", "COMPLETE"}
    said = progress_of(sweeping.run)
    assert (said["stage"], said["note"], said["running"]) == ("stopped", reason, 0)
    # A process of Tune's is killed where it does not end by itself; an engine writes them before it is.
    assert executor == "tune" or len(checkpoints(sweeping.run)) == 1
    finished = {path.name: path.read_bytes() for path in finished_parts(sweeping.run)}
    assert resume(sweeping.run).complete
    assert {path.name: path.read_bytes() for path in finished_parts(sweeping.run) if path.name in finished} == finished
    assert not checkpoints(sweeping.run)
    whole = swept(executor, tmp_path / "whole", **given)
    columns = ["config_id", "seed", "status", "valid_ll_mean", "report_ll_mean", "weights_digest", "g_updates"]
    pd.testing.assert_frame_equal(trials(sweeping.run)[columns], trials(whole.run)[columns], check_exact=True)
    epochs = pd.read_parquet(sweeping.run / "curves").groupby("config_id")["epoch"].apply(sorted)
    assert epochs.tolist() == [list(range(1, 121))] * 2


def finished_parts(run: Path) -> list[Path]:
    """Return the parts of trials that have ended."""
    parts = (run / "trials").glob("*.parquet")
    return [path for path in parts if pd.read_parquet(path)["status"].iloc[0] not in ("INTERRUPTED", "RUNNING")]


def test_all_trials_of_a_pack_are_interrupted_and_go_on(tmp_path: Path, ray_here: None) -> None:
    given: dict[str, Any] = {"epochs": 100, "num_trials": 6, "confirm": {"seeds": 0}, "max_concurrent": 4}
    sweeping = Sweeping(tmp_path, plan(executor=asked("packed"), **given, limits={"checkpoint_seconds": 3600}))
    try:
        sweeping.wait_for(lambda: "4 running; best" in sweeping.out)
        by_request(sweeping)
        assert sweeping.end() == 0
    finally:
        sweeping.kill()
    rows = trials(sweeping.run)
    unfinished = rows[rows["status"] == "INTERRUPTED"]
    assert len(unfinished) == 4
    reported = set(pd.read_parquet(sweeping.run / "curves")["config_id"]) & set(unfinished["config_id"])
    assert len(checkpoints(sweeping.run)) >= len(reported) > 0
    before = pd.read_parquet(sweeping.run / "curves").set_index(["config_id", "epoch"])["seconds"]
    notes: list[str] = []
    assert resume(sweeping.run, on_note=notes.append).complete
    assert "4 unfinished trials go on from their checkpoints" in notes
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["COMPLETE"] * 6
    after = pd.read_parquet(sweeping.run / "curves").set_index(["config_id", "epoch"])["seconds"]
    assert len(after) == 6 * 100
    pd.testing.assert_series_equal(after.reindex(before.index), before)


def test_a_killed_driver_s_sweep_comes_to_the_rows_of_one_that_never_was(tmp_path: Path) -> None:
    """The same for `tune` stands in `test_resume`."""
    given = {**STUDY, "num_trials": 8, "max_concurrent": 1, "epochs": 81, "executor": asked("packed")}
    assert kill_and_resume(given, tmp_path / "out", kills=3, longest=5, moments=random.Random(1)) == 0


def test_a_killed_driver_s_pack_is_gone_on_with(tmp_path: Path) -> None:
    given = {**STUDY, "num_trials": 12, "max_concurrent": 6, "epochs": 81, "executor": asked("packed")}
    assert kill_and_resume(given, tmp_path / "out", kills=2, longest=8, moments=random.Random(2)) == 0


def test_confirm_runs_after_the_time_limit(tmp_path: Path, executor: str, ray_here: None) -> None:
    """The base ends soon, the other configuration never would."""
    found = swept(
        executor,
        tmp_path,
        space={"algorithm.epochs": {"choice": [3, 100_000]}},
        epochs=3,
        searcher="grid",
        num_trials=None,
        limits={"time_limit": 30},
    )
    assert found.result.complete
    assert found.result.reason == "the time limit of 30 s was reached"
    assert found.table("trials", "search")["status"].value_counts().to_dict() == {"COMPLETE": 1, "INTERRUPTED": 1}
    assert len(found.table("trials", "confirm")) == 2 * 2


def test_a_sweep_ends_when_the_first_trials_all_fail(tmp_path: Path, executor: str, ray_here: None) -> None:
    found = swept(
        executor,
        tmp_path,
        space={"generator.hidden": {"choice": [[23, TOO_WIDE], [24, TOO_WIDE]]}, "algorithm.k": {"int": [1, 9]}},
        override={"generator.hidden": [23, TOO_WIDE]},
        num_trials=12,
        max_concurrent=1,
        limits={"stop_if_first_fail": 3},
    )
    assert not found.result.complete
    assert (found.result.reason or "").startswith("the first 3 trials all failed, the last with: ")
    rows = found.table("trials")
    assert (rows["status"] == "FAILED").sum() == 3
    assert len(rows) <= 4
