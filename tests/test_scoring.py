"""Scores of a split against a float64 reference of the estimator."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from gansearch.core.datasets import as_tensor, to_unit
from gansearch.core.parzen import fixed_subset
from gansearch.protocols import Protocol
from gansearch.scoring import score_test, score_valid
from tests.trials import digits

LEVELS, D = 16, 64
SIGMA_POINTS = 9
# float32 distances of 64 pixels below 1: 64 terms of eps 6e-8 over sigma^2 of .09, halved.
FLOAT32_NATS = 1e-3
# float64 sums in another order.
FLOAT64_NATS = 1e-9


def reference(samples: np.ndarray, points: np.ndarray, sigma: float) -> np.ndarray:
    exponents = -cdist(points, samples, "sqeuclidean") / (2 * sigma**2)
    ll: np.ndarray = logsumexp(exponents, axis=1) - np.log(len(samples)) - D / 2 * np.log(2 * np.pi * sigma**2)
    return ll


def protocol(**changes: object) -> Protocol:
    plain = Protocol(name="p", num_samples=70, sigma_min=0.1, sigma_max=0.9, sigma_points=SIGMA_POINTS, refine=False)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # fields of several types


def test_sigma_is_the_grids_best_on_the_protocols_images_and_the_score_is_its_own() -> None:
    data = digits()
    samples, valid = to_unit(as_tensor(data.train)[:70], LEVELS), as_tensor(data.valid)
    for subset, index in (
        (protocol(dtype="float64"), np.arange(300)),
        (protocol(valid_subset="first", valid_count=41), np.arange(41)),
        (protocol(valid_subset="random", valid_count=53), fixed_subset(300, 53).numpy()),
    ):
        score, fit = score_valid(samples, valid, LEVELS, subset)
        np.testing.assert_array_equal(score.index.numpy(), index)
        points = data.valid[index] / LEVELS
        grid = np.geomspace(0.1, 0.9, SIGMA_POINTS)
        means = [reference(samples.double().numpy(), points, sigma).mean() for sigma in grid]
        assert np.isclose(fit.sigma, grid[int(np.argmax(means))])
        expected = reference(samples.double().numpy(), points, fit.sigma)
        tolerance = FLOAT64_NATS if subset.dtype == "float64" else FLOAT32_NATS
        np.testing.assert_allclose(score.ll.numpy(), expected, rtol=0, atol=tolerance)
        assert abs(score.mean - expected.mean()) < tolerance
        assert abs(score.se - expected.std(ddof=1) / np.sqrt(len(index))) < tolerance


def test_the_whole_test_split_is_scored_at_the_sigma_that_is_given() -> None:
    data = digits()
    assert data.test is not None
    samples = to_unit(as_tensor(data.train)[:70], LEVELS)
    score = score_test(samples, as_tensor(data.test)[:211], LEVELS, 0.37, "float64")
    expected = reference(samples.double().numpy(), data.test[:211] / LEVELS, 0.37)
    np.testing.assert_allclose(score.ll.numpy(), expected, rtol=0, atol=FLOAT64_NATS)
    assert torch.equal(score.index, torch.arange(211))
