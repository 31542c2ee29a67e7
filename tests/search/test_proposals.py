"""Points that are known before a sweep starts: their order, their numbers, and what a resumed sweep leaves out."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from gansearch.search.proposals import Known, Outcome, Proposal, Strategy, make_strategy, point_key, row_outcome
from gansearch.search.study import Study
from tests.search.small_studies import study

NAMES = ("random", "sobol", "grid")
FINITE: dict[str, Any] = {"algorithm.k": {"int": [1, 3]}, "discriminator.pieces": {"choice": [2, 5]}}
DROPOUT = "discriminator.dropout_hidden"
CONTINUOUS = {"adam.beta1": {"uniform": [0.0, 0.9]}, DROPOUT: {"uniform": [0.0, 0.8]}}
CONDITIONAL: dict[str, Any] = {
    "update.rule": {"choice": ["adam", "momentum"]},
    "adam.lr_g": {"loguniform": [0.0001, 0.01], "when": {"update.rule": "adam"}, "points": 3},
    "momentum.lr_g": {"loguniform": [0.01, 0.2], "when": {"update.rule": "momentum"}, "points": 2},
    "generator.hidden": {"choice": [[23], [7, 5]]},
}
SPACES: dict[str, dict[str, Any]] = {"finite": FINITE, "conditional": CONDITIONAL}


def searched_by(name: str, space: dict[str, Any], num_trials: int = 1, seed: int = 5) -> Study:
    return study(space=space, searcher=name, num_trials=None if name == "grid" else num_trials, seed=seed)


def take(strategy: Strategy, n: int) -> list[Proposal]:
    """Return the next proposals, `n` of them or all there are."""
    proposals = itertools.takewhile(lambda p: p is not None, (strategy.suggest() for _ in range(n)))
    return [p for p in proposals if p is not None]


def ended(proposals: list[Proposal]) -> list[Known]:
    return [Known(number=p.number, point=p.point, outcome=Outcome(value=1.0, flops=2.0)) for p in proposals]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", NAMES)
def test_the_base_comes_first_and_no_point_twice(name: str, space: dict[str, Any]) -> None:
    found = searched_by(name, space)
    proposals = take(make_strategy(found), 6)
    assert proposals[0] == Proposal(number=0, point=found.space.base_point())
    assert all(found.space.contains(p.point) for p in proposals)
    assert len({point_key(p.point) for p in proposals}) == 6
    numbers = [p.number for p in proposals]
    assert numbers == sorted(set(numbers))
    assert proposals == take(make_strategy(found), 6)


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_the_seed_decides_all_but_the_base(name: str) -> None:
    one, other = (take(make_strategy(searched_by(name, CONTINUOUS, seed=seed)), 5) for seed in (5, 6))
    assert one[0] == other[0]
    assert all(a.point != b.point for a, b in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_space_is_found_whole_and_then_none_is_left(name: str) -> None:
    strategy = make_strategy(searched_by(name, FINITE))
    points = {tuple(p.point.values()) for p in take(strategy, 100)}
    assert points == set(itertools.product((1, 2, 3), (2, 5)))
    assert strategy.suggest() is None


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    space=st.sampled_from(sorted(SPACES)),
    known=st.sets(st.integers(0, 5)),
    finished=st.booleans(),
)
def test_a_resumed_sweep_goes_on_as_if_it_had_never_ended(
    name: str, space: str, known: set[int], finished: bool
) -> None:
    """Whichever points are known, finished or not, the rest is what the whole sequence holds besides them."""
    found = searched_by(name, SPACES[space])
    whole = take(make_strategy(found), 6)
    tried = [Known(number=p.number, point=p.point, outcome=None) for p in whole]
    if finished:
        tried = ended(whole)
    resumed = make_strategy(found, [tried[i] for i in sorted(known)])
    assert take(resumed, 6 - len(known)) == [p for i, p in enumerate(whole) if i not in known]


@pytest.mark.parametrize("name", NAMES)
def test_points_from_tables_are_recognised(name: str) -> None:
    """A table's JSON holds lists where a point holds tuples."""
    found = searched_by(name, CONDITIONAL)
    whole = take(make_strategy(found), 6)
    stored = [{k: list(v) if isinstance(v, tuple) else v for k, v in p.point.items()} for p in whole]
    known = [Known(number=p.number, point=s, outcome=None) for p, s in zip(whole[:4], stored[:4], strict=True)]
    assert take(make_strategy(found, known), 2) == whole[4:]


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_a_widened_space_goes_on_after_the_largest_number(name: str) -> None:
    old = take(make_strategy(searched_by(name, CONTINUOUS)), 7)
    wider = searched_by(name, {**CONTINUOUS, "adam.beta1": {"uniform": [0.0, 0.95]}})
    resumed = take(make_strategy(wider, ended(old)), 5)
    assert [p.number for p in resumed] == [7, 8, 9, 10, 11]
    assert resumed == take(make_strategy(wider), 12)[7:], "number 7 is the same point whoever asks for it"
    again = make_strategy(wider, ended([*old, *resumed[:2]]))
    assert take(again, 3) == resumed[2:]


