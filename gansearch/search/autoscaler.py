"""The autoscaler of the cluster that this process is connected to: which machines it may start.

Ray tells a driver which machines are there, not which may come. The process that starts them, Ray's monitor, was
given a cluster file, and the driver reads the node types there: see `read_autoscaler`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gansearch.search.sections import Resources

HEAD = "node:__internal_head__"
"""Resource that Ray gives to the head of every cluster."""
ANSWER_SECONDS = 60.0
"""Longest wait for the head's answer, where this process runs on another machine."""
_MONITORS = ("autoscaler/_private/monitor.py", "autoscaler/v2/monitor.py")
"""Ends of the monitor's path in Ray's package: without a cluster file, with one, and the newer one of either."""
_FILE, _ADDRESS = "--autoscaling-config=", "--gcs-address="


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeType:
    """Machines of one kind that may be started.

    Attributes:
        name: as the cluster file calls it.
        resources: amounts of what each machine has, by Ray's names; memory in bytes.
        most: how many there may be, 0 or more.
    """

    name: str
    resources: Mapping[str, float]
    most: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """What starts machines when trials wait for them.

    Attributes:
        types: the machines that it may start; None where it does not say: KubeRay's runs beside the head.
        most: machines of all types together; None for no limit but theirs.
    """

    types: tuple[NodeType, ...] | None
    most: int | None = None

    def reach(self, resources: Resources) -> int | None:
        """Return how many trials fit on all machines that it may start; None where it does not say."""
        if self.types is None:
            return None
        left = sum(kind.most for kind in self.types) if self.most is None else self.most
        trials = 0
        for fit, most in sorted(((resources.fit_on(k.resources), k.most) for k in self.types), reverse=True):
            started = min(most, left)
            trials, left = trials + started * fit, left - started
        return trials


UNKNOWN = Autoscaler(types=None)
"""Something starts machines, and does not say which."""


def read_autoscaler() -> Autoscaler | None:
    """Return the autoscaler of the cluster; None where nothing starts machines.

    Ray 2.60 has no call that names the node types (`get_cluster_config` answers None but on Anyscale), so the
    monitor is looked up among the processes of the head: its command line names the cluster file. A head without a
    monitor was started for one that runs beside it.
    """
    head = next((node for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]), None)
    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
    if head is None:
        return None
    if head["NodeManagerAddress"] == ray.util.get_node_ip_address():
        return read_monitor(port)
    affinity = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
    asked = ray.remote(num_cpus=0, max_retries=0)(read_monitor).options(scheduling_strategy=affinity).remote(port)
    try:
        found: Autoscaler | None = ray.get(asked, timeout=ANSWER_SECONDS)
    except ray.exceptions.RayError:  # such as a head on which this package is not installed
        ray.cancel(asked, force=True)
        return UNKNOWN
    return found


def read_monitor(port: str) -> Autoscaler | None:
    """Return what the monitor on this machine was given, of the cluster whose GCS listens on a port."""
    processes = Path("/proc")
    if not processes.is_dir():
        return None
    for path in processes.glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if _option(arguments, _ADDRESS).endswith(f":{port}") and any(a.endswith(_MONITORS) for a in arguments):
            file = _option(arguments, _FILE)
            return _read_file(Path(file)) if file else None
    return UNKNOWN


def parse_cluster(cluster: Mapping[str, Any]) -> Autoscaler:
    """Return what a cluster file says, as Ray reads it; the head's type is of the machine that is there."""
    most = cluster.get("max_workers")
    types = tuple(
        NodeType(
            name=name,
            resources={key: float(amount) for key, amount in (kind.get("resources") or {}).items()},
            most=int(kind.get("max_workers", most or 0)),
        )
        for name, kind in cluster["available_node_types"].items()
        if name != cluster.get("head_node_type")
    )
    return Autoscaler(types=types, most=most)


def _option(arguments: list[str], name: str) -> str:
    return next((a.removeprefix(name) for a in arguments if a.startswith(name)), "")


def _read_file(path: Path) -> Autoscaler:
    try:
        return parse_cluster(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return UNKNOWN
