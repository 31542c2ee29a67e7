"""The Parzen estimate, against closed forms and float64 references of SciPy and scikit-learn."""

from __future__ import annotations

import inspect
import itertools
import math
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gansearch.core import parzen
from gansearch.core.datasets import as_tensor, load, to_unit
from gansearch.core.parzen import fit_sigma, fixed_subset, log_likelihood, mean_and_se, valid_subset
from gansearch.protocols import PROTOCOLS, Protocol

# What the estimate promises for real images in float32, in nats: the mean and each point.
MEAN_TOLERANCE = 1e-3
POINT_TOLERANCE = 1e-2
# float64 throughout: 2^-53 times terms of about 1e4 nats, with room for the cancellation in |x|^2 (x 100).
DOUBLE_TOLERANCE = 1e-9
# Two float32 computations of one thing differ by the rounding of an excess of about 100 squared units,
# 2^-24 x 100 = 6e-6, times 1/(2 sigma^2) = 17 at sigma .17: 1e-4 nats, and some of these add up.
ROUNDING_TOLERANCE = 1e-3

SIGMAS = (0.1, 0.17, 0.3)


def reference(samples: torch.Tensor, points: torch.Tensor, sigma: float) -> np.ndarray[Any, Any]:
    """The definition, in float64."""
    n, d = samples.shape
    squared = cdist(points.double().numpy(), samples.double().numpy(), "sqeuclidean")
    return np.asarray(
        logsumexp(-squared / (2 * sigma**2), axis=1) - math.log(n) - d / 2 * math.log(2 * math.pi * sigma**2)
    )


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def protocol(**changes: Any) -> Protocol:
    return Protocol(**{"name": "test", "num_samples": 450, **changes})


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """450 samples and 170 points: real digits, enlarged to MNIST's 784 pixels."""
    data = load("digits", data_dir=None)

    def enlarged(rows: Any, n: int) -> torch.Tensor:
        small = to_unit(as_tensor(rows), data.levels)[:n].view(n, 1, 8, 8)
        return interpolate(small, size=(28, 28), mode="bilinear").reshape(n, 784)

    return enlarged(data.train, 450), enlarged(data.valid, 170)


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


def test_a_grid_over_all_of_sigmas_range_is_scored() -> None:
    samples, points = normal(0, 9, 4), normal(1, 6, 4)
    for count in range(2, 40):
        fit = fit_sigma(samples, points, protocol(sigma_min=1e-6, sigma_max=1e6, sigma_points=count))
        assert 1e-6 <= min(fit.grid_sigmas) < max(fit.grid_sigmas) <= 1e6
        assert all(map(math.isfinite, fit.grid_lls))


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
    with pytest.raises(RuntimeError, match="inside"), parzen.full_precision(torch.device("cpu")):
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == "high"


