"""What the plan of a search says, read without the search's own code and held against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.planned_search import Parameter, planned_search
from gansearch.search.history import row_config
from gansearch.search.space import Space
from tests.analysis.rows import config
from tests.analysis.search_runs import BUDGET, SPACE, search_row, some_configs, write_search


def test_the_space_is_that_of_the_search(tmp_path: Path) -> None:
    rows = [search_row(i, 50.0 + i, trial) for i, trial in enumerate(some_configs(7))]
    plan = planned_search(write_search(tmp_path / "run", rows))
    assert plan is not None
    space = Space.parse(SPACE, config())
    assert [p.name for p in plan.parameters] == [p.name for p in space.parameters]
    assert [p.when for p in plan.parameters] == [p.when for p in space.parameters]
    for row in rows:
        assert plan.values(row) == space.point(row_config(row))
        assert all(p.holds(plan.values(row)[p.name]) for p in plan.parameters if p.name in plan.values(row))


def test_searcher_scheduler_and_budget(tmp_path: Path) -> None:
    plan = planned_search(write_search(tmp_path / "run", [search_row(0, 1.0, config())], searcher="tpe"))
    assert plan is not None
    assert (plan.searcher, plan.scheduler, plan.epochs, plan.first) == ("tpe", "asha", BUDGET, 1)
    assert plan.rungs == (3.0, 6.0)  # 12 is the budget: nobody is stopped there


def test_without_a_plan_nothing_is_known(tmp_path: Path) -> None:
    assert planned_search(write_search(tmp_path / "run", [search_row(0, 1.0, config())], space=None)) is None


@pytest.mark.parametrize("value", [0.02, 0.4, 0.1])
def test_places_are_on_the_scale_of_the_search(value: float) -> None:
    parameter = Parameter(name="x", kind="float", low=0.02, high=0.4, log=True)
    low, high = parameter.ends
    assert low <= parameter.place(value) <= high
    assert parameter.at(parameter.place(value)) == pytest.approx(value, rel=1e-12)


def test_a_choice_stands_by_its_number() -> None:
    parameter = Parameter(name="x", kind="choice", values=(None, (64, 32), "a"))
    assert [parameter.place(v) for v in parameter.values] == [0.0, 1.0, 2.0]
    assert [parameter.at(i) for i in range(3)] == [None, (64, 32), "a"]
    assert parameter.read("64-32") == (64, 32)
    assert parameter.read(None) is None
    assert [parameter.show(v) for v in parameter.values] == ["null", "[64, 32]", "a"]
    assert not parameter.holds("b")
