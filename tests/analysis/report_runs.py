"""Run directories for the page: with pictures and curves, nearly empty, huge, and full of hostile texts."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gansearch import parts, schema
from gansearch.paths import RunPaths, TrialKey
from gansearch.yaml_files import dump_yaml
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, SPACE, four_finalists, write_funnel
from tests.analysis.rows import REPORT, config, trial_row, write_plan, write_run

HOSTILE = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 2</script><!--",
    "\"'><img src=x onerror='window.pwned = 3'>",
    "javascript:window.pwned=4",
    "{{ 7 * 7 }} {% raw %} ${7*7} <%= 7 %>",
    "\u202egnitirw\u202c \u2028 \u0000\u0007 é 漢字",
    "x" * 10_000,
)
"""What a page must show as text."""
SHEET = (3, 5)
"""Rows and columns of images in a sheet."""
EPOCHS = (2, 4, 5)


def full(run: Path) -> Path:
    """Write a run of four finalists with curves and sheets of samples."""
    rows = [row | {"number": row.get("number", 0)} for row in four_finalists()]
    write_funnel(run, rows)
    _write_curves(run, rows)
    _write_sheets(run, rows)
    return run


def one_trial(run: Path) -> Path:
    """Write a run of one completed trial of a search."""
    rows = [trial_row(PAPER, 1, score=101.25, number=0)]
    write_run(run, rows)
    write_plan(run, 3)
    _write_curves(run, rows)
    return run


def failed_only(run: Path) -> Path:
    """Write a run in which no trial completed."""
    statuses = (schema.FAILED, schema.DIVERGED, schema.FAILED)
    trials = (PAPER, QUICK, SLOW)
    rows = [
        trial_row(t, i, status=s, number=i, report_ll_mean=None, report_epoch=None)
        for i, (t, s) in enumerate(zip(trials, statuses, strict=True))
    ]
    return write_run(run, rows)


def hostile(folder: Path) -> Path:
    """Write a run whose name, plan, machines, errors and configurations hold what a page must not obey."""
    rows = [dict(row) for row in four_finalists()]
    for i, row in enumerate(rows):
        text = HOSTILE[i % len(HOSTILE)].replace("\0", "")
        row |= {"cfg_generator_hidden": text, "cfg_dataset_name": HOSTILE[0], "run_host": text, "run_device_name": text}
        if row["status"] != schema.COMPLETE:
            row["error"] = text
    run = folder / '"><img src=x onerror="window.pwned=5">\u202e'
    write_funnel(run, rows)
    _write_curves(run, rows)
    plan = RunPaths(run).plan
    plan.write_text(plan.read_text().replace("study:", f"study:\n  description: {HOSTILE[1]!r}", 1), encoding="utf-8")
    return run


def thousands(run: Path, n: int) -> Path:
    """Write a run of n search trials of 10 reports each, one in three stopped early."""
    draws = np.random.default_rng(7)
    rates, ks = draws.uniform(0.001, 1, n).round(6).tolist(), draws.integers(1, 6, n).tolist()
    trials = [config(momentum__lr_g=rate, algorithm__k=k) for rate, k in zip(rates, ks, strict=True)]
    scores = draws.normal(90, 25, n) - 8 * np.array(ks)
    base = trial_row(PAPER, 0, score=0.0)
    rows = []
    for i, (trial, score) in enumerate(zip(trials, scores.tolist(), strict=True)):
        stopped = i % 3 == 0
        own = {"config_id": trial.config_id, "seed": 281_474_976_710_655 - i, "number": i, "cfg_json": trial.to_json()}
        own |= {"cfg_momentum_lr_g": rates[i], "cfg_algorithm_k": ks[i], "report_ll_mean": score - 2.5}
        if stopped:
            own |= {"status": schema.STOPPED, "error": "stopped by the scheduler", "valid_ll_mean": None, "epochs": 2}
        else:
            own |= {"valid_ll_mean": score}
        rows.append(base | own)
    parts.write_part(RunPaths(run).part("trials", "all"), schema.TRIALS, rows)
    curves = [report for row in rows for report in _reports(row, range(1, 11))]
    parts.write_part(RunPaths(run).part("curves", "all"), schema.CURVES, curves)
    study = {"base": PAPER.to_dict(), "space": SPACE, "confirm": {"seeds": 3}}
    RunPaths(run).plan.write_text(dump_yaml({"name": run.name, "study": study}), encoding="utf-8")
    return run


def _write_curves(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        key = TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"])
        part = RunPaths(run).part("curves", key)
        if not part.exists():
            parts.write_part(part, schema.CURVES, list(_reports(row, EPOCHS)))


def _reports(row: Mapping[str, Any], epochs: Iterable[int]) -> Iterable[dict[str, Any]]:
    identity = {name: row[name] for name in ("config_id", "seed", "stage", "fold")}
    last = row["report_ll_mean"] or -75.25
    for epoch in epochs:
        value = last - 40 * math.exp(-epoch / 2)
        yield {**identity, "epoch": epoch, "report_protocol_id": REPORT.id, "report_ll_mean": value}


def _write_sheets(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        key = TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"])
        part = RunPaths(run).part("samples", key)
        if row["stage"] == "confirm" and row["status"] == schema.COMPLETE and not part.exists():
            identity = {name: row[name] for name in ("config_id", "seed", "stage", "fold")}
            picture = {"kind": "sheet", "epoch": 4, "rows": SHEET[0], "columns": SHEET[1], "png": _png(row["seed"])}
            parts.write_part(part, schema.SAMPLES, [identity | picture])


def _png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (9 * SHEET[0], 9 * SHEET[1]), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
