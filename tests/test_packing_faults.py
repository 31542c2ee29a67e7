"""What an engine charges its trials, and what becomes of them where memory or the device fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from gansearch import packing, schema
from gansearch.core import algorithm1
from gansearch.core.pack import Pack
from gansearch.faults import DeviceFaultError, MemoryFaultError
from gansearch.paths import RunPaths
from gansearch.spec import TrialSpec
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
from tests.trial_courses import call_raising
from tests.trials import EVERY_REPORT, curves, read, spec

# --- What trials are charged ----------------------------------------------------------------------------------


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
