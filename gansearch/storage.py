"""Where a run directory lies: a path, or a URI of an object store; the few operations that the toolkit needs of either.

A file appears whole or not at all: on a file system it is written beside its place under a name that begins
with a dot (which Parquet readers ignore), synced, and moved there; on an object store it is one upload, which
such a store shows when it is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import math
import os
import re
import shutil
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from gansearch.errors import ResultsError
from gansearch.object_store import Base, RemotePath, StorageError, open_store

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SECRET = re.compile(r"key|secret|token|password|credential|\bsig\b", re.IGNORECASE)
"""In the name of a URI's option."""
# Of a file system, these do not pass by themselves; of an object store, anything else may.
_LASTING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
_HINT = "check the free space and the permissions there"
FIRST_PAUSE = 0.5
"""Seconds before the second try of an operation; each further pause is twice as long."""
LONGEST_PAUSE = 20.0

T = TypeVar("T")


Location = Path | RemotePath
"""A file or folder of a run, wherever it lies."""


def location(place: str | Path | RemotePath) -> Location:
    """Return a path or URI as the place that it names.

    Args:
        place: a path, or a URI such as `s3://bucket/runs/a`. Credentials come from the environment, as the store's
            own tools take them (`AWS_ACCESS_KEY_ID`, an instance's role ...), and so does another endpoint
            (`AWS_ENDPOINT_URL`).

    Raises:
        ResultsError: when the URI names no bucket, carries credentials, or is of no store that Arrow or fsspec opens.
    """
    match = _URI.match(place) if isinstance(place, str) else None
    if match is None:
        return place if isinstance(place, RemotePath) else Path(place)
    uri = urllib.parse.urlsplit(str(place))
    if uri.scheme == "file":
        return Path(urllib.parse.unquote(uri.path))
    shown = f"{uri.scheme}://{uri.netloc.rpartition('@')[2]}{uri.path}"
    if _has_credentials(uri):
        raise ResultsError(
            f"{shown} was given with credentials, which would stand in tables and logs",
            hint="take them out of the URI, and give them in the environment, as the store's own tools take them",
        )
    path = (uri.netloc + uri.path).strip("/")
    if not path or "//" in path or ".." in path.split("/"):
        raise ResultsError(f"{shown} names no place in a store", hint="such as s3://bucket/runs/mnist")
    found = RemotePath(Base(uri.scheme, f"?{uri.query}" if uri.query else ""), path)
    open_store(found.base)
    return found


def expand(pattern: str) -> list[Location]:
    """Return the places that a path or URI with wildcards (`*`, `?`, `[...]`) names, sorted; itself where it has none.

    Raises:
        ResultsError: as `location`.
    """
    whole = location(pattern)
    if not set("*?[") & set(pattern) or whole.exists():  # a name may hold such characters
        return [whole]
    if isinstance(whole, RemotePath):
        first, *names = whole.path.split("/")
        found: list[Location] = [dataclasses.replace(whole, path=first)]
    else:
        first, *names = whole.parts
        found = [Path(first)] if whole.is_absolute() else list(Path().glob(first))
    for name in names:
        if set("*?[") & set(name):
            found = [place for folder in found for place in folder.glob(name)]
        else:
            found = [folder / name for folder in found]
    return sorted((place for place in found if place.exists()), key=str)


def _has_credentials(uri: urllib.parse.SplitResult) -> bool:
    user, at, _ = uri.netloc.rpartition("@")
    if any(_SECRET.search(name) for name, _ in urllib.parse.parse_qsl(uri.query, keep_blank_values=True)):
        return True
    # Elsewhere what stands there is no user, but a container or an account.
    return bool(at) and (":" in user or uri.scheme not in ("abfs", "abfss", "hdfs", "viewfs"))


def reason(error: OSError) -> str:
    """Return what went wrong, without the path that the caller names."""
    if isinstance(error, StorageError):
        return error.message.partition("out of reach: ")[2] or error.message
    return os.strerror(error.errno) if error.errno else str(error)


