"""The front of likelihood and cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.front import front, unbeaten
from gansearch import schema
from gansearch.errors import ResultsError
from tests.analysis.rows import config, confirm_rows, trial_row, write_run

A, B, C, D = (config(algorithm__k=k) for k in (1, 2, 3, 4))


def test_only_configurations_that_none_beats_are_in_the_front(tmp_path: Path) -> None:
    rows = [
        trial_row(A, 1, score=10.0, flops=5e9),
        trial_row(A, 2, score=14.0, flops=5e9),
        trial_row(B, 3, score=11.0, flops=2e9),
        trial_row(C, 4, score=10.5, flops=3e9),  # B is better and cheaper
        trial_row(D, 5, status=schema.STOPPED, report_ll_mean=99.0, flops=1e9),
        *confirm_rows(C, 6, 500.0, 500.0),  # of another stage
    ]
    found = front(write_run(tmp_path, rows))
    assert [(p.config_id, p.valid_ll_mean, p.flops, p.seeds) for p in found] == [
        (A.config_id, 12.0, 5e9, 2),
        (B.config_id, 11.0, 2e9, 1),
    ]
    assert [p.values for p in found] == [{"cfg_algorithm_k": 1}, {"cfg_algorithm_k": 2}]


def test_equal_configurations_are_both_in_the_front(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=3.0, flops=1e9), trial_row(B, 2, score=3.0, flops=1e9)]
    assert {p.config_id for p in front(write_run(tmp_path, rows))} == {A.config_id, B.config_id}


def test_a_run_without_a_completed_trial_has_no_front(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no search trial completed"):
        front(write_run(tmp_path, [trial_row(A, 1, status=schema.FAILED)]))


def test_trials_that_do_not_say_what_they_cost_are_told(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="do not say what they cost"):
        front(write_run(tmp_path, [trial_row(A, 1, score=3.0)]))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_the_points_that_none_beats_are_found(points: list[tuple[int, int]]) -> None:
    values, costs = (np.array(axis, float) for axis in zip(*points, strict=True))

    def beaten(value: int, cost: int) -> bool:
        return any(v >= value and c <= cost and (v, c) != (value, cost) for v, c in points)

    assert sorted(unbeaten(values, costs).tolist()) == [i for i, point in enumerate(points) if not beaten(*point)]
