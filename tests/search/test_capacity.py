"""What fits on a cluster: on the machines that are there, and on those that may be started."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from gansearch.errors import ConfigError, ResourceError
from gansearch.search.autoscaler import UNKNOWN, Autoscaler, NodeType, parse_cluster, read_autoscaler, read_monitor
from gansearch.search.capacity import Room, check_resources
from gansearch.search.sections import Resources
from gansearch.search.study import Study
from tests.search.small_studies import plan

ROOT = Path(__file__).parents[2]


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

    def test_every_name_that_ray_gives_counts(self) -> None:
        memory = ray.cluster_resources()["memory"] / 1e9
        assert check_resources(Resources(memory=memory / 2.5)) == 2
        with pytest.raises(ResourceError, match=r"asks for \S+ GB of memory, but no machine of the cluster has more"):
            check_resources(Resources(memory=2 * memory))
        with pytest.raises(ResourceError, match="asks for 2 slots, but no machine of the cluster has more than 0") as e:
            check_resources(Resources(custom={"slots": 2}))
        assert e.value.hint is not None
        assert e.value.hint.startswith("lower resources.custom.slots")

    @pytest.mark.parametrize(
        ("autoscaler", "most", "limit"),
        [
            (None, None, 5),
            (None, 3, 3),
            (UNKNOWN, None, 6),
            (UNKNOWN, 20, 6),
            ({"large": (8, 2)}, None, 5 + 16),
            ({"large": (8, 2), "none": (8, 0)}, None, 5 + 16),
            ({"large": (8, 2), "small": (1, 9)}, None, 5 + 16 + 3),  # five machines: the larger ones first
            ({"large": (8, 2)}, 7, 7),
        ],
    )
    def test_trials_at_a_time(self, autoscaler: Any, most: int | None, limit: int) -> None:
        if isinstance(autoscaler, dict):
            autoscaler = parse_cluster(_cluster(autoscaler))
        room = Room(Resources(), most, autoscaler)
        room.check()
        assert room.limit == limit
        assert room.waited == 0
        assert room.note is None

    def test_node_type_that_could_is_enough(self) -> None:
        Room(Resources(cpu=8), None, parse_cluster(_cluster({"large": (8, 2)}))).check()
        Room(Resources(cpu=8), None, UNKNOWN).check()

    @pytest.mark.parametrize("types", [{"large": (8, 2)}, {"large": (8, 2), "huge": (64, 0)}])
    def test_neither_machine_nor_node_type_is_large_enough(self, types: dict[str, tuple[float, int]]) -> None:
        with pytest.raises(
            ResourceError,
            match="each trial asks for 9 CPU, but no machine of the cluster has more than 5, and no node type that may "
            "be started has more than 8",
        ):
            Room(Resources(cpu=9), None, parse_cluster(_cluster(types))).check()

    def test_head_is_asked_from_another_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The head of this Ray has a monitor that was given no cluster file."""
        assert read_autoscaler() is None
        monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.99")
        assert read_autoscaler() is None


@pytest.mark.parametrize(
    "content", ["max_workers: 3\navailable_node_types: {one: {resources: {CPU: 2}}}", "[", "5", None]
)
def test_monitor_is_read_from_its_command_line(tmp_path: Path, content: str | None) -> None:
    """A cluster file that cannot be read says as little as none at all beside the head."""
    file = tmp_path / "cluster.yaml"
    if content is not None:
        file.write_text(content)
    arguments = ["ray/autoscaler/v2/monitor.py", "--gcs-address=10.0.0.1:123456", f"--autoscaling-config={file}"]
    monitor = subprocess.Popen(
        [sys.executable, "-c", "print(); input()", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert monitor.stdout is not None
        monitor.stdout.readline()  # it runs: its arguments can be read
        one = NodeType(name="one", resources={"CPU": 2.0}, most=3)
        known = Autoscaler(types=(one,), most=3)
        assert read_monitor("123456") == (known if content and "one" in content else UNKNOWN)
        assert read_monitor("23456") == UNKNOWN, "no monitor of that cluster runs here: there is one elsewhere"
    finally:
        monitor.communicate(b"\n")


def _cluster(types: dict[str, tuple[float, int]]) -> dict[str, Any]:
    """Return a cluster file of five machines at most; types are (CPUs, machines) by name."""
    kinds = {name: {"resources": {"CPU": cpus}, "max_workers": most} for name, (cpus, most) in types.items()}
    head = {"resources": {"CPU": 99}}
    return {"max_workers": 5, "head_node_type": "head", "available_node_types": {"head": head, **kinds}}


def test_shipped_cluster_file_is_read_as_ray_reads_it() -> None:
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    found = parse_cluster(cluster)
    worker = cluster["available_node_types"]["gpu_worker"]
    assert found.types is not None
    assert [(kind.name, kind.most) for kind in found.types] == [("gpu_worker", worker["max_workers"])]
    assert found.reach(Resources(cpu=1, gpu=0.25)) == 4 * cluster["max_workers"]
    assert found.reach(Resources(cpu=1, gpu=2)) == 0


def test_node_types_without_a_limit_have_that_of_the_cluster() -> None:
    cluster = _cluster({"large": (8, 2)})
    del cluster["available_node_types"]["large"]["max_workers"]
    assert parse_cluster(cluster).reach(Resources()) == 5 * 8
    assert Autoscaler(types=None).reach(Resources()) is None


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"memory": -1}, "resources.memory must be 0 or more, got -1"),
        ({"custom": {"slots": 0}}, "resources.custom.slots must be above 0, got 0"),
        ({"custom": {"slots": 1.5}}, "resources.custom.slots must be whole when above 1, got 1.5"),
        ({"custom": {"slots": "two"}}, "resources.custom.slots must be a number"),
        ({"custom": {"gpu": 1}}, "a name in resources.custom must be other than Ray's own resources, got 'gpu'"),
        ({"custom": {"node:10.0.0.1": 1}}, "other than Ray's own resources, got 'node:10.0.0.1'"),
        ({"custom": ["slots"]}, "resources.custom must be a mapping"),
        ({"per_node": 2}, "resources has an unknown key 'per_node'"),
    ],
)
def test_bad_resources_are_refused(resources: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Study.parse(plan(resources=resources), "small")
    assert message in error.value.message


def test_resources_and_waiting_survive_the_plan() -> None:
    given = plan(resources={"memory": 2.5, "custom": {"slots": 0.5}}, limits={"wait_for_machines": "90m"})
    found = Study.parse(given, "small")
    assert found.limits.wait_for_machines == 5400
    assert found.resources.bundle() == {"CPU": 1, "memory": 2.5e9, "slots": 0.5}
    assert Study.parse(plan(limits={"wait_for_machines": None}), "small").limits.wait_for_machines is None
    assert found.to_dict()["resources"] == {"cpu": 1, "gpu": 0, "memory": 2.5, "custom": {"slots": 0.5}}
    with pytest.raises(ConfigError, match=r"limits\.wait_for_machines must be above 0, got 0"):
        Study.parse(plan(limits={"wait_for_machines": 0}), "small")
