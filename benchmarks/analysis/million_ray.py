"""The peer: an experiment folder as Ray Tune leaves it, and the same question put to `ExperimentAnalysis`.

    python -m benchmarks.analysis.million_ray write DIRECTORY --trials 1000
    python -m benchmarks.analysis.million_ray read DIRECTORY

What is written is what Tune's controller and its default JSON and CSV loggers write of a trial that reports once, as
read off a real experiment: `result.json`, `params.json`, `params.pkl` and `progress.csv` in a folder of the trial, and
the states of all trials, made by Tune's own `Trial`, in `experiment_state-*.json`. Left out are files that the question
does not read (TensorBoard's events, the searcher's state). One report a trial is the least that can be asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRIC = "valid_ll_mean"
NAME = "experiment"


def write(folder: Path, trials: int) -> None:
    """Write an experiment of so many trials.

    Args:
        folder: where the experiment's folder is made.
        trials: how many.
    """
    import numpy as np
    from ray import cloudpickle, tune
    from ray.train._internal.storage import StorageContext
    from ray.tune.experiment import Trial
    from ray.tune.utils.serialization import TuneFunctionEncoder

    rng, states = np.random.default_rng(1), []
    tune.register_trainable("stand_in", _stand_in)
    place = folder / NAME
    place.mkdir(parents=True)
    for number in range(trials):
        config = {
            "k": int(rng.integers(1, 6)),
            "lr_g": float(np.exp(rng.uniform(-7, 0))),
            "lr_d": float(np.exp(rng.uniform(-7, 0))),
            "final": float(rng.uniform(0.5, 0.9)),
            "pieces": int(rng.integers(2, 6)),
            "dropout_hidden": float(rng.uniform(0, 0.7)),
        }
        trial_id = f"f2a1c_{number:07d}"
        tag = ",".join(
            f"{name}={config[name]:{'.4f' if isinstance(config[name], float) else ''}}" for name in sorted(config)
        )
        own = place / f"stand_in_{trial_id}_{number}_{tag}_2026-03-04_05-06-07"
        trial = Trial(
            "stand_in",
            config=config,
            trial_id=trial_id,
            evaluated_params=config,
            experiment_tag=f"{number}_{tag}",
            storage=StorageContext(folder, NAME, trial_dir_name=own.name),
            stub=True,
            _setup_default_resource=False,
        )
        trial.create_placement_group_factory()
        result = _result(config, trial_id, float(rng.normal(120, 25)))
        trial.update_last_result({**result, "done": True, "experiment_tag": trial.experiment_tag})
        trial.set_status(Trial.TERMINATED)
        states.append(trial.get_json_state())
        own.mkdir()
        (own / "result.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
        (own / "params.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
        (own / "params.pkl").write_bytes(cloudpickle.dumps(config))
        flat = {name: value for name, value in result.items() if name != "config"}
        with (own / "progress.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, flat)
            writer.writeheader()
            writer.writerow(flat)
    content = {"trial_data": states, "runner_data": {}, "stats": {"start_time": 1772600000.0}}
    with (place / "experiment_state-2026-03-04_05-06-07.json").open("w", encoding="utf-8") as file:
        json.dump(content, file, cls=TuneFunctionEncoder)


def _stand_in(config: dict[str, Any]) -> None:
    """Stand where a trainable would; it is never run."""


def _result(config: dict[str, Any], trial_id: str, score: float) -> dict[str, Any]:
    """Return what Tune makes of a trial's only report."""
    return {
        METRIC: score,
        "timestamp": 1772600000,
        "checkpoint_dir_name": None,
        "done": False,
        "training_iteration": 1,
        "trial_id": trial_id,
        "date": "2026-03-04_05-06-07",
        "time_this_iter_s": 12.5,
        "time_total_s": 12.5,
        "pid": 4242,
        "hostname": "node-1",
        "node_ip": "10.0.0.1",
        "config": config,
        "time_since_restore": 12.5,
        "iterations_since_restore": 1,
    }


def read(folder: Path) -> dict[str, Any]:
    """Ask for the best trial and the first 20, and return how long each step took.

    Args:
        folder: which `write` was given.
    """
    from ray import tune

    tune.register_trainable("stand_in", _stand_in)
    seconds: dict[str, float] = {}
    with _timed(seconds, "open"):
        analysis = tune.ExperimentAnalysis(str(folder / NAME), default_metric=METRIC, default_mode="max")
    with _timed(seconds, "result grid"):
        grid = tune.ResultGrid(analysis)
    with _timed(seconds, "best"):
        best = grid.get_best_result(METRIC, "max")
    with _timed(seconds, "top 20"):
        first = grid.get_dataframe().nlargest(20, METRIC)
    if best.metrics is None or best.metrics[METRIC] != first[METRIC].iloc[0] or len(grid) != len(analysis.trials):
        raise RuntimeError("the best trial is not the first one")
    return {"trials": len(grid), "seconds": seconds}


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def main() -> None:
    """Write an experiment, or read one and print what that took as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analysis.million_ray",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("write", "read"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--trials", type=int, default=1000, metavar="N", help="to write (default: 1,000)")
    given = parser.parse_args()
    if given.action == "write":
        write(given.directory, given.trials)
        return
    found = read(given.directory)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump({**found, "megabytes": megabytes}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
