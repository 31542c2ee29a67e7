"""What is tried next: a study's strategy, as a searcher that Ray Tune drives.

Points come from the space (random and grid are functions of the seed and the index) or from Optuna (TPE).
`SpecSearcher` turns each into the specs of its replicates, so that a worker is handed a whole trial and
Tune never sees a nested configuration. The first point is always the base.
"""

from __future__ import annotations

import collections
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from gansearch.paths import TrialKey
from gansearch.search.study import Study
from gansearch.spec import TrialSpec

METRIC = "objective"
"""Name of the reported value: validation log-likelihood in nats under the report protocol."""
CURRENT = "current"
"""Name of the current report's value, which schedulers compare trials by: an early report of a generator that
has hardly moved from the mean image often stays the best for many epochs, whatever training has come to."""
SPEC = "spec"
"""Name under which a Tune trial's configuration holds the trial's spec."""

MAX_REPEATS = 10_000
"""Random draws in a row that bring no new point before a space is taken for exhausted."""

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
        samples = (space.sample(index, seed) for index in itertools.count(1))
        return Listed(_distinct(itertools.chain([space.base_point()], samples)))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Optuna calls these arguments experimental; its bounds in pyproject.toml are tested.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed % 2**32,
            n_startup_trials=study.searcher.startup_trials,
            multivariate=study.searcher.multivariate,
            # Parameters that act together are modelled together; without it, conditional ones are not at all.
            group=study.searcher.multivariate and any(p.when for p in space.parameters),
            constant_liar=True,
        )
    return OptunaSearch(
        space.suggest,
        metric=METRIC,
        mode="max",
        sampler=sampler,
        points_to_evaluate=[space.encode(space.base_point())],
    )


def _distinct(points: Iterable[Point]) -> Iterator[Point]:
    """Yield each point once, until MAX_REPEATS in a row have brought nothing new."""
    seen: set[object] = set()
    repeats = 0
    for point in points:
        key = tuple(sorted(point.items()))  # names are unique, so values are never compared
        if key not in seen:
            seen.add(key)
            repeats = 0
            yield point
        elif (repeats := repeats + 1) == MAX_REPEATS:
            return


class SpecSearcher(Searcher):
    """Hands Tune the specs of a stage's trials, `repeats` of each point.

    The strategy hears a point's value when its last replicate has ended: the mean over those that have a
    value, or none. A trial that equals a running one waits for it, and then finds its rows.

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
        self._waiting: collections.deque[tuple[str, TrialSpec]] = collections.deque()
        self._running: dict[str, tuple[str, TrialKey]] = {}
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
        """Return the next trial's configuration, None while it must wait, or FINISHED after the last."""
        if not self._waiting and not self._take(group=trial_id):
            return Searcher.FINISHED
        group, spec = self._waiting[0]
        if any(spec.key == key for _, key in self._running.values()):
            return None
        self._waiting.popleft()
        self._running[trial_id] = group, spec.key
        return {SPEC: spec.to_dict()}

    def _take(self, group: str) -> bool:
        """Take the next point, known from now on as `group`; return whether there was one."""
        point = self._strategy.suggest(group) if self._taken < self._num_points else None
        if point is None:
            self._exhausted = True
            return False
        self._taken += 1
        self._waiting.extend((group, self._make_spec(point, replicate)) for replicate in range(self._repeats))
        self._values[group] = []
        return True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Gather a replicate's value; tell the strategy when it was the point's last."""
        group, _ = self._running.pop(trial_id)
        self._values[group].append(None if error or not result else result.get(METRIC))
        if len(self._values[group]) < self._repeats:
            return
        values = [v for v in self._values.pop(group) if v is not None]
        if values:
            self._strategy.on_trial_complete(group, result={METRIC: sum(values) / len(values)})
        else:
            self._strategy.on_trial_complete(group, error=error)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles what it is given, but a searcher's history is rebuilt from the tables."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""
