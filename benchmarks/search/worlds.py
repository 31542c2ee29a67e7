"""What a replayed trial reports: a rule that gives every proposed point a training curve.

- `Nearest`: the curve of the table's nearest point in the unit cube, from one of its seeds.
- `Surrogate`: the mean curve that a random forest predicts, with the seed noise of the nearest point.

`nearest_errors`, `surrogate_errors` and `seed_noise` say how far either can be trusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from benchmarks.search.curves import Curves
from benchmarks.search.points import FloatArray, coordinates
from gansearch.search.space import Space

TREES = 100
FOLDS = 8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """What one trial would report, were it never stopped.

    Attributes:
        current: value at each report, in nats; ends early where the trial diverges.
        objective: what the searcher is told of it if it ends there.
        completes: whether it has a score at the end.
        quality: the point's true quality, in nats.
        flops: floating-point operations of an epoch.
    """

    current: FloatArray
    objective: FloatArray
    completes: bool
    quality: float
    flops: float


class World(Protocol):
    """A rule that gives points their courses; `make` begins a repetition of its own."""

    def course(self, point: Mapping[str, object], rng: np.random.Generator) -> Course:
        """Return the course of the next trial of a point."""

    def again(self) -> World:
        """Return the rule at its start, for another repetition."""


class Nearest:
    """The nearest table point, one of its seeds: at its first visit a random one, then each in turn.

    Two visits in a row therefore never bring the same curve.

    Args:
        curves: the table.
        space: the space of the points.
    """

    def __init__(self, curves: Curves, space: Space) -> None:
        self._curves, self._space = curves, space
        self._tree = cKDTree(curves.u)
        self._next: dict[int, int] = {}

    def again(self) -> Nearest:
        """Return the rule with no point visited."""
        return Nearest(self._curves, self._space)

    def course(self, point: Mapping[str, object], rng: np.random.Generator) -> Course:
        """Return the course of the next visit to the nearest point."""
        place = int(self._tree.query(coordinates(self._space, point))[1])
        seeds = self._curves.final.shape[1]
        seed = self._next.get(place, int(rng.integers(seeds)))
        self._next[place] = (seed + 1) % seeds
        curves = self._curves
        reported = int(np.isfinite(curves.objective[place, seed]).sum())
        return Course(
            current=curves.current[place, seed, :reported],
            objective=curves.objective[place, seed, :reported],
            completes=bool(np.isfinite(curves.final[place, seed])),
            quality=float(curves.quality[place]),
            flops=float(curves.flops[place, seed] / curves.epochs[-1]),
        )


class Surrogate:
    """A random forest's mean curve plus seed noise.

    The forest predicts, from the place in the unit cube, the mean over seeds of the whole curve and of the final
    score. A trial adds the nearest point's difference between two seeds, over the square root of two and with a
    random sign: noise of the right size there, equal along the whole curve as it is in the table. True quality
    is the forest's final score, without noise.

    Args:
        curves: the table; every trial of it complete.
        space: the space of the points.
    """

    def __init__(self, curves: Curves, space: Space) -> None:
        self._curves, self._space = curves, space
        self._tree = cKDTree(curves.u)
        self._trees = [tree.tree_ for tree in _forest().fit(curves.u, _targets(curves)).estimators_]

    def again(self) -> Surrogate:
        """Return itself: it keeps no record of visits."""
        return self

    def course(self, point: Mapping[str, object], rng: np.random.Generator) -> Course:
        """Return a course at a point."""
        curves = self._curves
        u = coordinates(self._space, point)
        place = int(self._tree.query(u)[1])
        reports = len(curves.epochs)
        # The trees one by one: the forest's own `predict` spends ten times as long on a single point.
        row = u.astype(np.float32)[None]
        mean = np.mean([tree.predict(row)[0].ravel() for tree in self._trees], axis=0)
        sign = rng.choice([-1.0, 1.0]) / np.sqrt(2)
        noise = sign * (curves.current[place, 0] - curves.current[place, 1])
        noise_objective = sign * (curves.objective[place, 0] - curves.objective[place, 1])
        return Course(
            current=mean[:reports] + noise,
            objective=mean[reports : 2 * reports] + noise_objective,
            completes=True,
            quality=float(mean[-1]),
            flops=float(curves.flops[place].mean() / curves.epochs[-1]),
        )


def _forest() -> Any:
    return RandomForestRegressor(n_estimators=TREES, min_samples_leaf=2, random_state=0)


def _targets(curves: Curves) -> FloatArray:
    """Return (P, 2 R + 1): mean current curve, mean objective curve, mean final score."""
    if not np.isfinite(curves.current).all():
        raise ValueError("the surrogate needs complete curves, but a trial of the table diverged")
    return np.concatenate([curves.current.mean(axis=1), curves.objective.mean(axis=1), curves.quality[:, None]], axis=1)


def _explained(truth: FloatArray, predicted: FloatArray) -> dict[str, float]:
    error = predicted - truth
    return {
        "R2": 1 - float((error**2).sum() / ((truth - truth.mean()) ** 2).sum()),
        "rmse": float(np.sqrt((error**2).mean())),
        "rank correlation": float(spearmanr(truth, predicted).statistic),
    }


def nearest_errors(curves: Curves) -> dict[str, float]:
    """Return how well each point's quality is that of its nearest other point (leave one out)."""
    neighbours = cKDTree(curves.u).query(curves.u, k=2)[1][:, 1]
    return _explained(curves.quality, curves.quality[neighbours])


def surrogate_errors(curves: Curves) -> dict[str, float]:
    """Return how well the forest predicts the quality of points that it has not seen (`FOLDS` folds)."""
    targets, predicted = _targets(curves), np.empty(len(curves.u))
    for fit, held in KFold(FOLDS, shuffle=True, random_state=0).split(curves.u):
        predicted[held] = _forest().fit(curves.u[fit], targets[fit]).predict(curves.u[held])[:, -1]
    return _explained(curves.quality, predicted)


def seed_noise(curves: Curves) -> dict[str, float]:
    """Return the spread of the final score between points and between the two seeds of a point, in nats."""
    a, b = curves.final[:, 0], curves.final[:, 1]
    both = np.isfinite(a) & np.isfinite(b)
    noise = float(np.sqrt(((a[both] - b[both]) ** 2).mean() / 2))
    return {
        "sd between points": float(curves.quality.std(ddof=1)),
        "sd between seeds": noise,
        "rank correlation of seeds": float(spearmanr(a[both], b[both]).statistic),
    }
