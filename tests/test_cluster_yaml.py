"""The cluster file: accepted by Ray's own validator, and in step with the versions that are tested."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cluster() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return content


def _validate(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    _validate(cluster)


@pytest.mark.parametrize("section", [(), ("docker",), ("available_node_types", "gpu_worker")])
def test_ray_refuses_a_misspelt_key_in_it(cluster: dict[str, Any], section: tuple[str, ...]) -> None:
    part = cluster
    for key in section:
        part = part[key]
    part["max_wrokers"] = 3
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        _validate(cluster)


def test_its_ray_is_the_constraints_ray(cluster: dict[str, Any]) -> None:
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    images = [cluster["docker"]["image"], cluster["docker"]["head_image"]]
    installed = [re.search(r"ray\[[\w,]+\]==([^\s\"]+)", command) for command in cluster["setup_commands"]]
    versions = [image.partition(":")[2].partition("-")[0] for image in images] + [m[1] for m in installed if m]
    assert versions == [pinned[1]] * 3


def test_the_head_runs_no_trials_and_a_worker_is_there_for_them(cluster: dict[str, Any]) -> None:
    nodes = cluster["available_node_types"]
    assert nodes[cluster["head_node_type"]]["resources"] == {"CPU": 0}
    assert [nodes["gpu_worker"][key] for key in ("min_workers", "max_workers")] == [1, cluster["max_workers"]]
    assert nodes["gpu_worker"]["resources"]["GPU"] == 1


def test_every_node_asks_for_the_token(cluster: dict[str, Any]) -> None:
    """`ray start` leaves authentication off unless it is told."""
    assert "--env=RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert "~/.ray/auth_token" in cluster["file_mounts"]
