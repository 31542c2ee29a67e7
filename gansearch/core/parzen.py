"""The Parzen-window estimate of log-likelihood, by which every model is scored.

Notation: s_1 .. s_N are samples of the model and x is a data point, both in R^d; sigma is the bandwidth.
A Gaussian of covariance sigma^2 I on each sample gives the density p(x) = 1/N sum_i N(x; s_i, sigma^2 I):

    log p(x) = logsumexp_i( -|x - s_i|^2 / (2 sigma^2) ) - log N - d/2 log(2 pi sigma^2)        [nats]

sigma is the one with the highest mean log p over validation points; test points are then read once.

How it is computed: |x - s_i|^2 = |x|^2 + |s_i|^2 - 2 x.s_i, a matrix product a block of points, never
an array of points x samples x d. Both sets are first shifted by the mean of all points (distances stay as
they are, the cancelling terms shrink): points are real images, so no sample, however far off, can move it
and cost the others their precision. The nearest sample's |x - s|^2 is then computed in float64 without
cancellation; what the others have in excess of it, which needs no |x|^2, goes through exp without
overflow. Sums over samples are float64.

A sample so far off that its square overflows (1.8e19 units in float32) has an infinite distance to every
point, and so no weight. Where all samples are, there is no nearest one, and values are NaN.

Memory, beside the arguments: a shifted copy of the samples; three blocks of points x samples, each of
`_BLOCK_BYTES` (`_GPU_BLOCK_BYTES` on a GPU) or `_MIN_ROWS` points, whichever is more; and in `fit_sigma`
the validation points in use, with all their distances when these fit `_CACHE_BYTES`; where they do not,
they are computed anew in each of its few passes.

Source: Goodfellow et al. 2014, section 5, after Breuleux et al. 2011. Theis et al. 2015 show that the
estimate is a poor proxy of the true likelihood, and that it depends on N above all: values are
comparable under one `protocols.Protocol` only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from gansearch.core.shapes import Float, Float64, Int64, Tensor
from gansearch.protocols import SIGMA_HIGHEST, SIGMA_LOWEST, Protocol

# A block that stays in the processor's cache while every sigma reads it; a GPU is fed larger ones.
_BLOCK_BYTES = 8 * 2**20
_GPU_BLOCK_BYTES = 256 * 2**20
_MIN_ROWS = 64
_CHUNK = 1024
_CACHE_BYTES = 2**30

# exp2 is several times faster than exp on a CPU, and subnormal results slow both. A term below 2^-100 of
# the row's largest adds nothing that the sum could hold.
_LEAST_EXPONENT = -100

# Refinement halves its step in log sigma down to this, then takes the vertex of a parabola through three
# points: the parabola's error is of the order step^2 / 3 = 3e-5 in log sigma. Around its maximum the mean
# log-likelihood is about -d (delta log sigma)^2, so 784 pixels lose 1e-6 nats to it.
_REFINED_STEP = 0.01


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigmaFit:
    """The bandwidth chosen on validation points, and what it gives there.

    Attributes:
        sigma: the bandwidth, in score-space units; NaN when no bandwidth has a finite score.
        at_edge: whether the best bandwidth is an end point of the grid, so that a better one may lie
            outside it.
        valid_ll: log-likelihood of each validation point under `sigma`, in nats, in the order of
            `valid_subset`.
        grid_sigmas: the protocol's grid.
        grid_lls: mean log-likelihood of the validation points at each of them, in nats.
    """

    sigma: float
    at_edge: bool
    valid_ll: Float64[Tensor, " n"]
    grid_sigmas: tuple[float, ...]
    grid_lls: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Block:
    """Squared distances of some points (rows) to all samples: `nearest[:, None] + excess`."""

    rows: slice
    nearest: Float64[Tensor, " rows"]
    excess: Float[Tensor, "rows n_samples"]


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
        return _evaluate(_blocks(samples, points, dtype, block), (sigma,), samples, len(points))[0]


@torch.no_grad()
def fit_sigma(
    samples: Float[Tensor, "n_samples d"],
    valid: Float[Tensor, "n_valid d"],
    protocol: Protocol,
    *,
    block: int | None = None,
) -> SigmaFit:
    """Return the bandwidth that gives validation points the highest mean log-likelihood.

    The whole grid is evaluated. The best point is refined between its neighbours when the protocol says
    so, unless it is an end point of the grid; the result is never worse than the grid's best point.
    With non-finite samples or points, sigma and all values are NaN.

    Args:
        samples: the model's samples; the caller draws the protocol's `num_samples`.
        valid: all validation points; the protocol says which of them are used.
        protocol: grid, refinement, validation subset and precision.
        block: as in `log_likelihood`.

    Raises:
        ValueError: when a set is empty or shapes do not match.
    """
    _check(samples, valid)
    points = valid[valid_subset(len(valid), protocol).to(valid.device)]
    n = len(points)

    with full_precision(samples.device):
        fits = n * len(samples) * getattr(torch, protocol.dtype).itemsize <= _CACHE_BYTES
        cached = list(_blocks(samples, points, protocol.dtype, block)) if fits else None

        def evaluate(sigmas: tuple[float, ...]) -> Float64[Tensor, "sigmas n"]:
            return _evaluate(cached or _blocks(samples, points, protocol.dtype, block), sigmas, samples, n)

        ratio = protocol.sigma_max / protocol.sigma_min
        last = protocol.sigma_points - 1
        # The last power may round to above the largest bandwidth.
        grid = tuple(min(protocol.sigma_min * ratio ** (i / last), protocol.sigma_max) for i in range(last + 1))
        lls = evaluate(grid)
        means = lls.mean(1).tolist()
        if not all(map(math.isfinite, means)):
            return SigmaFit(sigma=math.nan, at_edge=False, valid_ll=lls[0], grid_sigmas=grid, grid_lls=tuple(means))
        best = max(range(len(grid)), key=means.__getitem__)
        sigma, valid_ll, at_edge = grid[best], lls[best], best in (0, last)
        if protocol.refine and not at_edge:
            step = math.log(ratio) / last
            sigma, valid_ll = _refine(evaluate, sigma, valid_ll, step, means[best - 1], means[best + 1])
    return SigmaFit(sigma=sigma, at_edge=at_edge, valid_ll=valid_ll.clone(), grid_sigmas=grid, grid_lls=tuple(means))


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


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 matrix products in float32, whatever the user's settings, which are put back.

    `torch.set_float32_matmul_precision("high")`, TF32 or autocast keep 8 to 11 bits of a factor. On
    MNIST at sigma .175 TF32 (11 bits) errs by up to .1 nats a point, bfloat16 (8 bits) by up to 1.5.
    """
    mkldnn = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's stubs lack it
    backends = (torch.backends.cuda.matmul, mkldnn)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def _check(samples: Tensor, points: Tensor) -> None:
    shapes = f"samples have shape {tuple(samples.shape)}, points {tuple(points.shape)}"
    if samples.ndim != 2 or points.ndim != 2 or samples.shape[1] != points.shape[1]:
        raise ValueError(f"samples and points must be [n_samples, d] and [n, d]: {shapes}")
    if samples.numel() == 0 or points.numel() == 0:
        raise ValueError(f"samples and points must not be empty: {shapes}")


