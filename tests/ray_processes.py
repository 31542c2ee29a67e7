"""The processes of Ray's nodes that tests start: each `ray start` in a session of its own, gone with the test."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ray._private.utils import set_kill_on_parent_death_linux

from tests.search.small_studies import alive, descendants, gone

ROOT = Path(__file__).parents[1]
START_SECONDS = 120.0
"""Longest wait for a node: one takes 5 s on an idle machine."""
START = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
# Several nodes on one machine: 0 lets the system choose; the default would clash.
WORKER_PORTS = ("--min-worker-port=0", "--max-worker-port=0")
_STARTED = "Ray runtime started."


def write_token(path: Path, token: str | None = None) -> None:
    """Write a token file that only its owner reads.

    Args:
        path: the file.
        token: what it holds; by default the token of this process, which Ray reads once, or a new one.
    """
    theirs = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path.touch(mode=0o600)
    path.write_text(token or (Path(theirs).read_text() if theirs else secrets.token_hex(32)))


def token_env(path: Path) -> dict[str, str]:
    """Return what the environment of a process that connects needs."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def start_process(
    command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that imports this checkout and ends with this one; from the main thread only.

    Args:
        command: what to run.
        log: where its output goes.
        env: environment variables beside those of this process.
        cwd: its current folder.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A test run that is killed leaves no cluster behind. Ray ends its own processes the same way.
            preexec_fn=set_kill_on_parent_death_linux,  # noqa: PLW1509  # Linux has no other way; nothing locks here
        )


def wait_started(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `ray start` says that its node runs.

    Raises:
        RuntimeError: when it ends before, or takes too long; with its output.
    """
    deadline = time.monotonic() + START_SECONDS
    while _STARTED not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a Ray node did not start:\n{log.read_text()}")
        time.sleep(0.1)


def kill_tree(root: subprocess.Popen[bytes]) -> None:
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


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
