"""One spec in, one row under each protocol out, whatever happens."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansearch import schema
from gansearch.config import parameters
from gansearch.errors import ResultsError, UserError
from gansearch.paths import RunPaths
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.rows import final_rows
from gansearch.trial import Report, Trial, describe
from tests.trial_courses import ADAM, diverging
from tests.trials import (
    EVERY_REPORT,
    FULL,
    PUBLISHED,
    REPORT,
    InterruptAfter,
    best_reports,
    curves,
    digits,
    read,
    run_trial,
    spec,
)

N_VALID, N_TEST = 300, 300
# G moves once, in the last step of five epochs, and so far that its samples are about 1e20 or more: finite in float32,
# which their squared distances are not. D, which would end the trial at such samples, never sees them.
OVERFLOWING = {
    "generator.hidden": (37,),
    "generator.output": "linear",
    "algorithm.k": 55,
    "momentum.lr_g": 1e15,
}


def test_a_complete_confirm_trial_leaves_every_table_and_fills_every_column(tmp_path: Path) -> None:
    trial = spec("confirm", protocols=(FULL, PUBLISHED), replicate=2)
    rows = run_trial(trial, tmp_path)
    frame = read(tmp_path, schema.TRIALS)
    assert [row["protocol_id"] for row in rows] == [FULL.id, PUBLISHED.id]
    assert sorted(frame["protocol_id"]) == sorted([FULL.id, PUBLISHED.id])
    assert list(frame.columns) == [c.name for c in schema.TRIALS.columns]
    empty = {name for name in frame.columns if frame[name].isna().any()}
    inactive = {schema.cfg_column(name) for name, _ in parameters() if not trial.config.acts(name)}
    assert "cfg_adam_lr_g" in inactive
    unset = {"cfg_generator_max_col_norm", "cfg_discriminator_max_col_norm"}  # optional, and the recipe has none
    unset |= {"cfg_generator_output_init_range", "cfg_generator_output_inputs"}
    unset |= {"number", "parent_id", "cfg_schedule"}  # of searches, and of populations
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
    (row,) = run_trial(diverging(spec("confirm")), tmp_path, on_report=reports.append)
    assert row["status"] == schema.DIVERGED
    assert "non-finite" in row["error"]
    assert row["epochs"] == 2
    assert all(row[name] is None for name in ("valid_ll_mean", "test_ll_mean", "sigma", "weights_digest"))
    assert row["d_updates"] == 11  # those of the first of two epochs
    assert math.isfinite(row["report_ll_mean"])
    assert [(report.status, report.objective) for report in reports] == [
        (None, row["report_ll_mean"]),
        (schema.DIVERGED, None),
    ]
    assert read(tmp_path, schema.CURVES)["epoch"].tolist() == [1, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoints", "curves", "samples", "trials"]
    assert not any((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(("at", "every"), [("best", 5), ("last", 5), ("last", 1)])
def test_samples_without_a_finite_score_end_as_diverged_and_leave_the_test_set_alone(
    tmp_path: Path, at: str, every: int
) -> None:
    trial = spec("confirm", values=OVERFLOWING | {"score.at": at, "score.report_every": every})
    before = 5 // every - 1  # reports with a value, none of which is to be scored
    reports: list[Report] = []
    (row,) = run_trial(trial, tmp_path, on_report=reports.append)
    assert (row["status"], row["epochs"]) == (schema.DIVERGED, 5)
    assert row["error"] == "the samples have no finite log-likelihood"
    assert (row["report_ll_mean"] is None) == (before == 0)
    assert math.isnan(row["report_last_ll_mean"])
    assert [report.objective is None for report in reports] == [False] * before + [True]
    # A value that is not finite is written as the NaN it is, not as one that is missing.
    reported = [r["report_ll_mean"] for r in Recorder(tmp_path).read_table(schema.CURVES, trial.key)]
    assert [math.isnan(value) for value in reported] == [False] * before + [True]
    kept = ["checkpoints"] if before else []  # a folder that the last report has emptied
    assert sorted(p.name for p in tmp_path.iterdir()) == [*kept, "curves", "samples", "trials"]
    assert not any((tmp_path / "checkpoints").glob("*"))


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
    run_trial(diverging(spec(seed=2)), tmp_path)
    run_trial(spec("confirm", seed=3), tmp_path, data=digits().without_test())
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec(seed=4), tmp_path, on_report=InterruptAfter(1))
    stopped = spec(seed=5)
    draft = Trial(stopped, digits(), Recorder(tmp_path), EVERY_REPORT).advance().draft
    for row in final_rows(draft, stopped, schema.STOPPED, error="stopped by the scheduler after 1 epochs"):
        Recorder(tmp_path).trial(stopped.key, row)
    frame = read(tmp_path, schema.TRIALS)
    assert set(frame["status"]) == set(schema.STATUSES) - {schema.RUNNING, schema.COLLAPSED}
    assert frame["valid_ll_mean"].notna().tolist() == (frame["status"] == schema.COMPLETE).tolist()
    assert frame["error"].isna().tolist() == (frame["status"] == schema.COMPLETE).tolist()
    stopped_row = frame[frame["status"] == schema.STOPPED].iloc[0]
    assert np.isfinite(stopped_row["report_ll_mean"])
    assert set(frame["report_protocol_id"]) == {REPORT.id}


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
