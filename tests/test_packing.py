"""Trials of an engine end as they end alone: rows, curves, pictures, whatever happens to their neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansearch import schema
from gansearch.core import algorithm1
from gansearch.core.pack import Pack
from gansearch.guards import Collapse, Guards
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.trial import Trial
from tests.engines import (
    ALIKE,
    Clock,
    add,
    assert_same_outcome,
    engine,
    interrupted_after,
    of_trial,
    play,
    rows,
    run_alone,
    run_packed,
    statuses,
)
from tests.trial_courses import ADAM, ALTERNATING, COLLAPSING, call_raising, diverging
from tests.trials import EVERY_REPORT, curves, read, run_trial, spec

# --- As alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [5, 2])
def test_each_trial_ends_as_it_does_alone(tmp_path: Path, slots: int) -> None:
    run_alone(ALIKE, tmp_path / "alone")
    reports = run_packed(ALIKE, tmp_path / "packed", slots=slots)
    assert statuses(tmp_path / "packed", ALIKE) == [schema.COMPLETE] * 5
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", ALIKE)
    for trial in ALIKE:
        own = [report for name, report in reports if name == str(trial.key)]
        frame = of_trial(curves(tmp_path / "packed"), trial)
        assert [report.epoch for report in own] == frame["epoch"].tolist()
        assert [report.status for report in own] == [None] * (len(own) - 1) + [schema.COMPLETE]
    tables = [sorted(p.name for p in (tmp_path / f).iterdir()) for f in ("packed", "alone")]
    assert tables[0] == tables[1]
    files = [sorted(p.name for p in (tmp_path / f).rglob("*.parquet")) for f in ("packed", "alone")]
    assert len(files[0]) == len(files[1])
    ledgers = [read(tmp_path / f, schema.TEST_EVALUATIONS) for f in ("packed", "alone")]
    assert [len(ledger) for ledger in ledgers] == [2, 2]


def test_trials_of_several_shapes_share_an_engine(tmp_path: Path) -> None:
    trials = [
        spec(seed=1),
        spec(seed=2, values=ADAM),
        spec(seed=3, values=ALTERNATING),
        spec(seed=4, values={"generator.hidden": (17,)}),
        spec(seed=5, values=ADAM | {"score.report_every": 3}),
    ]
    run_alone(trials, tmp_path / "alone")
    run_packed(trials, tmp_path / "packed", slots=4)
    assert statuses(tmp_path / "packed", trials) == [schema.COMPLETE] * 5
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", trials)


def test_every_way_to_end_is_that_of_the_trial_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes each trial a second by this clock, alone or packed, and reports take none."""
    clock = Clock(monkeypatch)
    guards = Guards(collapse=Collapse(d_real_above=0.8, relative_coverage_below=0.05, reports=2))
    trials = [
        spec(seed=1, values=COLLAPSING | {"algorithm.epochs": 4}),
        spec(seed=2, values=COLLAPSING | {"adam.lr_d": 1e30}),
        spec(values=COLLAPSING, guards=guards),
        spec(seed=4, values=COLLAPSING | {"score.report_every": 5}, guards=Guards(trial_time_limit=3.0)),
        spec(seed=5, values=COLLAPSING | {"algorithm.batch_size": 1_198}),
    ]
    clock.seconds_a_trial = 1.0
    run_alone(trials, tmp_path / "alone")
    reports = run_packed(trials, tmp_path / "packed", slots=5)
    expected = [schema.COMPLETE, schema.DIVERGED, schema.COLLAPSED, schema.STOPPED, schema.FAILED]
    assert statuses(tmp_path / "alone", trials) == expected
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", trials)
    ends = {name: report.status for name, report in reports if report.status is not None}
    assert [ends[str(trial.key)] for trial in trials] == expected
    (stopped,) = rows(tmp_path / "packed", trials[3])
    assert (stopped["epochs"], stopped["run_train_seconds"]) == (3, 3.0)
    assert stopped["error"] == "guards.trial_time_limit: it has taken 3 s, of 3 s at most"
    (failed,) = rows(tmp_path / "packed", trials[4])
    assert failed["error"] == "ValueError: a minibatch of 1198 examples is larger than the training set of 1197"


def test_an_error_amid_a_trial_ends_that_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [spec(seed=seed) for seed in (1, 2, 3)]
    run_alone(trials[::2], tmp_path / "alone")
    table = Recorder.table

    def failing(self: Recorder, which: schema.Table, key: Any, content: Any) -> None:
        if key.seed == 2 and content[-1]["epoch"] == 3:
            raise ValueError("no room")
        table(self, which, key, content)

    monkeypatch.setattr(Recorder, "table", failing)
    run_packed(trials, tmp_path / "packed")
    (row,) = rows(tmp_path / "packed", trials[1])
    assert (row["status"], row["error"]) == (schema.FAILED, "ValueError: no room")
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", trials[::2])


# --- Places ---------------------------------------------------------------------------------------------------


