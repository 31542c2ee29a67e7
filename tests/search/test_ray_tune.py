"""The connection to Ray, and what fits on its machines."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from gansearch.errors import ResourceError
from gansearch.search.capacity import check_resources
from gansearch.search.cluster import connected
from gansearch.search.ray_tune import placement
from gansearch.search.schedulers import make_scheduler
from gansearch.search.sections import Resources
from gansearch.search.strategies import Scheduler
from tests.search.small_studies import Sweeping, plan, study


@pytest.fixture(scope="class")
def machine() -> Iterator[None]:
    """Start a Ray that believes in five processors and two GPUs."""
    ray.init(
        address="local",
        num_cpus=5,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.mark.usefixtures("machine")
class TestCapacity:
    @pytest.mark.parametrize(
        ("cpu", "gpu", "fit"),
        [
            (1.0, 0.0, 5),
            (2.0, 0.0, 2),
            (0.5, 0.0, 10),
            (5.0, 2.0, 1),
            (1.0, 1.0, 2),
            (0.5, 0.5, 4),
            (0.5, 0.25, 8),
            (0.1, 0.4, 4),  # two of 0.4 fit on a GPU: what is left of two of them is not one
            (1.0, 0.25, 5),
        ],
    )
    def test_as_many_trials_as_processors_and_gpus_allow(self, cpu: float, gpu: float, fit: int) -> None:
        assert check_resources(Resources(cpu=cpu, gpu=gpu)) == fit

    @pytest.mark.parametrize(("cpu", "gpu", "what"), [(6.0, 0.0, "6 CPU"), (1.0, 3.0, "3 GPU"), (9.0, 4.0, "4 GPU")])
    def test_more_than_a_machine_has_is_refused(self, cpu: float, gpu: float, what: str) -> None:
        with pytest.raises(ResourceError, match=f"asks for {what}"):
            check_resources(Resources(cpu=cpu, gpu=gpu))


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
