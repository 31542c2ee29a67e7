"""Nodes of a cluster that are killed: workers, and the head. All share a run directory on this machine's disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.clusters import LocalCluster, Node
from tests.search.faulty_workers import FaultySweeping, lost_seconds, met_at, steps
from tests.search.small_studies import Sweeping, plan, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EVERY = 2.0
"""Least seconds between two checkpoints."""
EPOCHS = 120


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Start a cluster whose head runs no trials."""
    with LocalCluster(tmp_path) as started:
        yield started


def given(**changes: Any) -> dict[str, Any]:
    limits = {"checkpoint_seconds": EVERY}
    return plan(**{"epochs": EPOCHS, "num_trials": 5, "confirm": {"seeds": 0}, "limits": limits, **changes})


def node_of(cluster: LocalCluster, pid: int) -> Node:
    (node,) = [node for node in cluster.nodes if pid in node.pids]
    return node


def test_a_killed_node_costs_no_trial_and_no_more_than_the_time_since_its_last_checkpoint(
    cluster: LocalCluster, tmp_path: Path, sweeps: list[Sweeping]
) -> None:
    for _ in range(3):
        cluster.add_node(cpus=1)
    sweeping = FaultySweeping(tmp_path, given(), "none", address=cluster.address, env=cluster.env)
    sweeps.append(sweeping)
    # Amid three trials that run on three nodes and are past their first checkpoints.
    sweeping.wait_for(lambda: len({s["pid"] for s in steps(sweeping.run) if s["epoch"] > EPOCHS // 4}) >= 3, 240)
    last = steps(sweeping.run)[-1]
    node = node_of(cluster, last["pid"])
    hit = {s["number"] for s in steps(sweeping.run) if s["pid"] in node.pids}
    hit -= set(trials(sweeping.run).query("status != 'RUNNING'")["number"])
    died = time.time()
    cluster.kill(node)
    assert sweeping.end(400) == 0, sweeping.err
    rows = trials(sweeping.run)
    assert sorted(rows["number"]) == list(range(5)), "each trial is there, once"
    assert rows["status"].tolist() == ["COMPLETE"] * 5, rows["error"].tolist()
    curves = pd.read_parquet(sweeping.run / "curves")
    assert sorted(curves.groupby("config_id").size()) == [EPOCHS] * 5
    assert not curves.duplicated(["config_id", "seed", "epoch"]).any()
    assert last["number"] in hit
    longest = float(curves.groupby("config_id")["seconds"].diff().groupby(curves["config_id"]).quantile(0.99).max())
    for number in hit:
        (lost,) = lost_seconds(sweeping.run, number, died)
        again = min(s["at"] for s in steps(sweeping.run) if s["number"] == number and s["at"] > died)
        print(f"trial {number} went on {again - died:.1f} s after the death of its node")
        print(f"trial {number} lost {lost:.2f} s of work; checkpoints every {EVERY} s, reports {longest:.2f} s apart")
        assert lost <= EVERY + max(longest, 1.0)
    assert "restart 1 of 2" in sweeping.err
    print(sweeping.err)


def test_a_sweep_whose_head_is_killed_says_so_and_goes_on_elsewhere(
    cluster: LocalCluster, tmp_path: Path, sweeps: list[Sweeping]
) -> None:
    cluster.add_node(cpus=1)
    cluster.add_node(cpus=1)
    sweeping = FaultySweeping(tmp_path, given(), "none", address=cluster.address, env=cluster.env)
    sweeps.append(sweeping)
    sweeping.wait_for(lambda: len({s["pid"] for s in steps(sweeping.run) if s["epoch"] > EPOCHS // 4}) >= 2, 240)
    port, killed = cluster.address.rpartition(":")[2], time.monotonic()
    cluster.kill_head()
    assert sweeping.end(120) == 2
    print(f"it ended after {time.monotonic() - killed:.0f} s: {sweeping.err}")
    said, hint, *rest = sweeping.err.splitlines()
    assert re.fullmatch(rf"error: the head of the Ray cluster at \S+:{port} has not answered for \d+ s", said)
    assert hint.startswith(f"hint: `gansearch resume {sweeping.run}` goes on")
    assert not rest
    before = trials(sweeping.run)
    assert set(before["status"]) <= {"COMPLETE", "INTERRUPTED", "RUNNING"}
    assert "INTERRUPTED" in set(before["status"])
    for node in cluster.nodes:
        cluster.kill(node)
    with LocalCluster(tmp_path) as other:
        other.add_node(cpus=2)
        command = [sys.executable, "-m", "gansearch.cli", "resume", str(sweeping.run), "--address", other.address]
        subprocess.run(command, env={**os.environ, **other.env}, check=True, timeout=300)
    rows = trials(sweeping.run)
    assert sorted(rows["number"]) == list(range(5))
    assert rows["status"].tolist() == ["COMPLETE"] * 5
    done = before[before["status"] == "COMPLETE"].set_index("number")["run_started"]
    assert (rows.set_index("number")["run_started"].reindex(done.index) == done).all(), "what was complete stayed"
    assert not met_at(sweeping.run)
