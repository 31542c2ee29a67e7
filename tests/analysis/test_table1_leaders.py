"""Who leads among several runs, who is tied with the leader, and what the data themselves score beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from scipy import stats

from analysis import reference
from analysis.calibration import KMEANS, MEAN_IMAGE, MODELS, REAL, calibrate
from analysis.table1 import Kind, Score, Table1, as_plain, table1
from gansearch import schema
from tests.analysis.images import dataset
from tests.analysis.rows import FULL, PUBLISHED, config, confirm_rows, trial_row, write_run

TRIAL = config(dataset__name="mnist")
OTHER = config(dataset__name="mnist", algorithm__k=2)
FACES = config(dataset__name="lfwcrop48")
VALID = {"high": (161.0, 164.5, 163.25), "near": (158.5, 166.0, 160.25, 162.0), "low": (101.0, 99.5)}
TEST = {"high": (151.0, 152.5, 155.25), "near": (159.5, 157.0, 158.25, 160.0), "low": (90.25, 96.0)}
SAME = 1e-12
"""SciPy computes the same few sums in another order."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _run(folder: Path, name: str, *, first: int = 0, lost: int = 0) -> Path:
    rows = [trial_row(TRIAL, 1, score=3.0)]
    for i, (valid, test) in enumerate(zip(VALID[name], TEST[name], strict=True)):
        rows += confirm_rows(TRIAL, first + i, valid, test)
    for i in range(lost):
        rows += [
            trial_row(TRIAL, first + 90 + i, "confirm", status=schema.DIVERGED, scored_by=p) for p in (FULL, PUBLISHED)
        ]
    return write_run(folder / name, rows)


def _three(folder: Path) -> list[Path]:
    return [_run(folder, name, first=100 * i) for i, name in enumerate(("low", "high", "near"))]


def _score(table: Table1, run: str, protocol_id: str = FULL.id) -> Score:
    (found,) = (r.scores["MNIST"] for r in table.section(protocol_id) if r.run == run)
    return found


def test_a_seed_that_is_not_done_is_not_lost(tmp_path: Path) -> None:
    first, second = _run(tmp_path, "high"), _run(tmp_path, "near", first=100)
    write_run(second, [trial_row(TRIAL, 190, "confirm", status=schema.RUNNING, scored_by=p) for p in (FULL, PUBLISHED)])
    to_leader = _score(table1([first, second]), "near").to_leader
    assert to_leader is not None
    assert not to_leader.over_survivors


def test_validation_names_the_leader_and_the_rows_keep_their_order(tmp_path: Path) -> None:
    """On test another run is ahead, which decides nothing."""
    table = table1(_three(tmp_path))
    assert table.compares
    for protocol_id in (FULL.id, PUBLISHED.id):
        assert [row.run for row in table.section(protocol_id)] == ["low", "high", "near"]
        leads = {row.run: row.scores["MNIST"].leads for row in table.section(protocol_id)}
        assert leads == {"low": False, "high": True, "near": False}
    assert _score(table, "near").mean > _score(table, "high").mean
    assert _score(table, "high").to_leader is None
    assert _score(table, "high").valid_mean == math.fsum(VALID["high"]) / 3


def _welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float, float]:
    found = stats.ttest_ind(a, b, equal_var=False)
    interval = found.confidence_interval(0.95)
    return math.fsum(a) / len(a) - math.fsum(b) / len(b), interval.low, interval.high, found.pvalue


def test_differences_are_welchs_and_validation_decides_about_ties(tmp_path: Path) -> None:
    table = table1(_three(tmp_path))
    valid_p = {name: _welch(VALID[name], VALID["high"])[3] for name in ("low", "near")}
    assert valid_p["low"] < 0.025
    assert valid_p["near"] > 0.05
    holm = {"low": 2 * valid_p["low"], "near": valid_p["near"]}
    for name in ("low", "near"):
        to_leader = _score(table, name).to_leader
        assert to_leader is not None
        assert (to_leader.leader, to_leader.over_survivors, to_leader.tied) == ("high", False, name == "near")
        test = to_leader.test.seeds
        assert test.interval is not None
        assert (test.mean, test.interval.low, test.interval.high, test.p) == pytest.approx(
            _welch(TEST[name], TEST["high"]), rel=SAME
        )
        assert to_leader.valid.p_holm == pytest.approx(holm[name], rel=SAME)
    # On test the near one is told apart, and is tied all the same.
    near = _score(table, "near").to_leader
    assert near is not None
    assert near.test.p_holm is not None
    assert near.test.p_holm < 0.05


def test_one_run_is_compared_with_nothing(tmp_path: Path) -> None:
    table = table1([_run(tmp_path, "high")])
    assert not table.compares
    assert (_score(table, "high").leads, _score(table, "high").to_leader) == (False, None)


def test_one_seed_has_a_difference_and_no_interval_and_is_tied(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [trial_row(TRIAL, 1, score=3.0), *confirm_rows(TRIAL, 7, 100.0, 90.0)])
    to_leader = _score(table1([_run(tmp_path, "high"), one]), "one").to_leader
    assert to_leader is not None
    assert (to_leader.test.seeds.interval, to_leader.valid.p_holm, to_leader.tied) == (None, None, True)
    assert to_leader.test.seeds.mean == pytest.approx(90.0 - math.fsum(TEST["high"]) / 3, rel=SAME)


def test_a_run_that_lost_seeds_does_not_lead_over_one_that_lost_none(tmp_path: Path) -> None:
    runs = [_run(tmp_path, "high", first=100, lost=1), _run(tmp_path, "low")]
    table = table1(runs)
    assert _score(table, "low").leads
    to_leader = _score(table, "high").to_leader
    assert to_leader is not None
    assert to_leader.over_survivors


