"""Searches for the analysis tests: in memory, and as run directories with plan, trials and curves."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.planned_search import Parameter, PlannedSearch
from analysis.search_rows import BAD, Search, SearchTrial
from gansearch import parts, schema
from gansearch.config import TrialConfig
from gansearch.paths import RunPaths, TrialKey
from gansearch.yaml_files import dump_yaml
from tests.analysis.rows import REPORT, STARTED, config, trial_row, write_run

BUDGET = 12
SPACE: Mapping[str, Any] = {
    "algorithm.k": {"int": [1, 5]},
    "update.rule": {"choice": ["momentum", "adam"]},
    "momentum.lr_g": {"loguniform": [0.001, 1.0], "when": {"update.rule": ["momentum"]}},
    "generator.hidden": {"choice": [[1200, 1200], [64, 32]]},
    "discriminator.dropout_hidden": {"uniform": [0.0, 0.7]},
    "noise.dim": {"fixed": 100},
}
A, B, C, D = (Parameter(name=f"x.{name}", kind="float", low=0.0, high=1.0) for name in "abcd")
"""Parameters of searches in memory."""


def planned(
    parameters: Sequence[Parameter] = (A, B, C), *, searcher: str = "random", scheduler: str = "none", first: int = 0
) -> PlannedSearch:
    """Return the plan of a search in memory; by default all of its trials were drawn."""
    return PlannedSearch(
        searcher=searcher,
        scheduler=scheduler,
        grace_epochs=3,
        reduction_factor=2.0,
        epochs=BUDGET,
        first=first,
        parameters=tuple(parameters),
    )


def tried(number: int, value: float | None, *, status: str = schema.COMPLETE, **more: Any) -> SearchTrial:
    """Return a trial of a search in memory; `values` are those of its parameters."""
    given: dict[str, Any] = {
        "key": TrialKey(f"c{number:05}", 100 + number, "search"),
        "number": number,
        "replicate": 0,
        "status": status,
        "error": None if status == schema.COMPLETE else f"ended as {status}",
        "values": {},
        "value": None if status in (*BAD, *schema.UNFINISHED) else value,
        "valid": value,
        "epochs": BUDGET,
        "budget": BUDGET,
        "seconds": 36.0,
        "threads": 2,
        "gpu_share": 0.25,
        "flops": 1e9,
        "started": STARTED,
    }
    return SearchTrial(**given | more)


def search_of(trials: Iterable[SearchTrial], plan: PlannedSearch | None) -> Search:
    """Return a search in memory."""
    return Search(run="searched", dataset="digits", plan=plan, trials=tuple(trials), skipped=())


def search_row(number: int, score: float | None, trial: TrialConfig, **values: Any) -> dict[str, Any]:
    """Return a search trial's row; its value under the report protocol is `score`."""
    seconds = datetime.timedelta(seconds=60 * number)
    own = {
        "number": number,
        "report_ll_mean": score,
        "report_last_ll_mean": None if score is None else score - 1,
        "epochs": BUDGET,
        "flops": 1e9 * (number + 1),
        "run_started": STARTED + seconds,
    }
    row = trial_row(trial.replace({"algorithm.epochs": BUDGET}), 100 + number, "search", score)
    return row | own | values


def some_configs(count: int) -> list[TrialConfig]:
    """Return configurations of `SPACE`, all different; every third is trained with Adam."""
    found = []
    for i in range(count):
        values: dict[str, Any] = {
            "algorithm__k": 1 + i % 5,
            "generator__hidden": ((1200, 1200), (64, 32))[i % 2],
            "discriminator__dropout_hidden": round(0.7 * i / max(count - 1, 1), 6),
        }
        if i % 3 == 2:
            values["update__rule"] = "adam"
        else:
            values["momentum__lr_g"] = 0.001 * 10 ** (3 * ((7 * i) % count) / count)
        found.append(config(**values))
    return found


def curve_rows(row: Mapping[str, Any], values: Sequence[float | None], every: int = 3) -> list[dict[str, Any]]:
    """Return the reports of a trial, `every` so many epochs."""
    common = {name: row[name] for name in ("config_id", "seed", "stage", "fold")}
    return [
        {**common, "epoch": every * (i + 1), "report_protocol_id": REPORT.id, "report_ll_mean": value}
        for i, value in enumerate(values)
    ]


def write_search(
    run: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    curves: Mapping[int, Sequence[float | None]] | None = None,
    searcher: str = "random",
    scheduler: str = "asha",
    space: Mapping[str, Any] | None = SPACE,
) -> Path:
    """Write a run directory of these rows, with reports by the trials' numbers, and a plan unless `space` is None."""
    write_run(run, rows)
    for row in rows:
        values = (curves or {}).get(row["number"]) if row["stage"] == "search" else None
        if values:
            key = TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"])
            parts.write_part(RunPaths(run).part("curves", key), schema.CURVES, curve_rows(row, values))
    if space is not None:
        study = {
            "base": config().to_dict(),
            "space": dict(space),
            "searcher": {"name": searcher},
            "scheduler": {"name": scheduler, "grace_epochs": 3, "reduction_factor": 2.0},
            "epochs": BUDGET,
            "confirm": {"seeds": 3},
            "start_from": [],
        }
        RunPaths(run).plan.write_text(dump_yaml({"name": run.name, "study": study}), encoding="utf-8")
    return run


def mixed_rows(count: int = 14) -> tuple[list[dict[str, Any]], dict[int, list[float | None]]]:
    """Return rows of a search that ended in every way, and its reports.

    Number 1 was stopped after 3 of 12 epochs, 4 diverged, 6 failed, 8 collapsed, 9 was interrupted; the rest completed.
    """
    ends = {
        1: (schema.STOPPED, 3),
        4: (schema.DIVERGED, 5),
        6: (schema.FAILED, 1),
        8: (schema.COLLAPSED, 6),
        9: (schema.INTERRUPTED, 2),
    }
    rows, curves = [], {}
    for number, trial in enumerate(some_configs(count)):
        status, epochs = ends.get(number, (schema.COMPLETE, BUDGET))
        score = 50.0 + 3 * ((5 * number) % count)
        rows.append(search_row(number, score, trial, status=status, epochs=epochs))
        if status != schema.COMPLETE:
            unscored = ("valid_ll_mean", "valid_ll_se_examples", "valid_n", "sigma", "sigma_at_edge", "weights_digest")
            rows[-1] |= dict.fromkeys((*unscored, "scored_epoch", "collapsed"))
            rows[-1]["error"] = f"ended as {status}"
        curves[number] = [score - 6, score - 3, None, score][: max(1, epochs // 3)]
    return rows, curves
