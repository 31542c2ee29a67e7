"""The machines of the cluster that this process is connected to, and how to ask something of each."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import ray
import ray.exceptions
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gansearch.search import probes

ANSWER_SECONDS = 60.0
"""Longest wait for the machines' answers: a first one takes a worker's start, a second or more."""
LISTED = 5
"""Names of machines that a message holds at most."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine.

    Attributes:
        id: Ray's id of the node.
        name: its address, with the head of the id where several nodes have one address.
        cpus: CPUs that it offers; one without runs no trials.
        gpus: GPUs that it offers.
    """

    id: str
    name: str
    cpus: float
    gpus: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What a machine answered.

    Attributes:
        value: the answer; None without one.
        error: why there is none; None with one.
    """

    value: T | None = None
    error: str | None = None


def machines() -> list[Machine]:
    """Return the machines that are there now, by name."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    addresses = collections.Counter(node["NodeManagerAddress"] for node in nodes)
    found = []
    for node in nodes:
        address, offers = node["NodeManagerAddress"], node["Resources"]
        name = address if addresses[address] == 1 else f"{address}/{node['NodeID'][:6]}"
        found.append(Machine(id=node["NodeID"], name=name, cpus=offers.get("CPU", 0.0), gpus=offers.get("GPU", 0.0)))
    return sorted(found, key=lambda machine: machine.name)


def ask(
    those: Sequence[Machine], probe: Callable[..., T], *arguments: object, own: Mapping[Machine, object] | None = None
) -> dict[Machine, Answer[T]]:
    """Run a function of `probes` on each machine, on no CPU, and return the answers.

    Args:
        those: the machines.
        probe: what is run.
        arguments: what it takes.
        own: what it takes last, for each machine.
    """
    cloudpickle.register_pickle_by_value(probes)
    try:
        remote = ray.remote(num_cpus=0, max_retries=0)(probe)
        pending = {
            machine: remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(machine.id, soft=False)).remote(
                *arguments, *([own[machine]] if own else [])
            )
            for machine in those
        }
    finally:
        cloudpickle.unregister_pickle_by_value(probes)
    if pending:
        ray.wait(list(pending.values()), num_returns=len(pending), timeout=ANSWER_SECONDS)
    return {machine: _answer(reference) for machine, reference in pending.items()}


def listed(names: Sequence[str]) -> str:
    """Return names for a message: the first few of many."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _answer(reference: ray.ObjectRef[T]) -> Answer[T]:
    try:
        return Answer(value=ray.get(reference, timeout=0))
    except ray.exceptions.GetTimeoutError:
        ray.cancel(reference, force=True)
        return Answer(error=f"does not answer within {ANSWER_SECONDS:g} s")
    except ray.exceptions.RayTaskError as error:
        return Answer(error=f"answers with {type(error.cause).__name__}: {_first_line(error.cause)}")
    except ray.exceptions.RayError as error:
        return Answer(error=f"cannot be asked: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
