"""The clusters that tests stand on are real: nodes of their own processes, which die as machines do."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import LocalCluster
from tests.ray_processes import ROOT
from tests.search.small_studies import alive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# Places a task on each node, and says which node it ran on; then waits until the cluster misses one, and says which.
_DRIVER = """
import json, sys, time
import ray
from gansearch.search.cluster import connected

@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    time.sleep(2)
    return ray.get_runtime_context().get_node_id()

with connected(sys.argv[1]):
    print(json.dumps(sorted(set(ray.get([where.remote() for _ in range(2)], timeout=100)))), flush=True)
    alive = lambda: {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    before = alive()
    print(json.dumps(sorted(before)), flush=True)
    while not (gone := before - alive()):
        time.sleep(0.2)
    print(json.dumps(sorted(gone)), flush=True)
"""


@contextlib.contextmanager
def _driver(cluster: LocalCluster) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _DRIVER, cluster.address],
        env={**os.environ, **cluster.env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_nodes_run_tasks_and_can_be_killed(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster, contextlib.ExitStack() as stack:
        nodes = [cluster.add_node(cpus=1), cluster.add_node(cpus=1)]
        assert cluster.nodes == nodes
        driver = stack.enter_context(_driver(cluster))
        assert driver.stdout
        ran_on, there = (json.loads(driver.stdout.readline()) for _ in range(2))
        assert len(ran_on) == 2
        assert len(there) == 3
        pids = nodes[0].pids
        assert len(pids) > 3
        cluster.kill(nodes[0])
        assert not any(map(alive, pids))
        (gone,) = json.loads(driver.stdout.readline())
        assert gone in ran_on
        assert driver.wait(60) == 0
        assert cluster.nodes == nodes[1:]
        left = nodes[1].pids
        temp_dir = cluster.temp_dir
    assert not any(map(alive, left))
    assert not temp_dir.exists()
