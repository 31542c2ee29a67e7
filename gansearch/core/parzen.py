"""The Parzen-window estimate of log-likelihood, by which every model is scored.

Notation: s_1 .. s_N are samples of the model and x is a data point, both in R^d; sigma is the bandwidth.
A Gaussian of covariance sigma^2 I on each sample gives the density p(x) = 1/N sum_i N(x; s_i, sigma^2 I):

    log p(x) = logsumexp_i( -e_i / (2 sigma^2) ) - log N - d/2 log(2 pi sigma^2)        e_i = |x - s_i|^2, in nats

sigma is the one with the highest mean log p over validation points; test points are then read once.

How it is summed, and what memory that takes: `core.distances`. How sigma is found: log p's derivatives follow from
the same exponentials. With the mean and variance of e_i under weights proportional to exp(-e_i / (2 sigma^2)),

    d log p / d log sigma       =  E_w[e] / sigma^2 - d
    d^2 log p / d(log sigma)^2  =  Var_w[e] / sigma^4 - 2 E_w[e] / sigma^2

The whole grid is evaluated on a fixed subset of the points. From its best point Newton's method climbs to the
subset's best sigma, and on from there to that of all points. Where a Newton step does not rise, the step of
expectation maximisation is taken, sigma^2 <- the mean of E_w[e] / d, which cannot fall (Dempster et al. 1977).

Errors on real images (784 pixels in [0,1], sigma from .1 to .3), which the tests hold against float64:
- distances in float32: below 1e-4 nats in the mean over points, and below 2e-3 nats at a point;
- sums in float32 over chunks: below 5e-6 nats at a point;
- the search for sigma: below `_CLOSE` in log sigma. The mean of log p is about d (delta log sigma)^2 below its
  maximum, so that 784 pixels lose less than 1e-5 nats to it.

Source: Goodfellow et al. 2014, section 5, after Breuleux et al. 2011. Theis et al. 2015 show that the
estimate is a poor proxy of the true likelihood, and that it depends on N above all: values are
comparable under one `protocols.Protocol` only.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from gansearch.core.distances import Distances, full_precision
from gansearch.core.shapes import Float, Float64, Int64, Tensor
from gansearch.protocols import SIGMA_HIGHEST, SIGMA_LOWEST, Protocol

# Points that see the whole grid where sigma is refined. On MNIST their sigma is within 1% of that of 10,000.
GRID_POINTS = 1_000
# A step in log sigma that is shorter than this is not worth another pass.
_CLOSE = 1e-4
# Newton's method takes two to four. Expectation maximisation alone may be slow, and then ends below the top.
_MOST_STEPS = 50
# No step is longer, in log sigma.
_FAR = math.log(SIGMA_HIGHEST / SIGMA_LOWEST)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigmaFit:
    """The bandwidth chosen on validation points, and what it gives there.

    Attributes:
        sigma: the bandwidth, in score-space units; NaN when no bandwidth has a finite score.
        at_edge: whether it is an end point of the grid, so that a better one may lie outside it.
        valid_ll: log-likelihood of each validation point under `sigma`, in nats, in the order of
            `valid_subset`.
        grid_sigmas: the protocol's grid.
        grid_lls: mean log-likelihood at each of them, in nats, of those points that see the whole grid.
    """

    sigma: float
    at_edge: bool
    valid_ll: Float64[Tensor, " n"]
    grid_sigmas: tuple[float, ...]
    grid_lls: tuple[float, ...]


@torch.no_grad()
def log_likelihood(
    samples: Float[Tensor, "n_samples d"],
    points: Float[Tensor, "n d"],
    sigma: float,
    *,
    dtype: str = "float32",
    block: int | None = None,
) -> Float64[Tensor, " n"]:
    """Return each point's log-likelihood under the Parzen estimate, in nats.

    A sample that is NaN or infinite in `dtype` makes every value NaN, as do samples that all overflow; a
    NaN or infinite point makes its own NaN: a diverged model has no score, rather than a wrong one.

    Args:
        samples: the model's samples, which carry the kernels.
        points: the points to score, in the samples' space and on their device.
        sigma: standard deviation of the kernels, from 1e-6 to 1e6, in the units of the space.
        dtype: precision of the distances, `float32` or `float64`; sums are float64 in both.
        block: points a matrix product; by default what fits the memory bound. Values do not depend on it,
            but for the last bits of a float32 product.

    Raises:
        ValueError: when a set is empty, shapes do not match, or sigma is outside its range.
    """
    _check(samples, points)
    if not SIGMA_LOWEST <= sigma <= SIGMA_HIGHEST:
        raise ValueError(f"sigma must be from {SIGMA_LOWEST:g} to {SIGMA_HIGHEST:g}, got {sigma}")
    with full_precision(samples.device):
        return Distances(samples, points, dtype, block).log_likelihood((sigma,), len(points))[0]


@torch.no_grad()
def fit_sigma(
    samples: Float[Tensor, "n_samples d"],
    valid: Float[Tensor, "n_valid d"],
    protocol: Protocol,
    *,
    block: int | None = None,
) -> SigmaFit:
    """Return the bandwidth that gives validation points the highest mean log-likelihood.

    Where the protocol does not refine, it is the best point of the grid, on all points that the protocol uses.
    Where it does, the grid is evaluated on `GRID_POINTS` of them, those of `fixed_subset`, or on all where there
    are fewer. Sigma is refined there between the neighbours of the grid's best point, then on all points.

    The mean over all points is then no lower than at the subset's refined sigma, nor at the grid's points on
    either side of that; and no lower than anywhere on the grid where the subset is all points. With non-finite
    samples or points, sigma and all values are NaN.

    Args:
        samples: the model's samples; the caller draws the protocol's `num_samples`.
        valid: all validation points; the protocol says which of them are used.
        protocol: grid, refinement, validation subset and precision.
        block: as in `log_likelihood`.

    Raises:
        ValueError: when a set is empty or shapes do not match.
        ConfigError: when the protocol is of another version of the estimator.
    """
    _check(samples, valid)
    protocol.check_current()
    used = valid_subset(len(valid), protocol)
    n = len(used)
    n_grid = min(n, GRID_POINTS) if protocol.refine else n
    order = _first_in_order(n, n_grid)

    with full_precision(samples.device):
        distances = Distances(samples, valid[used[order].to(valid.device)], protocol.dtype, block)
        grid = _grid(protocol)
        lls = distances.grid(grid, n_grid)
        means = lls.mean(1).tolist()
        fit = SigmaFit(
            sigma=math.nan,
            at_edge=False,
            valid_ll=lls.new_full((n,), math.nan),
            grid_sigmas=grid,
            grid_lls=tuple(means),
        )
        if not all(map(math.isfinite, means)):
            return fit
        best = max(range(len(grid)), key=means.__getitem__)
        sigma, ll = grid[best], lls[best]
        if protocol.refine:
            sigma, ll = _refine(distances, grid, best, n_grid, n)
    if ll.isfinite().all():
        fit.valid_ll[order.to(ll.device)] = ll
        return dataclasses.replace(fit, sigma=sigma, at_edge=sigma in (grid[0], grid[-1]))
    return fit


def valid_subset(n_valid: int, protocol: Protocol) -> Int64[Tensor, " n"]:
    """Return the indices, ascending, of the validation points that a protocol uses.

    `random` is `fixed_subset`, the same for every trial. Where there are fewer points than the protocol
    asks for, all of them are used.
    """
    count = n_valid if protocol.valid_subset == "all" else min(protocol.valid_count, n_valid)
    return fixed_subset(n_valid, count) if protocol.valid_subset == "random" else torch.arange(count)


def fixed_subset(n: int, count: int) -> Int64[Tensor, " count"]:
    """Return `count` of the indices 0..n-1, ascending: those whose hash is smallest.

    The hash is that of the index alone (the finalizer of SplitMix64; Steele et al. 2014), so the choice
    is scattered like a random one, and is the same for every seed, device and version of PyTorch.
    """
    z = (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    order = np.argsort(z ^ (z >> np.uint64(31)), kind="stable")
    return torch.from_numpy(np.sort(order[:count]))


def mean_and_se(values: Float64[Tensor, " n"]) -> tuple[float, float]:
    """Return the mean of per-example values and its standard error over examples, std(ddof=1)/sqrt(n).

    The standard error of a single value is NaN. It says nothing about other training seeds.

    Raises:
        ValueError: when there are no values.
    """
    if len(values) == 0:
        raise ValueError("the mean of no values is not defined")
    se = values.std(correction=1).item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return values.mean().item(), se


def _grid(protocol: Protocol) -> tuple[float, ...]:
    ratio, last = protocol.sigma_max / protocol.sigma_min, protocol.sigma_points - 1
    # The last power may round to above the largest bandwidth.
    return tuple(min(protocol.sigma_min * ratio ** (i / last), protocol.sigma_max) for i in range(last + 1))


def _first_in_order(n: int, count: int) -> Int64[Tensor, " n"]:
    """Return the indices 0..n-1: first `count` of them, those of `fixed_subset`, then the others."""
    later = torch.ones(n, dtype=torch.bool)
    first = fixed_subset(n, count)
    later[first] = False
    return torch.cat([first, later.nonzero()[:, 0]])


def _refine(
    distances: Distances, grid: tuple[float, ...], best: int, n_grid: int, n: int
) -> tuple[float, Float64[Tensor, " n"]]:
    """Return the bandwidth to which the grid's best point leads, and the points' log-likelihoods there.

    Args:
        distances: those of all points, the subset's first.
        grid: the grid.
        best: place of its best point on the subset.
        n_grid: points of the subset.
        n: all points.
    """

    def on(count: int) -> Callable[[tuple[float, ...]], list[Peak]]:
        return lambda sigmas: [
            Peak.of(sigma, values, distances.d)
            for sigma, values in zip(sigmas, distances.moments(sigmas, count), strict=True)
        ]

    last = len(grid) - 1
    peak = climb(on(n_grid), (grid[best],), grid[max(best - 1, 0)], grid[min(best + 1, last)])
    if n_grid < n:
        above = min(bisect.bisect_right(grid, peak.sigma), last)
        start = dict.fromkeys((peak.sigma, grid[above - 1], grid[above]))
        peak = climb(on(n), tuple(start), grid[0], grid[-1])
    return peak.sigma, peak.ll


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Peak:
    """A bandwidth, and how the mean log-likelihood of n points goes there.

    Attributes:
        sigma: the bandwidth.
        ll: log-likelihood of each point.
        mean: their mean.
        slope: its first derivative in log sigma.
        bend: its second.
        ascent: the step in log sigma of expectation maximisation.
    """

    sigma: float
    ll: Float64[Tensor, " n"]
    mean: float
    slope: float
    bend: float
    ascent: float

    @classmethod
    def of(cls, sigma: float, values: Float64[Tensor, "3 n"], d: int) -> Peak:
        """Return what `Distances.moments` says of d-dimensional points at a bandwidth."""
        mean, first, second = values.mean(1).tolist()
        ascent = 0.5 * math.log(first / d) if first > 0 else -math.inf
        return cls(sigma, values[0], mean, first - d, second - 2 * first, ascent)

    def next(self, low: float, high: float) -> Iterator[float]:
        """Yield the bandwidths to try next, from `low` to `high`: Newton's, then one where the mean cannot be lower."""
        newton = -self.slope / self.bend if self.bend < 0 else self.ascent
        for step in dict.fromkeys((newton, self.ascent)):
            sigma = min(max(self.sigma * math.exp(min(step, _FAR)), low), high)
            if abs(newton) > _CLOSE and sigma != self.sigma:
                yield sigma


