"""Every scheduler in a real sweep of the digits, through the command line; seen to end trials early."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gansearch import schema
from gansearch.config import TrialConfig
from gansearch.parsing import build
from gansearch.protocols import Protocol
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml, load_yaml
from tests.search.small_studies import FINAL, REPORT, plan
from tests.trials import curves, run_trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPACE = {
    "adam.lr_g": {"loguniform": [0.0001, 0.01]},
    "adam.lr_d": {"loguniform": [0.0001, 0.01]},
    "discriminator.dropout_hidden": {"uniform": [0.0, 0.6]},
}


def sweep(folder: Path, *options: str, **changes: Any) -> Path:
    """Run a small study in two slots; return its run directory."""
    given = plan(
        **{"space": SPACE, "num_trials": 12, "max_concurrent": 2, "epochs": 9, "confirm": {"seeds": 0}, **changes}
    )
    path, run = folder / "small.yaml", folder / "run"
    path.write_text(dump_yaml(given))
    gansearch("sweep", path, "--out", run, *options)
    assert {p.name for p in run.iterdir() if p.name.startswith(".tune")} == set()
    return run


def gansearch(*arguments: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "gansearch.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(run: Path) -> list[dict[str, Any]]:
    frame = pd.read_parquet(run / "trials").astype(object)
    found = frame.where(frame.notna(), None).sort_values("number").to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def check_stopped(run: Path, trials: int = 12) -> None:
    """Check that every trial has a row, and that some were stopped and some trained to their end."""
    found = rows(run)
    assert [row["number"] for row in found] == list(range(trials))
    statuses = {row["status"] for row in found}
    assert statuses == {schema.STOPPED, schema.COMPLETE}
    for row in found:
        stopped = row["status"] == schema.STOPPED
        assert (row["epochs"] < 9) == stopped
        assert (row["error"] == f"stopped by the scheduler after {row['epochs']} epochs") == stopped


@pytest.mark.parametrize(
    ("scheduler", "searcher"), [("median", "random"), ("hyperband", "random"), ("hyperband", "tpe"), ("asha", "sobol")]
)
def test_scheduler_stops_trials(tmp_path: Path, scheduler: str, searcher: str) -> None:
    check_stopped(sweep(tmp_path, scheduler=scheduler, searcher=searcher))


def test_hyperband_goes_on_when_trials_diverge(tmp_path: Path) -> None:
    """Rates of up to 1e30 end trials at any epoch; those of their bracket that wait must not wait for ever."""
    space = {"momentum.lr_g": {"loguniform": [0.01, 1e30]}, "momentum.lr_d": {"loguniform": [0.01, 1e3]}}
    base = {k: v for k, v in plan()["base"].items() if k not in ("update", "adam")}
    found = rows(sweep(tmp_path, scheduler="hyperband", space=space, base=base))
    assert len(found) == 12
    assert {row["status"] for row in found} >= {schema.DIVERGED, schema.COMPLETE}
    assert {row["status"] for row in found} <= {schema.DIVERGED, schema.COMPLETE, schema.STOPPED}


@pytest.mark.parametrize("scheduler", ["pbt", "pb2"])
def test_population_copies_its_better_members(tmp_path: Path, scheduler: str) -> None:
    run = sweep(
        tmp_path,
        scheduler={"name": scheduler, "interval_epochs": 3},
        searcher="sobol",
        confirm={"seeds": 1, "top": 1, "protocols": [FINAL]},
    )
    found = rows(run)
    search = {row["config_id"]: row for row in found if row["stage"] == "search"}
    members = [row for row in search.values() if row["parent_id"] is None]
    copies = [row for row in search.values() if row["parent_id"] is not None]
    replaced = [row for row in search.values() if row["status"] == schema.STOPPED]
    assert len(members) == 12
    assert len(copies) == len(replaced) > 0
    assert sorted(row["number"] for row in search.values()) == list(range(12 + len(copies)))
    donors = {row["error"].rpartition(" ")[2] for row in replaced}
    for row in replaced:
        assert row["error"] == f"replaced at epoch {row['epochs']} by a copy of {row['error'].rpartition(' ')[2]}"
    assert donors == {row["parent_id"] for row in copies}
    lines = curves(run)
    for row in copies:
        check_copy(row, search[row["parent_id"]], lines[lines["stage"] == "search"])
    finished = [row for row in copies if row["status"] == schema.COMPLETE]
    assert finished
    check_replays(max(finished, key=lambda row: len(json.loads(row["cfg_schedule"]))), lines, tmp_path / "alone")
    check_best(run)


def check_copy(row: dict[str, Any], donor: dict[str, Any], lines: pd.DataFrame) -> None:
    """Check that a copy goes on where its donor was, with values of its own within the space."""
    config, before = (TrialConfig.from_dict(json.loads(r["cfg_json"])) for r in (row, donor))
    change = config.schedule[-1]
    assert config == before.changed(change.after, dict(change.values))
    assert row["seed"] == donor["seed"]
    assert set(dict(change.values)) == set(SPACE)
    for name, value in change.values:
        low, high = next(iter(SPACE[name].values()))
        assert low <= value <= high
    assert change.after % 3 == 0
    own, its = (
        lines[(lines["config_id"] == r["config_id"])].set_index("epoch")["report_ll_mean"] for r in (row, donor)
    )
    assert own.index.tolist() == list(range(1, row["epochs"] + 1))
    # Up to the exploit the curve is the donor's; from there on it is another one.
    assert own.loc[: change.after].tolist() == its.loc[: change.after].tolist()
    both = [epoch for epoch in own.index if epoch > change.after and epoch in its.index]
    assert all(own[epoch] != its[epoch] for epoch in both)


def check_replays(row: dict[str, Any], lines: pd.DataFrame, folder: Path) -> None:
    """Check that a member's configuration and seed alone give the same bits."""
    spec = TrialSpec(
        config=TrialConfig.from_dict(json.loads(row["cfg_json"])),
        seed=row["seed"],
        stage="search",
        protocols=(build(Protocol, FINAL, "final"),),
        report_protocol=build(Protocol, REPORT, "report"),
    )
    (alone,) = run_trial(spec, folder)
    for name in ("weights_digest", "valid_ll_mean", "sigma", "scored_epoch", "report_ll_mean", "g_updates"):
        assert row[name] == alone[name]
    own = lines[(lines["config_id"] == row["config_id"]) & (lines["stage"] == "search")].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, curves(folder))


