"""Training curves whose order is known from the first report on."""

from __future__ import annotations

import numpy as np

from benchmarks.search.curves import Curves
from benchmarks.search.points import EPOCHS, REPORT_EVERY, benchmark_study, coordinates, point_at, sobol

REPORTS = EPOCHS // REPORT_EVERY


def ordered_curves(points: int = 64, seeds: int = 2, noise: float = 0.0) -> Curves:
    """Return curves that rise linearly to the point's quality, which falls with the distance from a place.

    Args:
        points: a power of two.
        seeds: curves of each point.
        noise: standard deviation of a seed's shift of its whole curve, in nats.
    """
    space = benchmark_study().space
    u = np.stack([coordinates(space, point_at(space, row)) for row in sobol(space, points)])
    quality = 10 - 20 * ((u - 0.4) ** 2).sum(axis=1)
    shift = noise * np.random.default_rng(5).standard_normal((points, seeds))
    rise = np.linspace(0, 1, REPORTS + 1)[1:]
    current = (quality[:, None] + shift)[:, :, None] * rise - 10 * (1 - rise)
    return Curves(
        u=u,
        epochs=np.arange(REPORT_EVERY, EPOCHS + 1, REPORT_EVERY, dtype=float),
        current=current,
        objective=current.copy(),
        final=quality[:, None] + shift,
        flops=np.full((points, seeds), 1e9),
    )
