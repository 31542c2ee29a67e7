"""Engines for tests: trials alone and packed, and what they leave held against each other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gansearch import schema, scoring
from gansearch.core import epochs
from gansearch.packing import Engine
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.spec import TrialSpec
from gansearch.trial import Report
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


def interrupted_after(epoch: int, trials: Sequence[TrialSpec], folder: Path, placement: Placement) -> None:
    running = engine(folder, slots=len(trials), placement=placement)
    add(running, trials)
    for _ in range(epoch):
        running.advance()
    running.interrupt("the sweep was stopped")


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
