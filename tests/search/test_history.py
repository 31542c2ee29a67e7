"""What a run's tables say has been tried, and what of it a resumed sweep counts."""

from __future__ import annotations

import shutil
import types
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from gansearch import parts, results, schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Checkpoint, Recorder
from gansearch.rows import draft_row, final_rows
from gansearch.search import history
from gansearch.search.lease import held
from gansearch.search.proposals import Outcome, Proposal
from gansearch.search.rungs import Course, KeyedScheduler, courses
from gansearch.search.schedulers import make_scheduler
from gansearch.search.searchers import CURRENT
from gansearch.search.specs import search_spec
from gansearch.search.strategies import Scheduler
from gansearch.search.study import Study
from gansearch.spec import TrialSpec
from tests.search.small_studies import study

DATA = Path(__file__).parents[1] / "data"
DIGESTS = {"train": "a", "valid": "b", "test": "c"}


def record(run: Path, spec: TrialSpec, status: str, **values: Any) -> TrialKey:
    for row in final_rows({**draft_row(spec, DIGESTS), **values}, spec, status):
        Recorder(run).trial(spec.key, row)
    return spec.key


def spec_of(found: Study, number: int, replicate: int = 0) -> TrialSpec:
    point = found.space.sample(number, found.seed) if number else found.space.base_point()
    return search_spec(found, Proposal(number=number, point=point), replicate)


def test_points_come_back_in_order_with_what_is_left_of_them(tmp_path: Path) -> None:
    found = study(repeats=2)
    record(tmp_path, spec_of(found, 1), schema.STOPPED, report_ll_mean=-3.0, flops=10.0)
    record(tmp_path, spec_of(found, 1, 1), schema.DIVERGED, report_ll_mean=-1.0, flops=20.0)
    record(tmp_path, spec_of(found, 0), schema.COMPLETE, report_ll_mean=-2.0, flops=30.0)
    record(tmp_path, spec_of(found, 2), schema.RUNNING)
    first, second, third = history.search_history(tmp_path, found)
    assert (first.number, second.number, third.number) == (0, 1, 2)
    assert second.outcome == Outcome(value=-3.0, flops=15.0)
    assert second.todo == ()
    assert (first.outcome, first.todo) == (None, (spec_of(found, 0, 1),))
    assert third.todo == (spec_of(found, 2), spec_of(found, 2, 1))
    assert third.point == found.space.sample(2, found.seed)
    assert history.counts((first, second, third)) == {"COMPLETE": 1, "STOPPED": 1, "DIVERGED": 1}
    assert history.started_keys(tmp_path) == {spec_of(found, 2).key}


def test_a_run_without_rows_has_no_history(tmp_path: Path) -> None:
    assert history.search_history(tmp_path, study()) == ()
    assert history.started_keys(tmp_path) == set()
    assert history.reports(tmp_path, "search") == {}


def test_rows_that_are_not_of_the_study_are_refused(tmp_path: Path) -> None:
    found = study()
    record(tmp_path, spec_of(found, 0), schema.COMPLETE)
    narrow = study(
        space={"adam.lr_g": {"loguniform": [0.0011, 0.01]}, "algorithm.k": {"int": [1, 3]}},
        override={"adam.lr_g": 0.002},
    )
    with pytest.raises(ResultsError, match=r"search trial [0-9a-f]{12} is not of this study: adam\.lr_g = 0\.001"):
        history.search_history(tmp_path, narrow)
    (reason,) = history.outside(tmp_path, narrow)
    assert reason.endswith("(adam.lr_g = 0.001)")
    other = study(override={"noise.dim": 12})
    (reason,) = history.outside(tmp_path, other)
    assert reason.endswith("(it differs in what the space holds fixed)")
    wide = study(space={"adam.lr_g": {"loguniform": [0.00001, 1.0]}, "algorithm.k": {"int": [1, 9]}})
    assert history.outside(tmp_path, wide) == []


