"""The cluster file: accepted by Ray's own validator, closed to the world, in step with the versions that are tested."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
WORLD = "0.0.0.0/0"


@pytest.fixture
def cluster() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return content


def _validate(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    _validate(cluster)


@pytest.mark.parametrize(
    "section", [(), ("auth",), ("docker",), ("available_node_types", "gpu_worker"), ("available_node_types", "head")]
)
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
    assert any("-c ~/gansearch/constraints.txt" in command for command in cluster["setup_commands"])


def test_the_head_runs_no_trials_and_workers_come_when_they_are_needed(cluster: dict[str, Any]) -> None:
    nodes = cluster["available_node_types"]
    assert nodes[cluster["head_node_type"]]["resources"] == {"CPU": 0}
    worker = nodes["gpu_worker"]
    assert [worker[key] for key in ("min_workers", "max_workers")] == [0, cluster["max_workers"]]
    assert worker["resources"]["GPU"] == 1
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in nodes["head"]["node_config"], "the head must stay"


def test_every_node_asks_for_the_token(cluster: dict[str, Any]) -> None:
    """`ray start` leaves authentication off unless it is told."""
    assert "--env=RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert "~/.ray/auth_token" in cluster["file_mounts"]


def test_nothing_secret_stands_in_it() -> None:
    text = (ROOT / "cluster.yaml").read_text()
    assert not re.search(r"AKIA|ASIA|aws_secret|SECRET_ACCESS|RAY_AUTH_TOKEN=", text)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stand in for an AWS account: moto answers what Ray's AWS provider asks of EC2 and IAM."""
    from moto import mock_aws
    from ray.autoscaler._private.aws import utils

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        utils.resource_cache.cache_clear()
        yield utils.resource_cache("ec2", "us-west-2")
        utils.resource_cache.cache_clear()


def _bootstrapped(
    cluster: dict[str, Any], account: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return the file as Ray fills it in before it starts anything, with a group of one's own in the blanks."""
    from ray.autoscaler._private.aws.config import bootstrap_aws

    monkeypatch.setenv("HOME", str(folder))  # a key pair is written there
    (vpc,) = account.vpcs.all()
    group = account.create_security_group(GroupName="gansearch", Description="Ray", VpcId=vpc.id)
    group.authorize_ingress(IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group.id}]}])
    prepared = prepare_config(copy.deepcopy(cluster))
    for node in prepared["available_node_types"].values():
        if "SecurityGroupIds" in node["node_config"]:
            node["node_config"]["SecurityGroupIds"] = [group.id]
    filled: dict[str, Any] = bootstrap_aws(prepared)
    return filled


def _open_to_the_world(account: Any) -> list[str]:
    """Return the groups that let somebody in from anywhere."""
    return [
        group.group_name
        for group in account.security_groups.all()
        for rule in group.ip_permissions
        for reach in rule["IpRanges"]
        if reach["CidrIp"] == WORLD
    ]


def test_no_port_is_open_to_the_world(
    cluster: dict[str, Any], account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _bootstrapped(cluster, account, tmp_path, monkeypatch)
    assert _open_to_the_world(account) == []


def test_ray_itself_would_open_one(
    cluster: dict[str, Any], account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the groups are named in the file; when this fails, `provider.security_group` may be enough."""
    for node in cluster["available_node_types"].values():
        del node["node_config"]["SecurityGroupIds"]
    _bootstrapped(cluster, account, tmp_path, monkeypatch)
    assert _open_to_the_world(account) == ["ray-autoscaler-gansearch"]