def source(place: Location) -> Any:
    """Return what Arrow's readers take."""
    return place.open_input() if isinstance(place, RemotePath) else place


def remove_tree(place: Location) -> None:
    """Remove a folder and everything in it, as far as that can be done."""
    if isinstance(place, RemotePath):
        with contextlib.suppress(OSError):
            place.remove_tree()
    else:
        shutil.rmtree(place, ignore_errors=True)


def probe(folder: Location) -> None:
    """Write a small file into a folder, read it and remove it.

    Raises:
        ResultsError: where that cannot be done.
    """
    place, content = folder / f".probe-{uuid.uuid4().hex[:12]}", b"gansearch"
    write_bytes(place, content)
    try:
        if place.read_bytes() != content:
            raise ResultsError(f"{folder} does not give back what was written there")
        place.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            place.unlink()
        hint = error.hint if isinstance(error, StorageError) else _HINT
        raise ResultsError(f"{folder} can be written, but not used: {reason(error)}", hint=hint) from error


@contextlib.contextmanager
def local_copy(place: Location) -> Iterator[Path]:
    """Give a file as one on this machine, for the time of the block.

    Raises:
        OSError: when it cannot be read.
    """
    if not isinstance(place, RemotePath):
        yield place
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gansearch-") as folder:
        path = Path(folder) / place.name
        path.write_bytes(place.read_bytes())
        yield path


def may_pass(error: BaseException) -> bool:
    """Return whether an error is of a storage that may be back in a while."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__
    if isinstance(found, StorageError):
        return True
    return found is not None and found.errno is not None and found.errno not in _LASTING


def patiently(call: Callable[[], T], seconds: float, on_error: Callable[[Exception], None] = lambda _: None) -> T:
    """Return what a call returns, tried again with growing pauses while the storage is away.

    Args:
        call: what is tried; may be repeated without harm.
        seconds: how long, at most, from the first error.
        on_error: told of the first error, before the first pause.

    Raises:
        OSError, ResultsError: the last one, when the time is over; at once where another try cannot help.
    """
    until, pause = math.inf, FIRST_PAUSE
    while True:
        try:
            return call()
        except (OSError, ResultsError) as error:
            if pause == FIRST_PAUSE:
                until = time.monotonic() + seconds
            if not may_pass(error) or time.monotonic() + pause > until:
                raise
            if pause == FIRST_PAUSE:
                on_error(error)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def write(place: Location, make: Callable[[BinaryIO], object]) -> None:
    """Put a file in place in one step, so that neither a reader nor a crash ever meets half of it.

    Missing folders are made.

    Args:
        place: the file.
        make: writes the content to what it is given.

    Raises:
        OSError: when the file cannot be written.
    """
    if isinstance(place, RemotePath):
        content = io.BytesIO()
        make(content)
        place.write_bytes(content.getvalue())
        return
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            make(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    # Some shared file systems refuse to sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_bytes(place: Location, content: bytes) -> None:
    """Write a binary file, whole or not at all; missing folders are made.

    Raises:
        ResultsError: when the file cannot be written.
    """
    with writing(place):
        write(place, lambda file: file.write(content))


def write_text(place: Location, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all; missing folders are made.

    Raises:
        ResultsError: when the file cannot be written.
    """
    write_bytes(place, text.encode())


def write_json(place: Location, value: object) -> None:
    """Write a JSON file, whole or not at all; missing folders are made.

    Raises:
        ValueError: when a number is not finite, which JSON cannot hold.
        ResultsError: when the file cannot be written.
    """
    write_text(place, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextlib.contextmanager
def writing(place: Location) -> Iterator[None]:
    """Say of an error in the block that a file could not be written.

    Raises:
        ResultsError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"cannot write {place}: {reason(error)}", hint=getattr(error, "hint", None) or _HINT
        ) from error