def test_rows_of_the_first_version_are_numbered_by_their_start_and_rewritten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    RunPaths(run).table("trials").mkdir(parents=True)
    shutil.copy(DATA / "trials-v1.parquet", RunPaths(run).table("trials"))
    before = results.read(run, "trials")
    with held(run) as lease:
        assert history.migrate(run, lease.claim.id) == 1
        assert history.migrate(run, lease.claim.id) == 0
    (part,) = results.part_files(run, "trials")
    assert parts.version_of(part) == schema.VERSION
    after = pd.read_parquet(run / "trials")
    assert after["schema_version"].tolist() == [schema.VERSION]
    pd.testing.assert_frame_equal(
        after.drop(columns="schema_version"), before.drop(columns="schema_version"), check_dtype=False
    )
    rows: list[dict[str, Any]] = [
        {"number": None, "config_id": name, "run_started": pd.Timestamp(f"2026-01-0{day}", tz="UTC")}
        for name, day in (("c", 3), ("a", 1), ("b", 2), ("a", 5))
    ]
    assert [(r["config_id"], r["number"]) for r in history._numbered(rows)] == [("c", 2), ("a", 0), ("b", 1), ("a", 0)]
    again = [{**rows[0], "number": 2}, *rows[1:], {**rows[0], "run_started": rows[1]["run_started"]}]
    assert [r["number"] for r in history._numbered(again)] == [2, 3, 4, 3, 2]


def test_trials_that_are_given_another_try_lose_their_outcome_and_checkpoint(tmp_path: Path) -> None:
    found = study()
    failed = record(tmp_path, spec_of(found, 1), schema.FAILED, error="it broke")
    kept = record(tmp_path, spec_of(found, 0), schema.COMPLETE)
    Recorder(tmp_path).save_checkpoint(failed, Checkpoint({}, {"epochs": 3}))
    with held(tmp_path) as lease:
        assert history.start_again(tmp_path, lease.claim.id, [schema.FAILED, schema.DIVERGED]) == 1
    assert history.started_keys(tmp_path) == {failed}
    assert history.unfinished(tmp_path, [failed, kept]) == {failed: 0, kept: 0}


def test_reports_from_a_checkpoint_on_do_not_count() -> None:
    done, half, fresh, frozen = (TrialKey(f"{i:012x}", i, "search") for i in range(4))
    reports = {key: [(1, 1.0), (2, 2.0), (3, 3.0)] for key in (done, half, fresh, frozen)}
    assert courses([done, half, fresh, frozen], reports, {half: 2, fresh: 0}, {frozen: 3}) == [
        Course(key=done, reports=((1, 1.0), (2, 2.0), (3, 3.0)), ended=True),
        Course(key=half, reports=((1, 1.0),), ended=False),
        Course(key=fresh, reports=(), ended=False),
        Course(key=frozen, reports=((1, 1.0), (2, 2.0)), ended=True),
    ]


def _asha() -> ASHAScheduler:
    inner = make_scheduler(Scheduler(name="asha", grace_epochs=1, reduction_factor=2), 9)
    assert isinstance(inner, ASHAScheduler)
    return inner


def _rungs(scheduler: ASHAScheduler) -> dict[int, dict[str, float]]:
    return {int(milestone): dict(recorded) for milestone, recorded in scheduler._brackets[0]._rungs}


def tune_trial(name: str, spec: TrialSpec) -> Any:
    """Return what a scheduler looks at of a Tune trial."""
    return types.SimpleNamespace(trial_id=name, config={"spec": spec.to_dict()})


def _run(scheduler: Any, trial: Any, values: list[float], start: int = 1) -> list[str]:
    """Report values epoch by epoch until the scheduler stops the trial; return its decisions."""
    decisions = []
    scheduler.on_trial_add(None, trial)
    for epoch, value in enumerate(values, start):
        result = {"epoch": epoch, CURRENT: value}
        decisions.append(str(scheduler.on_trial_result(None, trial, result)))
        if decisions[-1] == TrialScheduler.STOP:
            break
    scheduler.on_trial_complete(None, trial, result)
    return decisions


def test_ashas_rungs_after_a_resumption_are_those_of_a_sweep_that_never_ended() -> None:
    """The second of three trials is interrupted after epoch 5, its last checkpoint is of epoch 3."""
    found = study()
    curves = [[float(10 * trial + epoch) for epoch in range(8)] for trial in (1, 2, 0)]
    trials = [tune_trial(f"t{i}", spec_of(found, i)) for i in range(3)]
    keys = [spec_of(found, i).key for i in range(3)]
    whole_inner = _asha()
    whole = KeyedScheduler(whole_inner)
    decisions = [_run(whole, trial, values) for trial, values in zip(trials, curves, strict=True)]
    assert "STOP" in decisions[2]

    resumed_inner = _asha()
    past = [
        Course(key=keys[0], reports=tuple(enumerate(curves[0], 1)), ended=True),
        Course(key=keys[1], reports=tuple(enumerate(curves[1][:3], 1)), ended=False),
    ]
    resumed = KeyedScheduler(resumed_inner, past)
    again = tune_trial("another name", spec_of(found, 1))
    assert _run(resumed, again, curves[1][3:], start=4) == decisions[1][3:]
    assert _run(resumed, tune_trial("t9", spec_of(found, 2)), curves[2]) == decisions[2]
    assert _rungs(resumed_inner) == _rungs(whole_inner)
    assert set(_rungs(whole_inner)[1]) == {str(key) for key in keys}


