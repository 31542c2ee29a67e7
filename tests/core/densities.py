"""What density estimates are tested on and held against."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from torch.nn.functional import interpolate

from gansearch.core.datasets import as_tensor, load, to_unit
from gansearch.protocols import Protocol

# Two float32 computations of one thing differ by the rounding of an excess of about 100 squared units,
# 2^-24 x 100 = 6e-6, times 1/(2 sigma^2) = 17 at sigma .17: 1e-4 nats, and some of these add up.
ROUNDING_TOLERANCE = 1e-3


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


def enlarged_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """450 samples and 170 points: real digits, enlarged to MNIST's 784 pixels."""
    data = load("digits", data_dir=None)

    def enlarged(rows: Any, n: int) -> torch.Tensor:
        small = to_unit(as_tensor(rows), data.levels)[:n].view(n, 1, 8, 8)
        return interpolate(small, size=(28, 28), mode="bilinear").reshape(n, 784)

    return enlarged(data.train, 450), enlarged(data.valid, 170)
