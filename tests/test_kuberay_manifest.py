"""The manifest for KubeRay: in step with the versions that are tested, authenticated in every container.

Its keys were checked against the schema of KubeRay's own RayJob (v1.7); that is too large to be kept here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import gansearch
from tests.ray_processes import ROOT

FOLDER = ROOT / "docs" / "kuberay"
TOKEN = [
    {"name": "RAY_AUTH_MODE", "value": "token"},
    {
        "name": "RAY_AUTH_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "gansearch-ray-token", "key": "auth_token"}},
    },
]


@pytest.fixture
def spec() -> dict[str, Any]:
    manifest = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    found: dict[str, Any] = manifest["spec"]
    return found


def _pods(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = spec["rayClusterSpec"]
    yield spec["submitterPodTemplate"]["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def test_every_container_has_the_token_from_the_secret(spec: dict[str, Any]) -> None:
    containers = [container for pod in _pods(spec) for container in pod["containers"]]
    assert len(containers) == 3
    for container in containers:
        assert container["env"] == TOKEN, container["name"]
    cluster = spec["rayClusterSpec"]
    assert cluster["autoscalerOptions"]["env"] == TOKEN
    assert cluster["authOptions"] == {"mode": "token", "secretName": "gansearch-ray-token"}


def test_nothing_secret_stands_in_it() -> None:
    text = (FOLDER / "rayjob.yaml").read_text()
    assert "kind: Secret" not in text
    assert not re.search(r"AKIA|ASIA|aws_secret|SECRET_ACCESS", text, re.IGNORECASE)


def test_its_versions_are_those_of_the_constraints(spec: dict[str, Any]) -> None:
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert spec["rayClusterSpec"]["rayVersion"] == pinned[1]
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert re.findall(r"rayproject/ray:([\d.]+)-|\bray\[[\w,]+\]==([\d.]+)", dockerfile) == [
        (pinned[1], ""),
        ("", pinned[1]),
    ]
    images = {container["image"] for pod in _pods(spec) for container in pod["containers"]}
    assert images == {f"REGISTRY/gansearch:{gansearch.__version__}"}
    assert f"REGISTRY/gansearch:{gansearch.__version__}" in dockerfile


def test_the_head_runs_no_trials_and_pods_come_when_they_are_needed(spec: dict[str, Any]) -> None:
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"]) == (0, 0)
    assert group["maxReplicas"] > 0
