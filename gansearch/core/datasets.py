"""The data sets: real images, split into train, valid and test once and for all.

A pixel is a byte; divided by the data set's `levels` it is the value in [0,1] that networks and scores see. Where a
recipe's preprocessing cannot be undone, values are stored as they are, `levels` is 1, and `space` names what they are.
Nothing here writes into a loaded array, so all trials of a node can share one copy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from gansearch.core import cifar_files, lfwcrop_files, tfd_files
from gansearch.core.contrast import CONTRAST_NORM, contrast_normalised
from gansearch.core.gaussian_mixture import draw_mixture
from gansearch.core.idx_files import FASHION_MNIST, MNIST, IdxSource, content_digest, read_labels, read_source
from gansearch.core.shapes import Float32, Real, Tensor
from gansearch.errors import DataError, nearest
from gansearch.seeds import digest

Rows = NDArray[np.uint8] | NDArray[np.float32]
"""Images as they are stored, [n, d]: bytes, or the values themselves where `levels` is 1."""
Splits = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
UNIT, CONTRAST = "unit", "contrast"
"""Spaces that values lie in: pixels in [0,1], or images after global contrast normalisation."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What is known of a data set without loading it.

    Attributes:
        name: its name in `DATASETS`.
        description: what it is, in one line.
        shape: channels, height, width of an image.
        levels: the byte that stands for a pixel value of 1; 1 where values are stored as they are.
        n_train: images in the training split; of the Toronto Face Database about so many, for the file decides.
        n_valid: images in the validation split.
        n_test: images in the test split.
        needs_files: whether it is read from the data directory.
        fold: which of its folds this is, from 0; the numbers above are of this one.
        folds: how many there are.
        space: what values are: `UNIT` or `CONTRAST`. Scores of two spaces do not compare.
        classes: what labels there are, from 0; 0 where there are none.
    """

    name: str
    description: str
    shape: tuple[int, int, int]
    levels: int
    n_train: int
    n_valid: int
    n_test: int
    needs_files: bool
    fold: int = 0
    folds: int = 1
    space: str = UNIT
    classes: int = 0

    @property
    def dim(self) -> int:
        """Pixel values in an image, d."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A loaded data set. Its arrays are read-only and C-contiguous.

    Attributes:
        name: its name in `DATASETS`.
        shape: channels, height, width of an image.
        levels: the byte that stands for a pixel value of 1; 1 where values are stored as they are.
        train: training images, uint8 [n_train, d], or float32 where they are stored as they are.
        valid: validation images, [n_valid, d].
        test: test images, [n_test, d], or None where they must not be read.
        digests: digest of the shape and bytes of each split: `train`, `valid` and `test`, always all three.
        fold: which of its folds this is, from 0.
        space: what values are, as in `DatasetInfo`.
        train_labels: classes of the training images, uint8 [n_train]; None where there are none or nobody asked.
        others: the data set's other folds, where somebody asked for all of them.
    """

    name: str
    shape: tuple[int, int, int]
    levels: int
    train: Rows
    valid: Rows
    test: Rows | None
    digests: Mapping[str, str]
    fold: int = 0
    space: str = UNIT
    train_labels: NDArray[np.uint8] | None = None
    others: tuple[Dataset, ...] = ()

    @property
    def dim(self) -> int:
        """Pixel values in an image, d."""
        return math.prod(self.shape)

    @property
    def n_train(self) -> int:
        """Images in the training split."""
        return len(self.train)

    def without_test(self) -> Dataset:
        """Return the data set with its test images locked away, as search-stage trials are given it; no other folds."""
        return dataclasses.replace(self, test=None, others=())

    def of_fold(self, fold: int) -> Dataset:
        """Return one of the folds that are here.

        Raises:
            DataError: when it is not here.
        """
        for one in (self, *self.others):
            if one.fold == fold:
                return one
        raise DataError(f"fold {fold} of '{self.name}' was not loaded")


def _digits(_data_dir: Path, _download: bool) -> Splits:
    """Return scikit-learn's digits."""
    rows = _in_order("data")
    return rows[:1_197], rows[1_197:1_497], rows[1_497:]


def _in_order(what: str) -> NDArray[np.uint8]:
    """Return the digits' `data` or `target`, ordered by a hash of their index: no library's shuffle can change it."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = "the data set 'digits' comes with scikit-learn, which cannot be imported"
        raise DataError(message, hint="pip install scikit-learn") from error
    rows: NDArray[np.uint8] = load_digits()[what].astype(np.uint8)
    return rows[sorted(range(len(rows)), key=lambda i: hashlib.blake2b(f"digits/{i}".encode()).digest())]


def _idx_loader(source: IdxSource) -> Callable[[Path, bool], Splits]:
    """Return the loader of a data set with MNIST's files, split as in the paper."""

    def read(data_dir: Path, download: bool) -> Splits:
        train, test = (images.reshape(len(images), -1) for images in read_source(source, data_dir, download=download))
        return train[:50_000], train[50_000:], test

    return read


