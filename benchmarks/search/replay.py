"""Replay every strategy that can be replayed on the table; print what each needs to do as well as random search.

    python -m benchmarks.search.replay

The strategies are the toolkit's own searchers and Tune's own schedulers, on a simulated clock.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import math
import multiprocessing
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.search import crossing, curves, worlds
from benchmarks.search.points import EPOCHS, REPORT_EVERY, FloatArray, benchmark_study
from benchmarks.search.simulate import Simulation
from benchmarks.search.table import TABLE
from gansearch.search.proposals import make_strategy
from gansearch.search.schedulers import make_scheduler, pauses

CURVES = Path(__file__).with_name("replay.parquet")
BUDGET = 48 * EPOCHS
"""Epochs of one search: those of 48 whole trials."""
GRID_STEP = 18
SHOWN_EPOCHS = (2, 6, 10, 18, 28, 54)
"""Epochs whose reports are compared with the final score."""
REPETITIONS = 200
COSTLY_REPETITIONS = 50
"""Of gp, each of whose replays takes a quarter of a minute of processor time."""
ASHA = {"name": "asha", "grace_epochs": 9, "reduction_factor": 3}
"""The shipped study's, in proportion to the budget: 20 epochs of 120 are 9 of 54."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A strategy that is replayed.

    Attributes:
        label: what it is called.
        searcher: the searcher's name.
        scheduler: the scheduler's section.
    """

    label: str
    searcher: str
    scheduler: Mapping[str, object] = dataclasses.field(default_factory=lambda: {"name": "none"})

    @property
    def costly(self) -> bool:
        """Whether it is replayed less often than the others, and with one number of workers only."""
        return self.searcher == "gp"


ENTRIES = (
    Entry(label="random", searcher="random"),
    Entry(label="sobol", searcher="sobol"),
    Entry(label="tpe", searcher="tpe"),
    Entry(label="gp", searcher="gp"),
    Entry(label="cmaes", searcher="cmaes"),
    Entry(label="random + median", searcher="random", scheduler={"name": "median", "grace_epochs": 9}),
    Entry(label="random + asha", searcher="random", scheduler=ASHA),
    Entry(label="tpe + asha", searcher="tpe", scheduler=ASHA),
    Entry(label="tpe + hyperband", searcher="tpe", scheduler={"name": "hyperband", "reduction_factor": 3}),
    Entry(label="tpe + asha, grace 6", searcher="tpe", scheduler={**ASHA, "grace_epochs": 6}),
    Entry(label="tpe + asha, grace 18", searcher="tpe", scheduler={**ASHA, "grace_epochs": 18}),
    Entry(label="nsga2", searcher="nsga2"),  # also lowers the cost; judged here by its best likelihood alone
)
REFERENCE = "random"


@functools.cache
def _world(name: str, table: Path) -> worlds.World:
    space = benchmark_study().space
    found = curves.read(table, space)
    return worlds.Nearest(found, space) if name == "nearest" else worlds.Surrogate(found, space)


def replay(entry: Entry, world: worlds.World, *, workers: int, seed: int, budget: int) -> list[Any]:
    """Return the steps of one repetition of a strategy."""
    study = benchmark_study(entry.searcher, entry.scheduler, num_trials=budget, seed=seed)
    scheduler = make_scheduler(study.scheduler, study.epochs)
    simulation = Simulation(
        make_strategy(study),
        scheduler,
        world.again(),
        report_every=REPORT_EVERY,
        workers=workers,
        ahead=pauses(scheduler),
        seed=seed,
    )
    return simulation.run(budget)


Task = tuple[str, int, int, int]
"""World, workers, entry's place, seed."""


def _run(task: Task, table: Path, budget: int) -> tuple[Task, FloatArray, FloatArray, float]:
    world, workers, place, seed = task
    started = time.process_time()
    steps = replay(ENTRIES[place], _world(world, table), workers=workers, seed=seed, budget=budget)
    reported, complete = crossing.on_grid(steps, grid(budget))
    return task, reported, complete, time.process_time() - started


def _start_process() -> None:
    torch.set_num_threads(1)  # Optuna's GP runs on it, and would take all cores for each of its small matrices
    logging.getLogger("ray.tune").setLevel(logging.WARNING)  # HyperBand tells of each bracket it leaves out


def grid(budget: int) -> FloatArray:
    """Return the budgets at which curves are kept, in epochs."""
    return np.arange(GRID_STEP, budget + 1, GRID_STEP, dtype=float)


