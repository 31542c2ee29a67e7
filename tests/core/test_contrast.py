"""Global contrast normalisation: its definition, what it loses, and the data set that it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.core import datasets
from gansearch.core.adversarial import Adversarial
from gansearch.core.contrast import CONTRAST_NORM, contrast_normalised
from gansearch.core.datasets import Entry, as_tensor, load, to_unit
from gansearch.core.diagnostics import pixel_variance, reference
from tests.core.games import small

# Sums of thousands of values in float32.
ROUNDING = 1e-5
N, D = 1_003, 3_072


def pictures(n: int = N, d: int = D, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, d), dtype=np.uint8)


def test_every_image_has_mean_0_and_one_norm() -> None:
    found = contrast_normalised(pictures())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(1), 0, atol=ROUNDING)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), CONTRAST_NORM, rtol=ROUNDING)


def test_brightness_and_contrast_are_lost_and_nothing_else() -> None:
    image = np.array([[10, 20, 40, 15]], np.uint8)
    brighter, stronger = image + 30, image * 3
    expected = contrast_normalised(image)
    for other in (brighter.astype(np.uint8), stronger.astype(np.uint8)):
        np.testing.assert_allclose(contrast_normalised(other), expected, rtol=ROUNDING)
    assert not np.allclose(contrast_normalised(image[:, ::-1].copy()), expected)


def test_an_image_without_contrast_stays_dark() -> None:
    assert not contrast_normalised(np.full((2, 9), 7, np.uint8)).any()


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, ...]:
    """Put a few made-up pictures in the place of CIFAR-10."""
    splits = pictures(60, seed=2), pictures(31, seed=3), pictures(22, seed=4)
    entries = dict(datasets.DATASETS)
    for name in ("cifar10", "cifar10_contrast"):
        entries[name] = {0: Entry(datasets.DATASETS[name][0].info, lambda _folder, _download: splits)}
    monkeypatch.setattr(datasets, "DATASETS", entries)
    return splits


def test_the_data_set_holds_the_values_themselves(small_cifar: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    data, bytes_of = (load(name, data_dir=tmp_path) for name in ("cifar10_contrast", "cifar10"))
    assert (data.space, data.levels, bytes_of.space) == ("contrast", 1, "unit")
    assert data.test is not None
    for split, images in zip((data.train, data.valid, data.test), small_cifar, strict=True):
        np.testing.assert_array_equal(split, contrast_normalised(images))
        assert not split.flags.writeable
    assert all(data.digests[split] != bytes_of.digests[split] for split in data.digests)
    values = to_unit(as_tensor(data.train), data.levels)
    assert values.data_ptr() == as_tensor(data.train).data_ptr()  # nothing is converted


def test_everything_that_reads_images_takes_the_values(small_cifar: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    data = load("cifar10_contrast", data_dir=tmp_path)
    train, valid = as_tensor(data.train), as_tensor(data.valid)
    expected = torch.from_numpy(data.train.copy()).double().var(0)
    torch.testing.assert_close(pixel_variance(train, data.levels), expected, rtol=1e-6, atol=1e-9)
    assert reference(train, valid, data.levels, num_samples=20).coverage_real > 0
    config = small({"dataset.name": "cifar10_contrast", "generator.output": "linear", "discriminator.hidden": [6]})
    own = Adversarial(config, train, data.levels, seed=1)
    means = torch.from_numpy(data.train.copy()).double().mean(0).float()
    torch.testing.assert_close(own.state.g["2.bias"], means, rtol=ROUNDING, atol=ROUNDING)
    own.train_epoch()
    assert not own.diverged()