def _blocks(samples: Tensor, points: Tensor, dtype: str, block: int | None) -> Iterator[_Block]:
    """Yield the squared distances of all points to all samples, some rows at a time."""
    precision: torch.dtype = getattr(torch, dtype)
    # Any shift will do, if both sets and all blocks get the same, in no less than the wanted precision.
    shift = _finite_mean(points).to(torch.promote_types(samples.dtype, precision))
    centred = (samples - shift).to(precision)
    squares = torch.empty(len(samples), dtype=precision, device=samples.device)
    for start in range(0, len(samples), _CHUNK):
        rows = slice(start, start + _CHUNK)
        norms = torch.linalg.vector_norm(centred[rows], dim=1, dtype=torch.float64)
        squares[rows] = norms.square().masked_fill_(~centred[rows].isfinite().all(1), math.nan)
        # Its product with a point may overflow too, and inf - inf would be NaN; so the product is made 0.
        centred[rows].masked_fill_(squares[rows].isinf()[:, None], 0)
    block_bytes = _BLOCK_BYTES if samples.device.type == "cpu" else _GPU_BLOCK_BYTES
    size = block or max(_MIN_ROWS, block_bytes // (len(samples) * precision.itemsize))
    for start in range(0, len(points), size):
        x = points[start : start + size]
        excess = torch.addmm(squares, (x - shift).to(precision), centred.T, alpha=-2)
        least, index = excess.min(1)
        excess.sub_(least[:, None])
        nearest = (x.double() - samples[index].double()).square().sum(1)
        yield _Block(slice(start, start + len(x)), nearest, excess)


def _finite_mean(points: Tensor) -> Tensor:
    """Return the mean of the finite points, in float64; 0 where there are none."""
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    count = torch.zeros((), dtype=torch.int64, device=points.device)
    # By chunks, because a float64 copy of all points would be the largest array of the estimate.
    for start in range(0, len(points), _CHUNK):
        x = points[start : start + _CHUNK]
        finite = x.isfinite().all(1)
        total += torch.where(finite[:, None], x, 0).sum(0, dtype=torch.float64)
        count += finite.sum()
    return total / count.clamp(min=1)


def _evaluate(blocks: Iterable[_Block], sigmas: tuple[float, ...], samples: Tensor, n: int) -> Tensor:
    """Return the log-likelihoods [sigmas, n] of n points, in one pass over their distances."""
    n_samples, d = samples.shape
    out = torch.empty(len(sigmas), n, dtype=torch.float64, device=samples.device)
    for block in blocks:
        terms = torch.empty_like(block.excess)
        for row, sigma in zip(out, sigmas, strict=True):
            scale = -0.5 / sigma**2
            torch.mul(block.excess, scale / math.log(2), out=terms)
            total = terms.clamp_(min=_LEAST_EXPONENT).exp2_().sum(1, dtype=torch.float64)
            constant = math.log(n_samples) + d / 2 * math.log(2 * math.pi * sigma**2)
            row[block.rows] = total.log() + block.nearest * scale - constant
    return out


def _refine(
    evaluate: Callable[[tuple[float, ...]], Tensor],
    sigma: float,
    ll: Tensor,
    step: float,
    low: float,
    high: float,
) -> tuple[float, Tensor]:
    """Return a better bandwidth than `sigma` near it, and the points' log-likelihoods there.

    Two new points a pass halve the bracket, whose middle is always the best point so far; so distances
    that are not cached are computed about six times, where a search of one point a pass takes 15.

    Args:
        evaluate: log-likelihoods of the points at some bandwidths.
        sigma: best point of the grid.
        ll: log-likelihoods there.
        step: spacing of the grid in log sigma.
        low: mean log-likelihood one step below `sigma`.
        high: mean log-likelihood one step above it.
    """
    mid = ll.mean().item()
    while step > _REFINED_STEP:
        step /= 2
        below, above = sigma * math.exp(-step), sigma * math.exp(step)
        lls = evaluate((below, above))
        left, right = lls.mean(1).tolist()
        if max(left, right) <= mid:
            low, high = left, right
        elif left >= right:
            sigma, ll, mid, high = below, lls[0], left, mid
        else:
            sigma, ll, mid, low = above, lls[1], right, mid
    curvature = low - 2 * mid + high
    if curvature < 0:
        vertex = sigma * math.exp(step / 2 * (low - high) / curvature)
        vertex_ll = evaluate((vertex,))[0]
        if vertex_ll.mean().item() > mid:
            return vertex, vertex_ll
    return sigma, ll
