"""Images and labels in MNIST's IDX files: found, downloaded when absent, read, and checked.

An IDX file is four bytes (0, 0, 8 for bytes, the number of dimensions), as many big-endian 32-bit sizes (images,
height, width; of labels one) and then the bytes themselves. The files are read here, not by
torchvision, so that compressed ones work too and every fault names its file; torchvision downloads.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansearch.core import downloads
from gansearch.errors import DataError

_MAGIC = b"\x00\x00\x08"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IdxFile:
    """One file of images, or of labels.

    Attributes:
        name: the file's name, without `.gz`.
        shape: images, height, width; of labels their number.
        digest: `content_digest` of the published file's content.
    """

    name: str
    shape: tuple[int, ...]
    digest: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IdxSource:
    """A data set that is published as two IDX files.

    Attributes:
        title: the data set's name in messages.
        folders: where the files may lie under the data directory, in order; downloads go to the first.
        loader: the class of `torchvision.datasets` that downloads it.
        train: the file of training images.
        test: the file of test images.
        labels: the file of the training images' labels.
    """

    title: str
    folders: tuple[str, ...]
    loader: str
    train: IdxFile
    test: IdxFile
    labels: IdxFile | None = None


def _mnist_like(title: str, folders: tuple[str, ...], loader: str, train: str, test: str, labels: str) -> IdxSource:
    return IdxSource(
        title=title,
        folders=folders,
        loader=loader,
        train=IdxFile(name="train-images-idx3-ubyte", shape=(60_000, 28, 28), digest=train),
        test=IdxFile(name="t10k-images-idx3-ubyte", shape=(10_000, 28, 28), digest=test),
        labels=IdxFile(name="train-labels-idx1-ubyte", shape=(60_000,), digest=labels),
    )


# The first folder of each is torchvision's; Debian's dataset-fashion-mnist fills `fashion-mnist`
# under /usr/share/datasets. The digests are of the files that torchvision's checksums identify.
MNIST = _mnist_like(
    "MNIST", ("MNIST/raw", "mnist"), "MNIST", "211859a5954678d9", "2dd89a8678a0e7cd", "bed06e2e29093a1b"
)
FASHION_MNIST = _mnist_like(
    "Fashion-MNIST",
    ("FashionMNIST/raw", "fashion-mnist"),
    "FashionMNIST",
    "b3e6affd83c62600",
    "d1a3454702a7f9f0",
    "c497610ad042cd26",
)


def content_digest(array: NDArray[np.uint8]) -> str:
    """Return 16 hex digits that depend on the array's shape and bytes."""
    digest = hashlib.blake2b("x".join(map(str, array.shape)).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def read_source(source: IdxSource, data_dir: Path, *, download: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the training and the test images, each uint8 [images, height, width] and read-only.

    Args:
        source: which data set.
        data_dir: the data directory.
        download: whether files that are not there may be downloaded into it.

    Raises:
        DataError: when the files are missing and cannot be downloaded, or are not the published ones.
    """
    paths = _find(source, data_dir)
    if paths is None and download:
        _download(source, data_dir)
        paths = _find(source, data_dir)
    if paths is None:
        folders = " or ".join(str(data_dir / folder) for folder in source.folders)
        raise DataError(
            f"{source.title} was not found: {source.train.name} and {source.test.name} (or the same with .gz) "
            f"are not in {folders}",
            hint=f"name the folder that holds {source.folders[0]} with --data-dir or GANSEARCH_DATA, "
            "or allow the download",
        )
    train, test = paths
    return read_images(train, source.train), read_images(test, source.test)


def read_labels(source: IdxSource, data_dir: Path) -> NDArray[np.uint8]:
    """Return the labels of the training images, uint8 [images] and read-only, from beside the images.

    Raises:
        DataError: when their file is missing, or is not the published one.
    """
    paths = _find(source, data_dir)
    if source.labels is None or paths is None:
        raise DataError(f"the labels of {source.title} lie beside its images, which were not found in {data_dir}")
    path = _find_file(paths[0].with_name(source.labels.name))
    if path is None:
        raise DataError(
            f"the labels of {source.title} were not found: {source.labels.name} is not in {paths[0].parent}",
            hint="put it there (or the same with .gz)",
        )
    return read_images(path, source.labels)


def read_images(path: Path, expected: IdxFile) -> NDArray[np.uint8]:
    """Return the content of one file, uint8 of the expected shape and read-only.

    Raises:
        DataError: when the file cannot be read or does not hold what is expected; it names the file.
    """
    hint = "delete the file and let it be downloaded again, or put an intact copy in its place"
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=hint) from error
    dimensions, what = len(expected.shape), "images" if len(expected.shape) > 1 else "labels"
    magic = _MAGIC + bytes([dimensions])
    header = len(magic) + 4 * dimensions
    if len(content) < header or not content.startswith(magic):
        raise DataError(f"{path} is not an IDX file of {what}", hint=hint)
    shape = struct.unpack(f">{dimensions}I", content[len(magic) : header])
    if shape != expected.shape:
        raise DataError(f"{path} holds {_describe(shape)}, expected {_describe(expected.shape)}", hint=hint)
    size = header + math.prod(shape)
    if len(content) != size:
        raise DataError(f"{path} has {len(content):,} bytes, expected {size:,}", hint=hint)
    images = np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
    digest = content_digest(images)
    if digest != expected.digest:
        raise DataError(f"{path} has the digest {digest}, the published {what} have {expected.digest}", hint=hint)
    return images


def _describe(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"{shape[0]:,} labels"
    images, height, width = shape
    return f"{images:,} images of {height} x {width}"


def _find(source: IdxSource, data_dir: Path) -> tuple[Path, Path] | None:
    """Return the paths of both files in the first folder that holds both, or None."""
    for folder in source.folders:
        train, test = (_find_file(data_dir / folder / file.name) for file in (source.train, source.test))
        if train is not None and test is not None:
            return train, test
    return None


def _find_file(path: Path) -> Path | None:
    """Return `path`, or the same with `.gz`, whichever is there; None when neither is."""
    try:
        return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)
    except OSError as error:
        raise DataError(f"{path.parent} cannot be searched: {error}", hint="check its permissions") from error


def _download(source: IdxSource, data_dir: Path) -> None:
    """Download the files into the data directory."""

    def fetch(folder: Path) -> None:
        from torchvision import datasets

        getattr(datasets, source.loader)(folder, train=False, download=True)

    hint = (
        f"put {source.train.name} and {source.test.name} there by hand, or name another folder with "
        "--data-dir or GANSEARCH_DATA"
    )
    downloads.download(source.title, data_dir / source.folders[0], "*-ubyte", fetch, data_dir=data_dir, hint=hint)
