"""What a trial's worker was lost by, as its row says it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

from gansearch.faults import DeviceFaultError
from gansearch.search.lost_workers import MAX_ERROR, Rooms, last_account
from gansearch.search.sections import Resources
from gansearch.search.tune_actors import LostActorError, actor_of, as_actor_loss, machine_of

MONITOR = (
    "2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, ID: 7f0e) was "
    "3.43GB used / 23.54GB limit (0.145700)\nOOM kill reason: Memory usage exceeded threshold"
)
"""The beginning of what Ray 2.60 says."""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TuneTrial:
    """Return a trial that keeps its errors in a folder of the test: without Ray it has no place of its own."""
    found = TuneTrial("worker", trial_id="t1", stub=True)
    monkeypatch.setattr(TuneTrial, "local_path", str(tmp_path))
    return found


def test_a_kill_of_the_memory_monitor_is_the_loss_of_an_actor(trial: TuneTrial) -> None:
    loss = as_actor_loss(OutOfMemoryError(MONITOR))
    assert isinstance(loss, ActorDiedError)
    trial.handle_error(loss)
    assert trial.num_failures == 1
    assert last_account(trial) == "its machine ran out of memory: 3.43GB used / 23.54GB limit"


def test_a_worded_otherwise_kill_is_one_too() -> None:
    assert str(as_actor_loss(OutOfMemoryError("no memory"))) == "its machine ran out of memory"


def test_other_errors_of_ray_are_losses_too() -> None:
    assert str(as_actor_loss(NodeDiedError("it is gone"))) == "NodeDiedError: it is gone"


def test_what_tune_knows_stays() -> None:
    died = ActorDiedError()
    assert as_actor_loss(died) is died
    raised = RayTaskError("train", "a traceback", ValueError("wrong"))
    assert as_actor_loss(raised) is raised


def test_a_loss_survives_pickling() -> None:
    """Tune keeps what a trial was lost by."""
    import pickle

    again = pickle.loads(pickle.dumps(LostActorError("its machine ran out of memory")))
    assert (type(again), str(again)) == (LostActorError, "its machine ran out of memory")


def test_the_account_is_of_the_last_loss(trial: TuneTrial) -> None:
    trial.handle_error(LostActorError("the first"))
    trial.handle_error(LostActorError("the second"))
    assert last_account(trial) == "the second"


def test_a_fault_that_a_trial_raised_is_told_without_its_traceback(trial: TuneTrial) -> None:
    try:
        raise DeviceFaultError("the GPU failed: CUDA error: unspecified launch failure")
    except DeviceFaultError as error:
        import traceback

        told = RayTaskError("train", traceback.format_exc(), error)
    trial.handle_error(told)
    assert last_account(trial) == "the GPU failed: CUDA error: unspecified launch failure"


def test_the_names_and_numbers_of_an_actor_are_left_out(trial: TuneTrial) -> None:
    trial.handle_error(LostActorError("It died.\n\tactor_id: 0123\n\tip: 10.0.0.7\nIts node went away." + "x" * 999))
    assert last_account(trial).startswith("It died. Its node went away.x")
    assert len(last_account(trial)) == MAX_ERROR


def test_a_trial_without_an_account(trial: TuneTrial) -> None:
    assert last_account(trial) == "no reason given"
    assert actor_of(trial) is None


@pytest.fixture(scope="module")
def machine() -> Iterator[str]:
    """Start a Ray that believes in three processors; return its node's id."""
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield ray.get_runtime_context().get_node_id()
    ray.shutdown()


@pytest.mark.slow
def test_room_is_kept_until_the_trial_has_ended(machine: str) -> None:
    rooms = Rooms(Resources(cpu=1))
    assert rooms.keep("a", machine)
    assert rooms.keep("b", machine)
    assert not rooms.keep("c", machine), "one trial must still fit"
    assert _free() == 1
    rooms.give_back("b")
    rooms.give_back("b")
    assert _free() == 2
    assert rooms.keep("a", machine)
    rooms.close()
    assert _free() == 3
    assert not rooms.keep("a", None)
    assert not rooms.keep("a", "0" * 56), "no such machine"


@pytest.mark.slow
def test_the_machine_of_an_actor_is_known_after_its_death(machine: str) -> None:
    actor: Any = ray.remote(num_cpus=1)(_Napper).remote()
    ray.get(actor.nap.remote())
    assert machine_of(actor) == machine
    ray.kill(actor)
    assert machine_of(actor) == machine


class _Napper:
    def nap(self) -> None:
        """Do nothing."""


def _free(seconds: float = 60) -> float:
    """Return the free processors, once they no longer change."""
    import time

    before, deadline = -1.0, time.monotonic() + seconds
    while (now := float(ray.available_resources().get("CPU", 0.0))) != before and time.monotonic() < deadline:
        before = now
        time.sleep(1.5)
    return now
