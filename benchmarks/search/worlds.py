"""What a replayed trial reports: a rule that gives every proposed point a training curve.

- `Nearest`: the curve of the table's nearest point in the unit cube, from one of its seeds.
- `Surrogate`: the curve of a trial that shares a leaf with the point in a random tree of a forest.

`nearest_errors`, `surrogate_errors` and `seed_noise` say how far either can be trusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
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
    """A rule that gives points their courses; `again` begins a repetition."""

    def course(self, point: Mapping[str, object], rng: np.random.Generator) -> Course:
        """Return the course of the next trial of a point."""

    def again(self) -> World:
        """Return the rule at its start, for another repetition."""


def trial_course(curves: Curves, place: int, seed: int) -> Course:
    """Return the course of a trial of the table."""
    reported = int(np.isfinite(curves.objective[place, seed]).sum())
    return Course(
        current=curves.current[place, seed, :reported],
        objective=curves.objective[place, seed, :reported],
        completes=bool(np.isfinite(curves.final[place, seed])),
        quality=float(curves.quality[place]),
        flops=float(curves.flops[place, seed] / curves.epochs[-1]),
    )


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
        return trial_course(self._curves, place, seed)


class Surrogate:
    """A trial drawn from a random forest: a random tree, and in its leaf a random point and seed.

    The forest is fitted, on places in the unit cube, to the points' mean curves and qualities. Its leaves hold
    points that do alike, whichever parameters that takes, where `Nearest` counts all parameters the same. Courses
    are whole curves of real trials, collapse included; their mean over trees is the forest's prediction, which is
    taken for the true quality. The spread around it is the seeds' and that of the points in a leaf, hence wider
    than a real point's.

    Source: Meinshausen 2006, "Quantile regression forests", section 2: the weights of the training points.

    Args:
        curves: the table.
        space: the space of the points.
    """

    def __init__(self, curves: Curves, space: Space) -> None:
        self._curves, self._space = curves, space
        forest = _forest().fit(curves.u, _targets(curves))
        self._trees = [tree.tree_ for tree in forest.estimators_]
        u = curves.u.astype(np.float32)
        self._leaves: list[dict[int, list[int]]] = []
        for tree, drawn in zip(self._trees, forest.estimators_samples_, strict=True):
            leaves: dict[int, list[int]] = {}
            for place, leaf in zip(drawn, tree.apply(u[drawn]), strict=True):
                leaves.setdefault(int(leaf), []).append(int(place))
            self._leaves.append(leaves)

    def again(self) -> Surrogate:
        """Return itself: it keeps no record of visits."""
        return self

    def course(self, point: Mapping[str, object], rng: np.random.Generator) -> Course:
        """Return a course at a point."""
        # The trees one by one: the forest's own `predict` spends ten times as long on a single point.
        row = coordinates(self._space, point).astype(np.float32)[None]
        quality = float(np.mean([tree.predict(row)[0].ravel()[-1] for tree in self._trees]))
        chosen = int(rng.integers(len(self._trees)))
        leaf = self._leaves[chosen][int(self._trees[chosen].apply(row)[0])]
        place, seed = leaf[int(rng.integers(len(leaf)))], int(rng.integers(self._curves.final.shape[1]))
        return dataclasses.replace(trial_course(self._curves, place, seed), quality=quality)


def _forest() -> Any:
    return RandomForestRegressor(n_estimators=TREES, min_samples_leaf=2, random_state=0)


def _targets(curves: Curves) -> FloatArray:
    """Return (P, R + 1): each point's mean curve, as far as there is one, and its quality."""
    lowest = np.nanmin(curves.current)
    current = np.where(np.isnan(curves.current), lowest, curves.current).mean(axis=1)
    return np.concatenate([current, curves.quality[:, None]], axis=1)


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


def order_by_epoch(curves: Curves, epochs: Sequence[int]) -> dict[str, float]:
    """Return the rank correlation of the report at each of some epochs with the final score, over complete trials."""
    complete = np.isfinite(curves.final)
    found = {}
    for epoch in epochs:
        reports = curves.current[:, :, int(np.searchsorted(curves.epochs, epoch))]
        found[f"epoch {epoch}"] = float(spearmanr(reports[complete], curves.final[complete]).statistic)
    return found


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
