"""Flags: raised for images made wrong on purpose, never for real ones, on real data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import flags
from analysis.flags import (
    ABOVE_CEILING,
    COLLAPSED,
    GAP,
    LESS_DIVERSE,
    MORE_DIVERSE,
    NEAR_TRAINING,
    SHRUNKEN,
    row_flags,
)
from gansearch.core import diagnostics
from gansearch.core.datasets import Dataset, as_tensor, load, to_unit
from tests.analysis.flag_images import (
    SCORED,
    Images,
    Real,
    blurred,
    calibration,
    copies,
    dealt,
    measured,
    names,
    noise,
    scored,
)

# Random splits of digits in which no flag may be raised: at a rate of one in a hundred it would be, to 74%.
SPLITS = 135


def centroids(real: Real) -> Images:
    """Return k-means centroids, as many as there are held-out images, two steps of Lloyd from training images."""
    images = to_unit(real.train, real.levels)
    found = images[: len(real.heldout)].clone()
    for _ in range(2):
        nearest = torch.cdist(images, found).argmin(1)
        counts = torch.bincount(nearest, minlength=len(found)).clamp(min=1)
        found = torch.zeros_like(found).index_add_(0, nearest, images) / counts[:, None]
    return found


def without_rounder_half(real: Real) -> Images:
    """Return held-out images of the half that is nearer to one of them, twice each: kinds are missing."""
    n = len(real.heldout)
    nearer = (real.heldout - real.heldout[0]).square().sum(1).argsort()[: (n + 1) // 2]
    return real.heldout[nearer].repeat(2, 1)[:n]


MODELS: Mapping[str, tuple[Callable[[Real], Images], set[str]]] = {
    "held-out images": (lambda real: real.heldout, set()),
    "copies": (lambda real: copies(real, 1.0), {NEAR_TRAINING}),
    "a quarter copies": (lambda real: copies(real, 0.25), {NEAR_TRAINING}),
    "noisy copies": (lambda real: (copies(real, 1.0) + noise(real.heldout, 0.02)).clamp(0, 1), {NEAR_TRAINING}),
    "darker": (lambda real: 0.9 * real.heldout, {SHRUNKEN}),
    "nearer to the mean": (lambda real: real.heldout.mean(0) + 0.9 * (real.heldout - real.heldout.mean(0)), {SHRUNKEN}),
    "half blurred": (lambda real: (real.heldout + blurred(real.heldout, real.side)) / 2, {SHRUNKEN}),
    "one image": (lambda real: real.heldout[:1].expand_as(real.heldout), {COLLAPSED}),
    "the mean image": (lambda real: real.heldout.mean(0).expand_as(real.heldout), {COLLAPSED}),
    "a handful": (lambda real: real.heldout[torch.arange(len(real.heldout)) % 6], {COLLAPSED}),
    "half the kinds": (without_rounder_half, {LESS_DIVERSE}),
    "black and white": (lambda real: (real.heldout > 0.5).float(), {MORE_DIVERSE}),
    "validation images": (
        lambda real: to_unit(real.valid, real.levels)[torch.arange(len(real.heldout)) % len(real.valid)],
        {MORE_DIVERSE},
    ),
}
# What else may be said of them, truly: half of the kinds vary less, for one.
ALSO = {"half the kinds": {SHRUNKEN, NEAR_TRAINING}, "half blurred": {LESS_DIVERSE}}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", data_dir=None, download=False)


@pytest.fixture(scope="module")
def dealt_digits(digits: Dataset) -> Real:
    return dealt(digits, 0, 590, 301, 97)


@pytest.fixture(scope="module")
def dealt_mnist(mnist_dir: Path) -> Real:
    return dealt(load("mnist", data_dir=mnist_dir, download=False), 0, 9_000, 1_100, 400, 1_300)


def check(name: str, real: Real) -> None:
    make, expected = MODELS[name]
    found = names(row_flags(measured(make(real), real), None))
    assert expected <= found, found
    assert found <= expected | ALSO.get(name, set())


@pytest.mark.parametrize("name", MODELS)
def test_digits_made_wrong_have_their_flag_and_no_other(name: str, dealt_digits: Real) -> None:
    check(name, dealt_digits)


@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
def test_mnist_made_wrong_has_its_flag_and_no_other(name: str, dealt_mnist: Real) -> None:
    check(name, dealt_mnist)


@pytest.mark.parametrize("sizes", [(690, 300, 7), (900, 210, 5), (1_100, 150, 8)])
def test_real_digits_have_none_however_they_are_dealt(digits: Dataset, sizes: tuple[int, int, int]) -> None:
    for seed in range(SPLITS // 3):
        real = dealt(digits, seed, *sizes)
        assert row_flags(measured(real.heldout, real), None) == (), seed


@pytest.mark.data
def test_the_test_images_of_mnist_have_none(mnist_dir: Path) -> None:
    data = load("mnist", data_dir=mnist_dir, download=False)
    assert data.test is not None
    train, valid, test = map(as_tensor, (data.train, data.valid, data.test))
    real = Real(train, valid, test, to_unit(test, data.levels), 28, data.levels)
    assert row_flags(measured(real.heldout, real), None) == ()


def test_k_means_centroids_lie_near_training_images(dealt_digits: Real) -> None:
    assert NEAR_TRAINING in names(row_flags(measured(centroids(dealt_digits), dealt_digits), None))


def test_blurred_images_are_not_called_copies_and_blurred_copies_are(dealt_digits: Real) -> None:
    for share, expected in ((0.0, False), (1.0, True)):
        samples = copies(dealt_digits, share)
        shrunken = samples.mean(0) + 0.8 * (samples - samples.mean(0))
        found = names(row_flags(measured(shrunken, dealt_digits), None))
        assert (SHRUNKEN in found, NEAR_TRAINING in found) == (True, expected), share


# Scores: real digits against a ceiling of as many others.


def test_real_digits_do_not_exceed_other_real_digits(digits: Dataset) -> None:
    for seed in range(30):
        real = dealt(digits, seed, 2 * SCORED, 300, 310)
        first, second = (to_unit(half, real.levels) for half in real.train.split(SCORED))
        ceiling = calibration(scored(first, real))
        assert not names(row_flags(scored(second, real), ceiling)) & {ABOVE_CEILING, GAP}, seed


def test_what_fits_the_estimate_better_than_digits_do_exceeds_them(dealt_digits: Real) -> None:
    real = dealt_digits
    train = to_unit(real.train, real.levels)
    ceiling = calibration(scored(train[:SCORED], real))
    # Centroids of all images, as many as the ceiling has of them.
    found = torch.cdist(train, train[:SCORED]).argmin(1)
    means = torch.stack([train[found == i].mean(0) for i in range(SCORED)])
    (flag,) = (flag for flag in row_flags(scored(means, real), ceiling) if flag.name == ABOVE_CEILING)
    assert "on validation, where as many real images score" in flag.text
    assert " on test, where as many real images score" in flag.text


@pytest.mark.data
def test_darker_and_blurred_digits_of_mnist_exceed_real_ones(dealt_mnist: Real) -> None:
    """Samples with 9 / 10 of the ink, or blurred: both score above real images, and say so."""
    train = to_unit(dealt_mnist.train, dealt_mnist.levels)
    first, second = train[:4_000:2], train[1:4_000:2]
    ceiling = calibration(scored(first, dealt_mnist))
    for samples, expected in (
        (second, set()),
        (0.9 * second, {ABOVE_CEILING}),
        ((second + blurred(second, 28)) / 2, {ABOVE_CEILING}),
    ):
        assert names(row_flags(scored(samples, dealt_mnist), ceiling)) == expected


def test_a_model_that_has_learnt_validation_by_heart_is_found_out(dealt_digits: Real) -> None:
    real = dealt_digits
    ceiling = calibration(scored(to_unit(real.train[:SCORED], real.levels), real))
    row = scored(to_unit(real.valid[:SCORED], real.levels), real)
    for known in (ceiling, None):
        (flag,) = (flag for flag in row_flags(row, known) if flag.name == GAP)
        assert "nats more on validation" in flag.text
        assert ("real images" in flag.text) == (known is not None)
    (above,) = (flag for flag in row_flags(row, ceiling) if flag.name == ABOVE_CEILING)
    assert " on test," not in above.text


# The limits' own derivation.


def test_chance_moves_coverage_no_more_than_the_limit_says() -> None:
    """Balls in bins of all kinds of unequal sizes: the share hit varies by c (1 - c) / n at most."""
    draws = np.random.default_rng(0)
    for balls, bins, shape in ((300, 300, 1.0), (1_000, 400, 0.3), (150, 700, 5.0)):
        shares = draws.dirichlet(np.full(bins, shape))
        hit = np.array([np.unique(draws.choice(bins, balls, p=shares)).size / bins for _ in range(1_500)])
        c = hit.mean()
        # The variance of 1,500 draws is known to 2 sqrt(2 / 1,500) = .073 of itself, at two standard errors.
        assert hit.var() < c * (1 - c) / bins * 1.073


def test_diagnostics_compare_as_many_as_the_limits_assume() -> None:
    assert flags.COMPARED == diagnostics.SUBSET