def test_runs_on_other_data_or_under_other_protocols_are_not_compared(tmp_path: Path) -> None:
    coarse = FULL.__class__(name="coarse", num_samples=500)
    rows = [trial_row(OTHER, 1, score=3.0, scored_by=coarse)]
    for seed in (11, 12):
        confirmed, _ = confirm_rows(OTHER, seed, 5.0, 4.0)
        rows.append(
            confirmed | {"protocol_id": coarse.id, "protocol_json": json.dumps(coarse.to_dict()), "num_samples": 500}
        )
    elsewhere = [trial_row(FACES, 1, score=3.0), *confirm_rows(FACES, 21, 900.0, 880.0)]
    table = table1(
        [_run(tmp_path, "high"), write_run(tmp_path / "coarse", rows), write_run(tmp_path / "faces", elsewhere)]
    )
    assert list(table.protocols) == [PUBLISHED.id, FULL.id, coarse.id]
    assert not table.compares


def test_faces_of_lfwcrop_have_a_column_of_their_own(tmp_path: Path) -> None:
    rows = [trial_row(FACES, 1, score=3.0), *confirm_rows(FACES, 21, 900.0, 880.0)]
    table = table1([_run(tmp_path, "high"), write_run(tmp_path / "faces", rows)])
    assert table.datasets == ("MNIST", "TFD", "LFWcrop faces 48x48")
    assert all(row.kind is Kind.PUBLISHED for row in table.rows if "TFD" in row.scores)
    assert reference.column_name("TFD") == "data set TFD"
    assert reference.column_name("mnist") == "MNIST"
    assert reference.column_name("Mnist") == "data set Mnist"


def test_published_rows_carry_their_protocol_and_citation(tmp_path: Path) -> None:
    for row in table1([_run(tmp_path, "high")]).section(None):
        assert row.kind is Kind.PUBLISHED
        assert row.protocol_id is None
        for score in row.scores.values():
            assert score.citation == reference.CITATION
            assert score.protocol
            assert not score.leads
            assert score.to_leader is None


def test_without_a_calibration_the_command_is_named(tmp_path: Path) -> None:
    table = table1([_run(tmp_path, "high")])
    assert [row for row in table.rows if row.kind is Kind.CALIBRATION] == []
    (note,) = (note for note in table.notes if "calibrate" in note)
    assert note == (
        f"MNIST: what the data themselves score under {PUBLISHED.id} and {FULL.id} is not computed yet: "
        "`gansearch calibrate mnist`"
    )


def test_a_protocol_that_is_not_shipped_is_calibrated_by_its_run(tmp_path: Path) -> None:
    coarse = FULL.__class__(name="coarse", num_samples=500)
    confirmed, _ = confirm_rows(TRIAL, 11, 5.0, 4.0)
    row = confirmed | {"protocol_id": coarse.id, "protocol_json": json.dumps(coarse.to_dict()), "num_samples": 500}
    run = write_run(tmp_path / "a run", [trial_row(TRIAL, 1, score=3.0, scored_by=coarse), row])
    (note,) = (note for note in table1([run]).notes if "calibrate" in note)
    assert note.endswith(f"`gansearch calibrate '{run}'`")


def test_calibration_rows_stand_in_their_section_unranked(tmp_path: Path) -> None:
    data = dataset(n_train=40)
    found = {protocol.id: calibrate(data, protocol) for protocol in (FULL, PUBLISHED)}
    table = table1(_three(tmp_path))
    assert not any("calibrate" in note for note in table.notes)
    for protocol_id in (FULL.id, PUBLISHED.id):
        rows = table.section(protocol_id, Kind.CALIBRATION)
        assert [row.label for row in rows] == list(MODELS)
        for row in rows:
            made = found[protocol_id].row(row.model)
            assert made is not None
            score = row.scores["MNIST"]
            assert (score.mean, score.se_examples) == (made.test_ll_mean, made.test_ll_se_examples)
            assert (score.valid_mean, score.valid_se_examples) == (made.valid_ll_mean, made.valid_ll_se_examples)
            assert (score.test_n, score.valid_n, score.num_samples) == (17, 13, made.num_samples)
            assert score.comparable == (row.model == MEAN_IMAGE)
            assert (row.counts, row.run, score.leads, score.to_leader) == (None, None, False, None)
    kinds = [row.kind for row in table.rows]
    assert kinds == [Kind.PUBLISHED] * 4 + ([Kind.RUN] * 3 + [Kind.CALIBRATION] * 3) * 2


def test_a_calibration_of_one_protocol_leaves_the_note_on_the_other(tmp_path: Path) -> None:
    calibrate(dataset(n_train=40), FULL)
    table = table1([_run(tmp_path, "high")])
    assert [row.model for row in table.section(FULL.id, Kind.CALIBRATION)] == [REAL, KMEANS, MEAN_IMAGE]
    assert table.section(PUBLISHED.id, Kind.CALIBRATION) == ()
    assert any(f"under {PUBLISHED.id} is not computed yet" in note for note in table.notes)


def test_the_plain_form_says_who_is_tied(tmp_path: Path) -> None:
    calibrate(dataset(n_train=40), FULL)
    table = table1(_three(tmp_path))
    plain = json.loads(json.dumps(as_plain(table), allow_nan=False))
    by_run = {row["run"]: row["scores"]["MNIST"] for row in plain["rows"] if row["protocol_id"] == FULL.id}
    assert {run: score["to_leader"] and score["to_leader"]["tied"] for run, score in by_run.items() if run} == {
        "low": False,
        "high": None,
        "near": True,
    }
    assert {row["kind"] for row in plain["rows"]} == {"published", "calibration", "run"}
