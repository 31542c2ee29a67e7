"""`ray job submit` of a sweep: from a machine that holds the token, and from one that does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gansearch.yaml_files import dump_yaml
from tests.clusters import LocalCluster
from tests.search.small_studies import plan, progress_of, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RAY = str(Path(sys.executable).parent / "ray")
SECRET = "of-the-storage-7f3a"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Start a cluster whose head runs no trials, and whose nodes have another secret in their environment."""
    folder = tmp_path_factory.mktemp("jobs")
    with LocalCluster(folder, jobs=True, env={"AWS_SECRET_ACCESS_KEY": SECRET}) as started:
        started.add_node(cpus=2)
        yield started


def _submit(cluster: LocalCluster, environment: Mapping[str, str], *entrypoint: str) -> tuple[int, str]:
    """Submit a job and follow it to its end; return the exit code and what was printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [RAY, "job", "submit", "--address", str(cluster.dashboard), "--", *entrypoint],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_sweep_as_a_job(cluster: LocalCluster, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(dump_yaml(plan()))
    run = tmp_path / "run"
    program = Path(sys.executable).parent / "gansearch"
    code, out = _submit(
        cluster,
        cluster.env,
        str(program),
        "sweep",
        str(tmp_path / "small.yaml"),
        "--out",
        str(run),
        "--address",
        "auto",
    )
    assert code == 0, out
    assert trials(run, "search")["status"].tolist() == ["COMPLETE"] * 3
    assert progress_of(run)["stage"] == "done"
    lines = out.splitlines()
    assert f"sweep small into {run}: 3 trials of 4 epochs" in lines
    assert any(re.fullmatch(r"\[\d+ s\] search: 0/3 trials \(none ended\), \d running", line) for line in lines)
    assert any(line.startswith(f"{run}: done; trials: ") for line in lines)
    _holds_no_secret(run, out, cluster)


def _holds_no_secret(run: Path, printed: str, cluster: LocalCluster) -> None:
    secrets = [cluster.token_path.read_text(), SECRET]
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 3
    for secret in secrets:
        assert secret not in printed
        for path in files:
            assert secret.encode() not in path.read_bytes(), path
            assert secret not in path.name
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_job_without_the_token_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for environment, why in (
        ({"RAY_AUTH_MODE": "disabled"}, "Token authentication is enabled but no authentication token was found"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another" * 9}, "Forbidden: Invalid authentication token"),
    ):
        code, out = _submit(cluster, {"HOME": str(tmp_path), **environment}, "touch", str(made))
        assert code == 1
        assert why in out
    assert not made.exists()
