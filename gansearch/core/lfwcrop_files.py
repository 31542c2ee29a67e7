"""LFWcrop: 13,233 grey faces of 5,749 people, 48 x 48 pixels, as two NumPy files; and its folds, split by person.

A stand-in for the Toronto Face Database, which is handed out on request only and holds other faces: results on these
are never results on that. Nobody is in two parts of a fold. People, in an order that a hash of their number gives, are
cut into five groups of about as many images; in fold i group i is for tests, the next one for validation, and the other
three are trained on.

Source: Sanderson and Lovell 2009, "Multi-region probabilistic histograms for robust and scalable identity inference",
which crops the images of Huang et al. 2007, "Labeled faces in the wild".
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansearch.core.idx_files import content_digest
from gansearch.errors import DataError

FOLDER = "lfwcrop48"
"""Where the files lie under the data directory."""
IMAGES, SIDE = 13_233, 48
GROUPS = 5
GROUP_SIZES = (2_646, 2_640, 2_653, 2_627, 2_667)
"""Images of each group."""
_FILES = {"x.npy": "da06e594aae6cfae", "person.npy": "6ad82fd2a947ede0"}
"""Digests of the arrays' shapes and bytes."""


def read_lfwcrop(data_dir: Path, fold: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the training, validation and test images of a fold, each uint8 [images, 2304].

    Args:
        data_dir: the data directory.
        fold: which fold, from 0 to 4.

    Raises:
        DataError: when a file is missing or is not the one that is known.
    """
    images, people = (_read(data_dir / FOLDER / name, digest) for name, digest in _FILES.items())
    groups = groups_of(people)
    rows = images.reshape(len(images), -1)
    testing, validating = groups == fold, groups == (fold + 1) % GROUPS
    return rows[~(testing | validating)], rows[validating], rows[testing]


def groups_of(people: NDArray[Any]) -> NDArray[np.int64]:
    """Return each image's group.

    Args:
        people: the number of each image's person, integers [images].
    """
    numbers, place, counts = np.unique(people, return_inverse=True, return_counts=True)
    order = sorted(range(len(numbers)), key=lambda i: hashlib.blake2b(f"lfwcrop48/{numbers[i]}".encode()).digest())
    so_far = np.cumsum(counts[order])  # images up to each person's last
    groups = np.empty(len(numbers), np.int64)
    groups[order] = (so_far - 1) * GROUPS // len(people)
    return groups[place]


def _read(path: Path, digest: str) -> NDArray[Any]:
    hint = (
        f"put x.npy (uint8, {IMAGES} x {SIDE} x {SIDE}: the grey images of LFWcrop, resized) and person.npy (int32, "
        f"the number of each image's person) into {path.parent}, or name another folder that holds {FOLDER} with "
        "--data-dir or GANSEARCH_DATA"
    )
    try:
        with path.open("rb") as file:  # unlike `np.load`, nothing but an array is recognised
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"LFWcrop was not found: {path} is not there, and cannot be downloaded", hint=hint) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=hint) from error
    found = content_digest(np.ascontiguousarray(array).view(np.uint8)) if array.ndim else ""
    if found != digest:
        raise DataError(f"{path} has the digest {found}, the known file has {digest}", hint=hint)
    return array
