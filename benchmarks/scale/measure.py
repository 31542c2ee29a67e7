"""Run one measurement in this process, so that its memory is its own; print it as one line of JSON.

    python -m benchmarks.scale.measure no-op --trials 300 --work runs/scale-no-op

`python -m benchmarks.scale` runs all of them, each in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from benchmarks.scale import peer
from benchmarks.scale.figures import (
    gap_seconds,
    marginal_milliseconds,
    run_bytes,
    table_files,
    wall_over_compute,
    windows,
)
from benchmarks.scale.stand_ins import NoOp, Sleeper
from benchmarks.scale.studies import CONCURRENT, real_study, stand_in_study
from benchmarks.scale.usage import Usage
from gansearch import results, schema
from gansearch.core.datasets import load
from gansearch.search.capacity import open_room
from gansearch.search.cluster import connected
from gansearch.search.driver import Driver
from gansearch.search.lease import held
from gansearch.search.plan_files import write_plan
from gansearch.search.progress import Progress
from gansearch.search.study import Study
from gansearch.search.worker import TrialWorker

STAND_INS: dict[str, type[tune.Trainable]] = {"no-op": NoOp, "sleep": Sleeper}
REAL = "real"
PEERS = {"plain": False, "plain-reuse": True}
"""Whether each runs with `reuse_actors`."""
KINDS = (*STAND_INS, REAL, *PEERS)
BEST_TIMES = 3

Figures = dict[str, Any]


def measure(kind: str, trials: int, work: Path, *, concurrent: int = CONCURRENT, epochs: int = 1) -> Figures:
    """Run a sweep of so many trials; return its figures.

    Args:
        kind: one of `KINDS`.
        trials: how many.
        work: an empty folder for what the trials write.
        concurrent: trials at a time; of real ones as many as there are processors.
        epochs: of each real trial; the others train nothing.
    """
    if kind in PEERS:
        found = _measure_peer(trials, work, concurrent=concurrent, reuse_actors=PEERS[kind])
    elif kind == REAL:
        found = _measure_sweep(real_study(trials, epochs), TrialWorker, work)
    else:
        found = _measure_sweep(stand_in_study(trials, concurrent), STAND_INS[kind], work)
    return {"kind": kind, "trials": trials, **found}


def _measure_sweep(study: Study, worker: type[tune.Trainable], work: Path) -> Figures:
    """Run a study through the driver, as `gansearch sweep` does, with another worker."""
    run, data = work / "run", load(study.base.dataset.name, data_dir=None)
    ended = 0

    def hear(progress: Progress) -> None:
        nonlocal ended
        ended = progress.done

    with connected(None), held(run) as lease:
        room = open_room(study)
        slots = room.limit
        write_plan(study, data, run)
        with Usage(lambda: ended) as usage:
            began, clock = time.time(), time.monotonic()
            outcome = Driver(study, data, run, lease=lease, room=room, on_progress=hear, worker=worker).run()
            wall = time.monotonic() - clock
    if not outcome.complete or outcome.ended != {schema.COMPLETE: study.num_trials}:
        raise RuntimeError(f"the sweep ended {outcome.ended}: {outcome.reason}")
    rows = results.read(run, schema.TRIALS.name, columns=["run_started", "run_seconds"])
    started = [float(moment.timestamp()) for moment in rows["run_started"]]
    seconds = [float(taken) for taken in rows["run_seconds"]]
    last_end = max(start + taken for start, taken in zip(started, seconds, strict=True))
    return {
        "concurrent": slots,
        "wall_seconds": wall,
        "until_first_seconds": min(started) - began,
        "after_last_seconds": began + wall - last_end,
        **_times(started, wall),
        **_waits(started, seconds, slots),
        "trial_seconds": statistics.fmean(seconds),
        "cpu_milliseconds": {
            _window(first, last): usage.cpu_milliseconds(first, last) for first, last in windows(study.num_trials)
        },
        **_megabytes(usage),
        "megabytes_at": {str(count): usage.at(count).megabytes for count in {min(1000, len(rows)), len(rows)}},
        "table_files": table_files(run),
        "run_megabytes": run_bytes(run) / 1e6,
        "best_seconds": _time_best(run),
    }


def _measure_peer(trials: int, work: Path, *, concurrent: int, reuse_actors: bool) -> Figures:
    """Run plain Ray Tune; its tables, which it prints by default, go to stderr."""
    with _ray(), contextlib.redirect_stdout(sys.stderr), Usage(lambda: 0) as usage:
        clock = time.monotonic()
        started = peer.run_plain(trials, work, concurrent=concurrent, reuse_actors=reuse_actors)
        wall = time.monotonic() - clock
    return {
        "concurrent": concurrent,
        "wall_seconds": wall,
        **_times(started, wall),
        **_megabytes(usage),
        "files": sum(1 for path in work.rglob("*") if path.is_file()),
        "run_megabytes": run_bytes(work) / 1e6,
    }


@contextlib.contextmanager
def _ray() -> Iterator[None]:
    """Start the Ray that `connected` starts, without its settings of Tune."""
    ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _window(first: int, last: int) -> str:
    return f"{first}-{last}"


def _times(started: list[float], wall: float) -> Figures:
    return {
        "milliseconds_a_trial": 1000 * wall / len(started),
        "marginal_milliseconds": {
            _window(first, last): marginal_milliseconds(started, first, last) for first, last in windows(len(started))
        },
    }


def _waits(started: list[float], seconds: list[float], slots: int) -> Figures:
    if len(started) <= slots:
        return {}
    return {
        "wall_over_compute": wall_over_compute(started, seconds, slots),
        "gap_milliseconds": 1000 * gap_seconds(started, seconds, slots),
    }


def _megabytes(usage: Usage) -> Figures:
    return {"megabytes_before": usage.samples[0].megabytes, "megabytes_most": usage.most_megabytes}


def _time_best(run: Path) -> float:
    """Return the median seconds that `gansearch best` takes, Python's start included."""
    taken = []
    for _ in range(BEST_TIMES):
        clock = time.monotonic()
        subprocess.run([sys.executable, "-m", "gansearch.cli", "best", str(run)], check=True, capture_output=True)
        taken.append(time.monotonic() - clock)
    return statistics.median(taken)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--concurrent", type=int, default=CONCURRENT, help="trials at a time, but for real ones")
    parser.add_argument("--epochs", type=int, default=1, help="of each real trial")
    parser.add_argument("--work", type=Path, required=True, help="a new folder for what the trials write")
    given = parser.parse_args()
    given.work.mkdir(parents=True)
    found = measure(given.kind, given.trials, given.work.absolute(), concurrent=given.concurrent, epochs=given.epochs)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