def test_places_are_never_exceeded_and_given_on_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    train = Pack.train_epoch

    def watched(self: Pack) -> None:
        sizes.append(len(self))
        train(self)

    monkeypatch.setattr(Pack, "train_epoch", watched)
    trials = [spec(seed=seed, values={"algorithm.epochs": budget}) for seed, budget in enumerate((1, 3, 2, 2))]
    run_packed(trials, tmp_path, slots=2)
    # Trials 0 and 1; 1 and 2; 1 and 2; 3; 3.
    assert sizes == [2, 2, 2, 1, 1]


def test_a_trial_that_is_removed_frees_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(Trial, "leave", lambda self: left.append(self.spec))
    trials = [spec(seed=seed) for seed in (1, 2, 3, 4)]
    run_alone(trials[1:3], tmp_path / "alone")
    running = engine(tmp_path / "packed", slots=2)
    add(running, trials)
    names = [str(trial.key) for trial in trials]
    assert running.names == names
    assert [name for name, _, _ in running.advance()] == names[:2]
    running.remove(names[0])
    running.remove(names[3])  # which waits
    assert running.names == names[1:3]
    reports = running.advance()
    assert [(name, report.epoch, asked) for name, report, asked in reports] == [
        (names[1], 2, trials[1]),
        (names[2], 1, trials[2]),
    ]
    play(running)
    assert left == [trials[0]]
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", trials[1:3])
    assert rows(tmp_path / "packed", trials[0]) == []  # whoever removed it writes its row
    running.remove("nobody")


def test_an_outcome_that_is_stored_is_reported_and_takes_no_place(tmp_path: Path) -> None:
    trials = [spec(seed=seed, values={"algorithm.epochs": 2}) for seed in (1, 2, 3)]
    (before,) = run_trial(trials[0], tmp_path)
    running = engine(tmp_path, slots=2)
    add(running, trials)
    reports = running.advance()
    assert [(report.epoch, report.status) for _, report, _ in reports] == [(2, schema.COMPLETE), (1, None), (1, None)]
    play(running)
    assert rows(tmp_path, trials[0]) == [before]


# --- Interrupts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epoch", "often"), [(1, True), (3, True), (3, False), (4, True)])
def test_an_interrupted_engine_goes_on_in_another(tmp_path: Path, epoch: int, often: bool) -> None:
    """One of them reports every second epoch: amid its epochs there is nothing that a checkpoint could be made of."""
    placement = EVERY_REPORT if often else Placement(checkpoint_seconds=1e9)
    run_packed(ALIKE, tmp_path / "straight", slots=5)
    interrupted_after(epoch, ALIKE, tmp_path / "packed", placement)
    assert statuses(tmp_path / "packed", ALIKE) == [schema.INTERRUPTED] * 5
    assert [rows(tmp_path / "packed", t)[0]["epochs"] for t in ALIKE] == [epoch, epoch, epoch // 2 * 2, epoch, epoch]
    reports = run_packed(ALIKE, tmp_path / "packed", slots=5)
    first = {name: report.epoch for name, report in reversed(reports)}
    missed = 0 if not often and epoch == 3 else epoch // 2 * 2  # never checkpointed at its second epoch
    assert [first[str(t.key)] for t in ALIKE] == [epoch + 1, epoch + 1, min(missed + 2, 5), epoch + 1, epoch + 1]
    # No two of its products were other ones, but that one may have trained without some of its neighbours.
    assert_same_outcome(tmp_path / "packed", tmp_path / "straight", ALIKE)


def test_an_interrupt_amid_an_epoch_goes_on_from_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = ALIKE[:2]
    run_packed(trials, tmp_path / "straight")
    running = engine(tmp_path / "packed")
    add(running, trials)
    running.advance()
    with monkeypatch.context() as patch:
        call_raising(patch, algorithm1, "train", 1)  # the first block of the second epoch
        with pytest.raises(KeyboardInterrupt):
            running.advance()
    running.interrupt("KeyboardInterrupt")
    assert [rows(tmp_path / "packed", t)[0]["epochs"] for t in trials] == [1, 1]
    run_packed(trials, tmp_path / "packed")
    assert_same_outcome(tmp_path / "packed", tmp_path / "straight", trials, tolerance=0)


def test_a_trial_that_goes_on_can_make_its_last_report_once_more(tmp_path: Path) -> None:
    trial = spec()
    interrupted_after(2, [trial], tmp_path, EVERY_REPORT)
    running = engine(tmp_path)
    running.add("again", trial, repeat=True)
    ((_, first, _), (_, second, _)) = running.advance()
    assert (first.epoch, first.status, second.epoch) == (2, None, 3)


def test_a_trial_interrupted_while_its_end_is_written_ends_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = diverging(spec())
    run_packed([trial], tmp_path / "straight")
    running = engine(tmp_path / "packed")
    add(running, [trial])
    with monkeypatch.context() as patch:
        call_raising(patch, Recorder, "trial", 1)
        with pytest.raises(KeyboardInterrupt):
            play(running)
    running.interrupt("KeyboardInterrupt")
    with monkeypatch.context() as patch:
        call_raising(patch, Pack, "train_epoch", 1)  # is not called
        ((_, report),) = run_packed([trial], tmp_path / "packed")
    assert report.status == schema.DIVERGED
    assert_same_outcome(tmp_path / "packed", tmp_path / "straight", [trial], tolerance=0)
