"""Workers that are lost: hung, stopped, killed, and killed between two trials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gansearch.search.sweep import resume
from tests.search.faulty_workers import FaultySweeping, lost_seconds, met_at
from tests.search.small_studies import alive, plan, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEARTBEAT = 12.0
"""Seconds; a report of these trials takes less than one on an idle machine."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    sweeps: list[FaultySweeping] = []

    def start(kind: str, *, epochs: int = 6, limits: dict[str, Any] | None = None, **options: Any) -> FaultySweeping:
        given = plan(
            epochs=epochs,
            confirm={"seeds": 0},
            max_concurrent=2,
            limits={"checkpoint_seconds": 0, **(limits or {})},
        )
        sweeps.append(FaultySweeping(tmp_path, given, kind, **options))
        return sweeps[-1]

    yield start
    for sweeping in sweeps:
        sweeping.kill()


@pytest.mark.parametrize("kind", ["hang", "stop"])
def test_a_trial_that_says_nothing_is_killed_and_goes_on_from_its_checkpoint(started: Any, kind: str) -> None:
    sweeping = started(kind, epoch=3, limits={"heartbeat": HEARTBEAT})
    assert sweeping.end(400) == 0, sweeping.err
    (met,) = met_at(sweeping.run)
    assert not alive(met["pid"])
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["COMPLETE"] * 3
    assert lost_seconds(sweeping.run, 1) == [0.0], "it had a checkpoint of its last report"
    assert "it made no report for" in sweeping.err
    assert "restart 1 of 2" in sweeping.err


def test_a_trial_that_hangs_in_each_of_its_lives_is_a_failed_row_that_says_so(started: Any) -> None:
    sweeping = started("hang", times=9, limits={"heartbeat": HEARTBEAT, "max_failures": 1})
    assert sweeping.end(400) == 0, sweeping.err
    rows = trials(sweeping.run).set_index("number")
    assert rows["status"].to_dict() == {0: "COMPLETE", 1: "FAILED", 2: "COMPLETE"}
    assert re.fullmatch(
        r"its worker was lost 2 times: it made no report for \d+ s and was killed \(limits.heartbeat\)",
        rows["error"][1],
    )
    assert len(met_at(sweeping.run)) == 2
    assert resume(sweeping.run, rerun=["FAILED"]).ended == {"COMPLETE": 3}, "it may be given another try"


def test_a_killed_worker_costs_no_more_than_the_time_since_its_last_checkpoint(started: Any) -> None:
    every = 3.0
    sweeping = started("kill", epoch=40, times=2, epochs=80, limits={"checkpoint_seconds": every})
    assert sweeping.end(400) == 0, sweeping.err
    assert trials(sweeping.run)["status"].tolist() == ["COMPLETE"] * 3
    curves = pd.read_parquet(sweeping.run / "curves")
    assert curves.groupby("config_id")["epoch"].apply(list).tolist() == [list(range(1, 81))] * 3
    lost = lost_seconds(sweeping.run, 1)
    longest = curves["seconds"].groupby(curves["config_id"]).diff().max()
    print(f"lost {lost} s of work, with a checkpoint every {every} s and reports at most {longest:.2f} s apart")
    assert len(lost) == 2
    assert max(lost) <= every + longest


def test_a_worker_killed_between_two_trials_costs_no_trial(started: Any) -> None:
    sweeping = started("reset", numbers=(1, 2))
    assert sweeping.end(400) == 0, sweeping.err
    assert len(met_at(sweeping.run)) == 1
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["COMPLETE"] * 3, rows["error"].tolist()
