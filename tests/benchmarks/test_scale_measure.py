"""The scale benchmark's measurements on a real Ray, small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray.air.execution._internal.actor_manager import RayActorManager

from benchmarks.scale.measure import measure
from gansearch import schema

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_no_op_trials_leave_rows_and_curves_and_reuse_their_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    own = RayActorManager.add_actor

    def counted(self: RayActorManager, *args: Any, **options: Any) -> Any:
        asked.append(options)
        return own(self, *args, **options)

    monkeypatch.setattr(RayActorManager, "add_actor", counted)
    found = measure("no-op", 45, tmp_path, concurrent=3)
    assert len(asked) == 3, "a process that is starting must not be given up for one that came free"
    rows = pd.read_parquet(tmp_path / "run" / "trials").drop_duplicates(["config_id", "seed"])
    assert (len(rows), set(rows["status"])) == (45, {schema.COMPLETE})
    curves = pd.read_parquet(tmp_path / "run" / "curves").drop_duplicates(["config_id", "seed"])
    assert set(curves["config_id"]) == set(rows["config_id"])
    assert (found["kind"], found["trials"], found["concurrent"]) == ("no-op", 45, 3)
    assert found["marginal_milliseconds"]["16-45"] > 0
    assert found["wall_over_compute"] >= 1
    assert found["best_seconds"] > 0


def test_the_command_prints_the_tables_and_writes_the_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    small = ["--trials", "8", "--sleep", "5", "--plain-reuse", "4", "--plain", "3", "--real", "4", "--epochs", "11"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", *small, "--concurrent", "2", "--json", str(figures)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(figures.read_text())["measured"]
    assert [one["kind"] for one in measured] == ["no-op", "sleep", "plain-reuse", "real", "plain"]
    sleep = measured[1]
    assert sleep["trial_seconds"] >= 1
    assert "plain Ray Tune, defaults, 3 trials" in done.stdout
    assert "real digits, 4 trials" in done.stdout
