"""Sweeps on a cluster that runs already: several at once, and over several machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.cluster_utils import Cluster

from tests.search.small_studies import Sweeping, plan, progress_of, study, trials

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start a cluster of two machines with one processor each; return its address."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def test_two_sweeps_share_a_cluster(tmp_path: Path, cluster: str, sweeps: list[Sweeping]) -> None:
    """Different studies, and two seeds of one."""
    given: list[dict[str, Any]] = [plan(), plan(seed=6)]
    sweeps += [Sweeping(tmp_path / str(i), each, cluster) for i, each in enumerate(given)]
    assert [sweeping.end(400) for sweeping in sweeps] == [0, 0]
    for sweeping in sweeps:
        search, confirm = trials(sweeping.run, "search"), trials(sweeping.run, "confirm")
        assert search["status"].tolist() == ["COMPLETE"] * 3
        # The leader and the base, which may be one: two seeds under two protocols each.
        assert study().base.config_id in set(confirm["config_id"])
        assert set(confirm.groupby("config_id").size()) == {2 * 2}
        assert np.isfinite(confirm["test_ll_mean"]).all()
        assert progress_of(sweeping.run)["stage"] == "done"
        assert sweeping.err == ""
    first, second = (trials(sweeping.run, "search") for sweeping in sweeps)
    base = first.merge(second, on="config_id")
    assert len(base) == 1, "only the base is in both"
    assert not set(first["seed"]) & set(second["seed"])


def test_trial_larger_than_each_machine_is_refused(tmp_path: Path, cluster: str, sweeps: list[Sweeping]) -> None:
    """Two machines of one processor are no machine of two."""
    sweeps.append(Sweeping(tmp_path, plan(resources={"cpu": 2}), cluster))
    assert sweeps[0].end(60) != 0
    assert "each trial asks for 2 CPU, but no machine of the cluster has more than 1" in sweeps[0].err
    assert not sweeps[0].run.exists()
