"""The connection to Ray, and what a trial is given there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from gansearch.errors import ResourceError
from gansearch.search.cluster import connected
from gansearch.search.ray_tune import placement
from gansearch.search.schedulers import make_scheduler
from gansearch.search.strategies import Scheduler
from tests.search.small_studies import Sweeping, plan, study


def test_placement_follows_the_resources() -> None:
    alone = placement(study(resources={"cpu": 3.0}))
    assert (alone.device, alone.threads, alone.checkpoint_seconds) == ("cpu", 3, 30)
    shared = placement(study(resources={"cpu": 0.5, "gpu": 0.25}, limits={"checkpoint_seconds": 7}))
    assert shared.checkpoint_seconds == 7
    assert (shared.device, shared.threads, shared.gpu_share) == ("cuda", 1, 0.25)


def test_schedulers_of_a_study() -> None:
    assert type(make_scheduler(Scheduler(name="none"), 9)) is FIFOScheduler
    assert type(make_scheduler(Scheduler(name="asha", grace_epochs=2, reduction_factor=3.0), 9)) is ASHAScheduler


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "not an address"])
def test_address_without_a_cluster_is_an_error(address: str) -> None:
    with pytest.raises(ResourceError, match="no Ray cluster can be used at"), connected(address):
        raise AssertionError("connected to nothing")
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_client_addresses_are_refused(address: str) -> None:
    with pytest.raises(ResourceError, match="client protocol"), connected(address):
        raise AssertionError("connected to nothing")


@pytest.mark.slow
def test_own_connection_is_closed_and_the_environment_restored() -> None:
    before = dict(os.environ)
    with connected(None):
        assert ray.is_initialized()
        assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "1"
    assert not ray.is_initialized()
    added = {name for name in os.environ if name not in before}
    assert not {name for name in added if name.startswith(("TUNE_", "RAY_AIR"))}


@pytest.mark.slow
def test_token_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, for Ray remembers the token."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "no-token"))
    sweeping = Sweeping(tmp_path, plan())
    assert sweeping.end() == 1
    assert "ResourceError: Ray cannot start on this machine: RAY_AUTH_TOKEN_PATH is set" in sweeping.err
    assert not sweeping.run.exists()
