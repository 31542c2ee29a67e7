"""The kernels' width: the grid, its refinement, the validation subset, and the memory that it takes."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gansearch.core import parzen
from gansearch.core.parzen import fit_sigma, fixed_subset, log_likelihood, valid_subset
from gansearch.protocols import PROTOCOLS
from tests.core.densities import ROUNDING_TOLERANCE, enlarged_digits, normal, protocol, reference


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
