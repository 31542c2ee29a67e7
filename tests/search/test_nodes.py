"""Sweeps on several nodes that join and leave, with limits for each, and data that the trials of one share."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import LocalCluster, Node
from tests.search.small_studies import Sweeping, endless, plan, progress_of, trials, workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SECONDS = 200.0

Start = Callable[..., Sweeping]

# Each worker writes down where its data lies: whether it is its own, and the place in which file.
_WITNESS = """
import functools, json, os
from pathlib import Path
from gansearch.search import driver
from gansearch.search.worker import TrialWorker

def place(array):
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, _, inode, *name = line.split()
        low, high = (int(end, 16) for end in span.split("-"))
        if low <= address < high:
            return [name[0] if name else "", int(inode), address - low + int(offset, 16)]

class Witness(TrialWorker):
    def setup(self, config, recorder, data, placement):
        super().setup(config, recorder=recorder, data=data, placement=placement)
        arrays = {"train": data.train, "valid": data.valid}
        seen = {name: [array.flags.owndata, array.flags.writeable, *place(array)] for name, array in arrays.items()}
        (Path(WITNESSES) / f"{os.getpid()}.json").write_text(json.dumps(seen))

driver.Driver = functools.partial(driver.Driver, worker=Witness)
from gansearch.search import sweep as sweeps
sweeps.Driver = driver.Driver
"""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Start a head without CPUs."""
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as started:
        yield started


@pytest.fixture
def cluster(head: LocalCluster) -> Iterator[LocalCluster]:
    """Give the head to a test, and take away again the nodes that it adds."""
    yield head
    for node in head.nodes:
        head.kill(node)


@pytest.fixture
def start(tmp_path: Path, cluster: LocalCluster) -> Iterator[Start]:
    started: list[Sweeping] = []

    def sweep(given: dict[str, Any], before: str = "") -> Sweeping:
        started.append(Sweeping(tmp_path / "sweep", given, cluster.address, before=before, env=cluster.env))
        return started[-1]

    yield sweep
    for sweeping in started:
        sweeping.kill()


def _running(sweeping: Sweeping) -> int:
    return int(progress_of(sweeping.run)["running"]) if (sweeping.run / "progress.json").exists() else 0


def test_cluster_without_machines_or_an_autoscaler_is_refused(cluster: LocalCluster, start: Start) -> None:
    """The first test: no node has joined yet."""
    sweeping = start(plan())
    assert sweeping.end(SECONDS) != 0
    assert "each trial asks for 1 CPU, but no machine of the cluster has more than 0" in sweeping.err
    assert "node type" not in sweeping.err
    assert not sweeping.run.exists()


def test_nodes_that_join_are_used_and_without_any_the_sweep_ends(cluster: LocalCluster, start: Start) -> None:
    nodes = [cluster.add_node(cpus=1)]
    sweeping = start(endless(limits={"wait_for_machines": "6s", "max_failures": 9}))
    sweeping.wait_for(lambda: _running(sweeping) == 1, SECONDS)
    nodes.append(cluster.add_node(cpus=1))
    sweeping.wait_for(lambda: _running(sweeping) == 2 and "best" in sweeping.out, SECONDS)
    for node in nodes:
        cluster.kill(node)
    sweeping.wait_for(lambda: "waits for a machine that a trial fits on" in sweeping.out, SECONDS)
    assert sweeping.end(SECONDS) == 0
    reason = "no machine that a trial fits on was there for 6 s (limits.wait_for_machines)"
    assert f"ended early: {reason}" in sweeping.out
    kept = trials(sweeping.run)
    assert kept["status"].tolist() == ["INTERRUPTED"] * 2
    assert kept["error"].tolist() == [reason] * 2
    assert progress_of(sweeping.run)["note"] == reason


def test_limit_for_each_machine_holds_on_machines_of_different_sizes(cluster: LocalCluster, start: Start) -> None:
    """By a resource that the machines were started with."""
    small = cluster.add_node(cpus=2, resources={"slots": 1})
    large = cluster.add_node(cpus=4, resources={"slots": 2})
    sweeping = start(endless(num_trials=8, resources={"cpu": 0.5, "custom": {"slots": 1}}))
    sweeping.wait_for(lambda: _running(sweeping) == 3, SECONDS)
    assert (_trials_on(small), _trials_on(large)) == (1, 2)
    sweeping.send(signal.SIGTERM, to_group=False)
    assert sweeping.end(SECONDS) == 0
    assert "4 running" not in sweeping.out


def _trials_on(node: Node) -> int:
    return len(workers(node.process.pid))


def test_max_concurrent_holds_over_all_machines(cluster: LocalCluster, start: Start) -> None:
    for _ in range(2):
        cluster.add_node(cpus=2)
    sweeping = start(endless(num_trials=8, max_concurrent=3))
    sweeping.wait_for(lambda: _running(sweeping) == 3, SECONDS)
    sweeping.wait_for(lambda: sweeping.out.count("3 running") > 5, SECONDS)
    sweeping.send(signal.SIGTERM, to_group=False)
    assert sweeping.end(SECONDS) == 0
    assert "4 running" not in sweeping.out


def test_trials_of_a_node_read_the_same_bytes(tmp_path: Path, cluster: LocalCluster, start: Start) -> None:
    """The data set lies in the node's object store, once."""
    cluster.add_node(cpus=2)
    witnesses = tmp_path / "witnesses"
    witnesses.mkdir()
    sweeping = start(endless(), before=f"WITNESSES = {str(witnesses)!r}\n{_WITNESS}")
    sweeping.wait_for(lambda: _running(sweeping) == 2, SECONDS)
    seen = [json.loads(path.read_text()) for path in witnesses.glob("*.json")]
    assert len(seen) >= 2  # one process for each trial, or one more where the first was given away
    assert all(one == seen[0] for one in seen)
    for owned, writeable, file, inode, _offset in seen[0].values():
        assert not owned
        assert not writeable
        assert file.startswith("/dev/shm/plasma")
        assert inode > 0
    assert len({offset for *_, offset in seen[0].values()}) == 2
