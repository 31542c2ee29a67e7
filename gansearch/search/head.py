"""The cluster's head: without it the driver's next call of Ray waits, until Ray ends the process without a word."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import ray

POLL_SECONDS = 2.0
"""Time between two looks at the head, and the longest wait for its answer."""
RAYS_SETTING = "RAY_gcs_rpc_server_reconnect_timeout_s"
RAYS_SECONDS = 60.0
"""Ray's own patience, unless that setting says otherwise."""
LAST_SECONDS = 20.0
"""Seconds of that which are left for the last words."""


def patience() -> float:
    """Return the seconds for which the head may be silent."""
    rays = float(os.environ.get(RAYS_SETTING, RAYS_SECONDS))
    return max(rays - LAST_SECONDS, rays / 2)


@contextlib.contextmanager
def head_watched(last_words: Callable[[str], None], hint: str) -> Iterator[None]:
    """End this process with one sentence when the head of the cluster is lost in the block.

    The main thread cannot: it waits for an answer that it will not get, and after a minute Ray ends the process. A
    head that comes back in time, as one with a store of its own does, is not lost.

    Args:
        last_words: called in another thread, with the reason, before the process ends with exit code 2.
        hint: what the user can do then.
    """
    address = ray.get_runtime_context().gcs_address
    over = threading.Event()

    def watch() -> None:
        heard = time.monotonic()
        while not over.wait(POLL_SECONDS):
            silent = time.monotonic() - heard
            if answers(address):
                heard = time.monotonic()
            elif silent > patience():
                reason = f"the head of the Ray cluster at {address} has not answered for {silent:.0f} s"
                sys.stderr.write(f"error: {reason}\nhint: {hint}\n")
                sys.stderr.flush()
                try:
                    last_words(reason)
                finally:
                    os._exit(2)

    watcher = threading.Thread(target=watch, daemon=True, name="head")
    watcher.start()
    try:
        yield
    finally:
        over.set()


def answers(address: str) -> bool:
    """Return whether somebody listens at a head's address."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=POLL_SECONDS).close()
    except OSError:
        return False
    return True
