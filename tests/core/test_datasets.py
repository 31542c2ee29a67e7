"""The data sets: what they hold, how they are split, and what they need."""

from __future__ import annotations

import functools
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets as torchvision_datasets

from gansearch.core.datasets import (
    DATASETS,
    as_tensor,
    data_directory,
    describe,
    load,
    to_unit,
)
from gansearch.core.gaussian_mixture import MIXTURE_MODES, MIXTURE_RADIUS, MIXTURE_SD
from gansearch.errors import DataError

EMBEDDED = ["digits", "gaussian_mixture"]


@pytest.fixture
def mnist_dir() -> Path:
    folder = os.environ.get("GANSEARCH_DATA")
    if not folder or not Path(folder, "MNIST").is_dir():
        pytest.skip("GANSEARCH_DATA does not hold MNIST")
    return Path(folder)


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_describe_says_is_what_load_returns(name: str) -> None:
    info, data = describe(name), load(name, data_dir=None)
    assert data.test is not None
    assert (data.name, data.shape, data.levels, data.dim) == (info.name, info.shape, info.levels, info.dim)
    for rows, n in ((data.train, info.n_train), (data.valid, info.n_valid), (data.test, info.n_test)):
        assert rows.shape == (n, math.prod(info.shape))
        assert rows.dtype == np.uint8
        assert rows.flags.c_contiguous
        assert not rows.flags.writeable
        assert rows.max() <= info.levels


def test_every_data_set_has_a_one_line_description() -> None:
    assert set(DATASETS) == {
        *("digits", "mnist", "fashion_mnist", "cifar10", "cifar10_contrast", "lfwcrop48", "tfd48", "tfd96"),
        "gaussian_mixture",
    }
    for name in DATASETS:
        info = describe(name)
        assert info.name == name
        assert info.description
        assert "\n" not in info.description


def test_digits_are_scikit_learns_each_in_one_split() -> None:
    published, labels = load_digits(return_X_y=True)
    label_of = {row.tobytes(): label for row, label in zip(published.astype(np.uint8), labels, strict=True)}
    assert len(label_of) == 1_797  # no two of its images are the same, so splits can be compared as sets
    data = load("digits", data_dir=None)
    assert data.test is not None
    splits = [{row.tobytes() for row in rows} for rows in (data.train, data.valid, data.test)]
    assert set().union(*splits) == set(label_of)
    assert sum(map(len, splits)) == len(label_of)
    for split in splits:
        counts = np.bincount([label_of[row] for row in split], minlength=10)
        # A random split has within 5 standard deviations of a tenth of each digit.
        assert np.abs(counts - len(split) / 10).max() < 5 * math.sqrt(len(split) * 0.1 * 0.9)


def test_gaussian_mixture_has_the_stated_modes_and_spread() -> None:
    data = load("gaussian_mixture", data_dir=None)
    assert data.test is not None
    points = np.concatenate([data.train, data.valid, data.test]) / 255
    angle = 2 * np.pi * np.arange(MIXTURE_MODES) / MIXTURE_MODES
    means = 0.5 + MIXTURE_RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nearest = np.linalg.norm(points[:, None] - means, axis=2).argmin(axis=1)
    n, share = len(points), 1 / MIXTURE_MODES
    counts = np.bincount(nearest, minlength=MIXTURE_MODES)
    assert np.abs(counts - n * share).max() < 5 * math.sqrt(n * share * (1 - share))  # 5 binomial sd
    residual = points - means[nearest]
    sd = math.sqrt(MIXTURE_SD**2 + 1 / (12 * 255**2))  # rounding to 255 levels adds its own variance
    assert abs(residual.std() / sd - 1) < 5 / math.sqrt(2 * residual.size)  # 5 sd of an estimated sd
    assert np.abs(residual.mean(axis=0)).max() < 5 * sd / math.sqrt(n)


@pytest.mark.parametrize("name", EMBEDDED)
def test_loading_again_gives_the_same_digests(name: str) -> None:
    first, second = load(name, data_dir=None), load(name, data_dir=None)
    assert first.digests == second.digests
    assert set(first.digests) == {"train", "valid", "test"}
    assert len(set(first.digests.values())) == 3


def test_without_test_keeps_everything_but_the_test_images() -> None:
    data = load("digits", data_dir=None)
    locked = data.without_test()
    assert locked.test is None
    assert locked.train is data.train
    assert locked.valid is data.valid
    assert locked.digests == data.digests


