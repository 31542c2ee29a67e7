"""The tables that the scale benchmark prints."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from benchmarks.machine import machine
from benchmarks.scale.__main__ import jobs
from benchmarks.scale.report import growth, tables

SWEEP: dict[str, Any] = {
    "kind": "no-op",
    "trials": 10_000,
    "concurrent": 30,
    "wall_seconds": 200.0,
    "milliseconds_a_trial": 20.0,
    "until_first_seconds": 4.0,
    "after_last_seconds": 1.0,
    "marginal_milliseconds": {"101-1100": 16.0, "9001-10000": 20.0},
    "cpu_milliseconds": {"101-1100": 12.0, "9001-10000": 13.0},
    "wall_over_compute": 3.5,
    "gap_milliseconds": 400.0,
    "trial_seconds": 0.03,
    "megabytes_before": 700.0,
    "megabytes_at": {"1000": 750.0, "10000": 900.0},
    "megabytes_most": 910.0,
    "table_files": {"trials": 17, "curves": 24},
    "run_megabytes": 11.0,
    "best_seconds": 0.75,
}
SMALL = {
    **SWEEP,
    "trials": 1000,
    "wall_seconds": 40.0,
    "marginal_milliseconds": {"101-1000": 15.0},
    "cpu_milliseconds": {"101-1000": 11.0},
    "megabytes_at": {"1000": 750.0},
}
PEER: dict[str, Any] = {
    "kind": "plain",
    "trials": 1000,
    "concurrent": 30,
    "wall_seconds": 100.0,
    "milliseconds_a_trial": 100.0,
    "marginal_milliseconds": {"101-1000": 90.0},
    "megabytes_before": 300.0,
    "megabytes_most": 500.0,
    "files": 5003,
    "run_megabytes": 8.0,
}


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of the lines, by their labels."""
    found = {}
    for line in text.splitlines():
        if line.startswith("|"):
            label, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[label] = cells
    return found


def test_growth_is_the_last_window_over_the_first() -> None:
    assert growth(SWEEP) == pytest.approx(1.25)
    assert growth(SMALL) is None


def test_sweeps_stand_side_by_side() -> None:
    found = rows(tables(machine(), [SMALL, SWEEP]))
    assert found[""] == ["no-op, 1,000 trials", "no-op, 10,000 trials"]
    assert found["last over first"] == ["", "1.25"]
    assert found["from trial to trial at last, ms"] == ["", "20.0 (9,001-10,000)"]
    assert found["driver's memory at 1,000 trials, MB"] == ["750", "750"]
    assert found["files of tables"] == ["41", "41"]


def test_peers_stand_beside_the_sweep_of_as_many_trials() -> None:
    text = tables(machine(), [SMALL, SWEEP, PEER])
    beside = rows(text.split("\n\n")[-1])
    assert beside[""] == ["no-op, 1,000 trials", "plain Ray Tune, defaults, 1,000 trials"]
    assert beside["wall time over gansearch's"] == ["1.00", "2.50"]
    assert beside["files"] == ["41", "5,003"]


def test_peer_without_a_sweep_of_as_many_trials_has_no_ratio() -> None:
    beside = rows(tables(machine(), [SWEEP, PEER]).split("\n\n")[-1])
    assert beside["wall time over gansearch's"] == [""]


def test_machine_and_versions_head_the_tables() -> None:
    head = tables(machine(), []).splitlines()[0]
    assert f"{machine()['cores']} cores of " in head
    assert f"ray {machine()['versions']['ray']}" in head


def test_a_number_of_zero_leaves_a_measurement_out() -> None:
    given = argparse.Namespace(trials=[5, 9], sleep=0, plain_reuse=4, plain=0, real=3)
    assert list(jobs(given)) == [("no-op", 5), ("no-op", 9), ("plain-reuse", 4), ("real", 3)]
