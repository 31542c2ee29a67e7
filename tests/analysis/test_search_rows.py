"""The trials of a search, read from a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.search_rows import read_search, search_reports
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.search.proposals import row_outcome
from tests.analysis.rows import FULL, PUBLISHED, STARTED, config, confirm_rows, trial_row
from tests.analysis.search_runs import BUDGET, mixed_rows, search_row, write_search


def test_every_trial_is_there_once_in_its_order(tmp_path: Path) -> None:
    rows, curves = mixed_rows()
    again = [{**rows[0], "protocol_id": PUBLISHED.id}]
    confirmed = confirm_rows(config(), 5, 1.0, 2.0)
    search = read_search(write_search(tmp_path / "run", [*reversed(rows), *again, *confirmed], curves=curves))
    assert [t.number for t in search.trials] == list(range(14))
    assert [t.status for t in search.trials] == [row["status"] for row in rows]
    assert search.counts == "9 COMPLETE, 1 STOPPED, 1 DIVERGED, 1 FAILED, 1 INTERRUPTED, 1 COLLAPSED"
    assert (search.run, search.dataset) == ("run", "digits")
    assert (search.trials[3].started, search.trials[3].budget) == (rows[3]["run_started"], BUDGET)


def test_a_value_is_what_the_searcher_was_told(tmp_path: Path) -> None:
    rows, _ = mixed_rows()
    rows[2]["cfg_score_at"] = "last"
    search = read_search(write_search(tmp_path / "run", rows))
    for trial, row in zip(search.trials, rows, strict=True):
        told = row_outcome([row]).value
        # The searcher is told the best report of a collapsed trial too; here its end decides.
        assert trial.value == (None if row["status"] in (schema.COLLAPSED, schema.INTERRUPTED) else told)
    assert search.trials[2].value == rows[2]["report_last_ll_mean"]
    assert len(search.valued) == 10


def test_rows_of_an_older_schema_come_in_the_order_of_their_start(tmp_path: Path) -> None:
    rows = [search_row(i, 1.0 + i, config(algorithm__k=i + 1)) for i in range(3)]
    for row in rows:
        row["number"] = None
    rows[0]["run_started"] = STARTED.replace(year=2027)
    search = read_search(write_search(tmp_path / "run", rows))
    assert [t.value for t in search.trials] == [2.0, 3.0, 1.0]
    assert [t.number for t in search.trials] == [0, 1, 2]


def test_reports_are_in_the_order_of_the_epochs_without_those_that_have_no_value(tmp_path: Path) -> None:
    rows, curves = mixed_rows()
    run = write_search(tmp_path / "run", rows, curves=curves)
    reports = search_reports(run)
    first = read_search(run).trials[0]
    assert reports[first.key] == [(3, 44.0), (6, 47.0), (12, 50.0)]
    assert search_reports(write_search(tmp_path / "other", rows)) == {}


def test_a_run_without_a_search_is_told(tmp_path: Path) -> None:
    run = write_search(tmp_path / "run", [trial_row(config(), 1, "train", 3.0)])
    with pytest.raises(ResultsError, match="has no trial of a search"):
        read_search(run)


@pytest.mark.parametrize(
    ("column", "what"),
    [("report_protocol_id", "report protocols"), ("cfg_dataset_name", "data sets"), ("data_valid_digest", "images")],
)
def test_what_cannot_be_compared_is_refused(column: str, what: str, tmp_path: Path) -> None:
    rows = [search_row(i, 1.0 + i, config(algorithm__k=i + 1)) for i in range(2)]
    rows[1][column] = "another"
    with pytest.raises(ResultsError, match=f"different .*{what} and cannot be compared: .* and"):
        read_search(write_search(tmp_path / "run", rows))


def test_a_score_that_is_no_number_is_none(tmp_path: Path) -> None:
    rows = [search_row(0, float("nan"), config()), search_row(1, 2.0, config(algorithm__k=2))]
    search = read_search(write_search(tmp_path / "run", rows))
    assert [t.value for t in search.trials] == [None, 2.0]
    assert rows[0]["protocol_id"] == FULL.id