def test_survives_zero_copy_pickling() -> None:
    data = load("gaussian_mixture", data_dir=None)
    buffers: list[pickle.PickleBuffer] = []
    packed = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    assert len(packed) < data.train.size  # the pixels travel beside the pickle, not in it
    copy = pickle.loads(packed, buffers=buffers)
    assert copy.digests == data.digests
    assert np.shares_memory(copy.train, data.train)
    assert np.array_equal(copy.valid, data.valid)


def test_as_tensor_shares_the_memory_of_a_read_only_array() -> None:
    rows = load("digits", data_dir=None).valid
    tensor = as_tensor(rows)
    assert tensor.dtype == torch.uint8
    assert tensor.shape == (300, 64)
    assert tensor.data_ptr() == rows.ctypes.data
    assert np.array_equal(tensor.numpy(), rows)


@pytest.mark.parametrize("levels", [16, 255])
def test_to_unit_divides_by_the_levels(levels: int) -> None:
    pixels = torch.arange(levels + 1, dtype=torch.uint8)
    unit = to_unit(pixels, levels)
    assert unit.dtype == torch.float32
    assert unit[0] == 0
    assert unit[-1] == 1
    exact = np.arange(levels + 1) / levels
    half_ulp = 2.0**-25  # of a float32 below 1: the division is correctly rounded
    assert np.abs(unit.numpy().astype(np.float64) - exact).max() <= half_ulp
    assert to_unit(pixels[:6].reshape(1, 3, 2), levels).shape == (1, 3, 2)


def test_unknown_name_offers_the_nearest() -> None:
    for ask in (describe, functools.partial(load, data_dir=None)):
        with pytest.raises(DataError, match="no data set 'fashion-mnist'") as caught:
            ask("fashion-mnist")
        assert caught.value.hint == "did you mean 'fashion_mnist'?"


@pytest.mark.parametrize(
    ("name", "fold", "message"),
    [
        ("digits", 1, "the data set 'digits' has one fold, 0, and fold 1 was asked for"),
        ("lfwcrop48", 5, "the data set 'lfwcrop48' has the folds 0 to 4, and fold 5 was asked for"),
    ],
)
def test_a_fold_that_does_not_exist_is_refused(name: str, fold: int, message: str) -> None:
    for ask in (lambda: describe(name, fold), lambda: load(name, data_dir=None, fold=fold)):
        with pytest.raises(DataError) as caught:
            ask()
        assert caught.value.message == message


def test_data_directory_prefers_the_option_then_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GANSEARCH_DATA", "~/from-env")
    assert data_directory(Path("~/asked")) == tmp_path / "asked"
    assert data_directory(None) == tmp_path / "from-env"
    monkeypatch.setenv("GANSEARCH_DATA", "")
    assert data_directory(None) == tmp_path / ".cache/gansearch"


@pytest.mark.parametrize(("name", "package"), [("digits", "sklearn.datasets"), ("mnist", "torchvision")])
def test_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what `import` meets when the package is not there
    with pytest.raises(DataError, match="cannot be imported") as caught:
        load(name, data_dir=tmp_path)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("pip install")


def test_needs_only_torch_and_numpy_to_be_imported() -> None:
    program = """
import sys
for name in ("jaxtyping", "beartype", "sklearn", "torchvision"):
    sys.modules[name] = None
from gansearch.core import datasets
data = datasets.load("gaussian_mixture", data_dir=None)
assert datasets.to_unit(datasets.as_tensor(data.train), data.levels).shape == (2_000, 2)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.data
def test_mnist_is_split_as_in_the_paper(mnist_dir: Path) -> None:
    data = load("mnist", data_dir=mnist_dir, download=False)
    assert data.test is not None
    train = torchvision_datasets.MNIST(mnist_dir, train=True, download=False).data.reshape(60_000, 784).numpy()
    test = torchvision_datasets.MNIST(mnist_dir, train=False, download=False).data.reshape(10_000, 784).numpy()
    assert np.array_equal(data.train, train[:50_000])
    assert np.array_equal(data.valid, train[50_000:])
    assert np.array_equal(data.test, test)
    info = describe("mnist")
    assert (len(data.train), len(data.valid), len(data.test)) == (info.n_train, info.n_valid, info.n_test)
    assert (data.shape, data.levels, data.dim) == ((1, 28, 28), 255, 784)
