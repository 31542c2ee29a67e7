"""Sweeps whose trials are followed, through the command line."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gansearch import results, schema
from gansearch.paths import TrialKey
from gansearch.search.plan_files import read_plan
from gansearch.tracking.interface import METRICS
from gansearch.yaml_files import dump_yaml
from tests.kill_and_resume import STUDY
from tests.search.small_studies import plan
from tests.tracking.readers import BACKENDS, Backend

# MLflow's own mapping uses what SQLAlchemy 2.1 deprecates.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]

ASHA = {"name": "asha", "grace_epochs": 1, "reduction_factor": 2}
TENSORBOARD, MLFLOW, _ = BACKENDS
TIMES = ("seconds", "examples_per_second")


def gansearch(folder: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Start a command; what it writes goes to a file in the folder."""
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "gansearch.cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=output,
            stderr=output,
        )


def write_study(folder: Path, study: dict[str, Any]) -> Path:
    (folder / "small.yaml").write_text(dump_yaml(study), encoding="utf-8")
    return folder / "small.yaml"


def statuses(run: Path) -> dict[TrialKey, str]:
    rows = results.read_arrow(run, schema.TRIALS)[0].to_pylist()
    return {TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"]): row["status"] for row in rows}


def check(run: Path, key: TrialKey, status: str, backend: Backend, names: list[str]) -> None:
    """Check what a tracker holds of a trial against its rows."""
    curves = results.read_arrow(run, schema.CURVES)[0].to_pylist()
    own = [row for row in curves if TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"]) == key]
    own.sort(key=lambda row: row["epoch"])
    seen = backend.read(run, key)
    # A scheduler may stop a trial that goes on before it is where it was: what takes nothing back shows the rest too.
    last = own[-1]["epoch"] if own and backend.keeps_first and status == "STOPPED" else math.inf
    reports = {name: [(step, value) for step, value in seen.reports[name] if step <= last] for name in METRICS}
    assert {name: reports[name] for name in names} == {
        name: [(row["epoch"], backend.stored(float(row[name]))) for row in own] for name in names
    }
    assert [step for step, _ in reports["seconds"]] == [row["epoch"] for row in own]
    assert seen.facts["status"] == status
    assert bool(seen.scores) == (status == "COMPLETE")


def test_each_trial_of_a_sweep_has_its_events(tmp_path: Path) -> None:
    """Workers are used again: the trial that a scheduler stopped is left with its outcome."""
    run = tmp_path / "run"
    study = write_study(tmp_path, plan(num_trials=8, scheduler=ASHA, epochs=6, max_concurrent=2))
    code = gansearch(tmp_path, "sweep", study, "--out", run, "--track", "tensorboard").wait()
    output = (tmp_path / "output").read_text()
    assert code == 0, output
    assert "cannot be followed" not in output
    found = statuses(run)
    assert {"COMPLETE", "STOPPED"} <= set(found.values())
    assert {key.stage for key in found} == {"search", "confirm"}
    assert {path.name for path in (run / "tensorboard").iterdir()} == {str(key) for key in found}
    for key, status in found.items():
        check(run, key, status, TENSORBOARD, list(METRICS))
    assert read_plan(run).study.track == ("tensorboard",)


def test_a_sweep_that_was_killed_goes_on_with_each_report_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = {
        "num_trials": 4,
        "epochs": 108,
        "max_concurrent": 2,
        "confirm": {"seeds": 0},
        "track": ["tensorboard", "mlflow"],
    }
    study = write_study(tmp_path, STUDY | changes)
    sweep = gansearch(tmp_path, "sweep", study, "--out", run)
    deadline = time.monotonic() + 200
    while len(list((run / "checkpoints").glob("*/checkpoint.safetensors"))) < 2 and time.monotonic() < deadline:
        assert sweep.poll() is None, (tmp_path / "output").read_text()
        time.sleep(0.1)
    time.sleep(2)  # some reports after the checkpoints
    sweep.kill()
    sweep.wait()
    assert set(statuses(run).values()) & set(schema.UNFINISHED)
    assert gansearch(tmp_path, "resume", run).wait() == 0, (tmp_path / "output").read_text()
    assert "go on from their checkpoints" in (tmp_path / "output").read_text()
    found = statuses(run)
    assert len(found) == 4
    for key, status in found.items():
        check(run, key, status, TENSORBOARD, list(METRICS))
        check(run, key, status, MLFLOW, [name for name in METRICS if name not in TIMES])
