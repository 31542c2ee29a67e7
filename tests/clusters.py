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
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ray._private.utils import set_kill_on_parent_death_linux

from tests.search.small_studies import alive, descendants, gone

ROOT = Path(__file__).parents[1]
START_SECONDS = 120.0
"""Longest wait for a node: one takes 5 s on an idle machine."""
_STARTED = "Ray runtime started."
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
            self.token_path = self._write_token()
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
        if not self._authenticated:
            return {"RAY_AUTH_MODE": "disabled"}
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}

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
        _kill_tree(node.process)
        with contextlib.suppress(ValueError):
            self._nodes.remove(node)

    def kill_head(self) -> None:
        """End all processes of the head at once."""
        for node in [node for node in self._nodes if node.name == "head"]:
            self.kill(node)

    def _write_token(self) -> Path:
        path = self._folder / "auth_token"
        theirs = os.environ.get("RAY_AUTH_TOKEN_PATH")
        token = self._token or (Path(theirs).read_text() if theirs else secrets.token_hex(32))
        path.touch(mode=0o600)
        path.write_text(token)
        return path

    def _start_head(self) -> None:
        for attempt in range(_TRIES):
            gcs, client, dashboard = _free_ports(3)
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
        agent, grpc, runtime_env, metrics = _free_ports(4)
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={self.temp_dir}", "--disable-usage-stats"),
            f"--object-store-memory={_OBJECT_STORE}",
            # Several nodes on one machine: 0 lets the system choose; the defaults of these would clash.
            *("--min-worker-port=0", "--max-worker-port=0"),
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"),
            *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
        ]
        log = self._folder / f"{name}.log"
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, **self.env, **self._env, **env}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A test run that is killed leaves no cluster behind. Ray ends its own processes the same way.
                preexec_fn=set_kill_on_parent_death_linux,  # noqa: PLW1509
            )
        node = Node(name, process, log)
        self._nodes.append(node)
        deadline = time.monotonic() + START_SECONDS
        while _STARTED not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill(node)
                raise RuntimeError(f"the Ray node {name} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        return node

    def _kill_all(self) -> None:
        for node in reversed(self._nodes):
            _kill_tree(node.process)
        self._nodes.clear()


def _kill_tree(root: subprocess.Popen[bytes]) -> None:
    """End a process and all below it: first nobody moves, then all die."""
    stopped: list[int] = []
    while fresh := [pid for pid in (root.pid, *descendants(root.pid)) if alive(pid) and pid not in stopped]:
        for pid in fresh:
            _send(pid, signal.SIGSTOP)
        stopped += fresh
    for pid in stopped:
        _send(pid, signal.SIGKILL)
    root.wait()
    gone(stopped)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
