"""A search trial that a guard ends: when, as what, and what is told of it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.seed_counts import count_seeds
from gansearch import schema
from gansearch.errors import ConfigError
from gansearch.guards import Collapse, Guards
from gansearch.paths import RunPaths
from gansearch.recorder import Recorder
from gansearch.spec import TrialSpec
from gansearch.trial import Report
from tests.trial_courses import ALTERNATING, COLLAPSING, call_raising, diverging
from tests.trials import FULL, InterruptAfter, curves, outcome, run_trial, spec

GUARDS = Guards(collapse=Collapse(d_real_above=0.8, relative_coverage_below=0.05, reports=2))
ENDS_AT = 7  # the second of the reports with D(x) above 0.8


def guarded(values: dict[str, Any], guards: Guards = GUARDS) -> TrialSpec:
    return spec(values=values, guards=guards)


def test_a_collapsed_trial_is_ended_and_its_row_says_so(tmp_path: Path) -> None:
    reports: list[Report] = []
    (row,) = run_trial(guarded(COLLAPSING), tmp_path / "guarded", on_report=reports.append)
    run_trial(spec(values=COLLAPSING), tmp_path / "free")
    free = curves(tmp_path / "free")
    bad = (free["d_real"] > 0.8) & (free["coverage"] < 0.05 * free["coverage_real"])
    assert len(free) == 9
    assert 1 + next(n for n in range(1, 9) if bad[n - 1] and bad[n]) == ENDS_AT
    assert (row["status"], row["epochs"], row["valid_ll_mean"]) == (schema.COLLAPSED, ENDS_AT, None)
    last = free.iloc[ENDS_AT - 1]
    assert row["error"] == (
        "guards.collapse: D(x) above 0.8 and coverage below 0.05 of that of real images at 2 reports in a row: "
        f"{last['d_real']:.4g} and {last['coverage'] / last['coverage_real']:.3g} at epoch {ENDS_AT}"
    )
    assert row["report_ll_mean"] == row["report_last_ll_mean"] == last["report_ll_mean"]
    # The searcher hears what the trial came to; up to there it is the trial that it is without a guard.
    assert [report.status for report in reports] == [None] * (ENDS_AT - 1) + [schema.COLLAPSED]
    assert reports[-1].objective == last["report_ll_mean"]
    pd.testing.assert_frame_equal(curves(tmp_path / "guarded"), free[:ENDS_AT])
    assert not RunPaths(tmp_path / "guarded").checkpoint(guarded(COLLAPSING).key).exists()


@pytest.mark.parametrize("reports", range(1, ENDS_AT))
def test_bad_reports_before_an_interrupt_count(tmp_path: Path, reports: int) -> None:
    straight = run_trial(guarded(COLLAPSING), tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run_trial(guarded(COLLAPSING), tmp_path / "interrupted", on_report=InterruptAfter(reports))
    resumed = run_trial(guarded(COLLAPSING), tmp_path / "interrupted")
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    pd.testing.assert_frame_equal(curves(tmp_path / "interrupted"), curves(tmp_path / "straight"))


def test_a_trial_interrupted_while_its_end_is_written_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run_trial(guarded(COLLAPSING), tmp_path / "straight")
    with monkeypatch.context() as patch:
        call_raising(patch, Recorder, "trial", 1)
        with pytest.raises(KeyboardInterrupt):
            run_trial(guarded(COLLAPSING), tmp_path / "interrupted")
    reports: list[Report] = []
    resumed = run_trial(guarded(COLLAPSING), tmp_path / "interrupted", on_report=reports.append)
    assert [report.epoch for report in reports] == [ENDS_AT]  # nothing is trained again
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]


@pytest.mark.parametrize(
    ("values", "won", "covers_little"),
    [
        (ALTERNATING, False, True),
        (COLLAPSING | {"generator.init_range": 1.5}, True, False),
        (COLLAPSING | {"algorithm.epochs": ENDS_AT}, True, True),  # its budget is spent: nothing would be saved
    ],
    ids=["D-undecided", "samples-differ", "at-its-end"],
)
def test_other_trials_are_left_alone(tmp_path: Path, values: dict[str, Any], won: bool, covers_little: bool) -> None:
    (row,) = run_trial(guarded(values), tmp_path / "guarded")
    (free,) = run_trial(spec(values=values), tmp_path / "free")
    assert row["status"] == schema.COMPLETE
    assert outcome(row) == outcome(free)
    last = curves(tmp_path / "guarded")[-2:]
    assert (last["d_real"] > 0.8).all() == won
    assert (last["coverage"] < 0.05 * last["coverage_real"]).all() == covers_little


def test_divergence_is_told_as_such(tmp_path: Path) -> None:
    rule = Collapse(d_real_above=0.0, relative_coverage_below=1.0, reports=2)
    (row,) = run_trial(diverging(guarded({}, Guards(collapse=rule))), tmp_path)
    assert (row["status"], row["epochs"]) == (schema.DIVERGED, 2)


def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock take a second: an epoch takes one, and the scoring of a report two."""
    seconds = itertools.count(start=1000.0)
    for name in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: next(seconds))


