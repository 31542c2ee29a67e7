"""Which weights of a trial are scored, and how often the test set is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gansearch import schema, scoring, training
from gansearch.config import TrialConfig
from gansearch.core.datasets import load
from gansearch.paths import RunPaths
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.spec import TrialSpec
from gansearch.trial import Report
from tests.trial_courses import ALTERNATING, WAVERING, call_raising
from tests.trials import (
    FULL,
    PUBLISHED,
    best_reports,
    curves,
    digits,
    outcome,
    read,
    run_trial,
    spec,
)

# Steps of about 1e-12 move no weight of ordinary size in float32: values differ by rounding alone.
STILL_TOLERANCE = 1e-5


@pytest.mark.parametrize(
    ("module", "name", "at", "evaluations"),
    [
        (training, "weights_digest", 1, ["made", "made"]),
        (scoring, "score_valid", 6, ["made", "made"]),  # five reports, then the first protocol
        (scoring, "score_test", 2, ["reused", "made"]),
        (Recorder, "save_weights", 1, ["reused", "reused"]),  # after the sheet
    ],
    ids=["digest", "validation", "test", "weights"],
)
def test_an_interrupt_amid_scoring_scores_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: int, evaluations: list[str]
) -> None:
    trial, folder = spec("confirm", protocols=(FULL, PUBLISHED)), tmp_path / "interrupted"
    straight = run_trial(trial, tmp_path / "straight")
    with monkeypatch.context() as patch:
        call_raising(patch, module, name, at)
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, folder)
    resumed = run_trial(trial, folder)
    assert [row["test_evaluation"] for row in resumed] == evaluations
    for row, other in zip(resumed, straight, strict=True):
        assert outcome(row) | {"test_evaluation": "made"} == outcome(other)
    same_examples(folder, tmp_path / "straight")
    sheets = [read(f, schema.SAMPLES) for f in (folder, tmp_path / "straight")]
    pd.testing.assert_frame_equal(sheets[0], sheets[1])


def same_examples(one: Path, other: Path) -> None:
    keys = list(schema.EXAMPLES.key)
    frames = [read(f, schema.EXAMPLES).sort_values(keys).reset_index(drop=True) for f in (one, other)]
    pd.testing.assert_frame_equal(frames[0], frames[1])


def test_a_trial_that_was_killed_after_its_test_evaluation_keeps_the_values_per_example(tmp_path: Path) -> None:
    trial, folder = spec("confirm", protocols=(FULL, PUBLISHED)), tmp_path / "killed"
    straight = run_trial(trial, tmp_path / "straight")
    run_trial(trial, folder)
    for part in RunPaths(folder).table("trials").iterdir():
        part.unlink()
    again = run_trial(trial, folder)
    assert [row["test_evaluation"] for row in again] == ["reused", "reused"]
    for row, other in zip(again, straight, strict=True):
        assert outcome(row) | {"test_evaluation": "made"} == outcome(other)
    same_examples(folder, tmp_path / "straight")
    assert len(read(folder, schema.TEST_EVALUATIONS)) == 2


def test_a_kill_between_the_examples_and_the_ledger_reads_the_test_set_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, folder = spec("confirm", protocols=(FULL, PUBLISHED)), tmp_path / "killed"
    straight = run_trial(trial, tmp_path / "straight")
    run_trial(trial, folder)
    for table in ("trials", "test_evaluations"):
        for part in RunPaths(folder).table(table).iterdir():
            part.unlink()
    with monkeypatch.context() as patch:
        call_raising(patch, scoring, "score_test", 1)  # is not called
        again = run_trial(trial, folder)
    assert [outcome(row) for row in again] == [outcome(row) for row in straight]
    same_examples(folder, tmp_path / "straight")
    assert len(read(folder, schema.TEST_EVALUATIONS)) == 2


def test_examples_of_other_weights_are_not_entered_in_the_ledger(tmp_path: Path) -> None:
    trial, folder, other = spec("confirm"), tmp_path / "killed", spec("confirm", seed=4)
    straight = run_trial(trial, tmp_path / "straight")
    run_trial(other, folder)
    recorder = Recorder(folder)
    stale = [row | {"seed": trial.seed} for row in recorder.read_table(schema.EXAMPLES, other.key)]
    recorder.table(schema.EXAMPLES, trial.key, stale)
    again = run_trial(trial, folder)
    assert [outcome(row) for row in again] == [outcome(row) for row in straight]


def test_another_trial_of_the_same_weights_reuses_the_test_evaluation(tmp_path: Path) -> None:
    (first,) = run_trial(spec("confirm", fold=0), tmp_path)
    (second,) = run_trial(spec("confirm", fold=1), tmp_path)
    assert (first["test_evaluation"], second["test_evaluation"]) == ("made", "reused")
    for name in ("weights_digest", "test_ll_mean", "test_ll_se_examples", "test_n"):
        assert first[name] == second[name]
    ledger = read(tmp_path, schema.TEST_EVALUATIONS)
    assert ledger[["weights_digest", "protocol_id", "fold"]].to_numpy().tolist() == [
        [first["weights_digest"], FULL.id, 0]
    ]
    (third,) = run_trial(spec("confirm", fold=0, protocols=(PUBLISHED,)), tmp_path)
    assert (third["weights_digest"], third["test_evaluation"]) == (first["weights_digest"], "made")
    assert len(read(tmp_path, schema.TEST_EVALUATIONS)) == 2


@pytest.mark.parametrize("stage", ["search", "train", "reproduce"])
def test_only_confirm_trials_read_the_test_set(tmp_path: Path, stage: str) -> None:
    (row,) = run_trial(spec(stage), tmp_path, data=digits().without_test())
    assert row["status"] == schema.COMPLETE
    assert all(row[name] is None for name in row if name.startswith("test_"))
    assert row["data_test_digest"] == digits().digests["test"]
    assert not RunPaths(tmp_path).table(schema.TEST_EVALUATIONS.name).exists()
    assert not RunPaths(tmp_path).table(schema.EXAMPLES.name).exists()
    assert RunPaths(tmp_path).weights(spec(stage).key).exists() == (stage != "search")


def test_a_row_alone_reproduces_its_trial(tmp_path: Path) -> None:
    trial = spec("confirm", seed=2**62 + 5, values=ALTERNATING, protocols=(PUBLISHED,), fold=1)
    run_trial(trial, tmp_path / "here")
    row = pd.read_parquet(tmp_path / "here" / "trials").iloc[0]
    rebuilt = TrialSpec(
        config=TrialConfig.from_dict(json.loads(row["cfg_json"])),
        seed=int(row["seed"]),
        stage=row["stage"],
        fold=int(row["fold"]),
        protocols=(Protocol(**json.loads(row["protocol_json"])),),
        report_protocol=Protocol(**json.loads(row["report_protocol_json"])),
    )
    (again,) = run_trial(rebuilt, tmp_path / "elsewhere")
    for name in ("config_id", "protocol_id", "weights_digest", "valid_ll_mean", "test_ll_mean", "report_ll_mean"):
        assert again[name] == row[name]


def test_the_best_reports_weights_are_scored_or_the_last(tmp_path: Path) -> None:
    # Adam has no schedule, so a shorter budget ends with the weights of that epoch.
    values, points = WAVERING, load("gaussian_mixture", data_dir=None)
    (best,) = run_trial(spec(values=values), tmp_path / "best", data=points)
    (last,) = run_trial(spec(values=values | {"score.at": "last"}), tmp_path / "last", data=points)
    frame = curves(tmp_path / "best")
    reports = frame.set_index("epoch")["report_ll_mean"]
    top = 1 + best_reports(frame)[-1]
    assert top < 8  # else this test shows nothing
    assert (best["scored_epoch"], best["report_epoch"], best["report_ll_mean"]) == (top, top, reports[top])
    assert (last["scored_epoch"], last["report_epoch"]) == (8, top)
    assert best["report_last_ll_mean"] == last["report_last_ll_mean"] == reports[8]
    short = values | {"algorithm.epochs": top, "score.at": "last"}
    (of_top,) = run_trial(spec(values=short), tmp_path / "short", data=points)
    assert best["weights_digest"] == of_top["weights_digest"] != last["weights_digest"]
    assert best["valid_ll_mean"] == of_top["valid_ll_mean"] != last["valid_ll_mean"]


def test_collapsed_reports_never_beat_others(tmp_path: Path) -> None:
    reports: list[Report] = []
    points = load("gaussian_mixture", data_dir=None)
    (row,) = run_trial(spec(values=WAVERING), tmp_path, data=points, on_report=reports.append)
    frame = curves(tmp_path)
    collapsed = (frame["coverage"] < 0.1 * frame["coverage_real"]).tolist()
    lls, best = frame["report_ll_mean"], best_reports(frame)
    assert collapsed[0]
    assert not collapsed[best[-1]]
    assert lls[0] > lls[1]  # the first value beats the second, which replaces it
    assert any(collapsed[best[-1] + 1 :])
    assert lls.to_numpy().argmax() > best[-1]  # the highest of all comes later, and collapsed
    assert [report.objective for report in reports] == lls[best].tolist()
    assert (row["report_epoch"], row["scored_epoch"]) == (1 + best[-1], 1 + best[-1])
    assert row["report_ll_mean"] == lls[best[-1]]


def test_the_first_stage_of_two_is_forgotten_when_the_second_begins(tmp_path: Path) -> None:
    """Else a trial of two stages could be scored by the weights of one."""
    values, points = WAVERING | {"pretraining.epochs": 6}, load("gaussian_mixture", data_dir=None)
    (row,) = run_trial(spec(values=values), tmp_path / "whole", data=points)
    reports = curves(tmp_path / "whole").set_index("epoch")["report_ll_mean"]
    assert reports[:5].max() > reports[6:].max()  # else this test shows nothing
    assert 6 <= row["report_epoch"] == row["scored_epoch"]
    assert row["report_ll_mean"] == reports[row["report_epoch"]]


def test_a_trial_that_never_leaves_collapse_stands_at_its_last_weights(tmp_path: Path) -> None:
    (row,) = run_trial(spec(values=ALTERNATING), tmp_path)
    frame = curves(tmp_path)
    assert (frame["coverage"] < 0.1 * frame["coverage_real"]).all()
    assert frame["report_ll_mean"].to_numpy().argmax() < 4  # else this test shows nothing
    assert (row["report_epoch"], row["scored_epoch"], row["collapsed"]) == (5, 5, True)
    assert row["report_ll_mean"] == row["report_last_ll_mean"] == frame["report_ll_mean"][4]


def test_reports_use_the_same_noise(tmp_path: Path) -> None:
    # A generator that all but stands still: other noise would move the values, by about their sampling error.
    still = WAVERING | {"adam.lr_g": 1e-12, "algorithm.epochs": 3, "generator.init_range": 1.5}
    run_trial(spec(values=still), tmp_path, data=load("gaussian_mixture", data_dir=None))
    lls = curves(tmp_path)["report_ll_mean"]
    assert lls.to_numpy() == pytest.approx(lls[0], abs=STILL_TOLERANCE)
