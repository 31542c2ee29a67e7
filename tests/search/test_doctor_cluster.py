"""`gansearch doctor` on clusters that are as they should be, and on some that are not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gansearch.storage import location
from gansearch.yaml_files import dump_yaml
from tests.clusters import LocalCluster
from tests.object_store import object_store
from tests.ray_processes import ROOT
from tests.search.small_studies import plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_MODULE = [sys.executable, "-m", "gansearch.cli"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("doctor")) as started:
        for _ in range(2):
            started.add_node(cpus=1)
        yield started


def _call(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, list[str], str]:
    """Run a command; return its exit code, its lines without names of nodes and free space, and its stderr."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    out, err = (re.sub(r"\b[\d.]+/[0-9a-f]{6}\b", "NODE", text) for text in (done.stdout, done.stderr))
    return done.returncode, re.sub(r"[\d.]+ GB", "N GB", out).splitlines(), err


def _doctor(cluster: LocalCluster, folder: Path, *arguments: str) -> tuple[int, list[str], str]:
    return _call([*_MODULE, "doctor", *arguments, "--address", cluster.address], folder, cluster.env)


def _study(folder: Path, **changes: object) -> str:
    (folder / "small.yaml").write_text(dump_yaml(plan(**changes)))
    return "small.yaml"


def test_all_is_well(cluster: LocalCluster, tmp_path: Path) -> None:
    code, out, err = _doctor(cluster, tmp_path, _study(tmp_path), "--out", "new/run")
    assert (code, err) == (0, "")
    assert all(line.startswith("ok ") for line in out), out
    told = [line.split(maxsplit=1)[1] for line in out]
    assert told[0] == f"ray            at {cluster.address}, 3 machines: 2 CPU and 0 GPU"
    assert told[1] == "token          token authentication is on"
    assert told[3] == "resources      2 trials of 1 CPU and 0 GPU fit at a time"
    assert f"run directory  {tmp_path}/new/run is read and written by 2 machines" in told
    assert "data set       digits is here, and the same on 2 machines; trials are sent the one that is here" in told
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"], "the probes are gone, and their folders"


def test_what_is_wrong_is_said_of_each_machine(cluster: LocalCluster, tmp_path: Path) -> None:
    """One node has another Optuna and a clock that is ahead, both simulated; one has GPUs that are not there.

    All but the first see another folder than this process does under the same path.
    """
    odd = tmp_path / "odd"
    (odd / "optuna-4.9.0.dist-info").mkdir(parents=True)
    (odd / "optuna-4.9.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: optuna\nVersion: 4.9.0\n")
    (odd / "sitecustomize.py").write_text("import time\nreal = time.time\ntime.time = lambda: real() + 1000\n")
    nodes = [
        cluster.add_node(cpus=1, env={"PYTHONPATH": f"{odd}{os.pathsep}{ROOT}"}, cwd=tmp_path),
        cluster.add_node(cpus=1, gpus=2, cwd=tmp_path),
    ]
    study = _study(tmp_path, resources={"cpu": 1, "gpu": 3})
    code, out, err = _doctor(cluster, tmp_path, study, "--out", "/proc/self/cwd/run")
    assert code == 2
    assert err == "5 of 9 checks failed\n"
    found = {line[9:24].strip(): (line[:7].strip(), line[24:]) for line in out}
    assert {name for name, (outcome, _) in found.items() if outcome == "fail"} == {
        "versions",
        "resources",
        "gpus",
        "run directory",
        "clocks",
    }
    different = r"differ: optuna \d\S* here and on NODE, NODE, NODE, NODE, 4\.9\.0 on NODE"
    assert re.match(rf"{different} \(hint: ", found["versions"][1])
    assert "each trial asks for 3 GPU" in found["resources"][1]
    assert "more than 2" in found["resources"][1]
    assert found["gpus"][1].startswith("Ray hands out 2 on NODE, where torch sees 0 (hint: ")
    assert "/proc/self/cwd/run is not shared: NODE, NODE do not see what is there" in found["run directory"][1]
    assert re.match(r"the clock of NODE is (999|1000|1001) s ahead of this one \(hint:", found["clocks"][1])
    (tmp_path / "small.yaml").write_text(dump_yaml(plan()))
    command = [*_MODULE, "sweep", "small.yaml", "--out", "run", "--address", cluster.address]
    code, _, err = _call(command, tmp_path, cluster.env)
    assert code == 2
    assert re.search(rf"^error: the machines of the cluster {different}$", err, re.MULTILINE)
    assert not (tmp_path / "run").exists(), "nothing ran"
    for node in nodes:
        cluster.kill(node)


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "set RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token"),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another" * 9},
            "the cluster's token must be in ~/.ray/auth_token, or the file that RAY_AUTH_TOKEN_PATH names",
        ),
        (
            {"RAY_AUTH_MODE": "token"},
            "the cluster's token must be in ~/.ray/auth_token, or the file that RAY_AUTH_TOKEN_PATH names",
        ),
    ],
    ids=["no authentication", "another token", "no token"],
)
def test_client_without_the_token_is_refused(
    cluster: LocalCluster, tmp_path: Path, environment: dict[str, str], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    environment = {"HOME": str(tmp_path), **environment}
    for command in (["doctor"], ["sweep", _study(tmp_path), "--out", "run"]):
        code, out, err = _call([*_MODULE, *command, "--address", cluster.address], tmp_path, environment)
        refusal = f"the Ray cluster at {cluster.address} refuses this process: its token is missing or wrong"
        assert code == 2
        if command == ["doctor"]:
            assert (out, err) == ([f"fail     ray            {refusal} (hint: {hint})"], "1 of 1 checks failed\n")
        else:
            assert err.endswith(f"error: {refusal}\nhint: {hint}\n")
            assert not (tmp_path / "run").exists()


def test_cluster_without_authentication_fails(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, head_cpus=1, authenticated=False) as cluster:
        code, out, _ = _doctor(cluster, tmp_path)
    assert code == 2
    assert [
        re.sub(r"[\d.]+\d", "ADDRESS", line[24:].partition(" (hint")[0]) for line in out if line.startswith("fail")
    ] == ["whoever reaches a port of ADDRESS can run code there: token authentication is off"]


def test_run_directory_on_an_object_store(tmp_path: Path) -> None:
    """One of two nodes has no credentials for it, nor has a driver that is started without them."""
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    with object_store() as store, LocalCluster(tmp_path, head_cpus=1) as cluster:
        run = f"{store.uri}/runs/a"
        code, out, _ = _doctor(cluster, tmp_path, "--out", run)
        assert code == 0
        assert f"ok       run directory  {run} is read and written by 1 machine" in out
        cluster.add_node(cpus=1, env=nothing)
        code, out, _ = _doctor(cluster, tmp_path, "--out", run)
        assert code == 2
        (line,) = (line for line in out if line.startswith("fail"))
        assert line.startswith(f"fail     run directory  {run}: on NODE it cannot be read: ")
        assert "credentials" in line
        assert list(location(run).glob("*")) == [], "the probes are gone"
        command = [*_MODULE, "doctor", "--out", run, "--address", cluster.address]
        code, out, _ = _call(command, tmp_path, {**cluster.env, **nothing})
        assert code == 2
        (line,) = (line for line in out if line.startswith("fail"))
        assert "credentials in the environment" in line
