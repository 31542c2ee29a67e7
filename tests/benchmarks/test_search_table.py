"""The kept table of training curves: readable, complete, and of the points that the code says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.search import curves, table
from benchmarks.search.points import EPOCHS, POINTS, REPORT_EVERY, SEEDS, benchmark_study, point_at, sobol
from gansearch import schema

MEGABYTES = 1.5


@pytest.fixture(scope="module")
def kept() -> pd.DataFrame:
    return pd.read_parquet(table.TABLE)


def test_every_point_has_every_seed_and_every_report(kept: pd.DataFrame) -> None:
    trials = kept.groupby(["point", "replicate"])
    assert list(trials.groups) == [(p, s) for p in range(POINTS) for s in range(SEEDS)]
    assert set(kept["status"]) <= {schema.COMPLETE, schema.DIVERGED}
    reports = list(range(REPORT_EVERY, EPOCHS + 1, REPORT_EVERY))
    for _, trial in trials:
        complete = trial["status"].iloc[0] == schema.COMPLETE
        epochs = list(trial["epoch"])
        assert epochs == (reports if complete else reports[: len(epochs)])
        assert trial["valid_ll_mean"].notna().all() == complete
        if complete:
            assert np.isfinite(trial[["report_ll_mean", "objective"]]).all(axis=None)


def test_the_points_are_the_sobol_points_of_the_shipped_space(kept: pd.DataFrame) -> None:
    space = benchmark_study().space
    for i, u in enumerate(sobol(space)):
        row = kept[kept["point"] == i].iloc[0]
        assert {p.name: row[p.name] for p in space.parameters} == pytest.approx(point_at(space, u), rel=1e-12)


def test_the_searchers_value_is_that_of_the_best_healthy_report(kept: pd.DataFrame) -> None:
    for _, trial in kept[kept["status"] == schema.COMPLETE].groupby(["point", "replicate"]):
        healthy = trial.loc[~trial["collapsed"], "report_ll_mean"]
        last = trial["report_ll_mean"].iloc[-1]
        assert trial["objective"].iloc[-1] == (healthy.max() if len(healthy) else last)


def test_the_file_says_what_made_it_and_is_small() -> None:
    made = curves.made(table.TABLE)
    study = benchmark_study()
    assert (made["points"], made["seeds"], made["epochs"]) == (POINTS, SEEDS, EPOCHS)
    assert made["space"] == study.space.to_dict()
    # It was made under the estimator's first version; the protocols are else those of the study.
    report, final = (dataclasses.replace(p, estimator=1) for p in (study.protocols.report, study.protocols.final))
    assert (made["report_protocol"], made["final_protocol"]) == (report.id, final.id)
    assert made["versions"]["torch"]
    assert table.TABLE.stat().st_size < MEGABYTES * 1e6


def test_the_arrays_hold_what_the_file_holds(kept: pd.DataFrame) -> None:
    found = curves.read(table.TABLE, benchmark_study().space)
    row = kept[(kept["point"] == 37) & (kept["replicate"] == 1)]
    assert np.array_equal(found.current[37, 1, : len(row)], row["report_ll_mean"])
    assert np.array_equal(found.objective[37, 1, : len(row)], row["objective"])
    assert found.final[37, 1] == row["valid_ll_mean"].iloc[0]
    assert found.u.shape == (POINTS, len(benchmark_study().space.parameters))
    assert ((found.u > 0) & (found.u < 1)).all()


@pytest.mark.slow
def test_a_trained_trial_is_not_trained_again(tmp_path: Path) -> None:
    job, points = (1, 1), 2
    assert table.train(job, work=tmp_path, points=points) == schema.COMPLETE
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert before
    assert table.train(job, work=tmp_path, points=points) == schema.COMPLETE
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before
    rows = list(table.rows(job, tmp_path, points))
    assert [row["epoch"] for row in rows] == list(range(REPORT_EVERY, EPOCHS + 1, REPORT_EVERY))
