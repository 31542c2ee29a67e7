"""Parzen log-likelihoods: against SciPy and scikit-learn, under extreme values, and in every precision."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

from gansearch.core import distances
from gansearch.core.datasets import as_tensor, load, to_unit
from gansearch.core.distances import full_precision
from gansearch.core.parzen import fit_sigma, log_likelihood, mean_and_se
from tests.core.densities import ROUNDING_TOLERANCE, enlarged_digits, normal, protocol, reference

# What the estimate promises for real images in float32, in nats: the mean and each point.
MEAN_TOLERANCE = 1e-4
POINT_TOLERANCE = 2e-3
# float64 throughout: 2^-53 times terms of about 1e4 nats, with room for the cancellation in |x|^2 (x 100).
DOUBLE_TOLERANCE = 1e-9

SIGMAS = (0.1, 0.17, 0.3)


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return samples and points."""
    return enlarged_digits()


@pytest.fixture
def user_precision() -> Iterator[None]:
    """Put torch's precision settings back to their defaults."""
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("sigma", SIGMAS)
def test_real_digits_agree_with_scipy(digits: tuple[torch.Tensor, torch.Tensor], sigma: float) -> None:
    error = log_likelihood(*digits, sigma).numpy() - reference(*digits, sigma)
    assert abs(error.mean()) < MEAN_TOLERANCE
    assert np.abs(error).max() < POINT_TOLERANCE


@pytest.mark.data
@pytest.mark.parametrize("sigma", SIGMAS)
def test_mnist_agrees_with_scipy(mnist_dir: Path, sigma: float) -> None:
    data = load("mnist", data_dir=mnist_dir, download=False)
    samples, points = (to_unit(as_tensor(rows), data.levels) for rows in (data.train[:3_000], data.valid[:700]))
    error = log_likelihood(samples, points, sigma).numpy() - reference(samples, points, sigma)
    assert abs(error.mean()) < MEAN_TOLERANCE
    assert np.abs(error).max() < POINT_TOLERANCE