@pytest.mark.parametrize(("every", "limit", "epochs"), [(1, 9.0, 3), (4, 2.0, 2), (4, 1e-9, 1)])
def test_a_trial_is_stopped_at_the_end_of_the_epoch_in_which_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, limit: float, epochs: int
) -> None:
    values = {"score.report_every": every, "algorithm.epochs": 8}
    run_trial(spec(values=values | {"score.report_every": 1}), tmp_path / "free")
    slow_clock(monkeypatch)
    reports: list[Report] = []
    trial = guarded(values, Guards(trial_time_limit=limit))
    (row,) = run_trial(trial, tmp_path / "limited", on_report=reports.append)
    assert (row["status"], row["epochs"], reports[-1].status) == (schema.STOPPED, epochs, schema.STOPPED)
    taken = row["run_train_seconds"] + row["run_score_seconds"]
    assert taken >= limit
    assert row["error"] == f"guards.trial_time_limit: it has taken {taken:.4g} s, of {limit:g} s at most"
    # The searcher hears what the weights of that epoch are worth.
    assert reports[-1].objective == curves(tmp_path / "free")["report_ll_mean"][epochs - 1]
    assert row["valid_ll_mean"] is None


def test_time_before_an_interrupt_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_clock(monkeypatch)
    trial = guarded({}, Guards(trial_time_limit=9.0))
    (straight,) = run_trial(trial, tmp_path / "straight")
    assert (straight["status"], straight["epochs"]) == (schema.STOPPED, 3)
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, tmp_path / "interrupted", on_report=InterruptAfter(2))
    (resumed,) = run_trial(trial, tmp_path / "interrupted")
    assert outcome(resumed) == outcome(straight)


def test_given_more_time_a_trial_goes_on_with_reports_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"score.report_every": 4, "algorithm.epochs": 8}
    with monkeypatch.context() as patch:
        slow_clock(patch)
        call_raising(patch, Recorder, "trial", 1)
        with pytest.raises(KeyboardInterrupt):
            run_trial(guarded(values, Guards(trial_time_limit=2.0)), tmp_path / "limited")
    (resumed,) = run_trial(guarded(values, Guards(trial_time_limit=1e6)), tmp_path / "limited")
    (straight,) = run_trial(spec(values=values), tmp_path / "straight")
    assert curves(tmp_path / "limited")["epoch"].tolist() == [2, 4, 8]
    assert resumed["weights_digest"] == straight["weights_digest"]


def test_only_search_trials_have_guards() -> None:
    for stage in ("confirm", "train", "reproduce"):
        with pytest.raises(ConfigError, match=f"guards end search trials only, and this one's stage is {stage}"):
            spec(stage, guards=GUARDS)


def test_guards_travel_with_the_spec_and_are_no_part_of_its_key() -> None:
    trial = guarded(COLLAPSING, Guards(collapse=Collapse(reports=5), trial_time_limit=60.0))
    assert TrialSpec.from_dict(trial.to_dict()) == trial
    assert trial.key == spec(values=COLLAPSING).key
    old = trial.to_dict()
    del old["guards"]
    assert TrialSpec.from_dict(old).guards == Guards()


def test_a_seed_that_a_guard_ended_counts_as_bad(tmp_path: Path) -> None:
    (collapsed,) = run_trial(guarded(COLLAPSING), tmp_path)
    (complete,) = run_trial(spec(values=COLLAPSING | {"algorithm.epochs": 2}), tmp_path)
    counts = count_seeds([collapsed, complete])
    assert (counts.guarded, counts.completed, counts.ended) == (1, 1, 2)
    assert counts.bad == counts.guarded + counts.collapsed
    assert "1 ended by a guard" in counts.losses()
    assert Recorder(tmp_path).rows(guarded(COLLAPSING).key, [FULL.id])[0]["status"] == schema.COLLAPSED