def test_a_report_that_is_made_again_counts_once() -> None:
    found = study()
    key = spec_of(found, 0).key
    inner = _asha()
    scheduler = KeyedScheduler(inner, [Course(key=key, reports=((1, 5.0), (2, 6.0)), ended=False)])
    before = _rungs(inner)
    _run(scheduler, tune_trial("t0", spec_of(found, 0)), [5.0, 6.0])
    assert _rungs(inner) == before
    assert before[1] == {str(key): 5.0}


def test_the_median_rule_lets_a_trial_go_on_that_it_would_stop_now() -> None:
    found = study()
    keys = [spec_of(found, i).key for i in range(4)]
    inner = make_scheduler(Scheduler(name="median", grace_epochs=1, min_trials=2), 9)
    past = [Course(key=keys[i], reports=tuple((e, 10.0 * i) for e in range(1, 6)), ended=True) for i in (1, 2, 3)]
    past.append(Course(key=keys[0], reports=((1, 0.0), (2, 0.0)), ended=False))
    scheduler: Any = KeyedScheduler(inner, past)
    low = tune_trial("t0", spec_of(found, 0))
    scheduler.on_trial_add(None, low)
    assert scheduler.on_trial_result(None, low, {"epoch": 3, CURRENT: 50.0}) == TrialScheduler.CONTINUE
    new = tune_trial("t5", spec_of(found, 5))
    scheduler.on_trial_add(None, new)
    assert scheduler.on_trial_result(None, new, {"epoch": 3, CURRENT: -50.0}) == TrialScheduler.STOP


def _median() -> Any:
    return make_scheduler(Scheduler(name="median", grace_epochs=1, min_trials=2), 4)


def test_what_the_median_rule_remembers_after_a_resumption_is_what_it_was_told() -> None:
    """One trial runs to its end, one is stopped, one diverges at its third report."""
    found = study()
    keys = [spec_of(found, i).key for i in range(3)]
    told_inner = _median()
    told: Any = KeyedScheduler(told_inner)
    values = [[1.0, 2.0, 3.0, 4.0], [0.0, 1.0], [5.0, 6.0]]
    for i, curve in enumerate(values):
        trial = tune_trial(f"t{i}", spec_of(found, i))
        told.on_trial_add(None, trial)
        last = len(curve) if i else 3  # the report at the budget is told with the end
        for epoch, value in enumerate(curve[:last], 1):
            told.on_trial_result(None, trial, {"epoch": epoch, CURRENT: value})
        told.on_trial_complete(None, trial, {"epoch": 4, CURRENT: 4.0} if i == 0 else {"epoch": 3})
    curves = [values[0], values[1], [*values[2], 7.0]]
    reports = {key: list(enumerate(curve, 1)) for key, curve in zip(keys, curves, strict=True)}
    resumed_inner = _median()
    KeyedScheduler(resumed_inner, courses(keys, reports, {}, {keys[2]: 3}))
    assert dict(resumed_inner._results) == dict(told_inner._results)
    assert [len(r) for r in told_inner._results.values()] == [4, 2, 2]


def test_the_median_rule_counts_a_report_that_a_restarted_worker_makes_again_once() -> None:
    inner = _median()
    scheduler: Any = KeyedScheduler(inner)
    trial = tune_trial("t0", spec_of(study(), 0))
    scheduler.on_trial_add(None, trial)
    for epoch in (1, 2, 2, 3):
        assert scheduler.on_trial_result(None, trial, {"epoch": epoch, CURRENT: 1.0}) == TrialScheduler.CONTINUE
    assert [result["epoch"] for (results_,) in [inner._results.values()] for result in results_] == [1, 2, 3]


def test_a_trial_that_equals_one_that_ended_is_no_error_to_asha() -> None:
    found = study()
    key = spec_of(found, 0).key
    scheduler: Any = KeyedScheduler(_asha(), [Course(key=key, reports=((1, 5.0), (9, 6.0)), ended=True)])
    equal = tune_trial("t0", spec_of(found, 0))
    scheduler.on_trial_add(None, equal)
    scheduler.on_trial_complete(None, equal, {"epoch": 9, CURRENT: 6.0})
