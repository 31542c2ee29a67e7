"""Run directories with several confirmed configurations, image by image, written as a sweep writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.comparison import Array
from gansearch import parts, schema
from gansearch.config import TrialConfig
from gansearch.paths import RunPaths, TrialKey
from gansearch.yaml_files import dump_yaml
from tests.analysis.rows import FULL, PUBLISHED, config, trial_row, write_run

N_VALID, N_TEST = 37, 41
PAPER, QUICK, SLOW, WIDE = (
    config(),
    config(momentum__lr_g=0.0312, algorithm__k=2),
    config(momentum__lr_g=0.7),
    config(generator__hidden=(64, 32), algorithm__k=3),
)
SPACE = {
    "algorithm.k": {"int": [1, 5]},
    "momentum.lr_g": {"loguniform": [0.001, 1.0]},
    "generator.hidden": {"choice": [[1200, 1200], [64, 32]]},
    "noise.dim": {"fixed": 100},
}


def images(seed: int, mean: float, n: int) -> Array:
    """Return log-likelihoods of n images whose mean is `mean`, but for rounding; the draws follow from `seed`."""
    draws = np.random.default_rng(seed).normal(0, 12, n)
    shown: Array = mean + draws - draws.mean()
    return shown


def completed(trial: TrialConfig, seed: int, valid: float, test: float, **values: object) -> list[dict[str, Any]]:
    """Return a completed confirm trial's rows under `full` and, 3.5 nats lower, under `published-2014`."""
    rows = []
    for scored_by, lower in ((FULL, 0.0), (PUBLISHED, 3.5)):
        lls = {"valid": images(seed, valid - lower, N_VALID), "test": images(seed + 1000, test - lower, N_TEST)}
        scores: dict[str, Any] = {}
        for split, own in lls.items():
            scores |= {
                f"{split}_ll_mean": float(own.mean()),
                f"{split}_ll_se_examples": float(own.std(ddof=1)) / math.sqrt(len(own)),
                f"{split}_n": len(own),
            }
        rows.append(trial_row(trial, seed, "confirm", 0.0, scored_by=scored_by) | scores | values)
    return rows


def lost(trial: TrialConfig, seed: int, status: str = schema.DIVERGED) -> list[dict[str, Any]]:
    """Return the rows of a confirm trial without a score."""
    return [trial_row(trial, seed, "confirm", status=status, scored_by=p) for p in (FULL, PUBLISHED)]


def write_funnel(
    run: Path, rows: Sequence[Mapping[str, Any]], *, base: TrialConfig | None = PAPER, planned: int = 3
) -> Path:
    """Write a run directory of these rows: tables, each image's value of the confirm rows, ledger and plan."""
    write_run(run, rows)
    for row in rows:
        if row["stage"] == "confirm" and row["status"] == schema.COMPLETE:
            key = TrialKey(row["config_id"], row["seed"], "confirm", row["fold"])
            part = RunPaths(run).part("examples", key)
            known = parts.read_part(part, schema.EXAMPLES) if part.exists() else []
            parts.write_part(part, schema.EXAMPLES, [*known, *_examples(row)])
    if base is not None:
        study = {"base": base.to_dict(), "space": SPACE, "confirm": {"seeds": planned}}
        RunPaths(run).plan.write_text(dump_yaml({"name": run.name, "study": study}), encoding="utf-8")
    return run


def _examples(row: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    common = {name: row[name] for name in ("config_id", "seed", "stage", "fold", "protocol_id")}
    for split, offset, n in (("valid", 0, N_VALID), ("test", 1000, N_TEST)):
        mean = row.get(f"{split}_ll_mean")
        if mean is not None:
            for index, ll in enumerate(images(row["seed"] + offset, mean, n).tolist()):
                yield {**common, "split": split, "index": index, "ll": ll}


def four_finalists() -> list[dict[str, Any]]:
    """Return the rows of a run: QUICK leads and SLOW is near it; the study's base lost one seed of three.

    WIDE diverged always. On test the order is the reverse of that on validation, at both stages.
    """
    rows = [
        trial_row(PAPER, 1, score=101.25),
        trial_row(QUICK, 2, score=126.5, number=1),
        trial_row(QUICK, 3, score=121.5, number=1),
        trial_row(SLOW, 4, score=124.0, number=2),
        trial_row(WIDE, 5, status=schema.STOPPED, number=3),
    ]
    for trial, first, valids, tests in (
        (QUICK, 20, (117.5, 119.75, 121.0), (70.5, 74.0, 77.25)),
        (SLOW, 30, (114.0, 119.25, 118.5), (91.0, 84.5, 88.0)),
        (PAPER, 10, (100.5, 103.0), (201.5, 203.25)),
    ):
        for i, (valid, test) in enumerate(zip(valids, tests, strict=True)):
            rows += completed(trial, first + i, valid, test, collapsed=trial is SLOW and i == 0)
    rows += lost(PAPER, 12)
    for seed in (41, 42, 43):
        rows += lost(WIDE, seed, schema.DIVERGED if seed < 43 else schema.FAILED)
    return rows
