"""Gaussian kernels on samples, summed at points: distances by matrix products, exponentials by tiles.

Notation as in `core.parzen`: s_1 .. s_N are samples, x is a point, both in R^d, and e_i = |x - s_i|^2.

e_i = |x|^2 + |s_i|^2 - 2 x.s_i is a matrix product a block of points, never an array of points x samples x d.
Both sets are first shifted by the mean of all points (distances stay as they are, the cancelling terms shrink):
points are real images, so no sample, however far off, can move it and cost the others their precision. The
nearest sample's distance is then computed in float64 without cancellation; what the others have in excess of
it, which needs no |x|^2, goes through exp without overflow. Sums over samples are taken in the precision of the
distances over `_CHUNK_SUM` terms at a time, and in float64 over those: a relative error below
`_CHUNK_SUM` x 2^-24, 5e-6 nats, in float32.

A sample so far off that its square overflows (1.8e19 units in float32) has an infinite distance to every
point, and so no weight. Where all samples are, there is no nearest one, and values are NaN.

Memory, beside the arguments: a shifted copy of the samples; a block of points x samples, of `_BLOCK_BYTES`
(`_GPU_BLOCK_BYTES` on a GPU) or `_MIN_ROWS` points, whichever is more; two tiles of it, of `_TILE_BYTES` or a
point (the block's size on a GPU); and the blocks that are kept, of `_CACHE_BYTES` in all at most.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch

from gansearch.core.shapes import Float, Float64, Int64, Tensor

# Matrix products come near their rate at blocks of 1,000 points; what follows them goes by tiles that stay in the
# processor's cache while every sigma reads them. A GPU is fed larger ones.
_BLOCK_BYTES = 40 * 2**20
_TILE_BYTES = 8 * 2**20
_GPU_BLOCK_BYTES = 256 * 2**20
_MIN_ROWS = 64
_CHUNK = 1024
_CACHE_BYTES = 2**30

_CHUNK_SUM = 80
# A minimum with its place takes many times as long as one without: so the place is looked for in one chunk only.
_CHUNK_MIN = 400

# exp2 is several times faster than exp on a CPU, and subnormal results slow both. A term below 2^-100 of
# the row's largest adds nothing that the sum could hold.
_LEAST_EXPONENT = -100


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Squared distances of some points (rows) to all samples: `nearest[:, None] + excess`."""

    rows: slice
    nearest: Float64[Tensor, " rows"]
    excess: Float[Tensor, "rows n_samples"]


