"""The search with PyTorch and NumPy alone: its rows are those of `gansearch.trial.run`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.packed_networks import paper
from benchmarks.packed_search import Rungs, drawn, search, specs_of
from benchmarks.packed_trials import line, read
from gansearch import parts, schema
from gansearch.config import TrialConfig
from gansearch.core.pack import shape_of
from gansearch.rows import Row
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec
from tests.benchmarks.test_packed import run_bare
from tests.trials import FULL, PUBLISHED, REPORT, SMALL, curves, digits, run_trial
from tests.trials import read as read_run

SHORT_RTOL = 1e-3
"""Relative difference after 5 epochs of 11 minibatches: only the last bits of sums differ, 2^-24, and grow by a factor
of 1e3 to 1e4 at most; likelihoods are some tens of nats off the largest term of theirs."""
CHANGES: tuple[dict[str, Any], ...] = (
    {"momentum.lr_g": 0.05, "discriminator.dropout_hidden": 0.2},
    {"momentum.lr_g": 0.3, "algorithm.k": 2},
    {"momentum.lr_d": 0.02, "discriminator.pieces": 2},
    {"momentum.lr_d": 1e30},
    {"momentum.lr_g": 1e-6, "algorithm.objective": "saturating"},
    {"momentum.lr_g": 1e-5, "score.at": "last"},
)
"""In two shapes; the fourth diverges."""
RUNGS = Rungs(epochs=(2,), reduction=2)
TIMES = ("seconds", "examples_per_second")


def specs() -> list[TrialSpec]:
    configs = [TrialConfig().replace(SMALL | changes) for changes in CHANGES]
    return specs_of(configs, 7, protocols=(FULL, PUBLISHED), report_protocol=REPORT)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """Return the rows of a search as they come from its files."""
    folder = tmp_path_factory.mktemp("found")
    for table in ("trials", "curves"):
        (folder / table).touch()

    def write(table: schema.Table, row: Row) -> None:
        with (folder / table.name).open("a") as file:
            file.write(line(row) + "\n")

    rows = search(specs(), digits().without_test(), torch.device("cpu"), rungs=RUNGS, slots=3, write=write)
    read_again = {table.name: list(read(folder / table.name, table)) for table in (schema.TRIALS, schema.CURVES)}
    assert [row["config_id"] for row in read_again["trials"]] == [row["config_id"] for row in rows]
    return read_again


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[TrialSpec, Path]]:
    """Return the same trials, each run by itself to its end."""
    ran = []
    for spec in specs():
        folder = tmp_path_factory.mktemp("alone")
        run_trial(spec, folder)
        ran.append((spec, folder))
    return ran


def equal(ours: Any, theirs: Any) -> bool:
    """Return whether two values of a column are equal, numbers to the tolerance."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=SHORT_RTOL) or (math.isnan(ours) and math.isnan(theirs))
    return bool(ours == theirs)


def test_rows_fit_the_tables(found: dict[str, list[Row]], tmp_path: Path) -> None:
    for table in (schema.TRIALS, schema.CURVES):
        parts.check_rows(table, found[table.name])
        parts.write_part(tmp_path / table.name / "all.parquet", table, found[table.name])
        assert len(pd.read_parquet(tmp_path / table.name)) == len(found[table.name])


def test_every_trial_ends_as_a_row_under_each_protocol(found: dict[str, list[Row]]) -> None:
    ids = {(row["config_id"], row["protocol_id"]) for row in found["trials"]}
    assert len(ids) == len(found["trials"]) == 2 * len(CHANGES)
    statuses = [row["status"] for row in found["trials"]]
    assert set(statuses) == {"COMPLETE", "STOPPED", "DIVERGED"}
    for row in found["trials"]:
        assert (row["status"] == "COMPLETE") == math.isfinite(row.get("valid_ll_mean") or math.nan)
        if row["status"] == "STOPPED":
            assert (row["epochs"], row["error"]) == (2, "stopped by the scheduler after 2 epochs")
    diverged = {row["config_id"] for row in found["trials"] if row["status"] == "DIVERGED"}
    assert diverged == {specs()[3].config.config_id}