def _tabulate(found: Mapping[tuple[str, int, int], list[Any]], budget: int) -> Iterable[dict[str, object]]:
    """Print a table for each world and number of workers; yield the mean curves."""
    at = grid(budget)
    for world, workers in sorted({key[:2] for key in found}):
        reference = [np.stack([row[i] for row in found[world, workers, 0]]) for i in (1, 2)]
        print(f"\n{world}, {workers} worker{'s' * (workers > 1)} at a time, {budget:,} epochs")
        print(f"{'':22} {'':4}   {'by any report':^41}  {'by complete trials':^41}")
        print(f"{'strategy':22} {'reps':>4} " + f"  {'at the end':>13} {'epochs to random':>21} share" * 2)
        for (_, _, place), rows in sorted(item for item in found.items() if item[0][:2] == (world, workers)):
            label = ENTRIES[place].label
            curves_of = [np.stack([row[i] for row in rows]) for i in (1, 2)]
            intervals = [crossing.mean_interval(each) for each in curves_of]
            cells = [_cell(*pair, at) for pair in zip(curves_of, reference, strict=True)]
            print(f"{label:22} {len(rows):4} " + "".join(f"  {cell}" for cell in cells))
            (mean, half), (mean_complete, half_complete) = intervals
            for i, epochs in enumerate(at):
                yield {
                    **{"world": world, "workers": workers, "strategy": label, "repetitions": len(rows)},
                    **{"epochs": int(epochs), "mean": mean[i], "half": half[i]},
                    **{"mean_complete": mean_complete[i], "half_complete": half_complete[i]},
                }


def _cell(found: FloatArray, reference: FloatArray, at: FloatArray) -> str:
    """Return the quality at the end, and when the reference's was reached, as text."""
    mean, half = crossing.mean_interval(found)
    cross = crossing.crossing(found, reference, at)
    low, high, epochs = (_epochs(value, at[-1]) for value in (cross.low, cross.high, cross.epochs))
    share = f"{cross.epochs / at[-1]:5.2f}" if math.isfinite(cross.epochs) else "    -"
    return f"{f'{mean[-1]:.2f} ± {half[-1]:.2f}':>13} {f'{epochs} [{low}, {high}]':>21} {share}"


def _epochs(value: float, budget: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else f">{budget:.0f}"


def show_errors(table: Path) -> None:
    """Print how far the rules that give points their curves can be trusted."""
    found = curves.read(table, benchmark_study().space)
    quality = found.quality
    trials = pd.read_parquet(table).drop_duplicates(["point", "replicate"])
    ended = ", ".join(f"{count} {status}" for status, count in trials["status"].value_counts().items())
    collapsed = int(trials["scored_collapsed"].eq(True).sum())
    print(f"{len(quality)} points x {found.final.shape[1]} seeds: {ended}; {collapsed} scored collapsed")
    print("final score of a point, mean over seeds, in nats:")
    print(
        f"  best {quality.max():.2f}, 95th percentile {np.quantile(quality, 0.95):.2f}, "
        f"median {np.median(quality):.2f}, worst {quality.min():.2f}"
    )
    for name, errors in (
        ("rank correlation of a report with the final score", worlds.order_by_epoch(found, SHOWN_EPOCHS)),
        ("seed noise of the final score", worlds.seed_noise(found)),
        ("nearest other point (leave one out)", worlds.nearest_errors(found)),
        (f"random forest ({worlds.FOLDS}-fold cross-validation)", worlds.surrogate_errors(found)),
    ):
        print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in errors.items()))


def main() -> None:
    """Replay all strategies in all worlds; print the tables, and write the mean curves."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=TABLE, help="the table of training curves")
    parser.add_argument("--out", type=Path, default=CURVES, help="file of the mean curves")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of each strategy")
    parser.add_argument("--costly-repetitions", type=int, default=COSTLY_REPETITIONS, help="of gp")
    parser.add_argument("--budget", type=int, default=BUDGET, help="epochs of one search")
    parser.add_argument("--workers", type=int, nargs="+", default=[4], help="simulated workers")
    parser.add_argument("--worlds", nargs="+", default=["nearest", "surrogate"], help="rules that give points curves")
    parser.add_argument("--strategies", nargs="+", default=[e.label for e in ENTRIES], help="beside random")
    parser.add_argument("--processes", type=int, default=2, help="real processes")
    parser.add_argument("--only-errors", action="store_true", help="say how good table and rules are, and end")
    options = parser.parse_args()
    show_errors(options.table)
    if options.only_errors:
        return
    tasks: list[Task] = [
        (world, workers, place, seed)
        for world in options.worlds
        for workers in options.workers
        for place in range(len(ENTRIES))
        if ENTRIES[place].label in {*options.strategies, REFERENCE}
        if workers == options.workers[0] or not ENTRIES[place].costly
        for seed in range(options.costly_repetitions if ENTRIES[place].costly else options.repetitions)
    ]
    run = functools.partial(_run, table=options.table, budget=options.budget)
    found: dict[tuple[str, int, int], list[Any]] = {}
    seconds: dict[str, list[float]] = {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, initializer=_start_process) as pool:
        for task, reported, complete, spent in pool.imap_unordered(run, tasks):
            found.setdefault(task[:3], []).append((task[3], reported, complete))
            seconds.setdefault(ENTRIES[task[2]].label, []).append(spent)
    for rows in found.values():
        rows.sort(key=lambda row: int(row[0]))  # the bootstrap draws by place
    pd.DataFrame(_tabulate(found, options.budget)).to_parquet(options.out, compression="zstd")
    mean = ", ".join(f"{label} {sum(spent) / len(spent):.1f}" for label, spent in seconds.items())
    print(f"\nprocessor seconds of one replay: {mean}")


if __name__ == "__main__":
    main()
