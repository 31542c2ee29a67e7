"""The kernels' width: the grid, its refinement, the validation subset, and the memory that it takes."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gansearch.core import distances, parzen
from gansearch.core.parzen import Peak, climb, fit_sigma, fixed_subset, log_likelihood, valid_subset
from gansearch.protocols import PROTOCOLS
from tests.core.densities import ROUNDING_TOLERANCE, enlarged_digits, normal, protocol, reference

Evaluate = Callable[[tuple[float, ...]], list[Peak]]


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return samples and points."""
    return enlarged_digits()


def test_a_grid_over_all_of_sigmas_range_is_scored() -> None:
    samples, points = normal(0, 9, 4), normal(1, 6, 4)
    for count in range(2, 40):
        fit = fit_sigma(samples, points, protocol(sigma_min=1e-6, sigma_max=1e6, sigma_points=count))
        assert 1e-6 <= min(fit.grid_sigmas) < max(fit.grid_sigmas) <= 1e6
        assert all(map(math.isfinite, fit.grid_lls))


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
    block_bytes, tile_bytes, all_distances = 30_000, 6_000, 700 * 900 * 4
    monkeypatch.setattr(parzen, "GRID_POINTS", 250)
    monkeypatch.setattr(distances, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(distances, "_TILE_BYTES", tile_bytes)
    monkeypatch.setattr(distances, "_MIN_ROWS", 1)
    monkeypatch.setattr(distances, "_CHUNK", 50)
    monkeypatch.setattr(distances, "_CACHE_BYTES", 0)
    with _PeakMemory() as peak:
        fit_sigma(samples, points, protocol(sigma_points=5))
    # A copy of each set, the values of three passes (of three bandwidths with two moments; twice of one), three orders
    # of the points, a block, two tiles, and half a block for what has one number a sample or a point of the block.
    bound = 700 * 30 * 4 + 900 * 30 * 4 + (9 + 3 + 3 + 3) * 900 * 8 + 1.5 * block_bytes + 2 * tile_bytes
    assert peak.bytes < bound < all_distances / 4
    kept = 100 * 700 * 4
    monkeypatch.setattr(distances, "_CACHE_BYTES", kept)
    with _PeakMemory() as peak:
        fit_sigma(samples, points, protocol(sigma_points=5))
    assert kept < peak.bytes < kept + bound < all_distances / 2
    monkeypatch.setattr(distances, "_CACHE_BYTES", all_distances)
    with _PeakMemory() as peak:
        fit_sigma(samples, points, protocol(sigma_points=5))
    assert all_distances < peak.bytes < all_distances + bound


@pytest.mark.parametrize("cache", [0, 60 * 450 * 4])
def test_kept_and_recomputed_distances_give_the_same_fit(
    digits: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch, cache: int
) -> None:
    # Whole blocks of them: a product of fewer rows may have other last bits.
    monkeypatch.setattr(parzen, "GRID_POINTS", 60)
    kept = fit_sigma(*digits, protocol(), block=20)
    monkeypatch.setattr(distances, "_CACHE_BYTES", cache)
    again = fit_sigma(*digits, protocol(), block=20)
    assert again.sigma == kept.sigma
    assert torch.equal(again.valid_ll, kept.valid_ll)


def _along(mean: Callable[[float], tuple[float, float, float]], em: float, tried: list[float]) -> Evaluate:
    """Return what a curve of (value, slope, bend) in log sigma says; expectation maximisation goes the part `em`."""

    def evaluate(sigmas: tuple[float, ...]) -> list[Peak]:
        tried.extend(sigmas)
        found = [(sigma, *mean(math.log(sigma))) for sigma in sigmas]
        return [
            Peak(s, torch.tensor([m], dtype=torch.float64), m, slope, bend, em * slope) for s, m, slope, bend in found
        ]

    return evaluate


def test_a_newton_step_that_falls_gives_way_to_one_that_cannot() -> None:
    tried: list[float] = []

    def mean(t: float) -> tuple[float, float, float]:
        """The logarithm of the hyperbolic cosine: from |t| > 1.09 on Newton's method runs away from its vertex."""
        return -math.log(math.cosh(t)), -math.tanh(t), -1 / math.cosh(t) ** 2

    peak = climb(_along(mean, 0.9, tried), (math.exp(1.5),), math.exp(-9), math.exp(9))
    assert math.log(tried[1]) == pytest.approx(1.5 - math.sinh(3) / 2)
    assert math.log(tried[2]) == pytest.approx(1.5 - 0.9 * math.tanh(1.5))
    assert math.log(peak.sigma) == pytest.approx(0, abs=1e-4)
    assert peak.ll.item() == peak.mean


def test_where_the_curve_bends_upwards_newtons_method_is_not_asked() -> None:
    tried: list[float] = []
    climb(_along(lambda t: (math.cos(t), -math.sin(t), -math.cos(t)), 0.5, tried), (math.exp(2),), 0.01, math.exp(3))
    assert math.log(tried[1]) == pytest.approx(2 - 0.5 * math.sin(2))
    assert math.log(tried[-1]) == pytest.approx(0, abs=1e-3)


def test_the_climb_begins_at_the_best_and_stays_between_its_ends() -> None:
    tried: list[float] = []
    evaluate = _along(lambda t: (-(t**2), -2 * t, -2.0), 0.5, tried)
    assert climb(evaluate, (2.0, 1.5, 3.0), 1.2, 3.0).sigma == 1.2
    assert tried == [2.0, 1.5, 3.0, 1.2]  # the end is not tried twice


def test_refined_sigma_is_the_maximum(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    fit = fit_sigma(*digits, protocol())
    samples, points = digits
    best = minimize_scalar(
        lambda t: -log_likelihood(samples, points, math.exp(t), dtype="float64").mean().item(),
        bounds=(math.log(0.05), math.log(0.5)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    assert math.log(fit.sigma) == pytest.approx(best.x, abs=parzen._CLOSE)
    # d times that squared is 1e-5; float32 adds its rounding.
    assert fit.valid_ll.mean().item() == pytest.approx(-best.fun, abs=ROUNDING_TOLERANCE)
    assert not fit.at_edge


def test_refinement_never_loses_to_the_grid(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    for points in (3, 4, 6, 9, 15):
        refined = fit_sigma(*digits, protocol(sigma_points=points))
        coarse = fit_sigma(*digits, protocol(sigma_points=points, refine=False))
        assert coarse.sigma in coarse.grid_sigmas
        assert coarse.valid_ll.mean().item() == max(coarse.grid_lls) == max(refined.grid_lls)
        assert refined.valid_ll.mean().item() >= coarse.valid_ll.mean().item()


@pytest.mark.parametrize("n_grid", [2, 17, 80])
def test_a_subset_finds_the_sigma_of_all_points(
    digits: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch, n_grid: int
) -> None:
    samples, points = digits
    whole = fit_sigma(samples, points, protocol())
    monkeypatch.setattr(parzen, "GRID_POINTS", n_grid)
    fit = fit_sigma(samples, points, protocol())
    assert math.log(fit.sigma) == pytest.approx(math.log(whole.sigma), abs=2 * parzen._CLOSE)
    torch.testing.assert_close(
        fit.valid_ll, log_likelihood(samples, points, fit.sigma), rtol=0, atol=ROUNDING_TOLERANCE
    )
    subset = points[fixed_subset(len(points), n_grid)]
    expected = [reference(samples, subset, sigma).mean() for sigma in fit.grid_sigmas]
    # float32, relative to 1e5 nats at the smallest sigma.
    np.testing.assert_allclose(fit.grid_lls, expected, rtol=1e-5, atol=ROUNDING_TOLERANCE)


def test_a_misleading_subset_costs_nothing_that_was_promised(
    digits: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its points are samples themselves, so that on it the smallest sigma is best; on all points it is far from it."""
    samples, points = digits[0], digits[1].clone()
    points[fixed_subset(len(points), 9)] = samples[:9]
    monkeypatch.setattr(parzen, "GRID_POINTS", 9)
    fit = fit_sigma(samples, points, protocol(sigma_min=0.02))
    assert max(fit.grid_lls) == fit.grid_lls[0]
    ends = [log_likelihood(samples, points, sigma).mean().item() for sigma in fit.grid_sigmas[:2]]
    assert fit.valid_ll.mean().item() >= max(ends)
    assert not fit.at_edge
    # A maximum: lower on both sides.
    around = [log_likelihood(samples, points, fit.sigma * by).mean().item() for by in (0.99, 1.01)]
    assert fit.valid_ll.mean().item() > max(around)


def test_a_point_outside_the_subset_that_is_not_finite_leaves_no_sigma(
    digits: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parzen, "GRID_POINTS", 9)
    samples, points = digits[0], digits[1].clone()
    outside = next(i for i in range(len(points)) if i not in fixed_subset(len(points), 9).tolist())
    points[outside, 3] = math.nan
    fit = fit_sigma(samples, points, protocol())
    assert all(map(math.isfinite, fit.grid_lls))
    assert math.isnan(fit.sigma)
    assert fit.valid_ll.isnan().all()
    assert not fit.at_edge


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
