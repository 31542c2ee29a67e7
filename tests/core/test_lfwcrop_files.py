"""Folds of faces: nobody is in two parts, and what a user reads when the files are wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from gansearch.core import lfwcrop_files
from gansearch.core.datasets import describe, load
from gansearch.core.idx_files import content_digest
from gansearch.core.lfwcrop_files import FOLDER, GROUPS, groups_of, read_lfwcrop
from gansearch.errors import DataError

PEOPLE = np.repeat(np.arange(40, dtype=np.int32), np.arange(40) % 5 + 1)


@given(st.lists(st.integers(1, 9), min_size=60, max_size=90))
def test_groups_part_people_and_are_about_as_large(counts: list[int]) -> None:
    people = np.repeat(np.arange(len(counts)), counts)
    groups = groups_of(people)
    for one in range(len(counts)):
        assert len(set(groups[people == one])) == 1
    sizes = np.bincount(groups, minlength=GROUPS)
    assert abs(sizes - len(people) / GROUPS).max() <= max(counts)


def test_groups_depend_on_people_alone() -> None:
    groups = groups_of(PEOPLE)
    order = np.random.default_rng(1).permutation(len(PEOPLE))
    np.testing.assert_array_equal(groups_of(PEOPLE[order]), groups[order])


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Write a small set of faces in the place of the real one; return its images."""
    images = np.random.default_rng(2).integers(0, 256, (len(PEOPLE), 48, 48), dtype=np.uint8)
    (tmp_path / FOLDER).mkdir()
    digests = {}
    arrays: dict[str, NDArray[Any]] = {"x.npy": images, "person.npy": PEOPLE}
    for name, array in arrays.items():
        np.save(tmp_path / FOLDER / name, array)
        digests[name] = content_digest(array.view(np.uint8))
    monkeypatch.setattr(lfwcrop_files, "_FILES", digests)
    return images.reshape(len(images), -1)


def test_every_image_is_tested_and_validated_once_over_the_folds(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    groups = groups_of(PEOPLE)
    for fold in range(GROUPS):
        train, valid, test = read_lfwcrop(tmp_path, fold)
        np.testing.assert_array_equal(test, faces[groups == fold])
        np.testing.assert_array_equal(valid, faces[groups == (fold + 1) % GROUPS])
        np.testing.assert_array_equal(train, faces[(groups != fold) & (groups != (fold + 1) % GROUPS)])


def test_a_missing_file_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"LFWcrop was not found: .*x\.npy is not there") as caught:
        load("lfwcrop48", data_dir=tmp_path)
    assert caught.value.hint is not None
    assert "13233 x 48 x 48" in caught.value.hint


@pytest.mark.usefixtures("faces")
@pytest.mark.parametrize("damage", ["cut", "pickled", "other", "number", "columns"])
def test_a_file_that_is_another_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FOLDER / "person.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        by_columns = np.asfortranarray(np.zeros((len(PEOPLE), 3)))  # as arrays out of Matlab's files are
        others = {"pickled": np.array([{}]), "other": PEOPLE + 1, "number": np.array(3), "columns": by_columns}
        np.save(path, others[damage], allow_pickle=True)
    with pytest.raises(DataError, match=r"person\.npy (cannot be read|has the digest)"):
        read_lfwcrop(tmp_path, 0)


@pytest.mark.data
def test_the_real_faces_are_as_described_in_every_fold() -> None:
    folder = Path(os.environ.get("GANSEARCH_DATA", ""))
    if not (folder / FOLDER).is_dir():
        pytest.skip("GANSEARCH_DATA does not hold LFWcrop")
    tests = set()
    for fold in range(GROUPS):
        data, info = load("lfwcrop48", data_dir=folder, fold=fold), describe("lfwcrop48", fold)
        assert data.test is not None
        assert (len(data.train), len(data.valid), len(data.test)) == (info.n_train, info.n_valid, info.n_test)
        assert (data.fold, data.shape, data.train.shape[1]) == (fold, (1, 48, 48), 2304)
        assert info.n_train + info.n_valid + info.n_test == 13_233
        tests.add(data.digests["test"])
    assert len(tests) == GROUPS
