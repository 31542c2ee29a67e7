"""Searchers: which points come, in which order, and what a strategy is told."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from ray.tune.search import Searcher

from gansearch.search.searchers import METRIC, SPEC, Listed, Point, SpecSearcher, Strategy, make_strategy
from gansearch.search.study import Study
from gansearch.search.sweep import search_spec
from gansearch.spec import TrialSpec
from tests.search.small_studies import study

FINITE = {"algorithm.k": {"int": [1, 3]}, "discriminator.pieces": {"choice": [2, 5]}}


class Remembering(Listed):
    """A real strategy that writes down what it is told."""

    def __init__(self, points: list[Point]) -> None:
        super().__init__(points)
        self.told: list[tuple[str, dict[str, Any] | None, bool]] = []

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.told.append((trial_id, result, error))


def make_spec(of: Study) -> Callable[[Point, int], TrialSpec]:
    return lambda point, replicate: search_spec(of, point, replicate)


def suggested(searcher: SpecSearcher, trial_id: str) -> TrialSpec:
    return TrialSpec.from_dict(searcher.suggest(trial_id)[SPEC])


def take(strategy: Strategy, n: int) -> list[Point]:
    """Return points of a strategy that is told a value after each."""
    points = []
    for i in range(n):
        point = strategy.suggest(f"t{i}")
        assert point is not None
        points.append(point)
        strategy.on_trial_complete(f"t{i}", result={METRIC: -float(i)})
    return points


@pytest.mark.parametrize("name", ["random", "grid", "tpe"])
def test_first_point_is_the_base_and_the_seed_decides_the_rest(name: str) -> None:
    space = {**FINITE, "adam.lr_g": {"choice": [0.001, 0.003, 0.009, 0.01]}}
    found = study(space=space, searcher=name, num_trials=None if name == "grid" else 9)
    points = take(make_strategy(found), 9)
    assert points[0] == found.space.base_point()
    assert all(found.space.contains(point) for point in points)
    assert points == take(make_strategy(found), 9)
    if name != "grid":
        other = take(make_strategy(found.with_options(seed=6)), 9)
        assert other[0] == points[0]
        assert other[1:] != points[1:]


def test_random_points_of_a_finite_space_are_all_different_and_all_found() -> None:
    found = study(space=FINITE, num_trials=6)
    strategy = make_strategy(found)
    points = take(strategy, 6)
    assert {tuple(sorted(p.items())) for p in points} == {
        (("algorithm.k", k), ("discriminator.pieces", pieces)) for k in (1, 2, 3) for pieces in (2, 5)
    }
    assert strategy.suggest("after the last") is None


def test_grid_is_every_combination_once() -> None:
    found = study(space=FINITE, searcher="grid", num_trials=None)
    assert found.num_trials == 6
    strategy = make_strategy(found)
    assert len({tuple(sorted(p.items())) for p in take(strategy, 6)}) == 6
    assert strategy.suggest("after the last") is None


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("multivariate", [False, True])
def test_tpe_is_made_without_a_warning(conditional: bool, multivariate: bool) -> None:
    space: dict[str, Any] = {"algorithm.k": {"int": [1, 3]}}
    if conditional:
        space |= {
            "update.rule": {"choice": ["adam", "momentum"]},
            "adam.lr_g": {"loguniform": [0.0001, 0.01], "when": {"update.rule": "adam"}},
            "momentum.lr_g": {"loguniform": [0.01, 0.2], "when": {"update.rule": "momentum"}},
        }
    searcher = {"name": "tpe", "startup_trials": 3, "multivariate": multivariate}
    found = study(space=space, searcher=searcher)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = take(make_strategy(found), 12)
    assert all(found.space.contains(point) for point in points)


def test_tpe_learns_from_values() -> None:
    """With a value that only the learning rate decides, later points gather where it is best."""
    found = study(space={"adam.lr_g": {"uniform": [0.0001, 1.0]}}, searcher={"name": "tpe", "startup_trials": 5})
    strategy, distances = make_strategy(found), []
    for i in range(60):
        point = strategy.suggest(f"t{i}")
        assert point is not None
        distances.append(abs(float(str(point["adam.lr_g"])) - 0.7))
        strategy.on_trial_complete(f"t{i}", result={METRIC: -distances[-1]})
    # Uniform points are 0.29 away on average, with a standard error of 0.035 over 30.
    assert sum(distances[-30:]) / 30 < 0.2


def test_tpe_keeps_away_from_points_without_a_value() -> None:
    """A configuration that diverges tells the searcher that it is bad."""
    found = study(space={"adam.lr_g": {"uniform": [0.0001, 1.0]}}, searcher={"name": "tpe", "startup_trials": 5})
    strategy, high = make_strategy(found), []
    for i in range(40):
        point = strategy.suggest(f"t{i}")
        assert point is not None
        rate = float(str(point["adam.lr_g"]))
        high.append(rate > 0.5)
        strategy.on_trial_complete(f"t{i}", result=None if high[-1] else {METRIC: 1.0})
    assert sum(high[-15:]) < 5, "uniform points would be high half of the time"


def test_replicates_have_seeds_of_their_own_and_the_strategy_hears_their_mean() -> None:
    found = study(repeats=3)
    strategy = Remembering([found.space.base_point(), {"adam.lr_g": 0.002, "algorithm.k": 2}])
    searcher = SpecSearcher(strategy, 2, 3, make_spec(found))
    assert searcher.num_trials == 6
    specs = [suggested(searcher, f"t{i}") for i in range(6)]
    assert [s.replicate for s in specs] == [0, 1, 2, 0, 1, 2]
    assert len({s.seed for s in specs}) == 6
    assert len({s.config.config_id for s in specs[:3]}) == len({s.config.config_id for s in specs[3:]}) == 1
    assert searcher.handed_out
    assert searcher.suggest("t6") == Searcher.FINISHED
    # In any order, replicates of both points mixed.
    searcher.on_trial_complete("t4", result={METRIC: 40.0})
    searcher.on_trial_complete("t0", result={METRIC: 1.0})
    searcher.on_trial_complete("t2", result={METRIC: 6.0})
    assert strategy.told == []
    searcher.on_trial_complete("t1", result={METRIC: 2.0})
    assert strategy.told == [("t0", {METRIC: 3.0}, False)]
    # One replicate of the second point fails, one diverges: the mean is over those that have a value.
    searcher.on_trial_complete("t3", error=True)
    searcher.on_trial_complete("t5", result={"status": "DIVERGED"})
    assert strategy.told[1:] == [("t3", {METRIC: 40.0}, False)]


def test_strategy_hears_no_value_where_all_replicates_failed() -> None:
    found = study(repeats=2)
    strategy = Remembering([found.space.base_point()])
    searcher = SpecSearcher(strategy, 1, 2, make_spec(found))
    for trial_id in ("a", "b"):
        suggested(searcher, trial_id)
    searcher.on_trial_complete("a", result={"status": "FAILED"})
    searcher.on_trial_complete("b", error=True)
    assert strategy.told == [("a", None, True)]


def test_trial_that_equals_a_running_one_waits_for_it() -> None:
    """Two processes never work on the files of one trial."""
    found = study()
    base = found.space.base_point()
    searcher = SpecSearcher(Listed([base, base]), 2, 1, make_spec(found))
    first = suggested(searcher, "a")
    assert searcher.suggest("b") is None
    assert searcher.suggest("c") is None
    assert not searcher.handed_out
    searcher.on_trial_complete("a", result={METRIC: 1.0})
    assert suggested(searcher, "d") == first
    assert searcher.handed_out


def test_strategy_that_runs_out_ends_the_search() -> None:
    found = study()
    searcher = SpecSearcher(Listed([found.space.base_point()]), 5, 1, make_spec(found))
    suggested(searcher, "a")
    assert not searcher.handed_out
    assert searcher.suggest("b") == Searcher.FINISHED
    assert searcher.handed_out


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_searcher_can_be_pickled_as_tune_does(name: str) -> None:
    found = study(searcher=name)
    searcher = SpecSearcher(make_strategy(found), 3, 1, make_spec(found))
    assert len(pickle.dumps(searcher)) < 1000
