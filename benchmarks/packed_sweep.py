"""One small study on digits through both executors: Ray Tune with a process a trial, and packs.

Ray runs already, and each executor has run a short sweep on it before. A time is that of `gansearch.search.sweep`: from
its call to its result, with the start of its workers, the trials, their reports, scores and rows. The executors take
turns. The study has a random searcher, no scheduler and no confirm stage, so both train and score the same trials.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.machine import Figures, Ratio, Times, say, table
from gansearch.search.cluster import connected
from gansearch.search.study import Study
from gansearch.search.sweep import sweep
from gansearch.yaml_files import find_file, load_yaml

TRIALS, EPOCHS, REPORT_EVERY = 16, 20, 5
ENGINES, SLOTS = 2, 8
"""Engines of one core each, and the trials that each of them trains at a time."""
EXECUTORS = {"tune": "tune", "packed": {"name": "packed", "slots": SLOTS}}
NAMES = {"tune": "Ray Tune, a process a trial", "packed": f"packed, {ENGINES} engines of {SLOTS} slots"}
WARM_UP = {"trials": ENGINES, "epochs": REPORT_EVERY}


def study(executor: str, *, trials: int = TRIALS, epochs: int = EPOCHS) -> Study:
    """Return the study: the quickstart's networks, rates that are searched, one core a process.

    Args:
        executor: one of `EXECUTORS`.
        trials: how many.
        epochs: of each.
    """
    plan = {
        "base": load_yaml(find_file("quickstart"))["base"],
        "override": {"score.report_every": REPORT_EVERY},
        "space": {"momentum.lr_g": {"loguniform": [0.02, 0.2]}, "momentum.lr_d": {"loguniform": [0.02, 0.2]}},
        "searcher": "random",
        "executor": EXECUTORS[executor],
        "num_trials": trials,
        "epochs": epochs,
        "resources": {"cpu": 1},
        "max_concurrent": ENGINES if executor == "tune" else None,
        "confirm": {"seeds": 0},
        "seed": 2014,
    }
    return Study.parse(plan, "packed-benchmark")


def timed(one: Study, run: Path) -> dict[str, float]:
    """Run a study; return the seconds of the sweep, those before its first trial began, and those spent on trials.

    Raises:
        RuntimeError: when a trial did not complete.
    """
    began, clock = time.time(), time.perf_counter()
    result = sweep(one, run, download=False)
    seconds = time.perf_counter() - clock
    if result.ended != {"COMPLETE": one.num_trials}:
        raise RuntimeError(f"the trials of {one.executor.name} ended {result.ended}")
    rows = pd.read_parquet(run / "trials")
    return {
        "seconds": seconds,
        "before": rows["run_started"].min().timestamp() - began,
        "train": float(rows["run_train_seconds"].sum()),
        "score": float(rows["run_score_seconds"].sum()),
    }


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return what each executor took in each round, after a short sweep of each."""
    rounds = 1 if quick else 2
    found: dict[str, list[dict[str, float]]] = {name: [] for name in EXECUTORS}
    with tempfile.TemporaryDirectory(prefix="packed-") as folder, connected(None, trials=ENGINES):
        for name in EXECUTORS:
            say(f"sweep, {name}: a short one before those that count")
            timed(study(name, **WARM_UP), Path(folder, f"{name}-first"))
        for number in range(rounds):
            for name in list(EXECUTORS)[:: 1 if number % 2 else -1]:
                say(f"sweep, {name}, round {number + 1} of {rounds}")
                found[name].append(timed(study(name), Path(folder, f"{name}-{number}")))
    return {"trials": TRIALS, "epochs": EPOCHS, "rounds": rounds, "sweeps": found}


def _times(each: Sequence[Figures], name: str = "seconds") -> Times:
    return Times(tuple(one[name] for one in each))


def ratios(measured: Figures) -> list[Ratio]:
    """Return how many times as many configurations an hour the packed executor tries, with and without the start."""
    name = f"digits sweep of {measured['trials']}: configurations an hour, packed / Ray Tune"
    tune, packs = (measured["sweeps"][executor] for executor in ("tune", "packed"))
    return [
        Ratio.of(name, _times(tune), _times(packs)),
        Ratio.of(f"{name}, from the first trial's start", _from_first(tune), _from_first(packs)),
    ]


def _from_first(each: Sequence[Figures]) -> Times:
    return Times(tuple(one["seconds"] - one["before"] for one in each))


def figures_table(measured: Figures) -> str:
    """Return what the sweeps took as a table in Markdown."""
    header = ["digits sweep", "s, median", "s, fastest", "before the first trial", "training, all trials", "scoring"]
    rows = []
    for name, each in measured["sweeps"].items():
        times = _times(each)
        parts = [f"{_times(each, part).median:.2f} s" for part in ("before", "train", "score")]
        rate = f"{3600 * measured['trials'] / times.median:.0f}"
        rows.append([NAMES[name], f"{times.median:.2f}", f"{times.fastest:.2f}", *parts, rate])
    return table([*header, "configurations/h"], rows)
