"""Files of images: where they are looked for, how they are fetched, and what a user reads when they are wrong."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets as torchvision_datasets
from torchvision.datasets.mnist import read_image_file

from gansearch.core.datasets import load
from gansearch.core.idx_files import (
    FASHION_MNIST,
    MNIST,
    IdxFile,
    IdxSource,
    content_digest,
    read_images,
    read_labels,
    read_source,
)
from gansearch.errors import DataError

TRAIN_NAME, TEST_NAME = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
IDX_BYTES_3D = 0x00000803


def idx(images: NDArray[np.uint8]) -> bytes:
    return struct.pack(">4I", IDX_BYTES_3D, *images.shape) + images.tobytes()


def pictures(n: int, seed: int, height: int = 5, width: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), dtype=np.uint8)


TRAIN_IMAGES, TEST_IMAGES = pictures(11, seed=1), pictures(7, seed=2)


def idx_file(name: str, images: NDArray[np.uint8]) -> IdxFile:
    n, height, width = images.shape
    return IdxFile(name=name, shape=(n, height, width), digest=content_digest(images))


SMALL = IdxSource(
    title="Small",
    folders=("MNIST/raw", "small"),
    loader="MNIST",
    train=idx_file(TRAIN_NAME, TRAIN_IMAGES),
    test=idx_file(TEST_NAME, TEST_IMAGES),
)


def test_digest_depends_on_shape_and_on_every_byte() -> None:
    images = pictures(4, seed=3)
    digests = {content_digest(images), content_digest(images.reshape(4, 3, 5)), content_digest(images.reshape(4, 15))}
    for i in range(images.size):
        changed = images.copy()
        changed.flat[i] ^= 1
        digests.add(content_digest(changed))
    assert len(digests) == 3 + images.size
    assert content_digest(np.asfortranarray(images)) == content_digest(images)  # memory order is not content


def write(folder: Path, train: bytes | None, test: bytes | None, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((TRAIN_NAME, train), (TEST_NAME, test)):
        if content is not None:
            (folder / (name + suffix)).write_bytes(content)


@pytest.mark.parametrize("folder", SMALL.folders)
@pytest.mark.parametrize("compressed", [False, True])
def test_reads_either_layout(tmp_path: Path, folder: str, compressed: bool) -> None:
    pack = gzip.compress if compressed else bytes
    write(tmp_path / folder, pack(idx(TRAIN_IMAGES)), pack(idx(TEST_IMAGES)), ".gz" if compressed else "")
    train, test = read_source(SMALL, tmp_path, download=False)
    assert np.array_equal(train, TRAIN_IMAGES)
    assert np.array_equal(test, TEST_IMAGES)
    assert not train.flags.writeable


def test_reads_what_torchvision_reads(tmp_path: Path) -> None:
    path = tmp_path / TRAIN_NAME
    path.write_bytes(idx(TRAIN_IMAGES))
    assert np.array_equal(read_images(path, SMALL.train), read_image_file(str(path)).numpy())


@pytest.mark.parametrize("present", ["nothing", "only the training file"])
def test_missing_files_are_named_with_every_folder(tmp_path: Path, present: str) -> None:
    write(tmp_path / "MNIST/raw", None if present == "nothing" else idx(TRAIN_IMAGES), None)
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=tmp_path, download=False)
    assert caught.value.message == (
        f"MNIST was not found: {TRAIN_NAME} and {TEST_NAME} (or the same with .gz) are not in "
        f"{tmp_path}/MNIST/raw or {tmp_path}/mnist"
    )
    assert caught.value.hint is not None
    assert "--data-dir or GANSEARCH_DATA" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(idx(pictures(13, 4, 28, 28)), "holds 13 images of 28 x 28, expected 60,000 images", id="count"),
        pytest.param(idx(pictures(60_000, 5, 2, 1)), "images of 2 x 1, expected 60,000 images of 28 x 28", id="size"),
        pytest.param(
            struct.pack(">4I", IDX_BYTES_3D, 60_000, 28, 28) + bytes(99),
            "has 115 bytes, expected 47,040,016",
            id="short",
        ),
        pytest.param(struct.pack(">2I", IDX_BYTES_3D, 60_000), "is not an IDX file of images", id="header cut"),
        pytest.param(b"", "is not an IDX file of images", id="empty"),
        pytest.param(b"<!DOCTYPE html><html></html>", "is not an IDX file of images", id="a web page"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    write(tmp_path / "MNIST/raw", content, idx(TEST_IMAGES))
    with pytest.raises(DataError, match=complaint) as caught:
        load("mnist", data_dir=tmp_path)
    assert caught.value.message.startswith(str(tmp_path / "MNIST/raw" / TRAIN_NAME))
    assert caught.value.hint is not None
    assert "delete the file" in caught.value.hint


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not gzip"])
def test_damaged_compressed_file_is_named(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(idx(TRAIN_IMAGES)))
    if damage == "truncated":
        del packed[-20:]
    elif damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed[:2] = b"PK"
    path = tmp_path / f"{TRAIN_NAME}.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_images(path, SMALL.train)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST], ids=["mnist", "fashion_mnist"])
def test_other_images_of_the_right_size_are_refused(tmp_path: Path, source: IdxSource) -> None:
    blank = np.zeros(source.test.shape, np.uint8)
    path = tmp_path / TEST_NAME
    path.write_bytes(idx(blank))
    with pytest.raises(DataError) as caught:
        read_images(path, source.test)
    assert str(path) in caught.value.message
    assert content_digest(blank) in caught.value.message
    assert source.test.digest in caught.value.message


@pytest.fixture
def refused_port() -> Iterator[int]:
    with socket.socket() as bound:  # bound but not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def use_mirror(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(torchvision_datasets.MNIST, "mirrors", [f"http://127.0.0.1:{port}/"])
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_failed_download_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused_port: int
) -> None:
    use_mirror(monkeypatch, refused_port)
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=tmp_path)
    assert caught.value.message.startswith(f"MNIST is not in {tmp_path}/MNIST/raw and was not downloaded: ")
    assert "refused" in caught.value.message
    assert caught.value.hint is not None
    assert "--data-dir or GANSEARCH_DATA" in caught.value.hint
    assert list(tmp_path.iterdir()) == []  # nothing half-made is left behind
    assert socket.getdefaulttimeout() is None


def test_data_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a-file"
    path.write_text("not a folder")
    with pytest.raises(DataError, match="was not downloaded") as caught:
        load("mnist", data_dir=path)
    assert str(path) in caught.value.message


def test_data_directory_that_cannot_exist_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300)  # longer than a file name may be; newer Pythons only say that it is not there
    with pytest.raises(DataError, match=r"cannot be searched|was not found") as caught:
        load("mnist", data_dir=path, download=False)
    assert str(path) in caught.value.message


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Serve a folder with the four files of a small data set as torchvision's mirror."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    labels = struct.pack(">2I", 0x00000801, 3) + bytes(3)
    contents = {
        f"{TRAIN_NAME}.gz": idx(TRAIN_IMAGES),
        "train-labels-idx1-ubyte.gz": labels,
        f"{TEST_NAME}.gz": idx(TEST_IMAGES),
        "t10k-labels-idx1-ubyte.gz": labels,
    }
    packed = {name: gzip.compress(content) for name, content in contents.items()}
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    sums = [(name, hashlib.md5(content, usedforsecurity=False).hexdigest()) for name, content in packed.items()]
    monkeypatch.setattr(torchvision_datasets.MNIST, "resources", sums)
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        use_mirror(monkeypatch, server.server_address[1])
        yield folder
        server.shutdown()
        thread.join()


def test_several_downloads_at_once_leave_whole_files(mirror: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(read_source, SMALL, data_dir, download=True) for _ in range(3)]
    for result in results:
        train, test = result.result()
        assert np.array_equal(train, TRAIN_IMAGES)
        assert np.array_equal(test, TEST_IMAGES)
    assert [p.name for p in data_dir.iterdir()] == ["MNIST"]
    names = sorted(path.name.removesuffix(".gz") for path in mirror.iterdir())
    assert sorted(path.name for path in (data_dir / "MNIST/raw").iterdir()) == names


def test_download_with_a_wrong_checksum_is_refused(mirror: Path, tmp_path: Path) -> None:
    (mirror / f"{TRAIN_NAME}.gz").write_bytes(gzip.compress(idx(TEST_IMAGES)))
    data_dir = tmp_path / "data"
    with pytest.raises(DataError, match=r"was not downloaded.*corrupted"):
        read_source(SMALL, data_dir, download=True)
    assert list(data_dir.iterdir()) == []


LABELS = np.arange(11, dtype=np.uint8) % 10
LABEL_NAME = "train-labels-idx1-ubyte"
LABELLED = dataclasses.replace(
    SMALL, labels=IdxFile(name=LABEL_NAME, shape=LABELS.shape, digest=content_digest(LABELS))
)


def idx_labels(labels: NDArray[np.uint8]) -> bytes:
    return struct.pack(">2I", 0x00000801, *labels.shape) + labels.tobytes()


@pytest.mark.parametrize("compressed", [False, True])
def test_labels_lie_beside_the_images(tmp_path: Path, compressed: bool) -> None:
    write(tmp_path / "small", idx(TRAIN_IMAGES), idx(TEST_IMAGES))
    name, pack = (f"{LABEL_NAME}.gz", gzip.compress) if compressed else (LABEL_NAME, bytes)
    (tmp_path / "small" / name).write_bytes(pack(idx_labels(LABELS)))
    np.testing.assert_array_equal(read_labels(LABELLED, tmp_path), LABELS)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, f"{LABEL_NAME} is not in "),
        (idx_labels(LABELS[:-1]), "holds 10 labels, expected 11 labels"),
        (idx_labels(LABELS)[:-1], "has 18 bytes, expected 19"),
        (idx_labels(LABELS[::-1].copy()), "the published labels have"),
        (idx(TRAIN_IMAGES), "is not an IDX file of labels"),
    ],
)
def test_other_labels_are_refused(content: bytes | None, complaint: str, tmp_path: Path) -> None:
    write(tmp_path / "small", idx(TRAIN_IMAGES), idx(TEST_IMAGES))
    if content is not None:
        (tmp_path / "small" / LABEL_NAME).write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        read_labels(LABELLED, tmp_path)


def test_labels_without_images_are_refused(tmp_path: Path) -> None:
    for source in (SMALL, LABELLED):
        with pytest.raises(DataError, match="the labels of Small lie beside its images"):
            read_labels(source, tmp_path)
