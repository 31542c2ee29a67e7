"""The strategies that learn: what they are told moves what they propose."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from gansearch.search.proposals import Known, Outcome, Point, Proposal, Strategy, make_strategy, point_key
from gansearch.search.study import Study
from tests.search.small_studies import study

NAMES = ("tpe", "gp", "cmaes", "nsga2")
PLANE = {"adam.beta1": {"uniform": [0.0, 0.9]}, "discriminator.dropout_hidden": {"uniform": [0.0, 0.9]}}
CUBE = {
    **PLANE,
    "discriminator.dropout_input": {"uniform": [0.0, 0.9]},
    "discriminator.init_range": {"uniform": [0.001, 0.9]},
    "generator.init_range": {"uniform": [0.001, 0.9]},
    "adam.lr_g": {"uniform": [0.0001, 0.9]},
}
FINITE = {"algorithm.k": {"int": [1, 3]}, "discriminator.pieces": {"int": [2, 3]}}
STARTUP = 6

Value = Callable[[Point], float | None]


def learner(name: str, space: dict[str, Any] = PLANE, seed: int = 5, num_trials: int = 3, **options: Any) -> Study:
    options = {"population_size": STARTUP} if name == "nsga2" else {"startup_trials": STARTUP, **options}
    return study(space=space, searcher={"name": name, **options}, seed=seed, num_trials=num_trials)


def at(point: Point, name: str) -> float:
    return float(str(point[name]))


def distance(point: Point) -> float:
    """Return how far a point of the plane is from (0.7, 0.2); 0.42 on average over the plane."""
    return math.hypot(at(point, "adam.beta1") - 0.7, at(point, "discriminator.dropout_hidden") - 0.2)


def run(strategy: Strategy, n: int, value: Value = lambda point: -distance(point)) -> list[Proposal]:
    """Return `n` proposals of a strategy that is told a value after each."""
    proposals = []
    for _ in range(n):
        proposal = strategy.suggest()
        assert proposal is not None
        proposals.append(proposal)
        strategy.tell(proposal.number, Outcome(value=value(proposal.point), flops=1.0))
    return proposals


def as_known(points: list[Point], number: int | None = 0, value: Value = lambda point: -distance(point)) -> list[Known]:
    """Return points as finished: numbered from `number` on, or of another run where it is None."""
    return [
        Known(number=None if number is None else number + i, point=p, outcome=Outcome(value=value(p), flops=1.0))
        for i, p in enumerate(points)
    ]


def median_distance(proposals: list[Proposal]) -> float:
    return statistics.median(distance(p.point) for p in proposals)


def mean_coordinate(point: Point) -> float:
    return math.fsum(at(point, name) for name in CUBE) / len(CUBE)


@pytest.mark.parametrize("name", NAMES)
def test_the_base_then_what_is_named_then_points_of_the_space(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    given = learner(name)
    base = given.space.base_point()
    first = [{**base, "adam.beta1": 0.25}, base, {**base, "adam.beta1": 0.125}]
    proposals = run(make_strategy(given, first=first), STARTUP + 4)
    assert [p.point for p in proposals[:3]] == [base, first[0], first[2]]
    assert [p.number for p in proposals] == list(range(STARTUP + 4))
    assert all(given.space.contains(p.point) for p in proposals)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_points(name: str) -> None:
    one, same, other = (run(make_strategy(learner(name, seed=seed)), STARTUP + 2) for seed in (5, 5, 6))
    assert one == same
    assert one[0].point == other[0].point
    assert all(a.point != b.point for a, b in zip(one[1:], other[1:], strict=True))


# Trials told, then trials looked at: an evolution strategy takes some generations.
@pytest.mark.parametrize(("name", "told", "seen"), [("tpe", 40, 20), ("gp", 10, 9), ("cmaes", 60, 20)])
def test_what_is_told_moves_what_is_proposed(name: str, told: int, seen: int) -> None:
    proposals = run(make_strategy(learner(name)), told + seen)
    assert median_distance(proposals[told:]) < 0.2, "0.42 on average over the plane"


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_the_history_of_other_runs_counts_from_the_first_proposal_on(name: str) -> None:
    given = learner(name)
    history = as_known([given.space.sample(i, 77) for i in range(60)], number=None)
    seen = run(make_strategy(given, history), 6)
    assert seen[0] == Proposal(number=0, point=given.space.base_point()), "this run has a base of its own"
    assert [p.number for p in seen] == list(range(6))
    assert median_distance(seen[1:]) < 0.3


@pytest.mark.parametrize("objective", ["likelihood", "cost"])
def test_nsga2_improves_both_objectives_and_learns_from_history(objective: str) -> None:
    """Where one objective is the same everywhere the other decides; the mean coordinate is 0.45 over the space."""

    def outcome(point: Point) -> Outcome:
        low = mean_coordinate(point)
        return Outcome(value=-low, flops=1e9) if objective == "likelihood" else Outcome(value=7.0, flops=1e9 * low)

    def later(strategy: Strategy, skipped: int) -> float:
        found = []
        for _ in range(skipped + 20):
            proposal = strategy.suggest()
            assert proposal is not None
            found.append(mean_coordinate(proposal.point))
            strategy.tell(proposal.number, outcome(proposal.point))
        return math.fsum(found[-20:]) / 20

    given = learner("nsga2", CUBE)
    assert later(make_strategy(given), 80) < 0.2
    points = [given.space.sample(i, 77) for i in range(60)]
    history = [Known(number=None, point=point, outcome=outcome(point)) for point in points]
    assert later(make_strategy(given, history), 1) < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_sweep_draws_no_startup_point_again(name: str) -> None:
    given = learner(name)
    before = run(make_strategy(given), 4)
    after = run(make_strategy(given, as_known([p.point for p in before])), 2)
    assert [p.number for p in after] == [4, 5]
    assert not {point_key(p.point) for p in before} & {point_key(p.point) for p in after}


@pytest.mark.parametrize("name", NAMES)
def test_a_base_that_was_never_written_is_tried_first(name: str) -> None:
    given = learner(name)
    (known,) = as_known([given.space.sample(3, 1)], number=4)
    assert [p.number for p in run(make_strategy(given, [known]), 3)] == [0, 5, 6]


@pytest.mark.parametrize("name", NAMES)
def test_an_unfinished_point_is_told_later(name: str) -> None:
    given = learner(name)
    base = Known(number=0, point=given.space.base_point(), outcome=None)
    running = Known(number=3, point=given.space.sample(3, 1), outcome=None)
    strategy = make_strategy(given, [base, running])
    assert [p.number for p in run(strategy, 2)] == [4, 5]
    strategy.tell(3, Outcome(value=1.0, flops=1.0))
    strategy.tell(0, Outcome(value=None, flops=None))
    assert [p.number for p in run(strategy, 2)] == [6, 7]
    with pytest.raises(KeyError):
        strategy.tell(3, Outcome(value=1.0, flops=1.0))


def test_tpe_keeps_parallel_asks_apart() -> None:
    """The constant liar takes a running trial for a bad one: what is asked meanwhile lies elsewhere."""
    given = learner("tpe")
    history = as_known([given.space.base_point(), *(given.space.sample(i, 77) for i in range(60))])

    def spread(told: bool) -> float:
        strategy = make_strategy(given, history)
        points = []
        for _ in range(16):
            proposal = strategy.suggest()
            assert proposal is not None
            points.append(proposal.point)
            if told:
                strategy.tell(proposal.number, Outcome(value=-distance(proposal.point), flops=1.0))
        centre = {name: math.fsum(at(p, name) for p in points) / 16 for name in PLANE}
        return math.fsum((at(p, name) - centre[name]) ** 2 for p in points for name in PLANE) / 16

    assert spread(told=False) > spread(told=True)


@pytest.mark.parametrize(
    ("name", "told", "seen"), [("tpe", 40, 20), pytest.param("gp", 12, 9, marks=pytest.mark.slow), ("cmaes", 50, 20)]
)
def test_points_without_a_value_are_kept_away_from(name: str, told: int, seen: int) -> None:
    """A configuration that diverges tells the searcher that it is bad, by itself or from a table."""

    def value(point: Point) -> float | None:
        return None if at(point, "adam.beta1") > 0.45 else -at(point, "discriminator.dropout_hidden")

    def bad(proposals: list[Proposal]) -> float:
        return sum(at(p.point, "adam.beta1") > 0.45 for p in proposals) / len(proposals)

    given = learner(name)
    assert bad(run(make_strategy(given), told + seen, value)[told:]) < 0.35, "uniform draws: a half"
    history = as_known([given.space.sample(i, 77) for i in range(told)], None, value)
    assert bad(run(make_strategy(given, history), 1 + seen, value)[1:]) < 0.45


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_space_is_tried_whole_and_nothing_twice(name: str) -> None:
    given = learner(name, FINITE, num_trials=6)
    strategy = make_strategy(given)
    proposals = run(strategy, 6, lambda point: -at(point, "algorithm.k"))
    assert {tuple(p.point.values()) for p in proposals} == {(k, pieces) for k in (1, 2, 3) for pieces in (2, 3)}
    assert strategy.suggest() is None


@pytest.mark.parametrize("multivariate", [False, True])
@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_conditional_spaces(name: str, multivariate: bool) -> None:
    space = {
        "update.rule": {"choice": ["adam", "momentum"]},
        "adam.lr_g": {"loguniform": [0.0001, 0.01], "when": {"update.rule": "adam"}},
        "momentum.lr_g": {"loguniform": [0.01, 0.2], "when": {"update.rule": "momentum"}},
        "generator.hidden": {"choice": [[23], [7, 5]]},
    }
    given = learner(name, space, **({"multivariate": multivariate} if name == "tpe" else {}))
    proposals = run(make_strategy(given), 30, lambda point: float(point["update.rule"] == "momentum"))
    assert all(given.space.contains(p.point) for p in proposals)
    history = as_known([p.point for p in proposals], value=lambda point: float(point["update.rule"] == "momentum"))
    later = run(make_strategy(given, history), 10, lambda point: float(point["update.rule"] == "momentum"))
    assert sum(p.point["update.rule"] == "momentum" for p in later) > 6
