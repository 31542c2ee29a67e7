"""Points in the plane around eight centres: data whose density is known, for tests."""

from __future__ import annotations

import statistics

import numpy as np
from numpy.typing import NDArray

MIXTURE_MODES = 8
"""Components of `gaussian_mixture`, equally likely, their means evenly spaced on a circle."""
MIXTURE_RADIUS = 0.3
"""Distance of each mean from (.5, .5), in units of pixel value."""
MIXTURE_SD = 0.02
"""Standard deviation of each component in each coordinate, in units of pixel value."""


def draw_mixture() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return training, validation and test points, uint8 [n, 2].

    They are drawn from Philox's raw output, which no NumPy release changes.
    """
    raw = np.random.Philox(key=2014).random_raw((2_900, 3))
    angle = 2 * np.pi * (raw[:, 0] % MIXTURE_MODES) / MIXTURE_MODES
    means = 0.5 + MIXTURE_RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    uniform = ((raw[:, 1:] >> 11) + 0.5) / 2**53  # strictly inside (0, 1)
    normal = np.vectorize(statistics.NormalDist().inv_cdf)(uniform)
    points = np.rint(255 * (means + MIXTURE_SD * normal)).astype(np.uint8)
    return points[:2_000], points[2_000:2_500], points[2_500:]
