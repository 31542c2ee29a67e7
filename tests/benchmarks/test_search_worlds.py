"""Points and their places, the rules that give them curves, and the budget at which a quality is reached."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from benchmarks.search import crossing, worlds
from benchmarks.search.points import EPOCHS, REPORT_EVERY, benchmark_study, point_at, quantile, sobol
from benchmarks.search.simulate import Step
from benchmarks.search.table import objectives
from gansearch.search.domains import Choice, Integers, Interval
from tests.benchmarks.synthetic_curves import ordered_curves

ROUNDING = 1e-12


def test_the_study_is_the_shipped_one_with_the_benchmarks_budget() -> None:
    study = benchmark_study("tpe", {"name": "asha", "grace_epochs": 6}, seed=3)
    assert (study.epochs, study.base.score.report_every) == (EPOCHS, REPORT_EVERY)
    assert (study.searcher.name, study.scheduler.name, study.seed) == ("tpe", "asha", 3)
    assert EPOCHS / REPORT_EVERY == 3**3


@pytest.mark.parametrize(
    "domain",
    [Interval(low=0.02, high=0.4, log=True), Interval(low=-1.0, high=3.0)],
)
def test_a_number_stands_at_its_quantile(domain: Interval) -> None:
    for u in (0.0, 0.25, 0.9):
        assert quantile(domain, domain.at(u)) == pytest.approx(u, abs=ROUNDING)


@pytest.mark.parametrize(
    "domain", [Integers(low=2, high=5), Integers(low=1, high=64, log=True), Choice(values=("a", "b", "c"))]
)
def test_an_integer_or_a_choice_stands_inside_its_cell(domain: Integers | Choice) -> None:
    places = [quantile(domain, value) for value in domain.grid()]
    assert [domain.at(u) for u in places] == list(domain.grid())
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < 1


def test_the_nearest_rule_finds_a_points_own_curves_and_takes_its_seeds_in_turn() -> None:
    space, curves = benchmark_study().space, ordered_curves(16, noise=1.0)
    place = 11
    point = point_at(space, sobol(space, 16)[place])
    world, rng = worlds.Nearest(curves, space), np.random.default_rng(1)
    visits = [world.course(point, rng) for _ in range(5)]
    assert {visit.quality for visit in visits} == {curves.quality[place]}
    seeds = [int(np.flatnonzero(curves.objective[place, :, -1] == visit.objective[-1])[0]) for visit in visits]
    assert sorted(seeds[:2]) == [0, 1]
    assert all(a != b for a, b in itertools.pairwise(seeds))


def test_the_nearest_rule_ends_a_diverged_curve_where_it_diverged() -> None:
    space, curves = benchmark_study().space, ordered_curves(16)
    curves.objective[:, :, 4:] = np.nan
    curves.current[:, :, 4:] = np.nan
    curves.final[:] = np.nan
    curves.final[3] = -1.0
    course = worlds.Nearest(curves, space).course(point_at(space, sobol(space, 16)[0]), np.random.default_rng(1))
    assert (len(course.current), len(course.objective), course.completes) == (4, 4, False)
    assert course.quality == -1.0, "a seed without a score counts as the worst there is"


def test_a_point_is_worth_the_mean_over_its_seeds() -> None:
    curves = ordered_curves(8, noise=2.0)
    assert curves.quality == pytest.approx(curves.final.mean(axis=1), abs=ROUNDING)


def test_the_rules_errors_are_none_on_what_they_can_represent() -> None:
    curves = ordered_curves(64)
    twins = dataclasses.replace(
        curves, **{name: np.repeat(getattr(curves, name), 2, axis=0) for name in ("u", "current", "objective", "final")}
    )
    assert worlds.nearest_errors(twins)["R2"] == 1
    assert worlds.seed_noise(curves)["sd between seeds"] == 0
    # 64 points of 6 parameters: far from perfect, but much better than the mean.
    assert worlds.surrogate_errors(curves)["R2"] > 0.2


def test_a_report_that_shows_the_order_is_seen_to() -> None:
    curves = ordered_curves(64)
    curves.current[:, :, 0] *= -1
    assert worlds.order_by_epoch(curves, [2, 10, 54]) == pytest.approx({"epoch 2": -1, "epoch 10": 1, "epoch 54": 1})


def test_the_noise_between_seeds_is_what_was_put_in() -> None:
    found = worlds.seed_noise(ordered_curves(1024, noise=1.5))["sd between seeds"]
    assert found == pytest.approx(1.5, rel=4 / math.sqrt(2 * 1024))  # 4 standard errors of a standard deviation


def test_the_surrogates_courses_are_real_trials_around_its_prediction() -> None:
    space, curves = benchmark_study().space, ordered_curves(64, noise=0.5)
    world, rng = worlds.Surrogate(curves, space), np.random.default_rng(1)
    point = point_at(space, np.random.default_rng(2).random(6))
    courses = [world.course(point, rng) for _ in range(2000)]
    real = {curve.tobytes() for curve in curves.current.reshape(-1, curves.current.shape[-1])}
    assert {course.current.tobytes() for course in courses} <= real
    (quality,) = {course.quality for course in courses}
    values = np.array([course.objective[-1] for course in courses])
    assert values.mean() == pytest.approx(quality, abs=4 * values.std() / math.sqrt(len(values)))


def test_a_collapsed_report_never_replaces_a_healthy_one() -> None:
    def report(value: float, coverage: float) -> dict[str, float]:
        return {"report_ll_mean": value, "coverage": coverage, "coverage_real": 0.5}

    curve = [report(-5, 0.01), report(-7, 0.01), report(-9, 0.3), report(-8, 0.3), report(-1, 0.01), report(-8.5, 0.3)]
    assert list(objectives(curve)) == [(True, -5), (True, -7), (False, -9), (False, -8), (True, -8), (False, -8)]


def test_the_state_at_a_budget_is_that_of_the_last_report_within_it() -> None:
    steps = [Step(epochs=e, tick=e, reported=q, complete=q / 2) for e, q in ((2, 1.0), (4, 3.0), (10, 5.0))]
    reported, complete = crossing.on_grid(steps, np.array([1.0, 2.0, 9.0, 10.0, 50.0]))
    assert np.array_equal(reported, [np.nan, 1, 3, 5, 5], equal_nan=True)
    assert np.array_equal(complete, [np.nan, 0.5, 1.5, 2.5, 2.5], equal_nan=True)


def test_a_strategy_that_is_twice_as_fast_crosses_at_half_the_budget() -> None:
    grid = np.arange(10.0, 1001.0, 10.0)
    noise = np.random.default_rng(0).standard_normal((80, 1))
    reference = grid + noise
    found = crossing.crossing(2 * grid + noise + 5, reference, grid)  # half a step early, away from rounding
    assert found.epochs == 500
    assert found.low <= 500 <= found.high
    assert found.high - found.low <= 20


def test_a_curve_that_rises_reaches_its_own_end_at_its_end() -> None:
    grid = np.arange(10.0, 101.0, 10.0)
    for seed in range(20):
        curves = np.cumsum(np.random.default_rng(seed).random((197, 10)), axis=1)
        assert crossing.crossing(curves, curves, grid).epochs == 100


def test_a_strategy_that_never_gets_there_has_no_crossing() -> None:
    grid = np.arange(10.0, 101.0, 10.0)
    found = crossing.crossing(np.zeros((5, 10)), np.ones((7, 10)), grid)
    assert (found.epochs, found.low, found.high) == (math.inf, math.inf, math.inf)


def test_the_mean_waits_for_every_repetition() -> None:
    curves = np.array([[np.nan, 2.0], [1.0, 4.0]])
    mean, half = crossing.mean_interval(curves)
    assert np.isnan(mean[0])
    assert mean[1] == 3
    assert half[1] == pytest.approx(12.7062, rel=1e-5)  # t(0.975, 1 degree of freedom) x sd sqrt 2 / sqrt 2
