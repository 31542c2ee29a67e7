"""Sweeps whose trials are followed, through the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gansearch import results, schema
from gansearch.paths import TrialKey
from gansearch.search.plan_files import read_plan
from gansearch.tracking.interface import METRICS
from gansearch.yaml_files import dump_yaml
from tests.search.small_studies import plan
from tests.tracking.readers import single, tensorboard

ASHA = {"name": "asha", "grace_epochs": 1, "reduction_factor": 2}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_trial_of_a_sweep_has_its_events(tmp_path: Path) -> None:
    """Workers are used again: the trial that a scheduler stopped is left with its outcome."""
    run, study = tmp_path / "run", tmp_path / "small.yaml"
    study.write_text(dump_yaml(plan(num_trials=8, scheduler=ASHA, epochs=6, max_concurrent=2)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "gansearch.cli", "sweep", str(study), "--out", str(run), "--track", "tensorboard"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot be followed" not in done.stderr
    rows = results.read_arrow(run, schema.TRIALS)[0].to_pylist()
    curves = results.read_arrow(run, schema.CURVES)[0].to_pylist()
    statuses = {TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"]): row["status"] for row in rows}
    assert {"COMPLETE", "STOPPED"} <= set(statuses.values())
    assert {key.stage for key in statuses} == {"search", "confirm"}
    assert {path.name for path in (run / "tensorboard").iterdir()} == {str(key) for key in statuses}
    for key, status in statuses.items():
        seen = tensorboard(run, key)
        own = [row for row in curves if TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"]) == key]
        assert seen.reports == {
            name: [(row["epoch"], single(float(row[name]))) for row in sorted(own, key=lambda row: row["epoch"])]
            for name in METRICS
        }
        assert seen.facts["status"] == status
        assert bool(seen.scores) == (status == "COMPLETE")
    assert read_plan(run).study.track == ("tensorboard",)
