"""The Toronto Face Database in the MATLAB file that its owners hand out: found, read and checked; never downloaded.

The file holds `images`, bytes [n, side, side], and `folds`, [n, 5], which says what each image is in each of five
folds: 0 unlabeled, 1 train, 2 valid, 3 test. The paper's models were trained on the unlabeled images, chose sigma on a
fold's validation images and were scored on its test images.

Source: Susskind, Anderson and Hinton 2010, "The Toronto Face Database", Technical report UTML TR 2010-001.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansearch.errors import DataError

FOLDER = "TFD"
"""Where the files lie under the data directory."""
FOLDS = 5
SIDES = (48, 96)
UNLABELED, TRAIN, VALID, TEST = range(4)
"""What an image is in a fold."""


def file_name(side: int) -> str:
    """Return the name of the file of images of so many pixels a side."""
    return f"TFD_{side}x{side}.mat"


def read_tfd(data_dir: Path, side: int, fold: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the unlabeled, validation and test images of a fold, each uint8 [images, side * side].

    Args:
        data_dir: the data directory.
        side: height and width of an image, one of `SIDES`.
        fold: which fold, from 0 to 4.

    Raises:
        DataError: when the file is missing, cannot be read, or holds something else.
    """
    path = data_dir / FOLDER / file_name(side)
    content = _load(path, side)
    images, folds = (_variable(path, content, name) for name in ("images", "folds"))
    if images.shape[1:] != (side, side) or images.dtype != np.uint8:
        raise _other(path, f"images are {images.dtype} {list(images.shape)}, expected uint8 [n, {side}, {side}]")
    if folds.shape != (len(images), FOLDS):
        raise _other(path, f"folds is {list(folds.shape)}, expected one row an image: [{len(images)}, {FOLDS}]")
    column = folds[:, fold]
    if not np.isin(folds, (UNLABELED, TRAIN, VALID, TEST)).all():
        raise _other(path, "folds holds other values than 0 (unlabeled), 1 (train), 2 (valid) and 3 (test)")
    rows = images.reshape(len(images), -1)
    wanted = {"unlabeled": UNLABELED, "validation": VALID, "test": TEST}
    parts = {name: rows[column == part] for name, part in wanted.items()}
    for name, part in parts.items():
        if not len(part):
            raise _other(path, f"fold {fold} has no {name} images")
    train, valid, test = parts.values()
    return train, valid, test


def _load(path: Path, side: int) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        message = "the Toronto Face Database is read with SciPy, which cannot be imported"
        raise DataError(message, hint="pip install scipy") from error
    try:
        with path.open("rb") as file:
            content: dict[str, Any] = loadmat(file, variable_names=("images", "folds"))
    except FileNotFoundError as error:
        raise DataError(
            f"the Toronto Face Database was not found: {path} is not there, and cannot be downloaded",
            hint=f"ask its owners, at the University of Toronto, for {file_name(side)}, put it into {path.parent}, or "
            f"name another folder that holds {FOLDER} with --data-dir or GANSEARCH_DATA; lfwcrop48 holds other faces",
        ) from error
    # Of files that are none, of a later version (HDF5), cut off or damaged, SciPy raises any of these.
    except (OSError, MatReadError, NotImplementedError, LookupError, TypeError, ValueError, zlib.error) as error:
        raise _other(path, f"it cannot be read as a MATLAB file of version 5 to 7.2 ({error})") from error
    return content


def _variable(path: Path, content: dict[str, Any], name: str) -> NDArray[Any]:
    if not isinstance(content.get(name), np.ndarray):
        raise _other(path, f"it has no array '{name}'")
    array: NDArray[Any] = content[name]
    return array


def _other(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is not the published file: {why}", hint="put the file that the database's owners hand out in its place"
    )