def climb(
    evaluate: Callable[[tuple[float, ...]], list[Peak]], sigmas: tuple[float, ...], low: float, high: float
) -> Peak:
    """Return where the mean log-likelihood rises no more, from the best of some bandwidths on.

    Each step rises, so the result is no worse than any of them.

    Args:
        evaluate: how the mean goes at some bandwidths; a pass over all distances.
        sigmas: where to begin, from `low` to `high`.
        low: lowest bandwidth.
        high: highest bandwidth.
    """
    peak = max(evaluate(sigmas), key=lambda found: found.mean)
    for _ in range(_MOST_STEPS):
        tried = (evaluate((sigma,))[0] for sigma in peak.next(low, high))
        higher = next((found for found in tried if found.mean > peak.mean), None)
        if higher is None:
            break
        peak = higher
    return peak


def _check(samples: Tensor, points: Tensor) -> None:
    shapes = f"samples have shape {tuple(samples.shape)}, points {tuple(points.shape)}"
    if samples.ndim != 2 or points.ndim != 2 or samples.shape[1] != points.shape[1]:
        raise ValueError(f"samples and points must be [n_samples, d] and [n, d]: {shapes}")
    if samples.numel() == 0 or points.numel() == 0:
        raise ValueError(f"samples and points must not be empty: {shapes}")
