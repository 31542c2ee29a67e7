"""What is confirmed: the configuration that validation chose, from seeds of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.search.confirm import confirm_spec, finalist
from gansearch.search.sweep import search_spec
from tests.analysis.rows import config, confirm_rows, trial_row, write_run
from tests.search.small_studies import study

LOW, HIGH, STOPPED = config(algorithm__k=1), config(algorithm__k=2), config(algorithm__k=3)


def test_finalist_has_the_best_validation_value(tmp_path: Path) -> None:
    rows = [
        trial_row(LOW, 11, score=100.0),
        trial_row(HIGH, 12, score=110.0),
        trial_row(STOPPED, 13, status=schema.STOPPED, report_ll_mean=999.0),
    ]
    assert finalist(write_run(tmp_path, rows)) == HIGH


def test_finalist_is_not_chosen_by_other_stages(tmp_path: Path) -> None:
    rows = [trial_row(LOW, 11, score=100.0), trial_row(HIGH, 12, score=90.0), *confirm_rows(HIGH, 14, 500.0, 500.0)]
    assert finalist(write_run(tmp_path, rows)) == LOW


def test_no_finished_trial_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        finalist(write_run(tmp_path, [trial_row(LOW, 11, status=schema.FAILED)]))


def test_run_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        finalist(tmp_path)


def test_confirm_seeds_are_fresh_and_follow_from_the_study() -> None:
    found = study(repeats=3, confirm={"seeds": 4})
    specs = [confirm_spec(found, found.base, replicate) for replicate in range(4)]
    searched = {search_spec(found, found.space.base_point(), replicate).seed for replicate in range(3)}
    seeds = {spec.seed for spec in specs}
    assert len(seeds) == 4
    assert not seeds & searched
    assert specs == [confirm_spec(found, found.base, replicate) for replicate in range(4)]
    assert not seeds & {confirm_spec(found.with_options(seed=6), found.base, r).seed for r in range(4)}


def test_confirm_trials_are_judged_as_the_study_says() -> None:
    found = study()
    spec = confirm_spec(found, HIGH, 0)
    assert (spec.stage, spec.config, spec.scores_test) == ("confirm", HIGH, True)
    assert spec.protocols == found.confirm.protocols
    assert spec.report_protocol == found.protocols.report
    assert not search_spec(found, found.space.base_point(), 0).scores_test
