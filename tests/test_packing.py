"""Trials of an engine end as they end alone: rows, curves, pictures, costs, whatever happens to their neighbours."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gansearch import packing, schema, scoring
from gansearch.core import algorithm1, epochs
from gansearch.core.pack import Pack
from gansearch.faults import DeviceFaultError, MemoryFaultError
from gansearch.guards import Collapse, Guards
from gansearch.packing import Engine
from gansearch.paths import RunPaths
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.spec import TrialSpec
from gansearch.trial import Report, Trial
from tests.trial_courses import ADAM, ALTERNATING, COLLAPSING, DIVERGING, call_raising
from tests.trials import EVERY_REPORT, FULL, PUBLISHED, curves, digits, outcome, read, run_trial, spec

TOLERANCE = 1e-3
"""Of a value, and of 1 nat: sums in another order differ by 1e-7 in float32, and up to 99 steps of training multiply
that by less than 1e4."""


def engine(folder: Path, slots: int = 4, placement: Placement = EVERY_REPORT) -> Engine:
    return Engine(digits(), Recorder(folder), placement, slots)


def add(to: Engine, trials: Sequence[TrialSpec]) -> None:
    for trial in trials:
        to.add(str(trial.key), trial)


def play(
    running: Engine, on_reports: Callable[[list[tuple[str, Report]]], None] = lambda _: None
) -> list[tuple[str, Report]]:
    """Advance an engine until it is empty; return all reports."""
    seen: list[tuple[str, Report]] = []
    for _ in range(1_000):
        if not running.names:
            return seen
        reports = [(name, report) for name, report, _ in running.advance()]
        seen += reports
        on_reports(reports)
    raise AssertionError("the engine does not come to an end")


def run_packed(
    trials: Sequence[TrialSpec], folder: Path, *, slots: int = 4, placement: Placement = EVERY_REPORT
) -> list[tuple[str, Report]]:
    """Run trials in an engine to their ends; return all reports."""
    running = engine(folder, slots, placement)
    add(running, trials)
    return play(running)


def run_alone(trials: Sequence[TrialSpec], folder: Path) -> None:
    for trial in trials:
        run_trial(trial, folder)


def rows(folder: Path, trial: TrialSpec) -> list[Row]:
    return Recorder(folder).rows(trial.key, [p.id for p in trial.protocols])


def of_trial(frame: pd.DataFrame, trial: TrialSpec) -> pd.DataFrame:
    key = trial.key
    own = frame[(frame["config_id"] == key.config_id) & (frame["seed"] == key.seed) & (frame["stage"] == key.stage)]
    return own.sort_values("epoch").reset_index(drop=True)


def assert_same_outcome(folder: Path, other: Path, trials: Sequence[TrialSpec], tolerance: float = TOLERANCE) -> None:
    """Hold what trials left in a run against what they left in another.

    With a tolerance of 0 it must be the same bit for bit.
    """
    for trial in trials:
        one, two = rows(folder, trial), rows(other, trial)
        assert len(one) == len(two) == len(trial.protocols)
        for a, b in zip(one, two, strict=True):
            assert_same_row(outcome(a), outcome(b), tolerance)
        pair = [of_trial(curves(f), trial) if (f / "curves").exists() else None for f in (folder, other)]
        if pair[0] is None or pair[1] is None:
            assert pair == [None, None]
            continue
        pd.testing.assert_frame_equal(pair[0], pair[1], rtol=tolerance, atol=tolerance, check_exact=tolerance == 0)
        pictures = [of_trial(read(f, schema.SAMPLES), trial) for f in (folder, other)]
        pictures = [p.sort_values(["epoch", "kind"]).reset_index(drop=True) for p in pictures]
        if tolerance:
            pictures = [p.drop(columns="png") for p in pictures]
        pd.testing.assert_frame_equal(pictures[0], pictures[1])


def assert_same_row(one: Row, other: Row, tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in other.items():
        if tolerance and name == "weights_digest":
            continue  # of bits
        if tolerance and isinstance(value, float):
            assert one[name] == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True), name
        elif tolerance and name == "error" and value is not None:
            # The reason with its figures rounded away.
            assert one[name].split(":")[:1] == value.split(":")[:1]
        else:
            assert one[name] == value or (isinstance(value, float) and math.isnan(value) and math.isnan(one[name])), (
                name
            )


def statuses(folder: Path, trials: Sequence[TrialSpec]) -> list[str]:
    return [rows(folder, trial)[0]["status"] for trial in trials]


# One pack: what differs is no shape.
ALIKE = [
    spec("confirm", seed=1, protocols=(FULL, PUBLISHED)),
    spec(seed=2, values={"algorithm.k": 2, "discriminator.dropout_input": 0.0, "discriminator.dropout_hidden": 0.0}),
    spec(seed=3, values={"algorithm.k": 3, "algorithm.objective": "saturating", "score.report_every": 2}),
    spec(seed=4, values={"momentum.lr_g": 0.03, "score.at": "last", "noise.distribution": "gaussian"}),
    spec("train", seed=5, values={"algorithm.loss_scale": 1.0, "discriminator.max_col_norm": 0.9}),
]


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


def interrupted_after(epoch: int, trials: Sequence[TrialSpec], folder: Path, placement: Placement) -> None:
    running = engine(folder, slots=len(trials), placement=placement)
    add(running, trials)
    for _ in range(epoch):
        running.advance()
    running.interrupt("the sweep was stopped")


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
    trial = spec(values=DIVERGING)
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


# --- What trials are charged ----------------------------------------------------------------------------------


class Clock:
    """A clock that stands still, but while an epoch is trained or a report is scored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.seconds_a_trial = 0.0
        self.seconds_a_report = 0.0
        self.trained = 0.0
        train, score = epochs.train_epoch, scoring.score_valid

        def train_epoch(state: Any, members: Sequence[Any], *rest: Any, **named: Any) -> Any:
            self.now += self.seconds_a_trial * len(members)
            self.trained += self.seconds_a_trial * len(members)
            return train(state, members, *rest, **named)

        def score_valid(*arguments: Any) -> Any:
            self.now += self.seconds_a_report
            return score(*arguments)

        monkeypatch.setattr(epochs, "train_epoch", train_epoch)
        monkeypatch.setattr(scoring, "score_valid", score_valid)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_a_trial_is_charged_its_share_and_nothing_of_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    clock.seconds_a_trial, clock.seconds_a_report = 3.0, 2.0
    budgets = (5, 3, 4, 2)
    trials = [
        spec(seed=seed, values={"algorithm.epochs": budget, "score.report_every": 2 if seed == 2 else 1})
        for seed, budget in enumerate(budgets)
    ]
    began = clock.now
    run_packed(trials, tmp_path, slots=3)
    found = [rows(tmp_path, trial)[0] for trial in trials]
    assert [row["run_train_seconds"] for row in found] == [15.0, 9.0, 12.0, 6.0]
    assert sum(row["run_train_seconds"] for row in found) == clock.trained == 42.0
    # Its reports, and the score at its end.
    assert [row["run_score_seconds"] for row in found] == [12.0, 8.0, 6.0, 6.0]
    for row in found:
        assert row["run_seconds"] == row["run_train_seconds"] + row["run_score_seconds"]
        assert row["run_examples_per_second"] == pytest.approx(1_100 / 3.0)
    assert sum(row["run_seconds"] for row in found) == clock.now - began
    seconds = of_trial(read(tmp_path, schema.CURVES), trials[0])["seconds"].tolist()
    assert seconds == [5.0, 10.0, 15.0, 20.0, 25.0]


