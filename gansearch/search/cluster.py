"""A Ray cluster: connect to one, or start one on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import ray
import ray.exceptions
from ray._private import worker as ray_worker

from gansearch.errors import ResourceError
from gansearch.search.authentication import check_token
from gansearch.search.imports import cores
from gansearch.search.replacing import replaced

_PRINTS = "_worker_logs_enabled"
CONNECT_SECONDS = 10.0
"""Longest wait for a cluster's address to answer."""
_PRELOAD = {"RAY_preload_python_modules": "gansearch.search.preloaded"}
"""Ray's setting for what the processes import that it holds ready: what a trial needs, while the driver plans."""

_SETTINGS = {
    # The tables are the record of a sweep: Tune's own files, tables and snapshots are switched off.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial that failed or diverged has no value to report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The sweep listens to signals itself.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


_started = threading.Event()


def started_here() -> bool:
    """Return whether `connected` started the Ray that this process is connected to: on this machine alone."""
    return _started.is_set()


@contextlib.contextmanager
def connected(address: str | None, *, trials: int = 0) -> Iterator[None]:
    """Connect to a running cluster, or start Ray on this machine, for the time of the block.

    A connection that is there already is used and left open.

    Args:
        address: a cluster's address; None for the one that RAY_ADDRESS names, else a local Ray.
        trials: how many are to run here at a time where Ray is started here. Ray holds a process ready for each
            core; where trials will take them all, they import at once what a trial needs.

    Raises:
        ResourceError: when no cluster answers at the address, or one is given to a process that is connected.
    """
    with _environment(_SETTINGS), contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(_unprinted())
            address = address or os.environ.get("RAY_ADDRESS") or "local"
            with _environment(_PRELOAD if trials >= cores() else {}):
                _connect(address)
            stack.callback(ray.shutdown)
            if address == "local":
                _started.set()
                stack.callback(_started.clear)
        elif address:
            raise ResourceError(
                f"this process is connected to a Ray cluster already, so it cannot connect to {address}",
                hint="leave the address out to use that one, or call ray.shutdown() first",
            )
        yield


def _connect(address: str) -> None:
    if "://" in address:
        raise ResourceError(
            f"Ray's client protocol is not supported: {address}",
            hint="give the cluster's own address, such as 10.0.0.1:6379, on a machine of the cluster",
        )
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        _check_answers(address)
        with _sighup_ignored():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        local = address == "local"
        where = "Ray cannot start on this machine" if local else f"no Ray cluster can be used at {address}"
        hint = None if local else f"check it with `ray status --address {address}`"
        raise ResourceError(f"{where}: {str(error).strip().splitlines()[0]}", hint=hint) from error


def _check_answers(address: str) -> None:
    """Raise an error unless something listens at `host:port` and takes this process's token.

    Ray itself would try for two minutes.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        check_token(address, CONNECT_SECONDS)


@contextlib.contextmanager
def _sighup_ignored() -> Iterator[None]:
    """Let the processes that are started in the block outlive a terminal that closes: the sweep ends them itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _unprinted() -> Iterator[None]:
    """Keep Ray's messages about lost workers off stdout, where tables go; the trials' rows tell of them.

    Ray has no public switch for them: `log_to_driver` is for the workers' own output. A Ray without it is as good.
    """
    with replaced(ray_worker, _PRINTS, lambda _: False) if hasattr(ray_worker, _PRINTS) else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the time of the block."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
