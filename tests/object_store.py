"""A real server that speaks S3, on loopback, behind a wire that can be cut."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gansearch.object_store import open_store

BUCKET = "results"
_START_SECONDS = 90.0


class Wire:
    """Forwards connections to a port; while it is cut, none is made and those that were are closed."""

    def __init__(self, target: int) -> None:
        self._target, self._cut, self._closed = target, threading.Event(), threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Cut it."""
        self._cut.set()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Mend it."""
        self._cut.clear()

    def close(self) -> None:
        """End it."""
        self._closed.set()
        self.cut()
        self._listener.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut.is_set():
                near.close()
                continue
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            self._open |= {near, far}
            with selectors.DefaultSelector() as ready:
                ready.register(near, selectors.EVENT_READ, far)
                ready.register(far, selectors.EVENT_READ, near)
                while not self._cut.is_set():
                    for key, _ in ready.select(1.0):
                        end: Any = key.fileobj
                        content = end.recv(65_536)
                        if not content:
                            return
                        key.data.sendall(content)
        self._open -= {near}


class ObjectStore:
    """A store with one bucket.

    Attributes:
        env: what a process needs to reach it.
        wire: between the processes and the server.
        uri: of the bucket.
    """

    def __init__(self, port: int) -> None:
        self.wire = Wire(port)
        self.uri = f"s3://{BUCKET}"
        self.env: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.wire.port}",
            "AWS_ACCESS_KEY_ID": "a-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret",  # of no account: the server takes any
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def object_store(log: Path = Path(os.devnull)) -> Iterator[ObjectStore]:
    """Run a store for the time of the block, its environment set in this process.

    Args:
        log: where it writes down what it is asked.
    """
    open_store.cache_clear()  # it remembers the endpoint that it was made with
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    store = ObjectStore(port)
    before = {name: os.environ.get(name) for name in store.env}
    try:
        until = time.monotonic() + _START_SECONDS
        while True:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except OSError:
                if time.monotonic() > until or server.poll() is not None:
                    raise
                time.sleep(0.2)
        os.environ.update(store.env)
        yield store
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        open_store.cache_clear()
        store.wire.close()
        server.kill()
        server.wait()