def test_costs_go_on_where_an_engine_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.seconds_a_trial, clock.seconds_a_report = 3.0, 2.0
    trials = [spec(seed=seed) for seed in (1, 2)]
    interrupted_after(2, trials, tmp_path, EVERY_REPORT)
    clock.now += 1_000.0
    run_packed(trials, tmp_path)
    for trial in trials:
        (row,) = rows(tmp_path, trial)
        assert (row["run_train_seconds"], row["run_score_seconds"], row["run_seconds"]) == (15.0, 12.0, 27.0)


# --- Memory ---------------------------------------------------------------------------------------------------


def small_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let a pack of more than so many run out of memory, with some of its work done; return sizes that were tried."""
    train, tried = Pack.train_epoch, list[int]()

    def train_epoch(self: Pack) -> None:
        tried.append(len(self))
        if len(self) > most:
            with monkeypatch.context() as patch:
                call_raising(patch, algorithm1, "train", 1)
                with pytest.raises(KeyboardInterrupt):
                    train(self)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        train(self)

    monkeypatch.setattr(Pack, "train_epoch", train_epoch)
    return tried


def test_a_pack_larger_than_memory_is_halved_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_alone(ALIKE, tmp_path / "alone")
    tried = small_memory(monkeypatch, 2)
    running = engine(tmp_path / "packed", slots=5)
    add(running, ALIKE)
    with caplog.at_level(logging.WARNING, logger=packing.__name__):
        play(running)
    assert caplog.messages == [
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB; 2 trials run at a time from here on"
    ]
    assert running.slots == 2
    assert tried[:2] == [5, 2]
    assert max(tried[1:]) == 2
    assert statuses(tmp_path / "packed", ALIKE) == [schema.COMPLETE] * 5
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", ALIKE)
    assert not any(RunPaths(tmp_path / "packed").checkpoint(trial.key).exists() for trial in ALIKE)


def test_memory_that_becomes_short_midway_sends_trials_back_to_their_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_alone(ALIKE, tmp_path / "alone")
    running = engine(tmp_path / "packed", slots=5)
    add(running, ALIKE)
    first = [*running.advance(), *running.advance(), *running.advance()]
    small_memory(monkeypatch, 2)
    left: list[TrialSpec] = []
    with monkeypatch.context() as patch:
        patch.setattr(Trial, "leave", lambda self: left.append(self.spec))
        assert running.advance() == []
    assert left == ALIKE  # those who follow a trial are told, before it is followed anew
    assert sorted(running.names) == sorted(str(trial.key) for trial in ALIKE)
    reports = [(name, report) for name, report, _ in first] + play(running)
    assert_same_outcome(tmp_path / "packed", tmp_path / "alone", ALIKE)
    for trial in ALIKE:
        own = [report.epoch for name, report in reports if name == str(trial.key)]
        assert own == of_trial(curves(tmp_path / "packed"), trial)["epoch"].tolist()  # each once


def test_a_trial_that_does_not_fit_alone_is_let_go_where_others_wait_else_the_fault_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_memory(monkeypatch, 0)
    trials = [spec(seed=seed) for seed in (1, 2)]
    running = engine(tmp_path, slots=2)
    add(running, trials)
    assert running.advance() == []  # halved
    assert running.slots == 1
    assert running.advance() == []
    message = "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert running.take_short() == {str(trials[0].key): message}
    assert running.take_short() == {}
    assert running.names == [str(trials[1].key)]
    with pytest.raises(MemoryFaultError, match="Tried to allocate"):
        running.advance()
    assert statuses_or_none(tmp_path, trials) == [None, None]  # whoever hears of it decides what becomes of them


def statuses_or_none(folder: Path, trials: Sequence[TrialSpec]) -> list[str | None]:
    return [next((row["status"] for row in rows(folder, trial)), None) for trial in trials]


def test_a_device_that_fails_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_self: Pack) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Pack, "train_epoch", failing)
    running = engine(tmp_path)
    add(running, [spec(seed=seed) for seed in (1, 2)])
    with pytest.raises(DeviceFaultError, match="the GPU failed"):
        running.advance()
