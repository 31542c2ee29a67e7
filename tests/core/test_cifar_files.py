"""CIFAR-10's binary batches: their layout, where they come from, and what a user reads when they are wrong."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gansearch.core.cifar_files import CIFAR10, CifarSource, read_cifar, read_labels
from gansearch.core.datasets import load
from gansearch.core.idx_files import content_digest
from gansearch.errors import DataError

N = 7
"""Images in a batch of the small source."""


def records(seed: int) -> NDArray[np.uint8]:
    source = np.random.default_rng(seed)
    labels, pixels = source.integers(0, 10, (N, 1)), source.integers(0, 256, (N, 3072))
    return np.concatenate([labels, pixels], 1).astype(np.uint8)


BATCHES = {"data_batch_1.bin": records(1), "data_batch_2.bin": records(2), "test_batch.bin": records(3)}
SMALL = CifarSource(
    folder="cifar-10-batches-bin",
    images=N,
    batches=tuple((name, content_digest(batch)) for name, batch in BATCHES.items()),
    url="",
    md5="",
)


def write(folder: Path, batches: dict[str, NDArray[np.uint8]] = BATCHES) -> Path:
    """Write the batches where they belong; return their folder."""
    target = folder / SMALL.folder
    target.mkdir(parents=True)
    for name, batch in batches.items():
        (target / name).write_bytes(batch.tobytes())
    return target


def test_labels_are_left_out_and_the_last_batch_is_the_test_set(tmp_path: Path) -> None:
    write(tmp_path)
    train, test = read_cifar(SMALL, tmp_path, download=False)
    first, second, last = BATCHES.values()
    np.testing.assert_array_equal(train, np.concatenate([first[:, 1:], second[:, 1:]]))
    np.testing.assert_array_equal(test, last[:, 1:])
    assert train.flags.c_contiguous
    assert test.flags.c_contiguous


def test_missing_batches_are_named(tmp_path: Path) -> None:
    (write(tmp_path) / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"CIFAR-10 was not found: data_batch_2.bin is not in .*cifar-10-batches-bin"):
        read_cifar(SMALL, tmp_path, download=False)
    with pytest.raises(DataError, match=r"data_batch_1.bin, data_batch_2.bin, test_batch.bin are not in") as caught:
        read_cifar(SMALL, tmp_path / "nowhere", download=False)
    assert caught.value.hint is not None
    assert "the binary version" in caught.value.hint


def test_a_truncated_batch_is_named(tmp_path: Path) -> None:
    path = write(tmp_path) / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"data_batch_2.bin has 21,506 bytes, expected 21,511"):
        read_cifar(SMALL, tmp_path, download=False)


@pytest.mark.parametrize("place", [0, 1, -1], ids=["label", "first pixel", "last pixel"])
def test_another_byte_anywhere_is_seen(tmp_path: Path, place: int) -> None:
    changed = BATCHES["test_batch.bin"].copy()
    changed.flat[place] ^= 1
    write(tmp_path, BATCHES | {"test_batch.bin": changed})
    with pytest.raises(DataError, match=r"test_batch\.bin has the digest") as caught:
        read_cifar(SMALL, tmp_path, download=False)
    assert content_digest(changed) in caught.value.message


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CifarSource]:
    """Serve the small source's archive on loopback."""
    folder = tmp_path / "served"
    folder.mkdir()
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as tar:
        for name, batch in BATCHES.items():
            info = tarfile.TarInfo(f"{SMALL.folder}/{name}")
            info.size = batch.size
            tar.addfile(info, io.BytesIO(batch.tobytes()))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        md5 = hashlib.md5((folder / "cifar.tar.gz").read_bytes(), usedforsecurity=False).hexdigest()
        yield dataclasses.replace(SMALL, url=f"http://127.0.0.1:{server.server_address[1]}/cifar.tar.gz", md5=md5)
        server.shutdown()
        thread.join()


def test_batches_that_are_not_there_are_downloaded_once(archive: CifarSource, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    train, test = read_cifar(archive, data_dir, download=True)
    assert (len(train), len(test)) == (2 * N, N)
    assert sorted(p.relative_to(data_dir).as_posix() for p in data_dir.rglob("*.*")) == [
        f"{SMALL.folder}/{name}" for name in sorted(BATCHES)
    ]
    again, _ = read_cifar(dataclasses.replace(archive, url="http://127.0.0.1:9/none"), data_dir, download=True)
    np.testing.assert_array_equal(again, train)


def test_an_archive_with_another_checksum_is_refused(archive: CifarSource, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with pytest.raises(DataError, match=r"CIFAR-10 is not in .* and was not downloaded: .*corrupted"):
        read_cifar(dataclasses.replace(archive, md5="0" * 32), data_dir, download=True)
    assert list(data_dir.iterdir()) == []


@pytest.mark.data
def test_the_real_batches_are_split_as_in_the_paper() -> None:
    folder = Path(os.environ.get("GANSEARCH_DATA", ""))
    if not (folder / CIFAR10.folder).is_dir():
        pytest.skip("GANSEARCH_DATA does not hold CIFAR-10")
    data = load("cifar10", data_dir=folder, download=False)
    assert data.test is not None
    assert (data.train.shape, data.valid.shape, data.test.shape) == ((40_000, 3072), (10_000, 3072), (10_000, 3072))
    # The well-known means of the red, green and blue of its 50,000 training images, to four digits.
    both = np.stack([part.reshape(-1, 3, 1024).mean((0, 2)) * len(part) for part in (data.train, data.valid)])
    np.testing.assert_allclose(both.sum(0) / 50_000 / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
    assert not data.train.flags.writeable


def test_labels_are_the_first_bytes_of_the_training_batches(tmp_path: Path) -> None:
    write(tmp_path)
    first, second, _ = BATCHES.values()
    np.testing.assert_array_equal(read_labels(SMALL, tmp_path), np.concatenate([first[:, 0], second[:, 0]]))