def test_float64_is_exact_to_float64(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    ll = log_likelihood(*digits, 0.17, dtype="float64").numpy()
    np.testing.assert_allclose(ll, reference(*digits, 0.17), rtol=0, atol=DOUBLE_TOLERANCE)


def test_agrees_with_scikit_learn() -> None:
    samples, points, sigma = normal(0, 31, 5).double(), normal(1, 17, 5).double(), 0.4
    kde = KernelDensity(bandwidth=sigma, rtol=0, atol=0).fit(samples.numpy())
    ll = log_likelihood(samples, points, sigma, dtype="float64").numpy()
    np.testing.assert_allclose(ll, kde.score_samples(points.numpy()), rtol=0, atol=DOUBLE_TOLERANCE)


def test_one_kernel_is_a_gaussian() -> None:
    sample, points, sigma = normal(0, 1, 6).double(), normal(1, 13, 6).double(), 0.7
    gaussian = torch.distributions.Normal(sample[0], sigma).log_prob(points).sum(1)
    torch.testing.assert_close(
        log_likelihood(sample, points, sigma, dtype="float64"), gaussian, rtol=0, atol=DOUBLE_TOLERANCE
    )


def test_density_integrates_to_one() -> None:
    samples, sigma, step = normal(0, 7, 1).double(), 0.3, 0.01
    grid = torch.arange(-10, 10, step, dtype=torch.float64)[:, None]
    # The trapezoidal rule converges faster than any power of step/sigma on Gaussians.
    assert (log_likelihood(samples, grid, sigma).exp().sum() * step).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_scaling_law(digits: tuple[torch.Tensor, torch.Tensor], scale: float) -> None:
    samples, points = digits
    d = points.shape[1]
    # Powers of two scale every float32 exactly, so only the logarithms round.
    scaled = log_likelihood(samples * scale, points * scale, 0.17 * scale)
    torch.testing.assert_close(
        scaled, log_likelihood(samples, points, 0.17) - d * math.log(scale), rtol=0, atol=DOUBLE_TOLERANCE
    )


def test_a_common_shift_changes_nothing(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, points = (images.double() for images in digits)
    shifted = log_likelihood(samples + 50, points + 50, 0.17)
    torch.testing.assert_close(shifted, log_likelihood(samples, points, 0.17), rtol=0, atol=ROUNDING_TOLERANCE)


@pytest.mark.parametrize("size", [1e4, 1e5, 1e6, 1e20, 1e38, -1e38])
@pytest.mark.parametrize("row", [0, 203])
def test_an_outlying_sample_costs_the_others_nothing(
    digits: tuple[torch.Tensor, torch.Tensor], size: float, row: int
) -> None:
    samples, points = digits[0].clone(), digits[1]
    samples[row] = size
    expected = reference(samples, points, 0.17)
    error = log_likelihood(samples, points, 0.17).numpy() - expected
    assert abs(error.mean()) < MEAN_TOLERANCE
    assert np.abs(error).max() < POINT_TOLERANCE
    in_blocks = log_likelihood(samples.flip(0), points.flip(0), 0.17, block=50).flip(0).numpy()
    np.testing.assert_allclose(in_blocks, expected + error, rtol=0, atol=ROUNDING_TOLERANCE)


def test_outlying_samples_of_both_signs_cost_the_others_nothing(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, points = digits[0].clone(), digits[1]
    # A product of the last sample with a point sums terms that overflow to +inf and to -inf.
    samples[5], samples[70, 3], samples[449] = -1e6, 1e20, 3e38 * normal(2, 784).sign()
    error = log_likelihood(samples, points, 0.17).numpy() - reference(samples, points, 0.17)
    assert abs(error.mean()) < MEAN_TOLERANCE
    assert np.abs(error).max() < POINT_TOLERANCE


def test_samples_that_all_overflow_have_no_score(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, points = digits[0] + 1e20, digits[1]
    assert log_likelihood(samples, points, 0.17).isnan().all()
    assert math.isnan(fit_sigma(samples, points, protocol()).sigma)
    assert log_likelihood(samples, points, 0.17, dtype="float64").isfinite().all()


@pytest.mark.parametrize("n", [1, 79, 80, 81, 399, 400, 401, 1_234])
def test_row_sums_and_minima_by_chunks(n: int) -> None:
    values = normal(3, 7, n)
    least, place = distances._row_minima(values)
    assert torch.equal(least, values.amin(1))
    assert torch.equal(values[torch.arange(7), place], least)
    terms = values.exp2()
    # A sum of 80 positive float32 terms errs by less than 80 x 2^-24 of itself, in whatever order it is taken.
    error = distances._row_sums(terms) / terms.double().sum(1) - 1
    assert error.abs().max().item() < 80 * 2**-24


def test_moments_are_the_derivatives(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, points = digits
    n, d = points.shape
    step, sigma = 1e-3, 0.17
    sigmas = tuple(sigma * math.exp(t) for t in (-step, 0, step))
    of = distances.Distances(samples, points, "float64")
    below, at, above = of.log_likelihood(sigmas, n)
    ll, first, second = of.moments((sigma,), n)[0]
    assert torch.equal(ll, at)
    # Central differences err by step^2 / 6 and step^2 / 12 of the third and fourth derivatives, about 4 and 8 times
    # the first moment (and more where many samples are about as near), which is about d.
    torch.testing.assert_close(first - d, (above - below) / (2 * step), rtol=0, atol=10 * d * step**2)
    torch.testing.assert_close(
        second - 2 * first, (above - 2 * at + below) / step**2, rtol=0, atol=10 * d * step**2 + 1e-3
    )


@pytest.mark.parametrize("block", [1, 7, 64, 169, 170, 1_000])
def test_block_size_changes_nothing(digits: tuple[torch.Tensor, torch.Tensor], block: int) -> None:
    torch.testing.assert_close(
        log_likelihood(*digits, 0.17, block=block), log_likelihood(*digits, 0.17), rtol=0, atol=ROUNDING_TOLERANCE
    )


def test_order_changes_nothing(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, points = digits
    ll = log_likelihood(samples, points, 0.17, block=50)
    torch.testing.assert_close(
        log_likelihood(samples.flip(0), points.flip(0), 0.17, block=50).flip(0), ll, rtol=0, atol=ROUNDING_TOLERANCE
    )


def test_copies_of_a_point_are_at_distance_zero(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, points = digits
    n, d = points.shape
    sigma = 1e-3  # the other samples' terms are below exp(-1e5)
    expected = -math.log(n) - d / 2 * math.log(2 * math.pi * sigma**2)
    torch.testing.assert_close(
        log_likelihood(points, points, sigma),
        torch.full((n,), expected, dtype=torch.float64),
        rtol=0,
        atol=DOUBLE_TOLERANCE,
    )


def test_far_points_do_not_underflow() -> None:
    samples, points, sigma = normal(0, 5, 3), normal(1, 11, 3) + 1_000, 0.01
    np.testing.assert_allclose(
        log_likelihood(samples, points, sigma).numpy(), reference(samples, points, sigma), rtol=1e-6
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_values_are_not_scored(bad: float) -> None:
    samples, points = normal(0, 9, 4), normal(1, 6, 4)
    samples[3, 1] = bad
    assert log_likelihood(samples, points, 0.5).isnan().all()
    fit = fit_sigma(samples, points, protocol())
    assert math.isnan(fit.sigma)
    assert fit.valid_ll.isnan().all()
    assert not fit.at_edge


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_point_leaves_the_others_alone(bad: float) -> None:
    samples, points = normal(0, 9, 4), normal(1, 6, 4)
    expected = log_likelihood(samples, points, 0.5)
    points[2, 0] = bad
    ll = log_likelihood(samples, points, 0.5)
    assert ll.isnan().tolist() == [i == 2 for i in range(6)]
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(ll[others], expected[others], rtol=0, atol=ROUNDING_TOLERANCE)


@pytest.mark.parametrize(
    ("samples", "points"), [((5, 3), (4, 2)), ((0, 3), (4, 3)), ((5, 3), (0, 3)), ((5, 0), (4, 0)), ((5, 3), (3,))]
)
def test_shapes_that_do_not_match_are_named(samples: tuple[int, ...], points: tuple[int, ...]) -> None:
    # Unwrapped: in the tests the annotations would refuse some of these first.
    for function, setting in ((log_likelihood, 0.5), (fit_sigma, protocol())):
        with pytest.raises(ValueError, match="shape") as caught:
            inspect.unwrap(function)(torch.zeros(samples), torch.zeros(points), setting)
        assert str(samples) in str(caught.value)
        assert str(points) in str(caught.value)


@pytest.mark.parametrize("sigma", [0.0, -0.1, math.nan, math.inf, 9e-7, 1e-20, 1.1e6, 1e160])
def test_sigma_outside_its_range_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"sigma must be from 1e-06 to 1e\\+06, got {re.escape(str(sigma))}"):
        log_likelihood(normal(0, 3, 2), normal(1, 4, 2), sigma)


@pytest.mark.parametrize("sigma", [1e-6, 1e6])
def test_ends_of_sigmas_range_are_scored(digits: tuple[torch.Tensor, torch.Tensor], sigma: float) -> None:
    # At 1e-6 two nearest samples whose distances differ by a float32 rounding change order: relative only.
    np.testing.assert_allclose(log_likelihood(*digits, sigma).numpy(), reference(*digits, sigma), rtol=1e-6)


@pytest.mark.parametrize("setting", ["high", "medium"])
def test_user_precision_changes_nothing_and_is_kept(
    digits: tuple[torch.Tensor, torch.Tensor], setting: str, user_precision: None
) -> None:
    expected = log_likelihood(*digits, 0.17)
    torch.set_float32_matmul_precision(setting)
    mkldnn = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's stubs lack it
    before = torch.backends.cuda.matmul.fp32_precision, mkldnn.fp32_precision
    assert torch.equal(log_likelihood(*digits, 0.17), expected)
    assert (torch.backends.cuda.matmul.fp32_precision, mkldnn.fp32_precision) == before
    assert torch.get_float32_matmul_precision() == setting
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(log_likelihood(*digits, 0.17), expected)


def test_precision_is_put_back_after_an_error(user_precision: None) -> None:
    torch.set_float32_matmul_precision("high")
    with pytest.raises(RuntimeError, match="inside"), full_precision(torch.device("cpu")):
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == "high"


def test_convolutions_are_of_full_precision_and_of_one_order() -> None:
    cudnn: Any = torch.backends.cudnn  # the stubs lack its convolutions
    before = cudnn.conv.fp32_precision, cudnn.deterministic
    try:
        cudnn.conv.fp32_precision, cudnn.deterministic = "tf32", False
        with full_precision(torch.device("cpu")):
            assert (cudnn.conv.fp32_precision, cudnn.deterministic) == ("ieee", True)
        assert (cudnn.conv.fp32_precision, cudnn.deterministic) == ("tf32", False)
    finally:
        cudnn.conv.fp32_precision, cudnn.deterministic = before


def test_mean_and_se() -> None:
    values = normal(0, 37).double()
    mean, se = mean_and_se(values)
    assert mean == pytest.approx(np.mean(values.numpy()))
    assert se == pytest.approx(np.std(values.numpy(), ddof=1) / math.sqrt(37))
    single_mean, single_se = mean_and_se(values[:1])
    assert single_mean == values[0].item()
    assert math.isnan(single_se)
    with pytest.raises(ValueError, match="no values"):
        mean_and_se(values[:0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_scipy(digits: tuple[torch.Tensor, torch.Tensor], user_precision: None) -> None:
    torch.set_float32_matmul_precision("high")
    samples, points = (images.cuda() for images in digits)
    error = log_likelihood(samples, points, 0.17).cpu().numpy() - reference(*digits, 0.17)
    assert abs(error.mean()) < MEAN_TOLERANCE
    assert np.abs(error).max() < POINT_TOLERANCE
    assert fit_sigma(samples, points, protocol()).sigma == pytest.approx(fit_sigma(*digits, protocol()).sigma, rel=1e-4)
