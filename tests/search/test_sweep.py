"""Sweeps on a real local Ray: every trial a row, whatever becomes of it."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray

from gansearch.errors import DataError, ResourceError, ResultsError
from gansearch.placement import Placement
from gansearch.search import ray_tune
from gansearch.search.driver import SweepResult
from gansearch.search.progress import Progress, read_progress
from gansearch.search.study import Study
from gansearch.search.sweep import sweep
from gansearch.yaml_files import load_yaml
from tests.search.small_studies import FINAL, SECOND, plan, study, trials, workers

ADAM_DIVERGES = 1e37
"""A step of Adam is about its rate, and the square of this one overflows float32."""
NO_MEMORY = 10**12
"""A layer of this width takes terabytes."""
ASHA = {"name": "asha", "grace_epochs": 1, "reduction_factor": 2}


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    """Start a Ray that every sweep of this module uses and leaves open."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@dataclasses.dataclass(frozen=True)
class Swept:
    """A sweep that has ended, and what it said on the way."""

    study: Study
    run: Path
    result: SweepResult
    said: list[Progress]


def swept(found: Study, folder: Path) -> Swept:
    said: list[Progress] = []
    result = sweep(found, folder / "run", on_progress=said.append)
    return Swept(found, folder / "run", result, said)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Return a sweep of four configurations: the base completes, one diverges, two cannot be built."""
    space = {
        "adam.lr_g": {"choice": [0.001, ADAM_DIVERGES]},
        "generator.hidden": {"choice": [[23], [23, NO_MEMORY]]},
    }
    found = study(space=space, searcher="grid", num_trials=None, max_concurrent=1)
    return swept(found, tmp_path_factory.mktemp("mixed"))


def test_every_started_trial_is_one_row_whatever_became_of_it(mixed: Swept) -> None:
    search = trials(mixed.run, "search")
    assert search["status"].value_counts().to_dict() == {"COMPLETE": 1, "DIVERGED": 1, "FAILED": 2}
    assert not search.duplicated(["config_id", "seed", "protocol_id"]).any()
    by_status = search.set_index("status")
    complete, diverged, failed = (by_status.loc[[s]] for s in ("COMPLETE", "DIVERGED", "FAILED"))
    assert np.isfinite(complete["valid_ll_mean"]).all()
    assert complete["error"].isna().all()
    assert set(complete["epochs"]) == {4}
    for ended in (diverged, failed):
        assert ended["valid_ll_mean"].isna().all()
        assert ended["error"].str.len().gt(10).all()
    assert failed["error"].str.contains("memory").all()


def test_base_is_the_first_trial(mixed: Swept) -> None:
    search = trials(mixed.run, "search").sort_values("run_started")
    assert search["config_id"].iloc[0] == mixed.study.base.config_id


def test_search_reads_no_test_image(mixed: Swept) -> None:
    search = trials(mixed.run, "search")
    for column in ("test_ll_mean", "test_ll_se_examples", "test_n", "test_evaluation"):
        assert search[column].isna().all()


def test_confirm_is_the_finalist_from_fresh_seeds_under_both_protocols(mixed: Swept) -> None:
    search, confirm = trials(mixed.run, "search"), trials(mixed.run, "confirm")
    assert set(confirm["config_id"]) == {mixed.study.base.config_id}
    assert set(confirm["status"]) == {"COMPLETE"}
    protocols = {p.id for p in mixed.study.confirm.protocols}
    pairs = set(zip(confirm["seed"], confirm["protocol_id"], strict=True))
    assert pairs == {(seed, protocol) for seed in set(confirm["seed"]) for protocol in protocols}
    assert len(confirm) == 2 * 2
    assert not set(confirm["seed"]) & set(search["seed"])
    assert np.isfinite(confirm["test_ll_mean"]).all()
    assert set(confirm["num_samples"]) == {FINAL["num_samples"], SECOND["num_samples"]}


def test_ledger_has_each_evaluation_of_the_test_set(mixed: Swept) -> None:
    ledger, confirm = pd.read_parquet(mixed.run / "test_evaluations"), trials(mixed.run, "confirm")
    key = ["seed", "protocol_id", "weights_digest"]
    assert len(ledger) == 2 * 2
    both = ledger.merge(confirm, on=key, suffixes=("", "_row"))
    assert len(both) == len(ledger)
    assert both["test_ll_mean"].tolist() == both["test_ll_mean_row"].tolist()


def test_examples_are_kept_of_confirmed_trials(mixed: Swept) -> None:
    examples, confirm = pd.read_parquet(mixed.run / "examples"), trials(mixed.run, "confirm")
    tested = examples[examples["split"] == "test"]
    means = tested.groupby(["seed", "protocol_id"], as_index=False)["ll"].mean()
    both = confirm.merge(means, on=["seed", "protocol_id"])
    assert len(both) == len(confirm)
    np.testing.assert_allclose(both["ll"], both["test_ll_mean"], rtol=1e-9)  # sums in another order


def test_result_and_last_progress_say_how_it_ended(mixed: Swept) -> None:
    ended = {"COMPLETE": 1 + 2, "DIVERGED": 1, "FAILED": 2}
    assert (mixed.result.complete, mixed.result.reason, mixed.result.ended) == (True, None, ended)
    last = read_progress(mixed.run)
    assert last == mixed.said[-1]
    assert (last.stage, last.ended, last.planned, last.running, last.note) == ("done", ended, 6, 0, None)
    assert not last.alive
    assert last.best is not None
    assert last.best.config_id == mixed.study.base.config_id


def test_progress_on_the_way_is_consistent(mixed: Swept) -> None:
    assert {p.stage for p in mixed.said} == {"search", "confirm", "done"}
    for said in mixed.said[:-1]:
        assert said.planned == (4 if said.stage == "search" else 2)
        assert said.done + said.running <= said.planned
        assert said.left is None or (math.isfinite(said.left) and said.left >= 0)
    assert any(said.left is not None for said in mixed.said)
    elapsed = [said.elapsed for said in mixed.said]
    assert elapsed == sorted(elapsed)


def test_plan_is_the_study_with_what_it_ran_on(mixed: Swept) -> None:
    written = load_yaml(mixed.run / "sweep.yaml")
    assert Study.parse(written["study"], "small") == mixed.study
    rows = trials(mixed.run)
    assert {written["data"]["train"]} == set(rows["data_train_digest"])
    assert written["versions"]["ray"] == ray.__version__


def test_nothing_is_left_but_the_tables(mixed: Swept) -> None:
    kept = {path.name for path in mixed.run.iterdir()}
    tables = {"trials", "curves", "samples", "examples", "test_evaluations"}
    assert kept == tables | {"sweep.yaml", "progress.json", "checkpoints", "claims"}
    assert not list((mixed.run / "claims").iterdir())
    assert {path.name for path in (mixed.run / "checkpoints").glob("*/*")} == {"weights.safetensors"}
    assert not [path for path in mixed.run.rglob("*") if path.name.startswith((".", "_"))]


def test_connection_of_the_user_stays_open(mixed: Swept) -> None:
    assert ray.is_initialized()
    assert not [name for name in os.environ if name.startswith("TUNE_")]


def test_directory_of_a_sweep_is_refused_and_not_changed(mixed: Swept) -> None:
    before = {path: path.read_bytes() for path in mixed.run.rglob("*") if path.is_file()}
    with pytest.raises(ResultsError, match="already holds a sweep"):
        sweep(mixed.study, mixed.run)
    assert before == {path: path.read_bytes() for path in mixed.run.rglob("*") if path.is_file()}


def test_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="not a writable directory"):
        sweep(study(), tmp_path / "file" / "run")
    with pytest.raises(ResultsError, match="is a file"):
        sweep(study(), tmp_path / "file")


@pytest.mark.parametrize(("resources", "what"), [({"gpu": 0.5}, "GPU"), ({"cpu": 3}, "CPU")])
def test_resources_that_are_not_there_are_refused_with_nothing_written(
    tmp_path: Path, resources: dict[str, float], what: str
) -> None:
    with pytest.raises(ResourceError, match=f"asks for .* {what}"):
        sweep(study(resources=resources), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_data_is_refused_with_nothing_written(tmp_path: Path) -> None:
    given = plan()
    given["base"]["dataset"]["name"] = "mnist"
    with pytest.raises(DataError, match=str(tmp_path)):
        sweep(Study.parse(given, "small"), tmp_path / "run", data_dir=tmp_path / "data", download=False)
    assert not (tmp_path / "run").exists()


def test_address_is_refused_where_a_connection_is_there(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="connected to a Ray cluster already"):
        sweep(study(), tmp_path / "run", address="127.0.0.1:6379")
    assert not (tmp_path / "run").exists()


def test_trials_that_asha_stops_are_rows_with_their_report_values(tmp_path: Path) -> None:
    found = study(
        searcher={"name": "tpe", "startup_trials": 3},
        scheduler=ASHA,
        num_trials=8,
        epochs=6,
        space={"adam.lr_g": {"loguniform": [1e-6, 0.01]}},
        max_concurrent=1,
        confirm={"seeds": 0},
    )
    ended = swept(found, tmp_path)
    search = trials(ended.run)
    assert ended.result.complete
    assert len(search) == 8
    assert set(search["status"]) == {"COMPLETE", "STOPPED"}
    stopped = search[search["status"] == "STOPPED"]
    assert len(stopped) >= 1
    assert stopped["valid_ll_mean"].isna().all()
    assert np.isfinite(stopped["report_ll_mean"]).all()
    assert stopped["report_protocol_id"].notna().all()
    assert (stopped["epochs"] < 6).all()
    assert stopped["error"].tolist() == [f"stopped by the scheduler after {n} epochs" for n in stopped["epochs"]]
    assert stopped["run_host"].notna().all()
    curves = pd.read_parquet(ended.run / "curves")
    at = ["config_id", "seed", "report_epoch"]
    both = search.merge(curves.rename(columns={"epoch": "report_epoch"}), on=at, suffixes=("", "_curve"))
    assert len(both) == len(search)
    assert both["report_ll_mean"].tolist() == both["report_ll_mean_curve"].tolist()
    assert not (ended.run / "checkpoints").exists() or not list((ended.run / "checkpoints").glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["random", "grid", {"name": "tpe", "startup_trials": 2}])
def test_same_study_gives_the_same_rows(tmp_path: Path, searcher: Any) -> None:
    space = {"adam.lr_g": {"choice": [1e-5, 0.001, 0.01]}, "algorithm.k": {"choice": [1, 2]}}
    found = study(
        searcher=searcher,
        scheduler=ASHA,
        space=space,
        num_trials=None if searcher == "grid" else 6,
        max_concurrent=1,
    )
    first, second = (trials(swept(found, tmp_path / name).run) for name in ("first", "second"))
    columns = [name for name in map(str, first) if not name.startswith("run_")]
    assert len(columns) > 60
    pd.testing.assert_frame_equal(first[columns], second[columns], check_exact=True)


@pytest.mark.slow
def test_repeats_are_rows_of_one_configuration(tmp_path: Path) -> None:
    found = study(repeats=2, num_trials=2, searcher={"name": "tpe", "startup_trials": 1}, confirm={"seeds": 1})
    ended = swept(found, tmp_path)
    search = trials(ended.run, "search")
    assert search.groupby("config_id").size().tolist() == [2, 2]
    assert search.groupby("config_id")["replicate"].apply(sorted).tolist() == [[0, 1], [0, 1]]
    assert search["seed"].nunique() == 4
    assert search["report_ll_mean"].nunique() == 4


@pytest.mark.slow
def test_tpe_tries_each_configuration_of_a_small_space_once(tmp_path: Path) -> None:
    space = {"algorithm.k": {"choice": [1, 2, 3]}}
    ended = swept(study(space=space, searcher={"name": "tpe", "startup_trials": 3}, confirm={"seeds": 0}), tmp_path)
    assert ended.result.ended == {"COMPLETE": 3}
    assert sorted(trials(ended.run)["cfg_algorithm_k"]) == [1, 2, 3]


@pytest.mark.slow
def test_sweep_ends_when_the_first_trials_all_fail(tmp_path: Path) -> None:
    found = study(
        space={"generator.hidden": {"choice": [[23, NO_MEMORY], [24, NO_MEMORY]]}, "algorithm.k": {"int": [1, 9]}},
        override={"generator.hidden": [23, NO_MEMORY]},
        num_trials=12,
        max_concurrent=1,
        limits={"stop_if_first_fail": 3},
    )
    ended = swept(found, tmp_path)
    assert not ended.result.complete
    assert ended.result.reason is not None
    assert re.match(r"the first 3 trials all failed, the last with: .*out of memory: .", ended.result.reason)
    rows = trials(ended.run)
    assert (rows["status"] == "FAILED").sum() == 3
    assert len(rows) <= 4
    assert read_progress(ended.run).stage == "stopped"


@pytest.mark.slow
def test_sweep_without_a_finished_trial_says_so(tmp_path: Path) -> None:
    found = study(
        space={"generator.hidden": {"choice": [[23, NO_MEMORY], [24, NO_MEMORY]]}},
        override={"generator.hidden": [23, NO_MEMORY]},
        num_trials=2,
    )
    ended = swept(found, tmp_path)
    assert not ended.result.complete
    assert ended.result.reason is not None
    assert ended.result.ended == {"FAILED": 2}


@pytest.mark.slow
def test_confirm_runs_after_the_time_limit(tmp_path: Path) -> None:
    """The base ends soon, the other configuration never would."""
    found = study(
        space={"algorithm.epochs": {"choice": [3, 100_000]}},
        epochs=3,
        searcher="grid",
        num_trials=None,
        max_concurrent=1,
        limits={"time_limit": 25},
    )
    ended = swept(found, tmp_path)
    assert ended.result.complete
    assert ended.result.reason == "the time limit of 25 s was reached"
    assert trials(ended.run, "search")["status"].value_counts().to_dict() == {"COMPLETE": 1, "INTERRUPTED": 1}
    assert len(trials(ended.run, "confirm")) == 2 * 2
    last = read_progress(ended.run)
    assert (last.stage, last.note) == ("done", ended.result.reason)


def in_the_background(found: Study, run: Path, **options: Any) -> tuple[threading.Thread, list[SweepResult]]:
    """Start a sweep in a thread, where it cannot listen to signals."""
    results: list[SweepResult] = []
    thread = threading.Thread(target=lambda: results.append(sweep(found, run, **options)))
    thread.start()
    return thread, results


def kill_worker_after(run: Path, reports: int) -> None:
    """Kill the process of the trial that runs, once it has made so many reports."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if list((run / "curves").glob("*.parquet")) and len(pd.read_parquet(run / "curves")) >= reports:
            (worker,) = workers(os.getpid())
            os.kill(worker, signal.SIGKILL)
            return
        time.sleep(0.02)
    raise AssertionError("no trial reported")


@pytest.mark.slow
def test_trial_whose_worker_is_killed_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is the one that an undisturbed trial has."""
    checkpoint_always = Placement(threads=1, checkpoint_seconds=0.0)
    monkeypatch.setattr(ray_tune, "placement", lambda _: checkpoint_always)
    found = study(epochs=150, num_trials=1, max_concurrent=1, confirm={"seeds": 0})
    thread, results = in_the_background(found, tmp_path / "run")
    kill_worker_after(tmp_path / "run", reports=40)
    thread.join(90)
    assert results[0].ended == {"COMPLETE": 1}
    (row,) = trials(tmp_path / "run").to_dict("records")
    curves = pd.read_parquet(tmp_path / "run" / "curves")
    assert sorted(curves["epoch"]) == list(range(1, 151))
    undisturbed = swept(found, tmp_path / "undisturbed")
    (expected,) = trials(undisturbed.run).to_dict("records")
    for column in ("valid_ll_mean", "report_ll_mean", "report_epoch", "weights_digest", "g_updates"):
        assert row[column] == expected[column]
