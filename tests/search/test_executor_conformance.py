"""What a sweep comes to does not depend on its executor: one suite, run against each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray

from gansearch.search.progress import read_progress
from gansearch.search.strategies import EXECUTORS as KNOWN
from tests.search.both_executors import ADAM_DIVERGES, EXECUTORS, TOO_WIDE, Swept, swept
from tests.search.small_studies import FINAL, SECOND

pytestmark = pytest.mark.timeout(600)

SHORT_RTOL = 1e-3
"""Relative difference of values of the same trial on the two executors after 4 epochs of 10 to 14 minibatches.

Only the last bits of sums differ: 2^-24, a factor of 1e3 to 1e4 by the end at most; 1e-3 is the bound that DESIGN's
rule of 1e-5 for 100 steps leaves for differences of likelihoods, which are some tens of nats off the largest term.
"""
BAND = 0.25
"""Share of the range of all trials' values within which the two best must lie: the best of 14 draws is the best or the
second best of the same 14 on both executors unless ASHA stopped it, and those are close together in a sorted sample."""
SPACE = {
    "adam.lr_g": {"choice": [0.001, ADAM_DIVERGES]},
    "generator.hidden": {"choice": [[23], [23, TOO_WIDE]]},
    "discriminator.pieces": {"choice": [2, 3]},
}
"""Eight configurations in two shapes: two complete, two diverge, four cannot be set up."""


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    """Start a Ray that every sweep of this module uses and leaves open."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> str:
    """Name each executor."""
    return str(request.param)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Swept]:
    """Return the same sweep on each executor; not to be written into."""
    return {
        name: swept(name, tmp_path_factory.mktemp(name), space=SPACE, searcher="grid", num_trials=None)
        for name in EXECUTORS
    }


def test_every_executor_is_tested() -> None:
    assert {*EXECUTORS, "auto"} == set(KNOWN)


def test_every_trial_is_a_row_whatever_became_of_it(both: dict[str, Swept], executor: str) -> None:
    search = both[executor].table("trials", "search")
    assert search["status"].value_counts().to_dict() == {"COMPLETE": 2, "DIVERGED": 2, "FAILED": 4}
    assert search.loc[search["status"] == "FAILED", "error"].str.contains("overflow").all()
    assert both[executor].result.ended == {"COMPLETE": 2 + 2, "DIVERGED": 2, "FAILED": 4}
    assert (both[executor].result.complete, both[executor].result.reason) == (True, None)
    assert np.isfinite(search.loc[search["status"] == "COMPLETE", "valid_ll_mean"]).all()
    assert search.loc[search["status"] != "COMPLETE", "valid_ll_mean"].isna().all()
    assert search["test_ll_mean"].isna().all()


def test_configurations_seeds_statuses_and_words_are_the_same(both: dict[str, Swept]) -> None:
    columns = ["stage", "config_id", "seed", "replicate", "number", "protocol_id", "status", "error", "epochs"]
    tune, packed = (both[name].table("trials") for name in ("tune", "packed"))
    search = tune["stage"] == "search"
    pd.testing.assert_frame_equal(tune.loc[search, columns], packed.loc[search, columns])
    # Which of two is the finalist may hang on less than the tolerance.
    assert len(tune) == len(packed)


@pytest.mark.parametrize("table", ["trials", "curves", "samples", "examples", "test_evaluations"])
def test_the_same_columns_are_filled(both: dict[str, Swept], table: str) -> None:
    tune, packed = (both[name].table(table) for name in ("tune", "packed"))
    pd.testing.assert_series_equal(tune.dtypes, packed.dtypes)
    pd.testing.assert_frame_equal(tune.notna(), packed.notna())


def test_values_of_short_trials_are_equal_to_the_tolerance(both: dict[str, Swept]) -> None:
    tune, packed = (both[name].table("curves") for name in ("tune", "packed"))
    tune, packed = (rows[rows["stage"] == "search"] for rows in (tune, packed))
    for name in ("report_ll_mean", "report_sigma", "d_real", "d_fake", "game_value", "g_updates"):
        np.testing.assert_allclose(packed[name], tune[name], rtol=SHORT_RTOL, err_msg=name)
    tune, packed = (both[name].table("trials", "search") for name in ("tune", "packed"))
    for name in ("valid_ll_mean", "report_ll_mean", "report_last_ll_mean", "sigma"):
        np.testing.assert_allclose(packed[name], tune[name], rtol=SHORT_RTOL, err_msg=name)
    for name in ("g_updates", "d_updates", "flops"):
        pd.testing.assert_series_equal(packed[name], tune[name])


