"""One spec in, one row under each protocol out, whatever happens."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gansearch import schema, scoring, training
from gansearch.config import TrialConfig
from gansearch.core import algorithm1
from gansearch.core.datasets import load
from gansearch.errors import ResultsError, UserError
from gansearch.paths import RunPaths
from gansearch.placement import Placement
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.rows import final_rows
from gansearch.spec import TrialSpec
from gansearch.trial import Report, Trial, describe
from tests.trials import (
    EVERY_REPORT,
    FULL,
    PUBLISHED,
    REPORT,
    InterruptAfter,
    best_reports,
    curves,
    digits,
    outcome,
    read,
    run_trial,
    spec,
)

N_VALID, N_TEST = 300, 300
ADAM = {"update.rule": "adam", "adam.lr_g": 0.01, "adam.lr_d": 0.003}
# Steps of about 1e-12 move no weight of ordinary size in float32: values differ by rounding alone.
STILL_TOLERANCE = 1e-5
ALTERNATING = ADAM | {"algorithm.order": "alternating", "algorithm.k": 2}
# Its samples leave collapse after the first epoch, with lower values, and fall back after the fifth, with higher ones.
WAVERING = {
    "dataset.name": "gaussian_mixture",
    "update.rule": "adam",
    "adam.lr_g": 0.01,
    "adam.lr_d": 0.01,
    "algorithm.epochs": 8,
}
# D's weights grow by orders of magnitude a step until one overflows, in the second epoch.
DIVERGING = {"momentum.lr_d": 1e2}
# Samples of about 1e20: networks and losses stay finite in float32, squared distances do not.
OVERFLOWING = {
    "generator.hidden": (37,),
    "generator.output": "linear",
    "generator.init_range": 1e10,
    "momentum.lr_d": 1e-30,
    "momentum.lr_floor": 0.0,
}


def call_raising(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: int) -> None:
    """Let the call number `at` (from 1) of a function raise KeyboardInterrupt after its work; others are untouched."""
    function: Callable[..., Any] = getattr(module, name)
    calls = iter(range(1, 1_000_000))

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        if next(calls) == at:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(module, name, wrapped)


def test_a_complete_confirm_trial_leaves_every_table_and_fills_every_column(tmp_path: Path) -> None:
    trial = spec("confirm", protocols=(FULL, PUBLISHED), replicate=2)
    rows = run_trial(trial, tmp_path)
    frame = read(tmp_path, schema.TRIALS)
    assert [row["protocol_id"] for row in rows] == [FULL.id, PUBLISHED.id]
    assert sorted(frame["protocol_id"]) == sorted([FULL.id, PUBLISHED.id])
    assert list(frame.columns) == [c.name for c in schema.TRIALS.columns]
    empty = {name for name in frame.columns if frame[name].isna().any()}
    inactive = {c for c in frame.columns if c.startswith("cfg_adam_")}
    unset = {"cfg_generator_max_col_norm", "cfg_discriminator_max_col_norm"}  # optional, and the recipe has none
    # Installed packages and the revision depend on where the tests run.
    assert empty - {"run_ray_version", "run_code_revision"} == inactive | unset | {"error"}
    assert set(frame["status"]) == {schema.COMPLETE}
    assert set(frame["replicate"]) == {2}
    assert set(frame["valid_n"]) == {N_VALID, PUBLISHED.valid_count}
    assert set(frame["test_n"]) == {N_TEST}
    assert set(frame["num_samples"]) == {FULL.num_samples, PUBLISHED.num_samples}
    assert np.isfinite(frame[["valid_ll_mean", "test_ll_mean", "sigma"]].to_numpy()).all()

    reports = read(tmp_path, schema.CURVES)
    assert not reports.isna().any(axis=None)
    assert reports["epoch"].tolist() == [1, 2, 3, 4, 5]

    examples = read(tmp_path, schema.EXAMPLES)
    means = examples.groupby(["protocol_id", "split"])["ll"].agg(["mean", "count"])
    for row in rows:
        for split in ("valid", "test"):
            mean, count = means.loc[(row["protocol_id"], split)]
            assert mean == pytest.approx(row[f"{split}_ll_mean"], rel=1e-12)  # float64 sums in another order
            assert count == row[f"{split}_n"]

    ledger = read(tmp_path, schema.TEST_EVALUATIONS).set_index("protocol_id")
    assert len(ledger) == 2
    for row in rows:
        assert row["test_evaluation"] == "made"
        assert ledger.loc[row["protocol_id"], "test_ll_mean"] == row["test_ll_mean"]
    checkpoints = [p for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()]
    assert checkpoints == [RunPaths(tmp_path).weights(trial.key)]


def test_pictures_are_real_pngs_of_the_right_size(tmp_path: Path) -> None:
    run_trial(spec("confirm"), tmp_path)
    frame = read(tmp_path, schema.SAMPLES)
    assert frame["kind"].value_counts().to_dict() == {"report": 5, "sheet": 1}
    for _, picture in frame.iterrows():
        image = Image.open(io.BytesIO(picture["png"]))
        image.load()
        # 8 x 8 pixels and a line a digit, and the closing line.
        assert image.size == (picture["columns"] * 9 + 1, picture["rows"] * 9 + 1)
        assert image.mode == "L"
    assert frame.loc[frame["kind"] == "sheet", ["rows", "columns"]].to_numpy().tolist() == [[10, 10]]


def test_an_outcome_that_is_stored_is_returned_and_nothing_trains(tmp_path: Path) -> None:
    trial = spec()
    first = run_trial(trial, tmp_path)
    files = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    untrainable = dataclasses.replace(digits(), train=digits().train[:7])
    reports: list[Report] = []
    again = run_trial(trial, tmp_path, data=untrainable, on_report=reports.append)
    assert again == first
    assert [report.status for report in reports] == [schema.COMPLETE]
    assert reports[0].objective == first[0]["report_ll_mean"]
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()} == files


def test_a_huge_learning_rate_ends_as_diverged(tmp_path: Path) -> None:
    reports: list[Report] = []
    (row,) = run_trial(spec("confirm", values=DIVERGING), tmp_path, on_report=reports.append)
    assert row["status"] == schema.DIVERGED
    assert "non-finite" in row["error"]
    assert row["epochs"] == 2
    assert all(row[name] is None for name in ("valid_ll_mean", "test_ll_mean", "sigma", "weights_digest"))
    assert row["d_updates"] < 22  # of two epochs of 11, those before the freeze
    assert math.isfinite(row["report_ll_mean"])
    assert [(report.status, report.objective) for report in reports] == [
        (None, row["report_ll_mean"]),
        (schema.DIVERGED, None),
    ]
    assert read(tmp_path, schema.CURVES)["epoch"].tolist() == [1, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoints", "curves", "samples", "trials"]
    assert not any((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("at", ["best", "last"])
def test_samples_without_a_finite_score_end_as_diverged_and_leave_the_test_set_alone(tmp_path: Path, at: str) -> None:
    trial = spec("confirm", values=OVERFLOWING | {"score.at": at})
    reports: list[Report] = []
    (row,) = run_trial(trial, tmp_path, on_report=reports.append)
    assert (row["status"], row["epochs"]) == (schema.DIVERGED, 5)
    assert row["error"] == "the samples have no finite log-likelihood"
    assert row["report_ll_mean"] is None
    assert math.isnan(row["report_last_ll_mean"])
    assert [report.objective for report in reports] == [None] * 5
    # A value that is not finite is written as the NaN it is, not as one that is missing.
    reported = [r["report_ll_mean"] for r in Recorder(tmp_path).read_table(schema.CURVES, trial.key)]
    assert len(reported) == 5
    assert all(map(math.isnan, reported))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoints", "curves", "samples", "trials"]
    assert not any((tmp_path / "checkpoints").iterdir())


def test_data_too_small_for_a_minibatch_end_as_failed(tmp_path: Path) -> None:
    trial = spec("train", values={"algorithm.batch_size": 1_198}, protocols=(FULL, PUBLISHED))
    rows = run_trial(trial, tmp_path)
    assert [row["status"] for row in rows] == [schema.FAILED] * 2
    assert {row["error"] for row in rows} == {
        "ValueError: a minibatch of 1198 examples is larger than the training set of 1197"
    }
    assert run_trial(trial, tmp_path) == rows


def test_a_confirm_trial_without_the_test_set_fails_before_it_trains(tmp_path: Path) -> None:
    (row,) = run_trial(spec("confirm"), tmp_path, data=digits().without_test())
    assert (row["status"], row["epochs"]) == (schema.FAILED, 0)
    assert "test split is locked away" in row["error"]
    assert not RunPaths(tmp_path).table(schema.CURVES.name).exists()


@pytest.mark.parametrize(("table", "epochs"), [("curves", 1), ("examples", 5)])
def test_an_error_amid_training_or_scoring_ends_as_failed(tmp_path: Path, table: str, epochs: int) -> None:
    (tmp_path / table).write_text("not a folder")
    (row,) = run_trial(spec("confirm"), tmp_path)
    assert (row["status"], row["epochs"]) == (schema.FAILED, epochs)
    assert row["error"].startswith(f"cannot write {tmp_path / table}")
    assert row["valid_ll_mean"] is None
    assert math.isfinite(row["report_ll_mean"])


def test_a_damaged_row_is_named_and_not_overwritten(tmp_path: Path) -> None:
    run_trial(spec(), tmp_path)
    part = RunPaths(tmp_path).part("trials", spec().key, FULL.id)
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(ResultsError, match="is damaged") as caught:
        run_trial(spec(), tmp_path)
    assert str(part) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reports"),
    [({}, 1), (ALTERNATING, 3), (ALTERNATING | {"score.report_every": 2, "score.at": "last"}, 2)],
    ids=["momentum", "adam-alternating", "every-second-epoch"],
)
def test_an_interrupted_trial_continues_bit_for_bit(tmp_path: Path, values: dict[str, Any], reports: int) -> None:
    trial = spec("confirm", values=values, protocols=(FULL, PUBLISHED))
    straight = run_trial(trial, tmp_path / "straight")
    folder = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, folder, on_report=InterruptAfter(reports))
    key, recorder = trial.key, Recorder(folder)
    interrupted = recorder.rows(key, [FULL.id, PUBLISHED.id])
    assert [row["status"] for row in interrupted] == [schema.INTERRUPTED] * 2
    assert interrupted[0]["error"] == "KeyboardInterrupt"
    assert recorder.paths.checkpoint(key).is_file()
    seen: list[int] = []
    resumed = run_trial(trial, folder, on_report=lambda report: seen.append(report.epoch))
    assert seen[0] > interrupted[0]["epochs"]
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    assert all(row["run_started"] == interrupted[0]["run_started"] for row in resumed)
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path / "straight"))
    pictures = [read(f, schema.SAMPLES) for f in (folder, tmp_path / "straight")]
    pd.testing.assert_frame_equal(pictures[0], pictures[1])
    assert not recorder.paths.checkpoint(key).exists()


def test_reports_after_the_checkpoint_are_forgotten_not_doubled(tmp_path: Path) -> None:
    trial, folder = spec(), tmp_path / "killed"
    straight = run_trial(trial, tmp_path / "straight")
    killed = Trial(trial, digits(), Recorder(folder), EVERY_REPORT)
    killed.advance()
    checkpoint = RunPaths(folder).checkpoint(trial.key)
    old = checkpoint.read_bytes()
    killed.advance()
    killed.advance()
    checkpoint.write_bytes(old)
    assert len(curves(folder)) == 3
    reports: list[Report] = []
    resumed = run_trial(trial, folder, on_report=reports.append)
    assert reports[0].epoch == 2
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path / "straight"))


def test_an_interrupt_amid_an_epoch_goes_on_from_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, folder = spec(), tmp_path / "interrupted"
    straight = run_trial(trial, tmp_path / "straight")
    with monkeypatch.context() as patch:
        call_raising(patch, algorithm1, "joint_step", 3 * 11 + 4)  # the fourth step of the fourth epoch
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, folder)
    (row,) = Recorder(folder).rows(trial.key, [FULL.id])
    assert (row["status"], row["epochs"]) == (schema.INTERRUPTED, 3)
    reports: list[Report] = []
    resumed = run_trial(trial, folder, on_report=reports.append)
    assert reports[0].epoch == 4
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]


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


@pytest.mark.parametrize("reports", [1, 5], ids=["best-collapsed", "best-not-collapsed"])
def test_whether_the_best_has_collapsed_outlives_an_interrupt(tmp_path: Path, reports: int) -> None:
    trial, points = spec(values=WAVERING), load("gaussian_mixture", data_dir=None)
    straight = run_trial(trial, tmp_path / "straight", data=points)
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, tmp_path / "interrupted", data=points, on_report=InterruptAfter(reports))
    resumed = run_trial(trial, tmp_path / "interrupted", data=points)
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]


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


@pytest.mark.parametrize("epochs", [2, 4], ids=["at-its-end", "before-its-end"])
def test_a_diverged_trial_interrupted_while_its_row_is_written_stays_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    trial, folder = spec(values=DIVERGING | {"algorithm.epochs": epochs}), tmp_path / "interrupted"
    straight = run_trial(trial, tmp_path / "straight")
    assert [(row["status"], row["epochs"]) for row in straight] == [(schema.DIVERGED, 2)]
    with monkeypatch.context() as patch:
        call_raising(patch, Recorder, "trial", 1)
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, folder)
    assert [r["status"] for r in Recorder(folder).rows(trial.key, [FULL.id])] == [schema.INTERRUPTED]
    resumed = run_trial(trial, folder)
    assert [outcome(row) for row in resumed] == [outcome(row) for row in straight]
    assert resumed[0]["run_train_seconds"] > 0


@pytest.mark.parametrize("at", ["best", "last"])
def test_reports_say_the_best_so_far_or_the_current_value_and_the_last_epoch_reports(tmp_path: Path, at: str) -> None:
    values = ADAM | {"algorithm.epochs": 7, "score.report_every": 3, "score.at": at, "adam.lr_d": 0.03}
    reports: list[Report] = []
    (row,) = run_trial(spec(values=values), tmp_path, on_report=reports.append)
    frame = curves(tmp_path)
    assert frame["epoch"].tolist() == [report.epoch for report in reports] == [3, 6, 7]
    lls = frame["report_ll_mean"]
    assert [report.objective for report in reports] == (lls[best_reports(frame)] if at == "best" else lls).tolist()
    assert [report.status for report in reports] == [None, None, schema.COMPLETE]
    assert [report.draft["epochs"] for report in reports] == [3, 6, 7]
    assert (row["d_updates"], row["g_updates"]) == (77, 77)


def test_a_drafts_rows_of_every_status_read_by_pandas(tmp_path: Path) -> None:
    run_trial(spec(seed=1), tmp_path)
    run_trial(spec(seed=2, values=DIVERGING), tmp_path)
    run_trial(spec("confirm", seed=3), tmp_path, data=digits().without_test())
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec(seed=4), tmp_path, on_report=InterruptAfter(1))
    stopped = spec(seed=5)
    draft = Trial(stopped, digits(), Recorder(tmp_path), EVERY_REPORT).advance().draft
    for row in final_rows(draft, stopped, schema.STOPPED, error="stopped by the scheduler after 1 epochs"):
        Recorder(tmp_path).trial(stopped.key, row)
    frame = read(tmp_path, schema.TRIALS)
    assert set(frame["status"]) == set(schema.STATUSES)
    assert frame["valid_ll_mean"].notna().tolist() == (frame["status"] == schema.COMPLETE).tolist()
    assert frame["error"].isna().tolist() == (frame["status"] == schema.COMPLETE).tolist()
    stopped_row = frame[frame["status"] == schema.STOPPED].iloc[0]
    assert np.isfinite(stopped_row["report_ll_mean"])
    assert set(frame["report_protocol_id"]) == {REPORT.id}


def test_interrupt_before_anything_was_trained_leaves_a_row_that_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "interrupted")
    trial = Trial(spec(), digits(), recorder, EVERY_REPORT)
    trial.interrupt("the sweep was stopped")
    (row,) = recorder.rows(spec().key, [FULL.id])
    assert (row["status"], row["epochs"], row["error"]) == (schema.INTERRUPTED, 0, "the sweep was stopped")
    assert trial.advance().status == schema.INTERRUPTED
    resumed = run_trial(spec(), recorder.run)
    assert [outcome(r) for r in resumed] == [outcome(r) for r in run_trial(spec(), tmp_path / "straight")]


def test_interrupt_never_replaces_what_is_known(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec(), tmp_path, on_report=InterruptAfter(2))
    Trial(spec(), digits(), recorder, EVERY_REPORT).interrupt("again, before it went on")
    (row,) = recorder.rows(spec().key, [FULL.id])
    assert (row["epochs"], row["error"]) == (2, "KeyboardInterrupt")
    trial = Trial(spec(), digits(), recorder, EVERY_REPORT)
    while trial.advance().status is None:
        pass
    done = recorder.rows(spec().key, [FULL.id])
    trial.interrupt("too late")
    Trial(spec(), digits(), recorder, EVERY_REPORT).interrupt("too late")
    assert recorder.rows(spec().key, [FULL.id]) == done
    assert done[0]["status"] == schema.COMPLETE
    assert not recorder.paths.checkpoint(spec().key).exists()


def test_what_on_report_raises_interrupts_the_trial_and_is_raised(tmp_path: Path) -> None:
    def broken(_report: Report) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        run_trial(spec(), tmp_path, on_report=broken)
    (row,) = Recorder(tmp_path).rows(spec().key, [FULL.id])
    assert (row["status"], row["error"]) == (schema.INTERRUPTED, "BrokenPipeError: nobody reads")


def _cut(paths: RunPaths, trial: TrialSpec) -> None:
    checkpoint = paths.checkpoint(trial.key)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])


def _cut_curves(paths: RunPaths, trial: TrialSpec) -> None:
    part = paths.part("curves", trial.key)
    part.write_bytes(part.read_bytes()[:-100])


def _swap(paths: RunPaths, trial: TrialSpec) -> None:
    other = spec(values={"generator.hidden": (17,)})
    with pytest.raises(KeyboardInterrupt):
        run_trial(other, paths.root / "other", on_report=InterruptAfter(1))
    shutil.copy(RunPaths(paths.root / "other").checkpoint(other.key), paths.checkpoint(trial.key))


@pytest.mark.parametrize("damage", [_cut, _cut_curves, _swap])
def test_a_checkpoint_that_cannot_be_used_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[RunPaths, TrialSpec], None]
) -> None:
    trial, folder = spec(), tmp_path / "damaged"
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, folder, on_report=InterruptAfter(3))
    damage(RunPaths(folder), trial)
    with caplog.at_level(logging.WARNING):
        resumed = run_trial(trial, folder)
    assert f"trial {trial.key} starts over" in caplog.text
    assert [outcome(r) for r in resumed] == [outcome(r) for r in run_trial(trial, tmp_path / "straight")]
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path / "straight"))


def test_times_fit_into_each_other(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec(), tmp_path, on_report=InterruptAfter(2))
    (row,) = run_trial(spec(), tmp_path, placement=Placement(checkpoint_seconds=1e9, gpu_share=0.0))
    assert row["run_train_seconds"] > 0
    assert row["run_score_seconds"] > 0
    assert row["run_train_seconds"] + row["run_score_seconds"] <= row["run_seconds"]
    seconds = read(tmp_path, schema.CURVES).sort_values("epoch")["seconds"].tolist()
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert seconds[-1] <= row["run_seconds"]
    # Eleven minibatches of 100 of the 1,197 examples.
    assert row["run_examples_per_second"] == pytest.approx(5 * 1_100 / row["run_train_seconds"])


def test_errors_are_told_in_one_line() -> None:
    assert describe(UserError("a is wrong", hint="mend a")) == "a is wrong (hint: mend a)"
    assert describe(ValueError("two\n  lines")) == "ValueError: two lines"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert len(describe(ValueError("x" * 1_000))) == 500