class _PeakMemory(TorchDispatchMode):
    """Records the most bytes that the results of operations held at one time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._results: list[weakref.ref[torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._results += [weakref.ref(leaf) for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        alive = [(ref, tensor) for ref in self._results if (tensor := ref()) is not None]
        self._results = [ref for ref, _ in alive]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for _, tensor in alive}
        self.bytes = max(self.bytes, sum(storages.values()))
        return out


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, points = normal(0, 700, 30), normal(1, 900, 30)
    block_bytes, all_distances = 10_000, 700 * 900 * 4
    monkeypatch.setattr(parzen, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(parzen, "_MIN_ROWS", 1)
    monkeypatch.setattr(parzen, "_CHUNK", 50)
    monkeypatch.setattr(parzen, "_CACHE_BYTES", all_distances - 1)
    with _PeakMemory() as peak:
        fit_sigma(samples, points, protocol(sigma_points=5))
    # A copy of each set, the grid's values (twice) with those of the best point, three blocks, and half a
    # block for what has one number a sample or a point of the block.
    bound = 700 * 30 * 4 + 900 * 30 * 4 + (2 * 5 + 1) * 900 * 8 + 3.5 * block_bytes
    assert peak.bytes < bound < all_distances / 4
    monkeypatch.setattr(parzen, "_CACHE_BYTES", all_distances)
    with _PeakMemory() as peak:
        fit_sigma(samples, points, protocol(sigma_points=5))
    assert all_distances < peak.bytes < all_distances + bound


@pytest.mark.parametrize("shift", [-0.75, -0.125, 0.0, 0.5])
def test_refinement_returns_the_values_at_its_sigma(shift: float) -> None:
    """A cusp on one of the halved steps: the parabola's vertex is no better than the last step's best."""
    sigma, step, offsets = 0.2, 0.16, torch.tensor([0.0, 0.1, 0.3])

    def evaluate(sigmas: tuple[float, ...]) -> torch.Tensor:
        return torch.stack([-abs(math.log(s / sigma) - shift * step) + offsets for s in sigmas]).double()

    ends = evaluate((sigma * math.exp(-step), sigma * math.exp(step))).mean(1).tolist()
    refined, ll = parzen._refine(evaluate, sigma, evaluate((sigma,))[0], step, *ends)
    assert refined == pytest.approx(sigma * math.exp(shift * step))
    torch.testing.assert_close(ll, evaluate((refined,))[0])


def test_cached_and_recomputed_distances_give_the_same_fit(
    digits: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = fit_sigma(*digits, protocol())
    monkeypatch.setattr(parzen, "_CACHE_BYTES", 0)
    again = fit_sigma(*digits, protocol())
    assert again.sigma == cached.sigma
    assert torch.equal(again.valid_ll, cached.valid_ll)


def test_refined_sigma_is_the_maximum(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    fit = fit_sigma(*digits, protocol())
    samples, points = digits
    best = minimize_scalar(
        lambda t: -log_likelihood(samples, points, math.exp(t), dtype="float64").mean().item(),
        bounds=(math.log(0.05), math.log(0.5)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    # The parabola's error: step^2 / 3 of the last step, which is below .01.
    assert math.log(fit.sigma) == pytest.approx(best.x, abs=1e-4)
    # d/2 times twice that squared is 1e-5; float32 adds its rounding.
    assert fit.valid_ll.mean().item() == pytest.approx(-best.fun, abs=ROUNDING_TOLERANCE)
    assert not fit.at_edge


def test_refinement_never_loses_to_the_grid(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    for points in (3, 4, 6, 9, 15):
        refined = fit_sigma(*digits, protocol(sigma_points=points))
        coarse = fit_sigma(*digits, protocol(sigma_points=points, refine=False))
        assert coarse.sigma in coarse.grid_sigmas
        assert coarse.valid_ll.mean().item() == max(coarse.grid_lls) == max(refined.grid_lls)
        assert refined.valid_ll.mean().item() >= coarse.valid_ll.mean().item()


def test_two_humps_are_searched_by_the_whole_grid() -> None:
    # One sample lies close by the points and 98 far off: sigma of .01 and of 1 are both better than between.
    samples = torch.cat([torch.full((1, 1), 0.01), torch.linspace(0.9, 1.1, 98)[:, None]])
    points = torch.linspace(-0.001, 0.001, 7)[:, None]
    settings = protocol(sigma_min=0.001, sigma_max=10.0, sigma_points=40)
    fit = fit_sigma(samples, points, settings)
    expected = [reference(samples, points, sigma).mean() for sigma in fit.grid_sigmas]
    np.testing.assert_allclose(fit.grid_lls, expected, rtol=1e-4)
    slopes = np.sign(np.diff(expected))
    assert np.count_nonzero(slopes[1:] != slopes[:-1]) == 3  # up, down, up, down
    assert fit.valid_ll.mean().item() >= max(expected) - ROUNDING_TOLERANCE


@pytest.mark.parametrize(("low", "high", "edge"), [(0.4, 2.0, 0), (0.02, 0.05, -1)])
def test_sigma_at_the_edge_is_flagged(
    digits: tuple[torch.Tensor, torch.Tensor], low: float, high: float, edge: int
) -> None:
    fit = fit_sigma(*digits, protocol(sigma_min=low, sigma_max=high, sigma_points=8))
    assert fit.at_edge
    assert fit.sigma == fit.grid_sigmas[edge]
    assert fit.sigma == pytest.approx((low, high)[edge])


def test_grid_is_the_protocols() -> None:
    fit = fit_sigma(normal(0, 8, 3), normal(1, 5, 3), PROTOCOLS["published-2014"])
    np.testing.assert_allclose(fit.grid_sigmas, np.logspace(-1, 0, 10))


@pytest.mark.parametrize(
    "subset", [{}, {"valid_subset": "first", "valid_count": 60}, {"valid_subset": "random", "valid_count": 60}]
)
def test_fit_carries_the_subsets_values(digits: tuple[torch.Tensor, torch.Tensor], subset: dict[str, Any]) -> None:
    samples, points = digits
    settings = protocol(**subset)
    fit = fit_sigma(samples, points, settings)
    chosen = points[valid_subset(len(points), settings)]
    assert len(chosen) == subset.get("valid_count", 170)
    torch.testing.assert_close(
        fit.valid_ll, log_likelihood(samples, chosen, fit.sigma), rtol=0, atol=ROUNDING_TOLERANCE
    )


def test_valid_subsets() -> None:
    first = protocol(valid_subset="first", valid_count=30)
    random = protocol(valid_subset="random", valid_count=30)
    assert valid_subset(70, protocol()).tolist() == list(range(70))
    assert valid_subset(70, first).tolist() == list(range(30))
    assert torch.equal(valid_subset(70, random), fixed_subset(70, 30))
    for settings in (first, random):
        assert valid_subset(20, settings).tolist() == list(range(20))


def test_fixed_subset_depends_on_nothing_but_its_arguments() -> None:
    chosen = fixed_subset(10_000, 1_000)
    torch.manual_seed(5)
    assert torch.equal(chosen, fixed_subset(10_000, 1_000))
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert 0 <= chosen[0] < chosen[-1] < 10_000
    assert set(fixed_subset(10_000, 300).tolist()) < set(chosen.tolist())


def test_fixed_subset_is_scattered() -> None:
    counts = torch.bincount(fixed_subset(10_000, 1_000) // 500, minlength=20)
    # Chi-square of 19 degrees of freedom (a little less: drawn without replacement) exceeds 43.8 with p = .001.
    assert ((counts - 50).square() / 50).sum().item() < 43.8
    gaps = {b - a for a, b in itertools.pairwise(fixed_subset(10_000, 1_000).tolist())}
    assert len(gaps) > 20  # not a stride


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
