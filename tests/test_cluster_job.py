"""A sweep as its users run it: a job on a cluster of several nodes, an object store, and a node that dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.search.progress import Progress, read_progress
from gansearch.storage import Location, location
from gansearch.yaml_files import dump_yaml
from tests.clusters import LocalCluster
from tests.object_store import ObjectStore
from tests.search.small_studies import plan

TRIALS = 8
EPOCHS = 200
CHECKPOINT_SECONDS = 5.0
GANSEARCH = [sys.executable, "-m", "gansearch.cli"]


class Terminal:
    """Runs commands against a cluster, as somebody does who is not where the sweep is."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._env = {**os.environ, **cluster.env, "RAY_ADDRESS": str(cluster.dashboard)}

    def run(self, *command: str) -> str:
        """Return what a command printed; fail where it failed."""
        ended = subprocess.run(command, check=False, capture_output=True, text=True, env=self._env, timeout=300)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr

    def submit(self, name: str, *command: str) -> None:
        """Submit a job."""
        ray = (sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--no-wait", "--submission-id", name)
        self.run(*ray, "--", *command)

    def job(self, name: str, what: str) -> str:
        """Return what `ray job` says of a job: its `status` or its `logs`."""
        return self.run(sys.executable, "-m", "ray.scripts.scripts", "job", what, name)

    def ended(self, name: str) -> bool:
        """Return whether a job has ended; say so where it has."""
        told = self.job(name, "status")
        if "RUNNING" in told or "PENDING" in told:
            return False
        print(told.strip(), *self.job(name, "logs").splitlines()[-12:], sep="\n")
        return True


def _wait(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(1.0)
    return found


def _progress(run: Location) -> Progress | None:
    try:
        return read_progress(run)
    except ResultsError:
        return None


def _table(run: Location, name: str) -> pd.DataFrame:
    """Return a table that nobody writes to, as it is read without this project's code."""
    frame: pd.DataFrame = pq.read_table(f"{run}/{name}").to_pandas()
    return frame


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_job_on_three_nodes_survives_the_loss_of_one(store: ObjectStore, tmp_path: Path) -> None:
    run = location(f"{store.uri}/runs/job")
    study = tmp_path / "study.yaml"
    limits = {"checkpoint_seconds": CHECKPOINT_SECONDS}
    study.write_text(dump_yaml(plan(epochs=EPOCHS, num_trials=TRIALS, limits=limits)))
    with LocalCluster(tmp_path, jobs=True, env=store.env) as cluster:
        nodes = [cluster.add_node(cpus=1) for _ in range(3)]
        terminal = Terminal(cluster)
        terminal.submit("sweep", *GANSEARCH, "sweep", str(study), "--out", str(run))
        _wait(lambda: (p := _progress(run)) and p.running == 3, 180, "three trials at a time")
        print(terminal.run(*GANSEARCH, "status", str(run)))
        _wait(lambda: (p := _progress(run)) and p.done >= 1, 300, "a trial that ended")
        before = results.read(run, "curves").groupby("config_id")["epoch"].max()
        killed_at = time.monotonic()
        cluster.kill(nodes[1])
        _wait(lambda: (p := _progress(run)) and p.done >= 4, 400, "trials that go on without the node")
        print(f"{time.monotonic() - killed_at:.0f} s after a node was killed:")
        print(terminal.run(*GANSEARCH, "status", str(run)))
        print(terminal.run(*GANSEARCH, "stop", str(run)))
        _wait(lambda: terminal.ended("sweep"), 120, "the end of the job")
        stopped = results.read(run, "trials")
        assert schema.INTERRUPTED in set(stopped["status"])
        terminal.submit("rest", *GANSEARCH, "resume", str(run))
        _wait(lambda: terminal.ended("rest"), 600, "the end of the resumed sweep")
    rows, curves = _table(run, "trials"), _table(run, "curves")
    search = rows[rows["stage"] == "search"]
    print(search[["number", "status", "epochs", "run_seconds", "run_host"]])
    assert not rows.duplicated(["config_id", "seed", "stage", "fold", "protocol_id"]).any()
    assert sorted(search["number"]) == list(range(TRIALS))
    assert set(rows["status"]) <= {schema.COMPLETE, schema.DIVERGED}
    assert set(rows["stage"]) == {"search", "confirm"}
    reports = curves.groupby(["config_id", "seed"])["epoch"].agg(["count", "max"])
    assert (reports["count"] == reports["max"]).all()
    assert set(before.index) <= set(search["config_id"])
