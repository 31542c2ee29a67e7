"""What is tried next: a study's strategy, as a searcher that Ray Tune drives.

Points come from the space (random and grid are functions of the seed and the index) or from Optuna (TPE).
`SpecSearcher` turns each into the specs of its replicates, so that a worker is handed a whole trial and
Tune never sees a nested configuration. The first point is always the base.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from gansearch.search.study import Study
from gansearch.spec import TrialSpec

METRIC = "objective"
"""Name of the reported value: validation log-likelihood in nats under the report protocol."""
SPEC = "spec"
"""Name under which a Tune trial's configuration holds the trial's spec."""

Point = dict[str, object]


class Strategy(Protocol):
    """Something that suggests points and is told what became of them."""

    def suggest(self, trial_id: str) -> Point | None:
        """Return the next point, or None when there is none left."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hear the value of a point; no result where it has none."""


class Listed:
    """A strategy that suggests points in a given order and learns nothing."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._points: Iterator[Point] = iter(points)

    def suggest(self, trial_id: str) -> Point | None:  # noqa: ARG002  # the interface's
        """Return the next point, or None after the last."""
        return next(self._points, None)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing."""


def make_strategy(study: Study) -> Strategy:
    """Return the strategy a study asks for."""
    space, seed = study.space, study.seed
    if study.searcher.name == "grid":
        return Listed(space.grid())
    if study.searcher.name == "random":
        return Listed(itertools.chain([space.base_point()], (space.sample(i, seed) for i in itertools.count(1))))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed % 2**32,
        n_startup_trials=study.searcher.startup_trials,
        multivariate=study.searcher.multivariate,
        group=study.searcher.multivariate,
        constant_liar=True,
        warn_independent_sampling=False,
    )
    return OptunaSearch(
        space.suggest,
        metric=METRIC,
        mode="max",
        sampler=sampler,
        points_to_evaluate=[space.encode(space.base_point())],
    )


class SpecSearcher(Searcher):
    """Hands Tune the specs of a study's trials, `repeats` of each point.

    The strategy hears a point's value when its last replicate has ended: the mean over those that have a
    value, or none.

    Args:
        strategy: where points come from.
        num_points: how many to take.
        repeats: replicates of each point.
        make_spec: (point, replicate) -> the trial.
    """

    def __init__(
        self, strategy: Strategy, num_points: int, repeats: int, make_spec: Callable[[Point, int], TrialSpec]
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._strategy, self._num_points, self._repeats, self._make_spec = strategy, num_points, repeats, make_spec
        self._taken, self._exhausted = 0, False
        self._waiting: list[tuple[str, Point, int]] = []
        self._group_of: dict[str, str] = {}
        self._values: dict[str, list[float | None]] = {}

    @property
    def num_trials(self) -> int:
        """Trials that all points give."""
        return self._num_points * self._repeats

    @property
    def handed_out(self) -> bool:
        """Whether every trial was handed out."""
        return not self._waiting and (self._exhausted or self._taken == self._num_points)

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's configuration, or FINISHED after the last."""
        if not self._waiting:
            point = self._strategy.suggest(trial_id) if self._taken < self._num_points else None
            if point is None:
                self._exhausted = True
                return Searcher.FINISHED
            self._taken += 1
            self._waiting = [(trial_id, point, replicate) for replicate in range(self._repeats)]
            self._values[trial_id] = []
        group, point, replicate = self._waiting.pop(0)
        self._group_of[trial_id] = group
        return {SPEC: self._make_spec(point, replicate).to_dict()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a report on to a strategy that looks at reports."""
        report = getattr(self._strategy, "on_trial_result", None)
        if report is not None and self._repeats == 1 and METRIC in result:
            report(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Gather a replicate's value; tell the strategy when it was the point's last."""
        group = self._group_of.pop(trial_id)
        value = None if error or not result else result.get(METRIC)
        self._values[group].append(value)
        if len(self._values[group]) < self._repeats:
            return
        values = [v for v in self._values.pop(group) if v is not None and math.isfinite(v)]
        if values:
            self._strategy.on_trial_complete(group, result={METRIC: sum(values) / len(values)})
        else:
            self._strategy.on_trial_complete(group, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a searcher's history is rebuilt from the tables."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""
