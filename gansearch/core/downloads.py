"""Downloads of data sets, by torchvision, into the data directory.

Each process downloads into a folder of its own and moves whole files into place, so several at once, or one that dies,
leave nothing half-written.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from gansearch.errors import DataError

_STALLED = 60.0  # seconds without a byte before a download counts as failed


def download(
    title: str, target: Path, files: str, fetch: Callable[[Path], object], *, data_dir: Path, hint: str
) -> None:
    """Download a data set's files.

    Args:
        title: the data set's name in messages.
        target: the folder that the files go to, below the data directory.
        files: what their names are like, as a pattern of `glob`.
        fetch: downloads them by torchvision, checksums verified, into a folder or below it.
        data_dir: the data directory.
        hint: what else can be done, for messages.

    Raises:
        DataError: when torchvision is not there, or the download fails.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as scratch, _stall_limit():
            fetch(Path(scratch))
            target.mkdir(parents=True, exist_ok=True)
            for file in sorted(Path(scratch).rglob(files)):
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
                file.replace(target / file.name)
    except ImportError as error:
        message = f"{title} is not in {target}, and downloading it needs torchvision, which cannot be imported"
        raise DataError(message, hint=f"pip install torchvision, or {hint}") from error
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{title} is not in {target} and was not downloaded: {reason}", hint=hint) from error


@contextlib.contextmanager
def _stall_limit() -> Iterator[None]:
    """Give new sockets a time-out: a network that drops packets would hold torchvision for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALLED)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
