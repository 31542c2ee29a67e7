"""The Toronto Face Database's file, with made-up pixels in its structure: read, and refused where it is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from gansearch.core.datasets import describe, load
from gansearch.core.tfd_files import FOLDER, FOLDS, SIDES, TEST, UNLABELED, VALID, file_name, read_tfd
from gansearch.errors import DataError

N = 37


def structure(side: int = 48) -> dict[str, NDArray[Any]]:
    """Return arrays of the published file's structure, no two images alike."""
    rng = np.random.default_rng(side)
    folds = np.zeros((N, FOLDS), np.uint8)
    labeled = rng.choice(N, 20, replace=False)
    for fold in range(FOLDS):
        folds[labeled, fold] = rng.permutation([1] * 12 + [2] * 3 + [3] * 5)
    return {
        "images": rng.integers(0, 256, (N, side, side), dtype=np.uint8),
        "folds": folds,
        "labs_ex": rng.integers(-1, 7, (N, 1)),
        "labs_id": rng.integers(-1, 900, (N, 1)),
    }


def written(folder: Path, content: dict[str, Any], side: int = 48) -> Path:
    (folder / FOLDER).mkdir(exist_ok=True)
    path = folder / FOLDER / file_name(side)
    savemat(path, content)
    return path


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_fold_is_what_the_file_says(side: int, fold: int, tmp_path: Path) -> None:
    content = structure(side)
    written(tmp_path, content, side)
    found = read_tfd(tmp_path, side, fold)
    rows = content["images"].reshape(N, -1)
    for part, images in zip((UNLABELED, VALID, TEST), found, strict=True):
        np.testing.assert_array_equal(images, rows[content["folds"][:, fold] == part])
    data = load(f"tfd{side}", data_dir=tmp_path, download=False, fold=fold)
    info = describe(f"tfd{side}", fold)
    assert (data.fold, data.shape, info.folds) == (fold, (1, side, side), FOLDS)
    np.testing.assert_array_equal(data.valid, found[1])


def test_folds_share_what_they_are_trained_on_and_differ_in_the_rest(tmp_path: Path) -> None:
    written(tmp_path, structure())
    folds = [load("tfd48", data_dir=tmp_path, download=False, fold=fold) for fold in range(FOLDS)]
    assert len({data.digests["train"] for data in folds}) == 1
    assert len({data.digests["test"] for data in folds}) == FOLDS


def test_without_the_file_the_user_reads_whom_to_ask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"TFD_48x48\.mat is not there, and cannot be downloaded") as caught:
        load("tfd48", data_dir=tmp_path)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("ask its owners, at the University of Toronto, for TFD_48x48.mat")


def changed(name: str, value: Any) -> dict[str, Any]:
    return structure() | {name: value}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            changed("images", np.zeros((N, 96, 96), np.uint8)),
            r"images are uint8 \[37, 96, 96\], expected uint8",
        ),
        (changed("images", np.zeros((N, 48 * 48), np.uint8)), r"images are uint8 \[37, 2304\], expected"),
        (changed("images", np.zeros((N, 48, 48))), r"images are float64 \[37, 48, 48\], expected"),
        (changed("folds", np.zeros((N - 1, FOLDS))), r"folds is \[36, 5\], expected one row an image: \[37, 5\]"),
        (changed("folds", np.zeros((N, 1))), r"folds is \[37, 1\], expected"),
        (changed("folds", np.full((N, FOLDS), 4)), "folds holds other values than 0"),
        (changed("folds", np.full((N, FOLDS), 1)), "fold 0 has no unlabeled images"),
        ({"folds": np.zeros((N, FOLDS))}, "it has no array 'images'"),
        ({"images": np.zeros((N, 48, 48), np.uint8)}, "it has no array 'folds'"),
    ],
)
def test_another_structure_is_refused(content: dict[str, Any], why: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=why) as caught:
        read_tfd(tmp_path, 48, 0)
    assert caught.value.message.startswith(f"{path} is not the published file: ")


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 600])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, structure())
    path.write_bytes(content)
    with pytest.raises(DataError, match="it cannot be read as a MATLAB file"):
        read_tfd(tmp_path, 48, 0)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, structure())
    path.write_bytes(path.read_bytes()[:-2_000])
    with pytest.raises(DataError, match="is not the published file"):
        read_tfd(tmp_path, 48, 0)


def test_a_fold_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'tfd48' has the folds 0 to 4, and fold 5 was asked for"):
        load("tfd48", data_dir=tmp_path, fold=5)
