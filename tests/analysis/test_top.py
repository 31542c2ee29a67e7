"""The first configurations of a run: the order of `best`, or that of the reports."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.best import best
from analysis.top import as_plain, top
from analysis.top_table import render
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.yaml_files import dump_yaml
from tests.analysis.rows import FULL, PUBLISHED, REPORT, config, confirm_rows, trial_row, write_plan, write_run

A, B, C, D = (config(algorithm__k=k, momentum__lr_g=k / 7) for k in (1, 2, 3, 4))


def _searched() -> list[dict[str, Any]]:
    """Return search rows: B leads with two seeds, then A; D was stopped at the highest report, C lost a seed."""
    return [
        trial_row(A, 1, score=10.0, epochs=5),
        trial_row(B, 2, score=11.0, epochs=7),
        trial_row(B, 3, score=13.0, epochs=6),
        trial_row(C, 4, score=20.0),
        trial_row(C, 5, status=schema.DIVERGED, report_ll_mean=None),
        trial_row(D, 6, status=schema.STOPPED, report_ll_mean=99.5, epochs=2, data_valid_digest=None),
    ]


def test_the_order_is_that_of_best(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", _searched())
    found = top(run)
    assert [(r.rank, r.config_id, r.ll, r.seed) for r in found.rows] == [
        (1, B.config_id, 12.0, None),
        (2, A.config_id, 10.0, None),
        (3, C.config_id, 20.0, None),
    ]
    assert found.rows[0].config_id == best(run).choice.leader.config_id
    assert (found.run, found.by, found.stage, found.protocol_id, found.ranked) == ("one", "score", "search", FULL.id, 3)
    assert [(r.counts.completed, r.counts.seeds, r.epochs) for r in found.rows] == [(2, 2, 7), (1, 1, 5), (1, 2, 5)]
    assert found.rows[0].se_seeds == pytest.approx(1.0)  # |11 - 13| / 2
    assert found.rows[1].se_seeds is None
    assert [r.config_id for r in top(run, 1).rows] == [B.config_id]
    assert top(run, 1).ranked == 3


def test_values_are_what_the_plan_varies_or_what_differs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", _searched())
    assert top(run).rows[1].values == {"algorithm.k": 1, "momentum.lr_g": 1 / 7}
    space = {
        "momentum.lr_g": {"loguniform": [0.01, 1.0]},
        "noise.dim": {"fixed": 100},
        "adam.lr_g": {"choice": [0.1, 0.2]},
    }
    RunPaths(run).plan.write_text(dump_yaml({"study": {"space": space}}), encoding="utf-8")
    assert top(run).rows[1].values == {"momentum.lr_g": 1 / 7}  # Adam does not act here


def test_a_stage_can_be_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*_searched(), *confirm_rows(A, 31, 8.0, 1.0), *confirm_rows(A, 32, 9.0, 1.0)])
    write_plan(run, 3)
    confirmed = top(run)
    assert (confirmed.stage, [r.config_id for r in confirmed.rows], confirmed.rows[0].ll) == (
        "confirm",
        [A.config_id],
        8.5,
    )
    assert confirmed.notes == ("2 of 3 planned confirm seeds completed; the mean is over those",)
    assert top(run, stage="confirm") == confirmed
    searched = top(run, stage="search")
    assert [r.config_id for r in searched.rows] == [B.config_id, A.config_id, C.config_id]
    assert searched.notes[0] == "the best of many search trials is optimistic, and has no test score"


def test_reports_rank_stopped_trials_too(tmp_path: Path) -> None:
    found = top(write_run(tmp_path, _searched()), by="report")
    assert [(r.config_id, r.seed, r.ll) for r in found.rows] == [
        (D.config_id, 6, 99.5),
        (C.config_id, 4, 17.5),  # of a trial with a score, the report is 2.5 nats lower
        (B.config_id, 3, 10.5),
        (B.config_id, 2, 8.5),
        (A.config_id, 1, 7.5),
    ]
    assert (found.stage, found.protocol_id, found.ranked, found.rows[0].epochs) == ("search", REPORT.id, 5, 2)
    assert found.rows[0].values == {"algorithm.k": 4, "momentum.lr_g": 4 / 7}
    assert "optimistic" in found.notes[0]
    assert "never with scores" in found.notes[0]
    assert found.notes[1] == "1 trials have no report and no place"
    assert "STOPPED" in render(found, "text")


def test_a_report_counts_once_however_many_protocols_score_the_trial(tmp_path: Path) -> None:
    rows = [*_searched(), *confirm_rows(A, 31, 8.0, 1.0), *confirm_rows(B, 32, 9.0, 1.0)]
    for row in rows[-4:]:
        row["report_ll_mean"] = 3.25
    found = top(write_run(tmp_path, rows), by="report", stage="confirm")
    assert {row["protocol_id"] for row in rows[-4:]} == {FULL.id, PUBLISHED.id}
    ids = sorted([(A.config_id, 31), (B.config_id, 32)])
    assert [(r.config_id, r.seed) for r in found.rows] == ids  # tied: the smaller config_id first
    assert found.ranked == 2
    assert len(top(tmp_path, 1, by="report", stage="confirm").rows) == 1


def test_reports_of_different_protocols_or_data_are_refused(tmp_path: Path) -> None:
    other = dataclasses.replace(REPORT, num_samples=77)
    given: dict[str, Any] = {"report_protocol_id": other.id, "report_protocol_json": json.dumps(other.to_dict())}
    with pytest.raises(ResultsError, match=r"different score protocols .* num_samples"):
        top(write_run(tmp_path / "a", [*_searched(), trial_row(A, 9, score=1.0, **given)]), by="report")
    strange = trial_row(A, 9, score=1.0, data_valid_digest="999")
    with pytest.raises(ResultsError, match="digests 22222222 and 999"):
        top(write_run(tmp_path / "b", [*_searched(), strange]), by="report")


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_runs_without_anything_to_rank_are_told(tmp_path: Path, nothing: float | None) -> None:
    run = write_run(tmp_path, [trial_row(A, s, status=schema.FAILED, report_ll_mean=nothing) for s in (1, 2)])
    with pytest.raises(ResultsError, match="no search trial completed, so none can be chosen: 2 FAILED"):
        top(run)
    with pytest.raises(ResultsError, match="can be ranked by its reports: none of 2 search trials has a report"):
        top(run, by="report")
    with pytest.raises(ResultsError, match="there is no confirm trial"):
        top(run, by="report", stage="confirm")
    with pytest.raises(ResultsError, match="no confirm trial completed"):
        top(run, stage="confirm")
    with pytest.raises(ResultsError, match="is not a run directory"):
        top(tmp_path / "elsewhere")
    (tmp_path / "empty" / "trials").mkdir(parents=True)
    for by in ("score", "report"):
        with pytest.raises(ResultsError, match=r"there are none|there is no search trial"):
            top(tmp_path / "empty", by=by)


@pytest.mark.parametrize("options", [{"count": 0}, {"stage": "train"}, {"by": "test"}])
def test_what_top_does_not_take_is_an_error(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="top takes"):
        top(tmp_path, **options)


def test_damaged_parts_are_named_or_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path, _searched())
    part = next((run / "trials").glob(f"{B.config_id}-2-*.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    for by in ("score", "report"):
        with pytest.raises(ResultsError, match="is damaged"):
            top(run, by=by)
        assert top(run, by=by, skip_damaged=True).skipped == (str(part),)
    assert "damaged part files left out: 1" in render(top(run, skip_damaged=True), "text")


def test_text_and_markdown_are_rounded_and_csv_and_json_are_not(tmp_path: Path) -> None:
    found = top(write_run(tmp_path / "r|un", _searched()), 3)
    shown = render(found, "text").splitlines()
    assert shown[0].startswith("The first 3 of 3 configurations with a completed search trial in r|un")
    first = next(i for i, line in enumerate(shown) if line.startswith("1 "))
    assert shown[first].split() == ["1", B.config_id, "12.00", "1.00", "7", "2", "COMPLETE"]
    assert shown[first + 1].strip() == "algorithm.k=2, momentum.lr_g=0.2857"
    assert shown[first + 4].split()[:6] == ["3", C.config_id, "20.00", "-", "5", "1"]
    assert shown[first + 4].endswith("1 COMPLETE, 1 DIVERGED")
    marked = render(found, "markdown").splitlines()
    assert "in r\\|un" in marked[0]
    assert marked[2].startswith("| \\# | configuration | valid |")
    assert [len(line.replace("\\|", "").split("|")) for line in marked[2:7]] == [9] * 5
    lines = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert float(lines[0]["momentum.lr_g"]) == 2 / 7
    assert (lines[2]["valid_ll_mean"], lines[2]["completed"], lines[2]["seeds"], lines[2]["seed"]) == (
        "20.0",
        "1",
        "2",
        "",
    )
    plain = json.loads(json.dumps(as_plain(found)))
    assert plain["rows"][0]["values"]["momentum.lr_g"] == 2 / 7
    assert plain["rows"][2]["counts"] | {"diverged": 1, "seeds": 2, "completed": 1} == plain["rows"][2]["counts"]
    by_report = list(csv.DictReader(io.StringIO(render(top(tmp_path / "r|un", by="report"), "csv"))))
    assert (by_report[0]["report_ll_mean"], by_report[0]["seed"], by_report[0]["status"]) == ("99.5", "6", "STOPPED")
    with pytest.raises(ValueError, match="rendered as one of"):
        render(found, "latex")