def test_confirm_scores_the_finalist_under_both_protocols_and_the_ledger_says_so(
    both: dict[str, Swept], executor: str
) -> None:
    confirm, ledger = both[executor].table("trials", "confirm"), both[executor].table("test_evaluations")
    # The base is confirmed beside another finalist.
    assert both[executor].study.base.config_id in set(confirm["config_id"])
    assert set(confirm["status"]) == {"COMPLETE"}
    assert set(confirm["num_samples"]) == {FINAL["num_samples"], SECOND["num_samples"]}
    assert confirm.groupby(["config_id", "seed"]).size().eq(2).all()
    assert np.isfinite(confirm["test_ll_mean"]).all()
    key = ["seed", "protocol_id", "weights_digest"]
    joined = ledger.merge(confirm, on=key, suffixes=("", "_row"))
    assert len(joined) == len(ledger) == len(confirm)
    assert joined["test_ll_mean"].tolist() == joined["test_ll_mean_row"].tolist()


def test_a_trial_is_charged_for_what_it_took(both: dict[str, Swept], executor: str) -> None:
    rows = both[executor].table("trials")
    rows = rows[rows["status"] == "COMPLETE"]
    for name in ("run_seconds", "run_train_seconds", "run_score_seconds", "run_examples_per_second"):
        assert (rows[name] > 0).all(), name
    assert (rows["run_seconds"] >= rows["run_train_seconds"]).all()
    assert set(rows["run_threads"]) == {1}
    assert set(rows["run_gpu_share"]) == {0.0}
    seconds = both[executor].table("curves").groupby(["config_id", "seed"])["seconds"].apply(list)
    assert all(one == sorted(one) for one in seconds)


def test_nothing_is_left_but_the_tables(both: dict[str, Swept], executor: str) -> None:
    run = both[executor].run
    tables = {"trials", "curves", "samples", "examples", "test_evaluations"}
    assert {path.name for path in run.iterdir()} == tables | {"sweep.yaml", "progress.json", "checkpoints", "claims"}
    assert not list((run / "claims").iterdir())
    assert {path.name for path in (run / "checkpoints").glob("*/*")} == {"weights.safetensors"}


def test_progress_is_consistent(both: dict[str, Swept], executor: str) -> None:
    said, last = both[executor].said, read_progress(both[executor].run)
    assert last == said[-1]
    assert (last.stage, last.running, last.note) == ("done", 0, None)
    assert {one.stage for one in said} == {"search", "confirm", "done"}
    assert all(one.done + one.running <= one.planned for one in said[:-1])


@pytest.mark.slow
def test_a_guard_ends_a_trial(tmp_path: Path, executor: str) -> None:
    space = {"adam.lr_g": {"choice": [0.001, 1e-6]}}
    collapse = {"collapse": {"d_real_above": 0, "relative_coverage_below": 1.0, "reports": 2}}
    found = swept(
        executor, tmp_path, space=space, searcher="grid", num_trials=None, guards=collapse, confirm={"seeds": 0}
    )
    rows = found.table("trials")
    assert set(rows["status"]) == {"COLLAPSED"}
    assert rows["error"].str.startswith("guards.collapse: D(x) above 0").all()
    assert set(rows["epochs"]) == {2}


