"""A stage's trials as Tune asks for them: what is handed out, in which order, and what a strategy is told."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ray.tune.search import Searcher

from gansearch import schema
from gansearch.search.history import Tried
from gansearch.search.proposals import Listed, Outcome, Point, Proposal, make_strategy
from gansearch.search.searchers import METRIC, SPEC, SpecSearcher
from gansearch.search.specs import search_spec
from gansearch.search.study import Study
from gansearch.spec import TrialSpec
from tests.search.small_studies import study


class Remembering(Listed):
    """A real strategy that writes down what it is told."""

    def __init__(self, points: Sequence[Point], start: int = 0) -> None:
        super().__init__(numbered(points, start))
        self.told: list[tuple[int, Outcome]] = []

    def tell(self, number: int, outcome: Outcome) -> None:
        self.told.append((number, outcome))


def numbered(points: Sequence[Point], start: int = 0) -> list[Proposal]:
    return [Proposal(number=number, point=point) for number, point in enumerate(points, start)]


def make_spec(of: Study) -> Callable[[Proposal, int], TrialSpec]:
    return lambda proposal, replicate: search_spec(of, proposal, replicate)


def suggested(searcher: SpecSearcher, trial_id: str) -> TrialSpec:
    return TrialSpec.from_dict(searcher.suggest(trial_id)[SPEC])


def result(value: float | None = None, flops: float | None = None, **more: Any) -> dict[str, Any]:
    found = {"draft": [{} if flops is None else {"flops": flops}], **more}
    return found if value is None else {**found, METRIC: value}


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
    searcher.on_trial_complete("t4", result=result(40.0, 5.0))
    searcher.on_trial_complete("t0", result=result(1.0, 1.0))
    searcher.on_trial_complete("t2", result=result(6.0, 2.0))
    assert strategy.told == []
    searcher.on_trial_complete("t1", result=result(2.0, 3.0))
    assert strategy.told == [(0, Outcome(value=3.0, flops=2.0))]
    # One replicate of the second point fails, one diverges: the mean is over those that have a value.
    searcher.on_trial_complete("t3", error=True)
    searcher.on_trial_complete("t5", result=result(flops=3.0, status="DIVERGED"))
    assert strategy.told[1:] == [(1, Outcome(value=40.0, flops=4.0))]


def test_strategy_hears_no_value_where_all_replicates_failed() -> None:
    found = study(repeats=2)
    strategy = Remembering([found.space.base_point()])
    searcher = SpecSearcher(strategy, 1, 2, make_spec(found))
    for trial_id in ("a", "b"):
        suggested(searcher, trial_id)
    searcher.on_trial_complete("a", result=result(status="FAILED"))
    searcher.on_trial_complete("b", error=True)
    assert strategy.told == [(0, Outcome(value=None, flops=None))]


def test_strategy_hears_the_last_report_of_a_trial_that_is_stopped_while_it_waits() -> None:
    found = study()
    strategy = Remembering([found.space.base_point(), found.space.sample(1, 5)])
    searcher = SpecSearcher(strategy, 2, 1, make_spec(found))
    for trial_id, value in (("a", 1.0), ("b", 2.0)):
        suggested(searcher, trial_id)
        searcher.on_trial_result(trial_id, result(value - 9.0, 1.0))
        searcher.on_trial_result(trial_id, result(value, 3.0))
    searcher.on_trial_complete("a")  # as Tune says it of a paused trial
    searcher.on_trial_complete("b", error=True)
    assert strategy.told == [(0, Outcome(value=1.0, flops=3.0)), (1, Outcome(value=None, flops=None))]


def test_trial_that_equals_a_running_one_waits_for_it() -> None:
    """Two processes never work on the files of one trial."""
    found = study()
    base = found.space.base_point()
    searcher = SpecSearcher(Listed(numbered([base, base])), 2, 1, make_spec(found))
    first = suggested(searcher, "a")
    assert searcher.suggest("b") is None
    assert searcher.suggest("c") is None
    assert not searcher.handed_out
    searcher.on_trial_complete("a", result=result(1.0, 1.0))
    assert suggested(searcher, "d").key == first.key
    assert searcher.handed_out


def test_strategy_that_runs_out_ends_the_search() -> None:
    found = study()
    searcher = SpecSearcher(Listed(numbered([found.space.base_point()])), 5, 1, make_spec(found))
    suggested(searcher, "a")
    assert not searcher.handed_out
    assert searcher.suggest("b") == Searcher.FINISHED
    assert searcher.handed_out


def test_what_is_left_of_points_that_were_tried_comes_first() -> None:
    found = study(repeats=3)
    points = [found.space.sample(index, 5) for index in range(4)]
    proposals = numbered(points)
    rows = [
        {"status": status, "report_ll_mean": value, "flops": 6.0, "cfg_score_at": "best"}
        for status, value in ((schema.COMPLETE, 4.0), (schema.DIVERGED, 9.0), (schema.STOPPED, 5.0))
    ]
    left = tuple(search_spec(found, proposals[1], replicate) for replicate in (1, 2))
    tried = (
        Tried(number=0, point=points[0], ended=tuple(rows)),
        Tried(number=1, point=points[1], ended=(rows[0],), todo=left),
    )
    assert tried[0].outcome == Outcome(value=4.5, flops=6.0)
    assert tried[1].outcome is None
    strategy = Remembering(points[2:], start=2)
    searcher = SpecSearcher(strategy, 3, 3, make_spec(found), tried)
    assert [suggested(searcher, f"t{i}") for i in range(2)] == list(left)
    assert suggested(searcher, "t2") == search_spec(found, proposals[2], 0)
    searcher.on_trial_complete("t0", result=result(8.0, 9.0))
    assert strategy.told == []
    searcher.on_trial_complete("t1", error=True)
    assert strategy.told == [(1, Outcome(value=6.0, flops=7.5))]
    assert [suggested(searcher, f"t{i}").replicate for i in (3, 4)] == [1, 2]
    assert searcher.handed_out
    assert searcher.suggest("t5") == Searcher.FINISHED
    assert SpecSearcher(strategy, 1, 3, make_spec(found), tried[:1]).handed_out


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_searcher_can_be_pickled_as_tune_does(name: str) -> None:
    found = study(searcher=name)
    searcher = SpecSearcher(make_strategy(found), 3, 1, make_spec(found))
    assert len(pickle.dumps(searcher)) < 1000
