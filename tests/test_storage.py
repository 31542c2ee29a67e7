"""Paths and URIs: the same few operations on a file system and on a server that speaks S3."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gansearch import storage
from gansearch.errors import ResultsError
from gansearch.object_store import RemotePath, StorageError
from gansearch.paths import RunPaths
from gansearch.storage import location, may_pass, patiently
from tests.object_store import ObjectStore, object_store


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture(params=["path", "uri"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> storage.Location:
    if request.param == "path":
        return tmp_path / "run"
    running: ObjectStore = request.getfixturevalue("store")
    return location(f"{running.uri}/{tmp_path.name}/run")


def test_a_file_is_written_read_listed_and_removed(folder: storage.Location) -> None:
    file = folder / "trials" / "a.parquet"
    assert not file.exists()
    assert not folder.is_dir()
    assert list((folder / "trials").glob("*.parquet")) == []
    storage.write_bytes(file, b"first")
    storage.write_bytes(file, b"second")
    storage.write_text(folder / "trials" / "note.txt", "not a part: Größe")
    assert file.read_bytes() == b"second"
    assert (folder / "trials" / "note.txt").read_text(encoding="utf-8") == "not a part: Größe"
    assert (file.exists(), file.is_file(), file.is_dir()) == (True, True, False)
    assert (folder.exists(), folder.is_file(), folder.is_dir()) == (True, False, True)
    assert [path.name for path in (folder / "trials").glob("*.parquet")] == ["a.parquet"]
    assert [str(path) for path in folder.glob("*")] == [str(folder / "trials")]
    with storage.local_copy(file) as copy:
        assert copy.read_bytes() == b"second"
    file.unlink()
    assert not file.exists()
    file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        file.unlink()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    storage.remove_tree(folder)
    assert list(folder.glob("*")) == []


def test_a_file_that_is_replaced_while_it_is_read_is_of_one_version(store: ObjectStore) -> None:
    """The writer waits for a reader, for one that replaces it faster than anybody reads is refused."""
    place, over, reading = location(f"{store.uri}/replaced"), threading.Event(), threading.Event()

    def content(number: int) -> bytes:
        return bytes([97 + number % 26]) * (10 + 50 * number)

    storage.write_bytes(place, content(0))

    def replace() -> None:
        for number in itertools.count(1):
            reading.wait()
            reading.clear()
            if over.is_set():
                return
            storage.write_bytes(place, content(number))

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        found = set()
        for _ in range(60):
            reading.set()
            found.add(place.read_bytes())
    finally:
        over.set()
        reading.set()
        writer.join()
    assert all(one == content((len(one) - 10) // 50) for one in found)
    assert len(found) > 1


def test_probe_leaves_nothing(folder: storage.Location) -> None:
    storage.probe(folder)
    assert list(folder.glob("*")) == []


def test_a_place_travels_to_other_processes(folder: storage.Location) -> None:
    paths = RunPaths(folder)
    assert pickle.loads(pickle.dumps(paths)) == paths
    assert location(str(paths.plan)) == paths.plan


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://bucket/runs/a/", "s3://bucket/runs/a"),
        ("s3://bucket/a?region=eu-west-1", "s3://bucket/a?region=eu-west-1"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("memory://runs/a", "memory://runs/a"),
    ],
)
def test_uris(given: str, shown: str) -> None:
    found = location(given)
    assert isinstance(found, RemotePath)
    assert str(found) == shown
    assert str(found / "trials" / "x.parquet").partition("?")[0] == shown.partition("?")[0] + "/trials/x.parquet"


def test_paths_stay_paths() -> None:
    assert location("runs/a") == Path("runs/a")
    assert location("file:///tmp/a%20b") == Path("/tmp/a b")
    assert location(Path("a")) == Path("a")
    assert location("C:/x") == Path("C:/x")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://key:secret@bucket/a", "s3://bucket/a was given with credentials"),
        ("s3://bucket/a?secret_key=secret", "s3://bucket/a was given with credentials"),
        ("abfs://container:secret@account/a", "abfs://account/a was given with credentials"),
        ("abfs://container@account/a?sig=secret", "abfs://account/a was given with credentials"),
        ("s3://", "names no place"),
        ("s3://bucket/../other", "names no place"),
        ("nosuch://bucket/a", "no store is known for nosuch://"),
    ],
)
def test_uris_that_are_refused(uri: str, message: str) -> None:
    with pytest.raises(ResultsError, match=message) as found:
        location(uri)
    assert "secret" not in str(found.value)
    assert found.value.hint


def test_a_bucket_that_is_not_there_is_told_in_one_sentence(store: ObjectStore) -> None:
    with pytest.raises(ResultsError, match=r"cannot write s3://nosuch/run/.*NO_SUCH_BUCKET") as found:
        storage.probe(location("s3://nosuch/run"))
    assert "Request ID" not in found.value.message


def test_a_store_that_is_away_is_told_of_and_waited_for(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    place = location(f"{store.uri}/away/file")
    storage.write_bytes(place, b"before")
    store.wire.cut()
    try:
        with pytest.raises(StorageError, match="out of reach"):
            place.read_bytes()
        told: list[str] = []

        def mend(error: Exception) -> None:
            told.append(str(error))
            store.wire.mend()

        patiently(lambda: storage.write_bytes(place, b"after"), 60.0, mend)
    finally:
        store.wire.mend()
    assert place.read_bytes() == b"after"
    assert len(told) == 1
    assert "cannot write" in told[0]


def test_what_may_pass() -> None:
    assert may_pass(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert may_pass(OSError(errno.EIO, os.strerror(errno.EIO)))
    assert may_pass(StorageError("s3://x out of reach"))
    assert not may_pass(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    assert not may_pass(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    assert not may_pass(ResultsError("another driver holds the run"))
    told = ResultsError("cannot write x")
    told.__cause__ = OSError(errno.ENOSPC, "no space")
    assert may_pass(told)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tries = [0.0], [0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    def fail() -> None:
        tries[0] += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output"):
        patiently(fail, 60.0)
    assert 40.0 <= clock[0] <= 60.0
    assert tries[0] == 8  # pauses of 0.5, 1, 2, 4, 8, 16 and 20 s
    with pytest.raises(OSError, match="Input/output"):
        patiently(fail, 0.0)
    assert tries[0] == 9
