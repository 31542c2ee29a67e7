"""Memory that is short, and GPUs that fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.search.faulty_workers import DEVICE, FaultySweeping, lost_seconds, met_at, steps
from tests.search.small_studies import alive, plan, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPARE = 0.3
"""Share of the memory that is free now which may be taken until Ray's memory monitor kills: this machine has others."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    sweeps: list[FaultySweeping] = []

    def start(kind: str, *, limits: dict[str, Any] | None = None, **options: Any) -> FaultySweeping:
        given = plan(
            epochs=6, confirm={"seeds": 0}, max_concurrent=2, limits={"checkpoint_seconds": 0, **(limits or {})}
        )
        sweeps.append(FaultySweeping(tmp_path, given, kind, **options))
        return sweeps[-1]

    yield start
    for sweeping in sweeps:
        sweeping.kill()


def monitored() -> dict[str, str]:
    """Return the environment of a Ray whose memory monitor kills soon."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    memory = {line[0].rstrip(":"): 1024 * int(line[1]) for line in lines}
    share = 1 - (1 - SPARE) * memory["MemAvailable"] / memory["MemTotal"]
    return {"RAY_memory_usage_threshold": f"{share:.4f}", "RAY_memory_monitor_refresh_ms": "100"}


def test_a_trial_that_the_memory_monitor_kills_goes_on_with_fewer_neighbours(started: Any) -> None:
    sweeping = started("memory", epoch=3, env=monitored())
    assert sweeping.end(400) == 0, sweeping.err
    (met,) = met_at(sweeping.run)
    assert not alive(met["pid"])
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["COMPLETE"] * 3, rows["error"].tolist()
    assert "its machine ran out of memory: " in sweeping.err
    assert lost_seconds(sweeping.run, 1) == [0.0]
    again = [one["at"] for one in steps(sweeping.run) if one["number"] == 1 and one["at"] > met["at"]]
    beside = {one["number"] for one in steps(sweeping.run) if again[0] <= one["at"] <= again[-1]}
    assert beside == {1}, "two fit, and it had no neighbour"


def test_a_trial_that_runs_out_of_memory_is_a_failed_row_where_the_study_says_so(started: Any) -> None:
    sweeping = started("memory", epoch=3, env=monitored(), limits={"out_of_memory": "fail"})
    assert sweeping.end(400) == 0, sweeping.err
    assert len(met_at(sweeping.run)) == 1
    row = trials(sweeping.run).set_index("number").loc[1]
    assert (row["status"], row["epochs"] >= 2) == ("FAILED", True)
    assert row["error"].startswith("its machine ran out of memory: ")
    assert row["error"].endswith("(limits.out_of_memory: fail)")


def test_simulated_failure_of_a_gpu_ends_the_process_and_not_the_trial(started: Any) -> None:
    """Simulated: training raises what PyTorch raises."""
    sweeping = started("device", epoch=3)
    assert sweeping.end(400) == 0, sweeping.err
    (met,) = met_at(sweeping.run)
    assert not alive(met["pid"])
    assert trials(sweeping.run)["status"].tolist() == ["COMPLETE"] * 3
    assert f"the GPU failed: {DEVICE}" in sweeping.err


def test_simulated_gpu_that_fails_again_and_again_is_a_failed_row_that_says_so(started: Any) -> None:
    sweeping = started("device", times=9, limits={"max_failures": 1})
    assert sweeping.end(400) == 0, sweeping.err
    row = trials(sweeping.run).set_index("number").loc[1]
    assert (row["status"], row["error"]) == ("FAILED", f"its worker was lost 2 times: the GPU failed: {DEVICE}")


def test_simulated_lack_of_a_gpus_memory_is_tried_again(started: Any) -> None:
    sweeping = started("allocation", times=9)
    assert sweeping.end(400) == 0, sweeping.err
    assert len(met_at(sweeping.run)) == 3
    rows = trials(sweeping.run).set_index("number")
    assert rows["status"].to_dict() == {0: "COMPLETE", 1: "FAILED", 2: "COMPLETE"}
    assert rows["error"][1] == "its worker was lost 3 times: out of memory: CUDA is full"
