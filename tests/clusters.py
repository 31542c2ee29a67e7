"""Ray clusters for tests: real nodes on this machine, each from a `ray start` of its own, that can be killed.

    with LocalCluster(tmp_path) as cluster:
        nodes = [cluster.add_node(cpus=1), cluster.add_node(cpus=1)]
        subprocess.run([..., "--address", cluster.address], env={**os.environ, **cluster.env})
        cluster.kill(nodes[0])

Token authentication is on. A process that connects needs `cluster.env`; for a test's own process, set it with
monkeypatch before anything connects.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.ray_processes import (
    START,
    WORKER_PORTS,
    free_ports,
    kill_tree,
    start_process,
    token_env,
    wait_started,
    write_token,
)
from tests.search.small_studies import descendants

_OBJECT_STORE = 120_000_000
_TRIES = 3
"""A port that was free may be taken by the time Ray binds it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One node.

    Attributes:
        name: `head`, or the worker's number.
        process: its `ray start --block`; all other processes of the node are below it.
        log: what that wrote.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pids(self) -> list[int]:
        """The ids of its processes."""
        return [self.process.pid, *descendants(self.process.pid)]


class LocalCluster:
    """A head and worker nodes on 127.0.0.1.

    Args:
        folder: where the nodes' logs go; their sockets need a shorter path, which is made under /tmp.
        head_cpus: CPUs of the head; 0 for a head that runs no trials.
        head_gpus: GPUs that the head claims to have.
        jobs: whether the head starts the dashboard, which `ray job submit` talks to.
        env: environment variables of every node.
        token: authentication token; by default that of this process (RAY_AUTH_TOKEN_PATH), which Ray reads once,
            or a new one.
        authenticated: whether token authentication is on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        head_cpus: float = 0,
        head_gpus: float = 0,
        jobs: bool = False,
        env: Mapping[str, str] | None = None,
        token: str | None = None,
        authenticated: bool = True,
    ) -> None:
        self._folder = folder / f"cluster-{secrets.token_hex(3)}"
        self._head_cpus, self._head_gpus, self._jobs = head_cpus, head_gpus, jobs
        self._env = dict(env or {})
        self._token, self._authenticated = token, authenticated
        self._stack = contextlib.ExitStack()
        self._nodes: list[Node] = []
        self.temp_dir = Path()
        self.address = ""
        """Of the cluster: what `--address` takes."""
        self.dashboard: str | None = None
        """Of the dashboard: what `ray job submit --address` takes; None without `jobs`."""
        self.token_path = Path()

    def __enter__(self) -> LocalCluster:
        self._folder.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            self.temp_dir = Path(tempfile.mkdtemp(prefix="gs-ray-"))
            stack.callback(shutil.rmtree, self.temp_dir, ignore_errors=True)
            stack.callback(self._kill_all)
            self.token_path = self._folder / "auth_token"
            write_token(self.token_path, self._token)
            self._start_head()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        """What the environment of a process that connects needs."""
        return token_env(self.token_path) if self._authenticated else {"RAY_AUTH_MODE": "disabled"}

    @property
    def nodes(self) -> list[Node]:
        """The worker nodes that have not been killed."""
        return [node for node in self._nodes if node.name != "head"]

    def add_node(
        self,
        *,
        cpus: float = 1,
        gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Node:
        """Start a worker node and wait until the cluster has it.

        Args:
            cpus: CPUs that it offers.
            gpus: GPUs that it claims to have.
            resources: other resources that it offers.
            env: environment variables of this node, beside those of the cluster.
            cwd: the current folder of its processes.
        """
        custom = ", ".join(f'"{name}": {amount:g}' for name, amount in (resources or {}).items())
        options = [f"--address={self.address}", f"--num-cpus={cpus:g}", f"--num-gpus={gpus:g}"]
        options += [f"--resources={{{custom}}}"] if custom else []
        return self._start(str(len(list(self._folder.iterdir()))), options, env or {}, cwd)

    def kill(self, node: Node) -> None:
        """End all processes of a node at once, as a machine that loses its power does."""
        kill_tree(node.process)
        with contextlib.suppress(ValueError):
            self._nodes.remove(node)

    def kill_head(self) -> None:
        """End all processes of the head at once."""
        for node in [node for node in self._nodes if node.name == "head"]:
            self.kill(node)

    def _start_head(self) -> None:
        for attempt in range(_TRIES):
            gcs, client, dashboard = free_ports(3)
            options = ["--head", f"--port={gcs}", f"--ray-client-server-port={client}"]
            options += [f"--num-cpus={self._head_cpus:g}", f"--num-gpus={self._head_gpus:g}"]
            options += [f"--include-dashboard={str(self._jobs).lower()}", f"--dashboard-port={dashboard}"]
            try:
                self._start(f"head{attempt or ''}", options, {})
            except RuntimeError:
                if attempt == _TRIES - 1:
                    raise
                continue
            self._nodes[-1] = dataclasses.replace(self._nodes[-1], name="head")
            self.address = f"127.0.0.1:{gcs}"
            self.dashboard = f"http://127.0.0.1:{dashboard}" if self._jobs else None
            return

    def _start(self, name: str, options: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> Node:
        agent, grpc, runtime_env, metrics = free_ports(4)
        command = [
            *(*START, *options, *WORKER_PORTS),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={self.temp_dir}"),
            f"--object-store-memory={_OBJECT_STORE}",
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"),
            *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
        ]
        log = self._folder / f"{name}.log"
        node = Node(name, start_process(command, log, {**self.env, **self._env, **env}, cwd), log)
        self._nodes.append(node)
        try:
            wait_started(node.process, log)
        except RuntimeError:
            self.kill(node)
            raise
        return node

    def _kill_all(self) -> None:
        for node in reversed(self._nodes):
            kill_tree(node.process)
        self._nodes.clear()
