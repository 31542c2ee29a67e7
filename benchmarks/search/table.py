"""Train every Sobol point of the digits space from several seeds; keep all curves in one Parquet file.

    python -m benchmarks.search.table --work runs/search-table

Run again with the same `--work` it goes on where it was ended: trials that have their rows are not trained
again. No Ray: two worker processes, one thread each.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.search.points import POINTS, SEEDS, SOBOL_SEED, STUDY, benchmark_study, point_at, sobol
from gansearch import schema, trial
from gansearch.core.datasets import Dataset, load
from gansearch.core.diagnostics import COLLAPSED_BELOW
from gansearch.placement import Placement
from gansearch.provenance import versions
from gansearch.recorder import Recorder
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec

TABLE = Path(__file__).with_name("digits_sobol.parquet")
PLACEMENT = Placement(device="cpu", threads=1)

Job = tuple[int, int]
"""A point's number and a replicate."""


@functools.cache
def _data() -> Dataset:
    """Return the digits without their test split, which no search reads."""
    return load("digits", data_dir=None).without_test()


@functools.cache
def _coordinates(points: int) -> Any:
    return sobol(benchmark_study().space, points)


def make_spec(job: Job, points: int) -> TrialSpec:
    """Return a trial of the table, as a sweep of the benchmark's study would make it."""
    study = benchmark_study()
    config = study.space.config(point_at(study.space, _coordinates(points)[job[0]]))
    return TrialSpec(
        config=config,
        seed=trial_seed(study.seed, "search", config.config_id, job[1]),
        stage="search",
        replicate=job[1],
        protocols=(study.protocols.final,),
        report_protocol=study.protocols.report,
    )


def train(job: Job, *, work: Path, points: int) -> str:
    """Train one trial, unless its rows are there; return its status."""
    (row,) = trial.run(make_spec(job, points), _data(), Recorder(work), PLACEMENT)
    return str(row["status"])


def objectives(curve: Iterable[dict[str, Any]]) -> Iterator[tuple[bool, float | None]]:
    """Yield, for each report, whether its samples have collapsed, and what a searcher would be told.

    The searcher's value is that of the weights which would be scored now: the best of the reports so far whose
    samples have not collapsed, the latest while all have.

    Args:
        curve: rows of the table `curves`, in the order of their epochs.
    """
    best: float | None = None
    best_collapsed = True
    for report in curve:
        collapsed = bool(report["coverage"] < COLLAPSED_BELOW * report["coverage_real"])
        value = report["report_ll_mean"]
        if value is not None and not math.isnan(value) and (best_collapsed or (not collapsed and value > best)):
            best, best_collapsed = value, collapsed
        yield collapsed, best


def rows(job: Job, work: Path, points: int) -> Iterator[dict[str, object]]:
    """Yield a trained trial's rows of the table, one for each report.

    Raises:
        ValueError: when the rebuilt searcher's value is not the one in the trial's row.
    """
    spec, recorder = make_spec(job, points), Recorder(work)
    (row,) = recorder.rows(spec.key, [p.id for p in spec.protocols])
    curve = recorder.read_table(schema.CURVES, spec.key)
    told = list(objectives(curve))
    if told and told[-1][1] != row["report_ll_mean"]:
        raise ValueError(f"{spec.key}: the reports say {told[-1][1]}, the trial's row {row['report_ll_mean']}")
    u = _coordinates(points)[job[0]]
    study = benchmark_study()
    trial_columns = {
        "point": job[0],
        "replicate": job[1],
        "seed": spec.seed,
        "config_id": spec.key.config_id,
        **{f"u_{p.name}": float(x) for p, x in zip(study.space.parameters, u, strict=True)},
        **point_at(study.space, u),
        "status": row["status"],
        "valid_ll_mean": row["valid_ll_mean"],
        "scored_collapsed": row["collapsed"],
        "flops": row["flops"],
        "seconds": row["run_seconds"],
    }
    for report, (collapsed, objective) in zip(curve, told, strict=True):
        yield {
            **trial_columns,
            "epoch": report["epoch"],
            "report_ll_mean": report["report_ll_mean"],
            "collapsed": collapsed,
            "objective": objective,
        }


def write(path: Path, work: Path, points: int, seeds: int) -> None:
    """Gather the trained trials into one file, with what made them in its metadata."""
    found = [row for point in range(points) for seed in range(seeds) for row in rows((point, seed), work, points)]
    study = benchmark_study()
    made = {
        "study": STUDY,
        "sobol_seed": SOBOL_SEED,
        "points": points,
        "seeds": seeds,
        "epochs": study.epochs,
        "report_every": study.base.score.report_every,
        "report_protocol": study.protocols.report.id,
        "final_protocol": study.protocols.final.id,
        "space": study.space.to_dict(),
        "versions": versions(),
    }
    table = pa.Table.from_pylist(found)
    table = table.replace_schema_metadata({"gansearch": json.dumps(made)})
    pq.write_table(table, path, compression="zstd", compression_level=19)


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/search-table"), help="where trials leave their rows")
    parser.add_argument("--out", type=Path, default=TABLE, help="the table's file")
    parser.add_argument("--points", type=int, default=POINTS, help="Sobol points, a power of two")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of each point")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    jobs = [(point, seed) for point in range(options.points) for seed in range(options.seeds)]
    run = functools.partial(train, work=options.work, points=options.points)
    ended: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for done, status in enumerate(pool.imap_unordered(run, jobs), 1):
            ended[status] += 1
            if done % 16 == 0 or done == len(jobs):
                print(f"[{time.monotonic() - started:.0f} s] {done}/{len(jobs)} {dict(ended)}", flush=True)
    write(options.out, options.work, options.points, options.seeds)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
