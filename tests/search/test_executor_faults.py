"""Engines and processes of single trials that are lost: what becomes of the trials, on both executors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.search.both_executors import EXECUTORS, asked
from tests.search.faulty_workers import FaultySweeping, met_at, steps
from tests.search.small_studies import Sweeping, alive, plan, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Start = Callable[..., FaultySweeping]

HEARTBEAT = 15.0
"""Seconds; an epoch of these trials takes far less than one on an idle machine."""
LOST = "its worker was lost 3 times: "
"""With `limits.max_failures` at its default of 2."""


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> str:
    """Name each executor."""
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path, sweeps: list[Sweeping]) -> Start:
    """Return what starts a sweep of four trials on an executor, whose workers meet a fault."""

    def start(executor: str, kind: str, *, limits: dict[str, Any] | None = None, **options: Any) -> FaultySweeping:
        given = plan(
            epochs=12,
            num_trials=4,
            confirm={"seeds": 0},
            executor=asked(executor),
            resources={"cpu": 2},  # a single engine
            limits={"checkpoint_seconds": 0, **(limits or {})},
        )
        found = FaultySweeping(tmp_path, given, kind, env={"RAY_DEDUP_LOGS": "0"}, **options)
        sweeps.append(found)
        return found

    return start


def statuses(sweeping: Sweeping) -> dict[int, str]:
    """Return each trial's status by its number."""
    rows = trials(sweeping.run).sort_values("number")
    return dict(zip(rows["number"].tolist(), rows["status"].tolist(), strict=True))


def whole_curves(sweeping: Sweeping) -> bool:
    """Return whether each trial that ended well has each of its reports once."""
    rows = trials(sweeping.run)
    complete = rows.loc[rows["status"] == "COMPLETE", "config_id"]
    curves = pd.read_parquet(sweeping.run / "curves").groupby("config_id")["epoch"].apply(sorted)
    return bool(curves.loc[complete].map(lambda epochs: epochs == list(range(1, 13))).all())


@pytest.mark.parametrize(("kind", "epoch"), [("kill", 5), ("device", 5), ("reset", 0)])
def test_trials_of_a_lost_worker_go_on_elsewhere(start: Start, executor: str, kind: str, epoch: int) -> None:
    sweeping = start(executor, kind, epoch=epoch)
    assert sweeping.end(400) == 0, sweeping.err
    assert statuses(sweeping) == dict.fromkeys(range(4), "COMPLETE")
    assert whole_curves(sweeping)
    assert len(met_at(sweeping.run)) == 1
    if executor == "packed":
        assert "an engine of 4 trials was lost" in sweeping.err


def test_a_trial_that_ends_each_of_its_workers_fails_alone(start: Start, executor: str) -> None:
    """In a pack its last life is without neighbours."""
    sweeping = start(executor, "kill", times=99, epoch=5)
    assert sweeping.end(400) == 0, sweeping.err
    assert statuses(sweeping) == {0: "COMPLETE", 1: "FAILED", 2: "COMPLETE", 3: "COMPLETE"}
    (error,) = trials(sweeping.run)["error"].dropna()
    assert error.startswith(LOST)
    assert len(met_at(sweeping.run)) == 3
    assert whole_curves(sweeping)


def test_no_failure_is_forgiven_where_max_failures_is_zero(start: Start) -> None:
    sweeping = start("packed", "kill", epoch=3, limits={"max_failures": 0})
    assert sweeping.end(400) == 0, sweeping.err
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["FAILED"] * 4
    assert rows["error"].str.startswith("its worker was lost 1 time: ").all()


def test_a_worker_that_says_nothing_is_killed(start: Start, executor: str) -> None:
    sweeping = start(executor, "hang", epoch=5, limits={"heartbeat": HEARTBEAT})
    assert sweeping.end(400) == 0, sweeping.err
    (met,) = met_at(sweeping.run)
    assert not alive(met["pid"])
    assert statuses(sweeping) == dict.fromkeys(range(4), "COMPLETE")
    assert "it made no report for" in sweeping.err
    assert whole_curves(sweeping)


def test_a_pack_that_does_not_fit_into_memory_is_halved(start: Start) -> None:
    """All of its trials go on from their checkpoints, and the reports stand once."""
    sweeping = start("packed", "allocation", numbers=(), fits=1)
    assert sweeping.end(400) == 0, sweeping.err
    assert statuses(sweeping) == dict.fromkeys(range(4), "COMPLETE")
    assert [one["trials"] for one in met_at(sweeping.run)] == [4, 2]
    assert len({one["pid"] for one in steps(sweeping.run)}) == 1, "the engine goes on"
    assert "the memory of an engine's device holds 2 trials at a time, not 4" in sweeping.err
    assert "the memory of an engine's device holds 1 trial at a time, not 2" in sweeping.err
    assert whole_curves(sweeping)


@pytest.mark.parametrize(
    ("policy", "error", "lives"),
    [
        ("retry", f"{LOST}out of memory: CUDA is full", 3),
        ("fail", "out of memory: CUDA is full (limits.out_of_memory: fail)", 1),
    ],
)
def test_a_trial_that_does_not_fit_alone_fails_alone(
    start: Start, executor: str, policy: str, error: str, lives: int
) -> None:
    """As many times as the limits say; its neighbours go on."""
    sweeping = start(executor, "allocation", fits=4, times=99, limits={"out_of_memory": policy})
    assert sweeping.end(400) == 0, sweeping.err
    assert statuses(sweeping) == {0: "COMPLETE", 1: "FAILED", 2: "COMPLETE", 3: "COMPLETE"}
    assert trials(sweeping.run)["error"].dropna().tolist() == [error]
    alone = [one for one in met_at(sweeping.run) if one.get("trials", 1) == 1]
    assert executor == "tune" or len(alone) == lives  # a process of Tune's meets the fault before it sees that it ended
    assert whole_curves(sweeping)
