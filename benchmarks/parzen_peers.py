"""Others' ways to the same log-likelihoods, which `benchmarks.parzen` times.

Both are written as favourably as their algorithm allows, and find sigma as the released code does: the mean over the
validation points for each sigma of the grid, each anew; then the test points at the best.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from sklearn.neighbors import KernelDensity
from torch import Tensor

LogLikelihood = Callable[[Tensor, float], Tensor]
"""Of points [n, d] at a bandwidth, in nats: float64 [n]."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GridScore:
    """What a peer found.

    Attributes:
        sigma: the grid's best bandwidth.
        valid_ll: log-likelihood of each validation point at each bandwidth of the grid, float64 [sigmas, n].
        test_ll: that of each test point at `sigma`, float64 [n].
    """

    sigma: float
    valid_ll: Tensor
    test_ll: Tensor


def by_grid(log_likelihood: LogLikelihood, valid: Tensor, test: Tensor, grid: tuple[float, ...]) -> GridScore:
    """Score test points at the bandwidth of a grid that suits validation points best.

    Args:
        log_likelihood: how.
        valid: validation points [n, d].
        test: test points [m, d].
        grid: bandwidths.
    """
    lls = torch.stack([log_likelihood(valid, sigma) for sigma in grid])
    sigma = grid[int(lls.mean(1).argmax())]
    return GridScore(sigma, lls, log_likelihood(test, sigma))


def broadcast(samples: Tensor, *, block: int = 1) -> LogLikelihood:
    """Return the algorithm of the estimator that was released with the paper.

    Blocks of points x samples x d differences, scaled, squared and summed over d; then the logarithm of a mean of
    exponentials. In float32, and in place, in memory that is already there.

    Args:
        samples: what carries the kernels [n, d].
        block: points at a time; larger blocks leave the processor's cache, and are slower.
    """
    n, d = samples.shape
    differences = samples.new_empty(block, n, d)

    def log_likelihood(points: Tensor, sigma: float) -> Tensor:
        found = []
        for x in points.split(block):
            scaled = torch.sub(x[:, None, :], samples[None, :, :], out=differences[: len(x)]).div_(sigma)
            exponents = -0.5 * scaled.square_().sum(2)
            found.append(torch.logsumexp(exponents, 1).double() - math.log(n))
        return torch.cat(found) - d * math.log(sigma * math.sqrt(2 * math.pi))

    return log_likelihood


def kernel_density(samples: Tensor) -> LogLikelihood:
    """Return scikit-learn's KernelDensity, which computes in float64.

    Its tree is a single leaf: in hundreds of dimensions no branch can be left out, so that this is its fastest form.
    It is also the one whose answers are right at any sigma; with small leaves the bounds of branches, which begin at
    the kernels' normalisation, may lose the value itself. The tree is built once for all bandwidths.

    Args:
        samples: what carries the kernels [n, d].
    """
    tree = KernelDensity(kernel="gaussian", algorithm="ball_tree", leaf_size=len(samples)).fit(samples.double().numpy())

    def log_likelihood(points: Tensor, sigma: float) -> Tensor:
        tree.bandwidth_ = sigma
        return torch.from_numpy(tree.score_samples(points.double().numpy()))

    return log_likelihood