def test_a_widened_grid_lacks_nothing_and_tries_nothing_twice() -> None:
    old = take(make_strategy(searched_by("grid", FINITE)), 6)
    wider = searched_by("grid", {"algorithm.k": {"int": [1, 4]}, "discriminator.pieces": {"choice": [2, 3, 5]}})
    strategy = make_strategy(wider, ended(old))
    some = take(strategy, 4)
    rest = take(make_strategy(wider, ended([*old, *some])), 100)
    assert {tuple(p.point.values()) for p in (*some, *rest)} == set(itertools.product((1, 2, 3, 4), (2, 3, 5))) - {
        tuple(p.point.values()) for p in old
    }
    assert len(some) + len(rest) == 6
    numbers = [p.number for p in (*old, *some, *rest)]
    assert len(set(numbers)) == 12


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_named_points_come_right_after_the_base(name: str) -> None:
    found = searched_by(name, CONTINUOUS)
    base = found.space.base_point()
    first = [{**base, "adam.beta1": 0.25}, base, {**base, "adam.beta1": 0.125}]
    plain = [p.point for p in take(make_strategy(found), 4)]
    proposals = take(make_strategy(found, first=first), 6)
    assert [p.point for p in proposals] == [base, first[0], first[2], *plain[1:]]
    assert [p.number for p in proposals] == [0, 1, 3, 4, 5, 6], "the base is not tried again under number 2"
    assert take(make_strategy(found, ended(proposals[:2]), first), 4) == proposals[2:]


def test_sobol_puts_one_point_in_each_of_equal_slices_of_every_range() -> None:
    """The property of a scrambled Sobol sequence's first 2**m points (Owen 1998), which random draws lack."""
    points = [p.point for p in take(make_strategy(searched_by("sobol", CONTINUOUS, 65)), 65)][1:]
    unit = np.array(
        [[float(str(p[name])) / width for name, width in (("adam.beta1", 0.9), (DROPOUT, 0.8))] for p in points]
    )
    for column in unit.T:
        assert sorted(map(math.floor, column * 64)) == list(range(64))
    drawn = np.random.default_rng(1).random((64, 2))
    assert qmc.discrepancy(unit) < qmc.discrepancy(drawn) / 5


def row(**changes: object) -> dict[str, object]:
    return {
        "status": "COMPLETE",
        "report_ll_mean": 10.0,
        "report_last_ll_mean": 8.0,
        "flops": 4e9,
        "cfg_score_at": "best",
        **changes,
    }


def test_a_rows_value_is_that_of_the_weights_that_are_scored() -> None:
    assert row_outcome([row()]) == Outcome(value=10.0, flops=4e9)
    assert row_outcome([row(cfg_score_at="last")]) == Outcome(value=8.0, flops=4e9)


def test_replicates_are_averaged_over_those_that_have_a_value() -> None:
    rows = [row(), row(report_ll_mean=16.0, flops=2e9), row(status="DIVERGED", report_ll_mean=99.0, flops=None)]
    assert row_outcome(rows) == Outcome(value=13.0, flops=3e9)


@pytest.mark.parametrize("status", ["STOPPED", "COLLAPSED"])
def test_a_trial_that_was_ended_early_has_the_value_of_its_reports(status: str) -> None:
    assert row_outcome([row(status=status)]).value == 10.0


@pytest.mark.parametrize("status", ["DIVERGED", "FAILED", "RUNNING", "INTERRUPTED"])
def test_a_trial_without_an_outcome_has_no_value(status: str) -> None:
    assert row_outcome([row(status=status)]).value is None
    assert row_outcome([row(status=status), row(report_ll_mean=3.0)]).value == 3.0


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_null_of_the_table_is_no_value(missing: float | None) -> None:
    assert row_outcome([row(report_ll_mean=missing, flops=missing)]) == Outcome(value=None, flops=None)