def _cifar10(data_dir: Path, download: bool) -> Splits:
    """Return CIFAR-10, split as in the paper: the last of the five training batches is for validation."""
    train, test = cifar_files.read_cifar(cifar_files.CIFAR10, data_dir, download=download)
    return train[:40_000], train[40_000:], test


def _cifar10_labels(data_dir: Path) -> NDArray[np.uint8]:
    return cifar_files.read_labels(cifar_files.CIFAR10, data_dir)[:40_000]


def _lfwcrop_loader(fold: int) -> Callable[[Path, bool], Splits]:
    """Return the loader of a fold of the faces; nobody offers them for download."""

    def read(data_dir: Path, _download: bool) -> Splits:
        return lfwcrop_files.read_lfwcrop(data_dir, fold)

    return read


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A fold of a data set in the registry.

    Attributes:
        info: what is known without loading.
        read: (data directory, whether downloads are allowed) -> train, valid and test, each uint8 [n, d].
        read_labels: data directory -> classes of the training images, uint8 [n_train]; None where there are none.
    """

    info: DatasetInfo
    read: Callable[[Path, bool], Splits]
    read_labels: Callable[[Path], NDArray[np.uint8]] | None = None

    def stored(self, images: NDArray[np.uint8]) -> Rows:
        """Return images as they are stored: with the preprocessing that the space names."""
        return images if self.info.space == UNIT else contrast_normalised(images)

    def digest(self, images: NDArray[np.uint8]) -> str:
        """Return the digest of a split: of its bytes, for values may differ in their last bits between processors."""
        content = content_digest(images.reshape(-1, *self.info.shape))
        return content if self.info.space == UNIT else digest([self.info.space, CONTRAST_NORM, content], 8)


def _mnist_like(name: str, description: str, source: IdxSource) -> Entry:
    info = DatasetInfo(
        name=name,
        description=description,
        shape=(1, 28, 28),
        levels=255,
        n_train=50_000,
        n_valid=10_000,
        n_test=10_000,
        needs_files=True,
        classes=10,
    )
    return Entry(info, _idx_loader(source), lambda data_dir: read_labels(source, data_dir)[:50_000])


def _lfwcrop48(fold: int) -> Entry:
    sizes, groups = lfwcrop_files.GROUP_SIZES, lfwcrop_files.GROUPS
    valid, test = sizes[(fold + 1) % groups], sizes[fold]
    info = DatasetInfo(
        name="lfwcrop48",
        description="13,233 grey faces of 48 x 48 pixels, no person in two splits; not the Toronto Face Database",
        shape=(1, lfwcrop_files.SIDE, lfwcrop_files.SIDE),
        levels=255,
        n_train=lfwcrop_files.IMAGES - valid - test,
        n_valid=valid,
        n_test=test,
        needs_files=True,
        fold=fold,
        folds=groups,
    )
    return Entry(info, _lfwcrop_loader(fold))


def _tfd(side: int, fold: int) -> Entry:
    info = DatasetInfo(
        name=f"tfd{side}",
        description=f"the Toronto Face Database at {side} x {side} pixels, which its owners hand out on request",
        shape=(1, side, side),
        levels=255,
        n_train=98_058,
        n_valid=418,
        n_test=835,
        needs_files=True,
        fold=fold,
        folds=tfd_files.FOLDS,
    )
    return Entry(info, lambda data_dir, _download: tfd_files.read_tfd(data_dir, side, fold))


_CIFAR10_INFO = DatasetInfo(
    name="cifar10",
    description="60,000 colour photographs of 32 x 32 pixels in ten classes, split as in the paper",
    shape=cifar_files.SHAPE,
    levels=255,
    n_train=40_000,
    n_valid=10_000,
    n_test=10_000,
    needs_files=True,
    classes=10,
)

_ENTRIES = (
    Entry(
        DatasetInfo(
            name="digits",
            description="1,797 real handwritten digits of 8 x 8 pixels that come with scikit-learn",
            shape=(1, 8, 8),
            levels=16,
            n_train=1_197,
            n_valid=300,
            n_test=300,
            needs_files=False,
            classes=10,
        ),
        _digits,
        lambda _: _in_order("target")[:1_197],
    ),
    _mnist_like("mnist", "70,000 handwritten digits of 28 x 28 pixels, split as in the paper", MNIST),
    _mnist_like("fashion_mnist", "70,000 articles of clothing of 28 x 28 pixels, split as MNIST is", FASHION_MNIST),
    Entry(_CIFAR10_INFO, _cifar10, _cifar10_labels),
    Entry(
        dataclasses.replace(
            _CIFAR10_INFO,
            name="cifar10_contrast",
            description="CIFAR-10 after global contrast normalisation, as the paper's recipes take it",
            levels=1,
            space=CONTRAST,
        ),
        _cifar10,
        _cifar10_labels,
    ),
    *(_lfwcrop48(fold) for fold in range(lfwcrop_files.GROUPS)),
    *(_tfd(side, fold) for side in tfd_files.SIDES for fold in range(tfd_files.FOLDS)),
    Entry(
        DatasetInfo(
            name="gaussian_mixture",
            description="2,900 points in the plane around eight centres, for tests",
            shape=(1, 1, 2),
            levels=255,
            n_train=2_000,
            n_valid=500,
            n_test=400,
            needs_files=False,
        ),
        lambda _data_dir, _download: draw_mixture(),
    ),
)

DATASETS: Mapping[str, Mapping[int, Entry]] = {
    name: {entry.info.fold: entry for entry in _ENTRIES if entry.info.name == name}
    for name in dict.fromkeys(entry.info.name for entry in _ENTRIES)
}
"""The data sets by name, and their folds from 0 on; most have one."""


def describe(name: str, fold: int = 0) -> DatasetInfo:
    """Return what is known of a data set without loading it.

    Args:
        name: a name in `DATASETS`.
        fold: which of its folds.

    Raises:
        DataError: when there is no data set of that name (the hint offers the nearest) or no such fold.
    """
    return _entry(name, fold).info


def _entry(name: str, fold: int) -> Entry:
    if name not in DATASETS:
        raise DataError(f"there is no data set '{name}'", hint=nearest(name, DATASETS))
    folds = DATASETS[name]
    if fold not in folds:
        have = f"the folds 0 to {len(folds) - 1}" if len(folds) > 1 else "one fold, 0"
        raise DataError(f"the data set '{name}' has {have}, and fold {fold} was asked for")
    return folds[fold]


def data_directory(option: Path | None) -> Path:
    """Return where data sets are kept: `option`, else GANSEARCH_DATA, else `~/.cache/gansearch`."""
    return Path(option or os.environ.get("GANSEARCH_DATA") or "~/.cache/gansearch").expanduser()


def load(name: str, *, data_dir: Path | None, download: bool = True, fold: int = 0, labels: bool = False) -> Dataset:
    """Return a data set.

    Args:
        name: a name in `DATASETS`.
        data_dir: the data directory; None for the default of `data_directory`.
        download: whether files that are not there may be downloaded into it.
        fold: which of its folds.
        labels: whether the training images' classes are wanted.

    Raises:
        DataError: when there is no such data set or fold, its files are missing or damaged, or it has no labels.
    """
    entry = _entry(name, fold)
    splits = dict(zip(("train", "valid", "test"), entry.read(data_directory(data_dir), download), strict=True))
    classes = None
    if labels:
        if entry.read_labels is None:
            raise DataError(f"the data set '{name}' has no labels")
        classes = entry.read_labels(data_directory(data_dir))
    stored = {split: entry.stored(images) for split, images in splits.items()}
    for rows in stored.values():
        rows.setflags(write=False)
    return Dataset(
        name=name,
        shape=entry.info.shape,
        levels=entry.info.levels,
        train=stored["train"],
        valid=stored["valid"],
        test=stored["test"],
        digests={split: entry.digest(images) for split, images in splits.items()},
        fold=fold,
        space=entry.info.space,
        train_labels=classes,
    )


def as_tensor(rows: Rows) -> Real[Tensor, "*shape"]:
    """Return stored images as a tensor that shares the array's memory, which may be read-only: do not write into it."""
    # DLPack, because torch.from_numpy warns of read-only arrays, and these are read-only on purpose.
    return from_dlpack(rows)


def to_unit(pixels: Real[Tensor, "*batch d"], levels: int) -> Float32[Tensor, "*batch d"]:
    """Return stored images as the values that networks and scores see: bytes in [0,1], others as they are.

    Args:
        pixels: bytes from 0 to `levels`, uint8 [..., d], or the values themselves, on any device.
        levels: the byte that stands for 1; 1 for the values themselves.
    """
    if pixels.dtype == torch.float32 and levels == 1:
        return pixels
    return pixels.to(torch.float32) / levels
