"""CIFAR-10 in its official binary batches: found, downloaded when absent, read, and checked. No pickle is read.

A batch is 10,000 records of one byte for the label and 3,072 bytes for the pixels: 32 rows of 32 red values, then the
green ones, then the blue ones. Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansearch.core import downloads
from gansearch.core.idx_files import content_digest
from gansearch.errors import DataError

SHAPE = (3, 32, 32)
"""Channels, height, width of an image."""
_RECORD = 1 + 3 * 32 * 32  # bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CifarSource:
    """A data set of CIFAR-10's form.

    Attributes:
        folder: where the batches lie under the data directory.
        images: in a batch.
        batches: (file name, `content_digest` of the published file's records), the test batch last.
        url: the archive that holds them.
        md5: the archive's published checksum.
    """

    folder: str
    images: int
    batches: tuple[tuple[str, str], ...]
    url: str
    md5: str


CIFAR10 = CifarSource(
    folder="cifar-10-batches-bin",
    images=10_000,
    batches=(
        ("data_batch_1.bin", "3d91080584741b0d"),
        ("data_batch_2.bin", "cae0b5b0b518c656"),
        ("data_batch_3.bin", "89760443c8f28ede"),
        ("data_batch_4.bin", "7757f24a0e6ac57d"),
        ("data_batch_5.bin", "e6d32d9b720574d3"),
        ("test_batch.bin", "0da6757bb1c27c9b"),
    ),
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)


def read_cifar(source: CifarSource, data_dir: Path, *, download: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the training images, batch after batch, and the test images, each uint8 [images, 3072].

    Args:
        source: which data set.
        data_dir: the data directory.
        download: whether batches that are not there may be downloaded into it.

    Raises:
        DataError: when batches are missing and cannot be downloaded, or are not the published ones.
    """
    folder = data_dir / source.folder
    missing = _missing(source, folder)
    if missing and download:
        _download(source, data_dir)
        missing = _missing(source, folder)
    if missing:
        raise DataError(
            f"CIFAR-10 was not found: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in {folder}",
            hint=f"name the folder that holds {source.folder} (the binary version) with --data-dir or GANSEARCH_DATA, "
            "or allow the download",
        )
    images = [_pixels(_records(folder / name, digest, source.images)) for name, digest in source.batches]
    return np.concatenate(images[:-1]), images[-1]


def read_labels(source: CifarSource, data_dir: Path) -> NDArray[np.uint8]:
    """Return the labels of the training images, uint8 [images]: the first byte of each record.

    Raises:
        DataError: when a batch is missing, or is not the published one.
    """
    folder = data_dir / source.folder
    training = source.batches[:-1]
    return np.concatenate([_records(folder / name, digest, source.images)[:, 0] for name, digest in training])


def _missing(source: CifarSource, folder: Path) -> list[str]:
    try:
        return [name for name, _ in source.batches if not (folder / name).is_file()]
    except OSError as error:
        raise DataError(f"{folder} cannot be searched: {error}", hint="check its permissions") from error


def _pixels(records: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the images of records, uint8 [images, 3072]."""
    return np.ascontiguousarray(records[:, 1:])


def _records(path: Path, digest: str, images: int) -> NDArray[np.uint8]:
    """Return the records of one batch, uint8 [images, 3073]."""
    hint = "delete the file and let it be downloaded again, or put an intact copy in its place"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", hint=hint) from error
    if len(content) != images * _RECORD:
        raise DataError(f"{path} has {len(content):,} bytes, expected {images * _RECORD:,}", hint=hint)
    records = np.frombuffer(content, dtype=np.uint8).reshape(images, _RECORD)
    found = content_digest(records)
    if found != digest:
        raise DataError(f"{path} has the digest {found}, the published batch has {digest}", hint=hint)
    return records


def _download(source: CifarSource, data_dir: Path) -> None:
    """Download the batches into the data directory."""

    def fetch(folder: Path) -> None:
        from torchvision.datasets.utils import download_and_extract_archive

        download_and_extract_archive(source.url, str(folder), md5=source.md5)

    names = f"{source.batches[0][0]} and the others"
    hint = f"put {names} there by hand, or name another folder with --data-dir or GANSEARCH_DATA"
    downloads.download("CIFAR-10", data_dir / source.folder, "*.bin", fetch, data_dir=data_dir, hint=hint)