def test_rows_are_those_of_a_trial_by_itself(found: dict[str, list[Row]], alone: list[tuple[TrialSpec, Path]]) -> None:
    rows = {(row["config_id"], row["protocol_id"]): row for row in found["trials"]}
    compared = 0
    for _, folder in alone:
        for theirs in read_run(folder, schema.TRIALS).to_dict("records"):
            ours = rows[theirs["config_id"], theirs["protocol_id"]]
            filled = {name for name, value in theirs.items() if not pd.isna(value)}
            if ours["status"] == "STOPPED":  # the other went on
                continue
            assert filled - {name for name, value in ours.items() if value is not None} <= {"weights_digest"}
            wrong = [
                name
                for name, value in ours.items()
                if value is not None and not name.startswith("run_") and not equal(value, theirs[name])
            ]
            assert not wrong, {name: (ours[name], theirs[name]) for name in wrong}
            compared += ours["status"] == "COMPLETE"
    assert compared >= 4


def test_curves_are_those_of_a_trial_by_itself_up_to_its_end(
    found: dict[str, list[Row]], alone: list[tuple[TrialSpec, Path]]
) -> None:
    ours = pd.DataFrame(found["curves"])
    for spec, folder in alone:
        mine = ours[ours["config_id"] == spec.config.config_id].drop(columns=list(TIMES)).reset_index(drop=True)
        theirs = curves(folder)
        assert set(mine) == set(theirs)
        theirs = theirs.loc[: len(mine) - 1, list(mine)]
        assert (mine["seed"] == spec.seed).all()
        for name in theirs.select_dtypes("number"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=SHORT_RTOL, atol=SHORT_RTOL, err_msg=name)


def test_a_rung_keeps_the_best_of_those_that_have_come_to_it() -> None:
    rungs = Rungs(epochs=(2, 6), reduction=3)
    assert rungs.keeps(1.0, [1.0])
    assert rungs.keeps(5.0, [1.0, 5.0, 3.0, 4.0])
    assert not rungs.keeps(4.0, [1.0, 5.0, 3.0, 4.0])
    assert rungs.keeps(4.0, [1.0, 5.0, 3.0, 4.0, 0.0, 2.0])
    assert not rungs.keeps(math.nan, [math.nan])
    for wrong in ((6, 2), (2, 2), (0, 3)):
        with pytest.raises(ValueError, match="ascending"):
            Rungs(epochs=wrong)
    with pytest.raises(ValueError, match="2 or more"):
        Rungs(reduction=1)


def test_what_cannot_be_searched_is_refused() -> None:
    given: dict[str, Any] = {"rungs": RUNGS, "slots": 2, "write": lambda *_: None}
    every_third = specs_of([TrialConfig().replace(SMALL | {"score.report_every": 3})], 1)
    with pytest.raises(ValueError, match=r"rungs \[2\] are at no report"):
        search(every_third, digits(), torch.device("cpu"), **given)
    with pytest.raises(ValueError, match="slots"):
        search(specs(), digits(), torch.device("cpu"), **{**given, "slots": 0})
    confirm = TrialSpec(config=every_third[0].config, seed=1, stage="confirm")
    with pytest.raises(ValueError, match="confirm"):
        search([confirm], digits(), torch.device("cpu"), **given)


def test_configurations_are_of_one_shape_and_follow_from_the_seed() -> None:
    configs = drawn(paper(), 5, 3)
    assert configs == drawn(paper(), 5, 3) != drawn(paper(), 5, 4)
    assert len({one.config_id for one in configs}) == 5
    assert {shape_of(one) for one in configs} == {shape_of(paper())}
    spec = specs_of(configs, 9)[2]
    assert (spec.number, spec.seed) == (2, trial_seed(9, "search", configs[2].config_id, 0))


def test_the_command_runs_where_nothing_else_is_installed(tmp_path: Path) -> None:
    base = {**SMALL, "dataset.name": "gaussian_mixture", "algorithm.epochs": 2}
    configs = [TrialConfig().replace(base | {"momentum.lr_g": rate}) for rate in (0.02, 0.1)]
    file, out = tmp_path / "configurations.jsonl", tmp_path / "found"
    file.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in configs))
    arguments = ["--device", "cpu", "--configurations", str(file), "--rungs", "1", "--out", str(out)]
    done = run_bare("benchmarks.packed_search", *arguments)
    assert done.returncode == 0, done.stderr
    rows = list(read(out / "trials.jsonl", schema.TRIALS))
    parts.check_rows(schema.TRIALS, rows)
    assert {row["config_id"] for row in rows} == {one.config_id for one in configs}
    assert "2 configurations in" in done.stdout
    assert run_bare("benchmarks.packed_search", "--out", str(out)).returncode == 2