def check_best(run: Path) -> None:
    """Check that the finalist of a population is confirmed with its schedule, and handed out by `best`."""
    path = run.parent / "best.yaml"
    path.write_text(gansearch("best", run))
    best = load_yaml(path)
    config = TrialConfig.from_dict(best["config"])
    assert config.config_id == best["config_id"]
    confirmed = [row for row in rows(run) if row["stage"] == "confirm"]
    assert {row["status"] for row in confirmed} == {schema.COMPLETE}
    assert best["config_id"] in {row["config_id"] for row in confirmed}
    searched = [row for row in rows(run) if row["stage"] == "search" and row["status"] == schema.COMPLETE]
    leader = max(searched, key=lambda row: float(row["valid_ll_mean"]))
    (row,) = [row for row in confirmed if row["config_id"] == leader["config_id"]]
    assert row["seed"] != leader["seed"]
    assert row["cfg_schedule"] == leader["cfg_schedule"]
    again = TrialConfig.from_dict(json.loads(row["cfg_json"]))
    assert dataclasses.replace(again, schedule=()) == again.at_epoch(0)


def test_population_bears_members_that_diverge(tmp_path: Path) -> None:
    space = {"momentum.lr_g": {"loguniform": [0.01, 1e30]}, "momentum.lr_d": {"loguniform": [0.01, 1e3]}}
    base = {k: v for k, v in plan()["base"].items() if k not in ("update", "adam")}
    scheduler = {"name": "pbt", "interval_epochs": 2}
    found = rows(sweep(tmp_path, scheduler=scheduler, space=space, base=base, epochs=6))
    assert len([row for row in found if row["parent_id"] is None]) == 12
    assert {row["status"] for row in found} >= {schema.DIVERGED, schema.COMPLETE}
    assert {row["status"] for row in found} <= {schema.DIVERGED, schema.COMPLETE, schema.STOPPED}
