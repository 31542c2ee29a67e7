"""Whole trial rows and run directories for the analysis tests, written as a sweep writes them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gansearch import parts, schema
from gansearch.config import TrialConfig
from gansearch.paths import RunPaths
from gansearch.protocols import Protocol, protocol
from gansearch.recorder import Recorder
from gansearch.rows import cfg_columns
from gansearch.yaml_files import dump_yaml

FULL = protocol("full")
PUBLISHED = protocol("published-2014")
REPORT = protocol("report")
STARTED = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
N_VALID, N_TEST = 360, 357


def config(**values: object) -> TrialConfig:
    """Return a configuration with parameters set by name, `algorithm__k=2` for `algorithm.k`."""
    return TrialConfig().replace({name.replace("__", "."): value for name, value in values.items()})


def trial_row(
    trial: TrialConfig,
    seed: int,
    stage: str = "search",
    score: float | None = None,
    *,
    status: str = schema.COMPLETE,
    scored_by: Protocol = FULL,
    **values: object,
) -> dict[str, Any]:
    """Return a valid row of `trials`; a trial without a score has none of what scoring gives."""
    row: dict[str, Any] = {
        "schema_version": schema.VERSION,
        "config_id": trial.config_id,
        "seed": seed,
        "stage": stage,
        "fold": 0,
        "protocol_id": scored_by.id,
        "replicate": seed % 10,
        "status": status,
        "error": None if status == schema.COMPLETE else f"ended as {status}",
        "report_protocol_id": REPORT.id,
        "report_ll_mean": -75.25 if score is None else score - 2.5,
        "report_epoch": 4,
        "epochs": 5,
        "g_updates": 55,
        "d_updates": 55,
        "num_samples": scored_by.num_samples,
        "data_train_digest": "11111111",
        "data_valid_digest": "22222222",
        "data_test_digest": "33333333",
        **cfg_columns(trial),
        "cfg_json": trial.to_json(),
        "protocol_json": json.dumps(scored_by.to_dict()),
        "report_protocol_json": json.dumps(REPORT.to_dict()),
        "run_started": STARTED,
        "run_seconds": 12.5,
        "run_host": "node-1",
        "run_device": "cpu",
        "run_device_name": "A processor (AVX2)",
        "run_threads": 1,
        "run_gpu_share": 0.0,
        "run_code_revision": "0123456789ab",
        "run_gansearch_version": "0.1.0",
        "run_torch_version": "2.11.0",
        "run_ray_version": "2.52.0",
        "run_python_version": "3.11.9",
    }
    if status == schema.COMPLETE:
        row |= {
            "valid_ll_mean": score,
            "valid_ll_se_examples": 0.7,
            "valid_n": N_VALID,
            "sigma": 0.175,
            "sigma_at_edge": False,
            "scored_epoch": 4,
            "collapsed": False,
            "weights_digest": f"w{trial.config_id}{seed}",
        }
    return row | values


def confirm_rows(trial: TrialConfig, seed: int, valid: float, test: float, **values: object) -> list[dict[str, Any]]:
    """Return a completed confirm trial's rows under `full` and, 3.5 nats lower, under `published-2014`."""
    rows = []
    for scored_by, lower in ((FULL, 0.0), (PUBLISHED, 3.5)):
        scores = {
            "test_ll_mean": test - lower,
            "test_ll_se_examples": 1.25,
            "test_n": N_TEST,
            "test_evaluation": "made",
        }
        rows.append(trial_row(trial, seed, "confirm", valid - lower, scored_by=scored_by) | scores | values)
    return rows


def write_plan(run: Path, confirm_seeds: int) -> None:
    """Write the part of a sweep's plan file that the analysis reads."""
    plan = {"name": run.name, "study": {"confirm": {"seeds": confirm_seeds}}}
    RunPaths(run).plan.write_text(dump_yaml(plan), encoding="utf-8")


def write_run(run: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a run directory: one part a row, and the ledger's entry of each row with a test score."""
    paths = RunPaths(run)
    for row in rows:
        key = "-".join(str(row[name]) for name in ("config_id", "seed", "stage", "fold", "protocol_id"))
        parts.write_part(paths.part("trials", key), schema.TRIALS, [row])
        if row.get("test_ll_mean") is not None:
            names = [c.name for c in schema.TEST_EVALUATIONS.columns if c.name != "made_at"]
            Recorder(run).record_test_evaluation({name: row[name] for name in names} | {"made_at": STARTED})
    return run