class Distances:
    """Squared distances of points to samples, from which log-likelihoods follow for any sigma.

    The first of them are kept, as far as `_CACHE_BYTES` goes; the others are computed anew at each evaluation.
    """

    def __init__(self, samples: Tensor, points: Tensor, dtype: str, block: int | None = None) -> None:
        """Make samples ready.

        Args:
            samples: what carries the kernels [n_samples, d].
            points: where their sum is wanted [n, d], in an order in which the first are asked for first.
            dtype: precision of the distances, `float32` or `float64`.
            block: points a matrix product; by default what fits the memory bound.
        """
        self._precision: torch.dtype = getattr(torch, dtype)
        self._samples, self._points = samples, points
        self.d = samples.shape[1]
        # Any shift will do, if both sets and all blocks get the same, in no less than the wanted precision.
        self._shift = _finite_mean(points).to(torch.promote_types(samples.dtype, self._precision))
        self._centred = (samples - self._shift).to(self._precision)
        self._squares = _squares(self._centred)
        row_bytes = len(samples) * self._precision.itemsize
        on_cpu = samples.device.type == "cpu"
        self._size = block or max(_MIN_ROWS, (_BLOCK_BYTES if on_cpu else _GPU_BLOCK_BYTES) // row_bytes)
        self._tile = max(1, _TILE_BYTES // row_bytes) if on_cpu else self._size
        self._kept: list[_Block] = []
        self._to_keep = _CACHE_BYTES // row_bytes

    def log_likelihood(self, sigmas: tuple[float, ...], n: int) -> Float64[Tensor, "sigmas n"]:
        """Return the log-likelihood of the first n points at each bandwidth, in nats; nothing is kept."""
        return self._evaluate(sigmas, n, moments=False, keep=False)[:, 0]

    def grid(self, sigmas: tuple[float, ...], n: int) -> Float64[Tensor, "sigmas n"]:
        """Return the same, and keep the distances."""
        return self._evaluate(sigmas, n, moments=False, keep=True)[:, 0]

    def moments(self, sigmas: tuple[float, ...], n: int) -> Float64[Tensor, "sigmas 3 n"]:
        """Return the same, E_w[e] / sigma^2 and Var_w[e] / sigma^4, and keep the distances.

        The weights w are those of the samples at the point: w_i = exp(-e_i / (2 sigma^2)), divided by their sum.
        """
        return self._evaluate(sigmas, n, moments=True, keep=True)

    def _evaluate(self, sigmas: tuple[float, ...], n: int, *, moments: bool, keep: bool) -> Tensor:
        n_samples, d = self._samples.shape
        like = self._squares
        out = torch.empty(len(sigmas), 3 if moments else 1, n, dtype=torch.float64, device=like.device)
        terms = like.new_empty(2 if moments else 1, min(self._tile, n), n_samples)
        for block in self._blocks(n, keep=keep):
            for start in range(0, len(block.excess), self._tile):
                excess, nearest = (of[start : start + self._tile] for of in (block.excess, block.nearest))
                rows = slice(block.rows.start + start, block.rows.start + start + len(excess))
                exponents, weights = terms[0, : len(excess)], terms[-1, : len(excess)]
                for of, sigma in zip(out, sigmas, strict=True):
                    scale = -0.5 / sigma**2
                    torch.mul(excess, scale / math.log(2), out=exponents).clamp_(min=_LEAST_EXPONENT)
                    total = _row_sums(torch.exp2(exponents, out=weights))
                    constant = math.log(n_samples) + d / 2 * math.log(2 * math.pi * sigma**2)
                    of[0, rows] = total.log() + nearest * scale - constant
                    if moments:
                        # Of the exponents, so that no product with a large excess overflows.
                        mean = _row_sums(weights.mul_(exponents)) / total
                        square = _row_sums(weights.mul_(exponents)) / total
                        of[1, rows] = nearest / sigma**2 - 2 * math.log(2) * mean
                        of[2, rows] = (2 * math.log(2)) ** 2 * (square - mean.square())
        return out

    def _blocks(self, n: int, *, keep: bool) -> Iterator[_Block]:
        """Yield the distances of the first n points, some rows at a time: those that are kept, then others."""
        start = 0
        for block in self._kept:
            if start < n:
                yield block
            start = block.rows.stop
        buffer: Tensor | None = None
        while start < n:
            rows = slice(start, min(start + self._size, n))
            kept = keep and rows.stop <= self._to_keep
            if kept or buffer is None:
                buffer = self._squares.new_empty(rows.stop - start, len(self._squares))
            block = self._block(rows, buffer[: rows.stop - start])
            if kept:
                self._kept.append(block)
                buffer = None
            yield block
            start = rows.stop

    def _block(self, rows: slice, excess: Tensor) -> _Block:
        """Return the distances of some points, in an array that is given."""
        x = self._points[rows]
        torch.addmm(self._squares, (x - self._shift).to(self._precision), self._centred.T, alpha=-2, out=excess)
        places = torch.empty(len(x), dtype=torch.int64, device=x.device)
        for start in range(0, len(x), self._tile):
            tile = excess[start : start + self._tile]
            least, places[start : start + self._tile] = _row_minima(tile)
            tile.sub_(least[:, None])
        nearest = (x.double() - self._samples[places].double()).square().sum(1)
        return _Block(rows, nearest, excess)


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 matrix products and convolutions in float32, whatever the user's settings, which are put back.

    Of the algorithms for convolutions those are taken that add up in the same order each time.

    `torch.set_float32_matmul_precision("high")`, TF32 or autocast keep 8 to 11 bits of a factor. On
    MNIST at sigma .175 TF32 (11 bits) errs by up to .1 nats a point, bfloat16 (8 bits) by up to 1.5.
    """
    cpu: Any = torch.backends.mkldnn  # torch's stubs lack what both have
    gpu: Any = torch.backends.cudnn
    backends = (torch.backends.cuda.matmul, gpu.conv, cpu.matmul, cpu.conv)
    before = [backend.fp32_precision for backend in backends]
    deterministic = torch.backends.cudnn.deterministic
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        torch.backends.cudnn.deterministic = True
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
        torch.backends.cudnn.deterministic = deterministic


def _row_sums(terms: Float[Tensor, "rows n"]) -> Float64[Tensor, " rows"]:
    """Return the sum of each row: of a chunk of terms in their own precision, of the chunks in float64."""
    whole = terms.shape[1] // _CHUNK_SUM * _CHUNK_SUM
    chunks = terms[:, :whole].unflatten(1, (-1, _CHUNK_SUM)).sum(2)
    sums: Tensor = chunks.sum(1, dtype=torch.float64) + terms[:, whole:].sum(1, dtype=torch.float64)
    return sums


def _row_minima(values: Float[Tensor, "rows n"]) -> tuple[Float[Tensor, " rows"], Int64[Tensor, " rows"]]:
    """Return the least value of each row and its place."""
    whole = values.shape[1] // _CHUNK_MIN * _CHUNK_MIN
    if whole == 0:
        least, place = values.min(1)
        return least, place
    chunks = values[:, :whole].unflatten(1, (-1, _CHUNK_MIN))
    least, chunk = chunks.amin(2).min(1)
    place = chunk * _CHUNK_MIN + chunks[torch.arange(len(values), device=values.device), chunk].argmin(1)
    if whole == values.shape[1]:
        return least, place
    last, last_place = values[:, whole:].min(1)
    return torch.minimum(least, last), torch.where(last < least, last_place + whole, place)


def _squares(centred: Tensor) -> Tensor:
    """Return the square of each row's norm: NaN where a row is not finite; rows whose square overflows become 0."""
    squares = torch.empty(len(centred), dtype=centred.dtype, device=centred.device)
    for start in range(0, len(centred), _CHUNK):
        rows = slice(start, start + _CHUNK)
        norms = torch.linalg.vector_norm(centred[rows], dim=1, dtype=torch.float64)
        squares[rows] = norms.square().masked_fill_(~centred[rows].isfinite().all(1), math.nan)
        # Its product with a point may overflow too, and inf - inf would be NaN; so the product is made 0.
        centred[rows].masked_fill_(squares[rows].isinf()[:, None], 0)
    return squares


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
