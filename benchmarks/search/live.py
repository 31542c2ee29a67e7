"""Compare live, at equal budget, what cannot be replayed on a table: PBT and PB2.

    python -m benchmarks.search.live --work runs/search-live

All search the parameters of the digits space that can change while a trial runs, the others fixed at the base's.
A population of 8 is trained for the whole budget; random search has the same 8 trials; tpe + asha has as many as
fit into the same epochs. The best trial of each search, by validation, is trained again from fresh seeds: that mean
is free of the luck by which it was chosen. A population's member is trained again with its schedule of values.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.statistics import t_interval
from benchmarks.search.points import EPOCHS, benchmark_study
from benchmarks.search.table import PLACEMENT
from gansearch import results, schema, sweep, trial
from gansearch.config import TrialConfig
from gansearch.core.datasets import load
from gansearch.recorder import Recorder
from gansearch.schedule import CHANGEABLE
from gansearch.search.pairings import POPULATION
from gansearch.search.study import Study
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec

MEMBERS = 8
BUDGET = MEMBERS * EPOCHS
REPETITIONS = 3
FRESH_SEEDS = 3
INTERVAL = 6
"""Epochs between two changes of a population."""
ASHA_TRIALS = 32
"""More than fit into the budget: those that do not are left out of the comparison."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A strategy that is compared live.

    Attributes:
        searcher: the searcher's name.
        scheduler: the scheduler's section.
        num_trials: trials, or members of the population.
    """

    searcher: str
    scheduler: Mapping[str, object]
    num_trials: int = MEMBERS


ENTRIES = {
    "random": Entry(searcher="random", scheduler={"name": "none"}),
    "tpe + asha": Entry(searcher="tpe", scheduler={"name": "asha", "grace_epochs": 6}, num_trials=ASHA_TRIALS),
    "pbt": Entry(searcher="random", scheduler={"name": "pbt", "interval_epochs": INTERVAL}),
    "pb2": Entry(searcher="random", scheduler={"name": "pb2", "interval_epochs": INTERVAL}),
}


def live_study(entry: Entry, seed: int) -> Study:
    """Return the benchmark's study over the changeable parameters alone."""
    plan = benchmark_study(num_trials=entry.num_trials, seed=seed).to_dict()
    plan.update(searcher=entry.searcher, scheduler=dict(entry.scheduler))
    plan["space"] = {name: domain for name, domain in plan["space"].items() if name in CHANGEABLE}
    return Study.parse(plan, "digits_live")


def within_budget(rows: pd.DataFrame, budget: int) -> pd.DataFrame:
    """Return the trials, in the order in which they were tried, whose epochs together fit into the budget."""
    ordered = rows.sort_values("number")
    return ordered[ordered["epochs"].cumsum() <= budget]


def own_epochs(rows: pd.DataFrame) -> pd.Series[int]:
    """Return the epochs that each trial trained itself: of a population's, those after its last change."""
    schedules = rows["cfg_schedule"].map(lambda text: json.loads(text) if isinstance(text, str) else [])
    return rows["epochs"] - schedules.map(lambda changes: changes[-1]["after"] if changes else 0).astype(int)


def confirmed(row: Mapping[Hashable, object], study: Study, run: Path) -> list[float]:
    """Return the validation scores of a trial's configuration, trained again from fresh seeds."""
    config = TrialConfig.from_dict(json.loads(str(row["cfg_json"])))
    data = load("digits", data_dir=None).without_test()
    scores = []
    for replicate in range(FRESH_SEEDS):
        spec = TrialSpec(
            config=config,
            seed=trial_seed(study.seed, "train", config.config_id, replicate),
            stage="train",
            replicate=replicate,
            protocols=(study.protocols.final,),
            report_protocol=study.protocols.report,
        )
        (trained,) = trial.run(spec, data, Recorder(run), PLACEMENT)
        scores.append(trained["valid_ll_mean"] if trained["status"] == schema.COMPLETE else float("nan"))
    return scores


def compare(entry: Entry, seed: int, run: Path) -> dict[str, object]:
    """Run one search, unless its run is there; return what it found within the budget."""
    study = live_study(entry, seed)
    if not run.exists():
        sweep(study, run)
    rows = results.read(run, "trials")
    if study.scheduler.name not in POPULATION:  # a population is whole, and its budget what its members make of it
        rows = within_budget(rows, BUDGET)
    complete = rows[rows["status"] == schema.COMPLETE]
    best = complete.nlargest(1, "valid_ll_mean").to_dict("records")[0]
    again = confirmed(best, study, run.with_name(f"{run.name}-again"))
    return {
        "trials": len(rows),
        "complete": len(complete),
        "epochs": int(own_epochs(rows).sum()),
        "best": float(best["valid_ll_mean"]),
        "again": float(np.mean(again)),
    }


def main() -> None:
    """Run every search of every repetition that is not there yet; print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/search-live"), help="where the searches' runs go")
    parser.add_argument("--only", nargs="+", default=list(ENTRIES), choices=list(ENTRIES), help="strategies")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of each strategy")
    options = parser.parse_args()
    found = [
        {"strategy": label, "seed": seed, **compare(ENTRIES[label], seed, options.work / f"{label}-{seed}")}
        for label in options.only
        for seed in range(options.repetitions)
    ]
    print(pd.DataFrame(found).round(2).to_string(index=False))
    print(f"\nbest trial of each search, trained again from {FRESH_SEEDS} fresh seeds, in nats")
    for label in options.only:
        again = [float(str(row["again"])) for row in found if row["strategy"] == label]
        interval = t_interval(again)
        shown = f", 95% [{interval.low:.2f}, {interval.high:.2f}] over {len(again)} searches" if interval else ""
        print(f"{label:12} {np.mean(again):6.2f}{shown}")


if __name__ == "__main__":
    main()