@pytest.mark.slow
def test_a_trial_whose_time_is_over_is_stopped_at_the_end_of_an_epoch(tmp_path: Path, executor: str) -> None:
    """And reports there, though a report is not due."""
    given: dict[str, Any] = {"override": {"score.report_every": 4}, "guards": {"trial_time_limit": 1e-6}}
    found = swept(executor, tmp_path, **given, confirm={"seeds": 0})
    rows = found.table("trials")
    assert rows["status"].tolist() == ["STOPPED"] * 3
    assert set(rows["epochs"]) == {1}
    assert rows["error"].str.startswith("guards.trial_time_limit").all()
    assert np.isfinite(rows["report_ll_mean"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"searcher": "random", "num_trials": 5},
        {"searcher": "grid", "num_trials": None, "space": {"algorithm.k": {"choice": [1, 2, 3]}}},
        {"searcher": "random", "num_trials": 2, "repeats": 2},
    ],
    ids=["random", "grid", "repeats"],
)
def test_a_searcher_that_learns_nothing_is_asked_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    columns = ["config_id", "seed", "replicate", "number", "status", "epochs"]
    rows = [swept(name, tmp_path / name, **changes, confirm={"seeds": 0}).table("trials") for name in EXECUTORS]
    pd.testing.assert_frame_equal(rows[0][columns], rows[1][columns])
    assert set(rows[0]["status"]) == {"COMPLETE"}


@pytest.mark.slow
def test_tpe_hears_of_trials_and_tries_none_twice(tmp_path: Path, executor: str) -> None:
    space = {"algorithm.k": {"choice": [1, 2, 3, 4, 5]}}
    found = swept(
        executor,
        tmp_path,
        space=space,
        searcher={"name": "tpe", "startup_trials": 2},
        num_trials=5,
        max_concurrent=1,
        confirm={"seeds": 0},
    )
    assert found.result.ended == {"COMPLETE": 5}
    assert sorted(found.table("trials")["cfg_algorithm_k"]) == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_no_more_trials_run_than_max_concurrent_says(tmp_path: Path, executor: str) -> None:
    """Without it two engines would run eight at a time, and two processes two."""
    most = {"tune": 1, "packed": 3}[executor]
    found = swept(executor, tmp_path, num_trials=7, epochs=60, max_concurrent=most, confirm={"seeds": 0})
    running = [one.running for one in found.said]
    assert max(running) == most
    assert found.result.ended == {"COMPLETE": 7}


@pytest.mark.slow
def test_asha_stops_trials_in_the_same_words_and_finds_as_good_a_one(tmp_path: Path) -> None:
    """Its decisions depend on the order of arrival: rows of the same quality, and not the same rows."""
    best = {}
    for name in EXECUTORS:
        found = swept(
            name,
            tmp_path / name,
            space={"adam.lr_g": {"loguniform": [1e-6, 0.01]}},
            scheduler={"name": "asha", "grace_epochs": 2, "reduction_factor": 2},
            num_trials=14,
            epochs=12,
            confirm={"seeds": 0},
        )
        rows = found.table("trials")
        assert set(rows["status"]) == {"COMPLETE", "STOPPED"}
        assert len(rows) == 14
        stopped = rows[rows["status"] == "STOPPED"]
        assert stopped["error"].tolist() == [f"stopped by the scheduler after {n} epochs" for n in stopped["epochs"]]
        assert (stopped["epochs"] < 12).all()
        assert np.isfinite(stopped["report_ll_mean"]).all()
        assert stopped["valid_ll_mean"].isna().all()
        checkpoints = found.run / "checkpoints"
        assert not checkpoints.exists() or not list(checkpoints.glob("*/*"))
        best[name] = rows["valid_ll_mean"].max()
        spread = rows["report_ll_mean"].max() - rows["report_ll_mean"].min()
    assert abs(best["tune"] - best["packed"]) < BAND * spread, (best, spread)


@pytest.mark.slow
def test_an_engine_is_charged_once_however_many_trials_it_trains(tmp_path: Path) -> None:
    """Were each trial charged for all of its engine's time, six together would make six times as much."""
    found = swept(
        "packed",
        tmp_path,
        slots=6,
        resources={"cpu": 2},  # one engine
        num_trials=6,
        epochs=150,
        override={"score.report_every": 25},
        confirm={"seeds": 0},
    )
    rows = found.table("trials")
    assert rows["status"].tolist() == ["COMPLETE"] * 6
    elapsed = found.said[-1].elapsed
    assert rows["run_seconds"].sum() <= 1.2 * elapsed
    assert (rows["run_train_seconds"] + rows["run_score_seconds"] <= 1.05 * rows["run_seconds"] + 1).all()
