"""Sweeps on clusters that Ray's autoscaler grows and shrinks: the real one, whose machines are nodes on this one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_autoscaling import AutoscalingCluster
from tests.search.small_studies import Sweeping, descendants, endless, plan, progress_of, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SMALL = {"resources": {"CPU": 1}, "max_workers": 2}
SPOT = {"resources": {"CPU": 1, "spot": 1}, "max_workers": 3, "node_config": {"out_of_stock": True}}
SECONDS = 300.0
WAITS = "waits for a machine that a trial fits on"

Start = Callable[..., Sweeping]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AutoscalingCluster]:
    """Start a cluster without a CPU, which may start two small machines, and spot ones that are not to be had."""
    with AutoscalingCluster(tmp_path_factory.mktemp("cluster"), {"small": SMALL, "spot": SPOT}) as started:
        yield started


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Sweeping] = []

    def sweep(given: dict[str, Any], cluster: AutoscalingCluster) -> Sweeping:
        started.append(Sweeping(tmp_path, given, cluster.address, env=cluster.env))
        return started[-1]

    yield sweep
    for sweeping in started:
        sweeping.kill()


def _finished(sweeping: Sweeping) -> None:
    """Check that the sweep ended, with each of its trials once."""
    assert sweeping.end(SECONDS) == 0
    search = trials(sweeping.run, "search")
    assert search["status"].tolist() == ["COMPLETE"] * 3
    assert not search.duplicated(["config_id", "seed", "protocol_id"]).any()
    assert progress_of(sweeping.run)["stage"] == "done"
    assert progress_of(sweeping.run)["note"] is None


def _waited_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


def test_sweep_on_an_empty_cluster_brings_machines_up_which_go_when_it_has_ended(
    cluster: AutoscalingCluster, start: Start
) -> None:
    assert cluster.workers() == []
    sweeping = start(plan(), cluster)
    sweeping.wait_for(lambda: len(cluster.workers()) == 2, SECONDS)
    _finished(sweeping)
    assert WAITS in sweeping.out
    assert sweeping.err == ""
    assert _waited_for(lambda: cluster.workers() == [], 120)


def test_what_no_node_type_has_is_refused_before_the_first_trial(cluster: AutoscalingCluster, start: Start) -> None:
    sweeping = start(plan(resources={"cpu": 2, "gpu": 2}), cluster)
    assert sweeping.end(SECONDS) != 0
    assert (
        "each trial asks for 2 GPU, but no machine of the cluster has more than 0, and no node type that may be "
        "started has more than 0" in sweeping.err
    )
    assert not sweeping.run.exists()
    assert cluster.workers() == []


def test_sweep_ends_when_no_machine_comes_up(cluster: AutoscalingCluster, start: Start) -> None:
    """A node type could run its trials, but its machines are not to be had."""
    resources = {"cpu": 1, "custom": {"spot": 1}}
    sweeping = start(plan(resources=resources, limits={"wait_for_machines": "8s"}), cluster)
    assert sweeping.end(SECONDS) == 0
    reason = "no machine that a trial fits on was there for 8 s (limits.wait_for_machines)"
    assert f"ended early: {reason}" in sweeping.out
    assert WAITS in sweeping.out
    assert sweeping.err == ""
    last = progress_of(sweeping.run)
    assert (last["stage"], last["note"], last["ended"]) == ("stopped", reason, {})
    assert (sweeping.run / "sweep.yaml").exists(), "nothing keeps `resume` from going on"


def test_population_of_fewer_than_all_is_refused(cluster: AutoscalingCluster, start: Start) -> None:
    space = {"adam.lr_g": {"loguniform": [0.0001, 0.01]}}
    given = plan(scheduler={"name": "pbt"}, space=space, num_trials=4, epochs=8, max_concurrent=1)
    sweeping = start(given, cluster)
    assert sweeping.end(SECONDS) != 0
    assert "max_concurrent cannot be held under pbt on a cluster that starts machines by itself" in sweeping.err
    assert not sweeping.run.exists()


def test_machine_that_is_taken_away_is_replaced(cluster: AutoscalingCluster, start: Start) -> None:
    """As a spot machine is, without a word."""
    given = plan(epochs=80, max_concurrent=1, confirm={"seeds": 0}, limits={"checkpoint_seconds": 0})
    sweeping = start(given, cluster)
    sweeping.wait_for(lambda: "best" in sweeping.out, SECONDS)
    lost = cluster.workers()
    for raylet in lost:
        for pid in (raylet, *descendants(raylet)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    sweeping.wait_for(lambda: bool(set(cluster.workers()) - set(lost)), SECONDS)
    _finished(sweeping)
    assert "lost its worker and goes on from its last checkpoint (restart 1 of 2)" in sweeping.err


def test_older_autoscaler(tmp_path: Path, start: Start) -> None:
    with AutoscalingCluster(tmp_path / "cluster", {"small": SMALL}, version=1) as older:
        _finished(start(plan(), older))


def test_autoscaler_that_does_not_say_what_it_may_start(tmp_path: Path, start: Start) -> None:
    """As KubeRay's: it is asked for one trial more than fit, so that machines come one after the other."""
    with AutoscalingCluster(tmp_path / "cluster", {"small": SMALL}, beside=True) as beside:
        sweeping = start(endless(), beside)
        sweeping.wait_for(lambda: "2 running" in sweeping.out, SECONDS)
        sweeping.send(signal.SIGTERM, to_group=False)
        assert sweeping.end(SECONDS) == 0
