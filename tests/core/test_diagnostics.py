"""The diagnostics: what they say of collapse, shrinking and memorising, on real digits."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gansearch.core import diagnostics
from gansearch.core.datasets import as_tensor, load, to_unit
from gansearch.core.diagnostics import (
    Reference,
    coverage,
    diagnose,
    diversity,
    nearest_distances,
    nearest_index,
    pixel_variance,
    pixel_variance_ratio,
    reference,
    spread,
)

LEVELS = 16
# float32 sums of a few hundred terms.
FLOAT32_TOLERANCE = 1e-5
# Two disjoint sets of a few hundred digits differ in coverage by a few standard deviations of about .03.
COVERAGE_TOLERANCE = 0.15
# Their total variances differ by a few per cent.
SPREAD_TOLERANCE = 0.1


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def splits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bytes of 400 training digits, 350 other digits in the place of samples, and the validation split."""
    data = load("digits", data_dir=None)
    train = as_tensor(data.train)
    return train[:400], train[400:750], as_tensor(data.valid)


@pytest.fixture(scope="module")
def data(splits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> Reference:
    train, _, valid = splits
    return reference(train, valid, LEVELS, num_samples=300)


@pytest.fixture(scope="module")
def real(splits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Digits that are neither in the training nor in the validation split: the perfect model's samples."""
    return to_unit(splits[1], LEVELS)


def repeated(images: torch.Tensor, handful: int) -> torch.Tensor:
    return images[torch.arange(len(images)) % handful]


def test_real_images_pass(real: torch.Tensor, data: Reference) -> None:
    result = diagnose(real, data)
    assert not result.collapsed
    assert result.coverage == pytest.approx(result.coverage_real, abs=COVERAGE_TOLERANCE)
    assert result.spread == pytest.approx(1, abs=SPREAD_TOLERANCE)
    assert result.pixel_variance_ratio == pytest.approx(1, abs=SPREAD_TOLERANCE)
    assert result.nn_train_samples == pytest.approx(result.nn_train_heldout, rel=SPREAD_TOLERANCE)


def test_one_image(real: torch.Tensor, data: Reference) -> None:
    result = diagnose(repeated(real, 1), data)
    assert result.collapsed
    assert result.coverage == 1 / len(data.images)
    assert result.spread == 0
    assert result.pixel_variance_ratio == 0


@pytest.mark.parametrize("handful", [2, 5, 8])
@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_a_handful_of_images_is_collapse_though_their_variance_is_not(
    real: torch.Tensor, data: Reference, handful: int, jitter: float
) -> None:
    samples = (repeated(real, handful) + jitter * noise(handful, *real.shape)).clamp(0, 1)
    result = diversity(samples, data)
    assert result.collapsed
    assert result.coverage < 0.1 * result.coverage_real
    if handful >= 5:
        assert result.spread > 0.5  # the spread alone would not tell


def test_collapse_is_relative_to_real_images(real: torch.Tensor, data: Reference) -> None:
    limit = 0.1 * data.coverage_real
    cheap = diversity(real, data)
    below, above = (dataclasses.replace(cheap, coverage=limit * factor) for factor in (0.99, 1.01))
    assert below.collapsed
    assert not above.collapsed


def test_shrunken_samples_have_a_low_spread(real: torch.Tensor, data: Reference) -> None:
    mean = real.mean(0)
    result = diagnose(mean + 0.8 * (real - mean), data)
    assert not result.collapsed
    whole = diagnose(real, data)
    # Variance scales with the square of the factor.
    assert result.spread == pytest.approx(0.64 * whole.spread, rel=FLOAT32_TOLERANCE)
    assert result.pixel_variance_ratio == pytest.approx(0.64 * whole.pixel_variance_ratio, rel=FLOAT32_TOLERANCE)


def test_blurred_samples_lose_variance(real: torch.Tensor, data: Reference) -> None:
    blurred = torch.nn.functional.avg_pool2d(real.view(-1, 1, 8, 8), 3, 1, 1).flatten(1)
    result = diagnose(blurred, data)
    assert result.spread < 0.6
    assert result.pixel_variance_ratio < 0.6


def test_memorised_samples_lie_nearer_than_heldout_images(
    splits: tuple[torch.Tensor, torch.Tensor, torch.Tensor], data: Reference
) -> None:
    train = to_unit(splits[0], LEVELS)
    copies = diagnose(train, data)
    assert copies.nn_train_samples == 0 < copies.nn_train_heldout
    near = diagnose(train + 0.01 * noise(0, *train.shape), data)
    # 64 pixels of standard deviation .01 are .08 away.
    assert near.nn_train_samples == pytest.approx(0.08, rel=0.05)
    assert near.nn_train_samples < 0.2 * near.nn_train_heldout


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nonfinite_samples_have_no_measures(real: torch.Tensor, data: Reference, bad: float) -> None:
    samples = real.clone()
    samples[:, 9] = bad
    result = diagnose(samples, data)
    assert math.isnan(result.coverage)
    assert math.isnan(result.spread)
    assert not math.isfinite(result.nn_train_samples)
    assert not result.collapsed


def test_fewer_samples_than_are_compared(real: torch.Tensor, data: Reference) -> None:
    assert data.n_compared == 300
    with pytest.raises(ValueError, match="299 samples cannot be compared with 300"):
        diversity(real[:299], data)


def test_reference_measures_real_images(
    splits: tuple[torch.Tensor, torch.Tensor, torch.Tensor], data: Reference
) -> None:
    train, _, valid = splits
    assert data.train.data_ptr() == train.data_ptr()
    assert len(data.images) == min(diagnostics.SUBSET, len(valid))
    heldout = cdist(to_unit(valid, LEVELS).double(), to_unit(train, LEVELS).double()).min(1).mean()
    assert data.nn_train_heldout == pytest.approx(heldout)
    assert 0.3 < data.coverage_real < 1


def test_coverage_counts_nearest_images() -> None:
    samples, images = noise(0, 23, 4), noise(1, 11, 4)
    nearest = cdist(samples.double(), images.double()).argmin(1)
    assert coverage(samples, images) == len(set(nearest.tolist())) / 11
    assert coverage(images, images) == 1


def test_pixel_variance_is_numpys(
    splits: tuple[torch.Tensor, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "_CHUNK", 37)
    train = splits[0]
    expected = (train.double().numpy() / LEVELS).var(0, ddof=1)
    np.testing.assert_allclose(pixel_variance(train, LEVELS).numpy(), expected, rtol=1e-12, atol=1e-15)


def test_spread_and_ratio_are_numpys() -> None:
    samples, other = noise(0, 41, 7) * torch.arange(1, 8), noise(1, 29, 7)
    other[:, 2] *= 1e-3  # varies too little to count
    samples_variance, data_variance = samples.double().numpy().var(0, ddof=1), other.double().numpy().var(0, ddof=1)
    kept = [0, 1, 3, 4, 5, 6]
    ratios = np.sort(samples_variance[kept] / data_variance[kept])
    given = torch.from_numpy(data_variance)
    assert spread(samples, given) == pytest.approx(samples_variance.sum() / data_variance.sum(), rel=FLOAT32_TOLERANCE)
    assert ratios[2] * (1 - FLOAT32_TOLERANCE) <= pixel_variance_ratio(samples, given)
    assert pixel_variance_ratio(samples, given) <= ratios[3] * (1 + FLOAT32_TOLERANCE)


def test_one_sample_has_no_variance() -> None:
    with pytest.raises(ValueError, match="2 samples or more"):
        spread(noise(0, 1, 5), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("chunk", [1, 33, 400, 1_000])
def test_nearest_distances_are_scipys(
    splits: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    real: torch.Tensor,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diagnostics, "_CHUNK", chunk)
    train = splits[0]
    expected = cdist(real.double(), to_unit(train, LEVELS).double()).min(1)
    np.testing.assert_allclose(nearest_distances(real, train, LEVELS).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 100, 1_197, 5_000])
def test_nearest_is_nearest_and_the_first_of_equals(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_CHUNK", chunk)
    digits = load("digits", data_dir=None)
    train = as_tensor(digits.train)
    twice = torch.cat([train[:400], train[:400]])
    points = to_unit(train[390:397], LEVELS) + 0.01 * torch.rand(7, 64, generator=torch.Generator().manual_seed(1))
    assert nearest_index(points, twice, LEVELS).tolist() == list(range(390, 397))
    held = to_unit(as_tensor(digits.valid), LEVELS)
    expected = cdist(held.double(), to_unit(train, LEVELS).double()).argmin(1)
    np.testing.assert_array_equal(nearest_index(held, train, LEVELS), expected)
