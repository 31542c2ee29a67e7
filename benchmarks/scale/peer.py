"""Plain Ray Tune, as its documentation shows it: a no-op Trainable, Tune's own loggers, storage and defaults."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.scale.studies import SHARE

SPACE = {
    "k": tune.randint(1, 4),
    "lr_g": tune.loguniform(0.02, 0.4),
    "lr_d": tune.loguniform(0.02, 0.4),
    "final": tune.uniform(0.5, 0.9),
    "pieces": tune.randint(2, 6),
    "dropout_hidden": tune.uniform(0.0, 0.6),
}
"""The space of `studies.stand_in_study`."""


class PlainNoOp(tune.Trainable):
    """Reports one made-up value and is done."""

    def setup(self, config: dict[str, Any]) -> None:
        """Keep the configuration."""
        self._values = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Keep the next configuration; called where processes are reused."""
        self._values = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Return the trial's only result."""
        return {"objective": self._values["lr_g"], "started": time.time(), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write nothing; Tune's default is to save at the end of each trial."""


def run_plain(trials: int, storage: Path, *, concurrent: int, reuse_actors: bool) -> list[float]:
    """Run the no-op trials; return when each took its step, in seconds since 1970.

    Args:
        trials: how many.
        storage: where Tune writes.
        concurrent: trials at a time.
        reuse_actors: whether one process runs several trials, which is not Tune's default.
    """
    found = tune.Tuner(
        tune.with_resources(PlainNoOp, {"cpu": SHARE}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="objective",
            mode="max",
            num_samples=trials,
            max_concurrent_trials=concurrent,
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(storage)),
    ).fit()
    if found.num_errors or len(found) != trials:
        raise RuntimeError(f"{found.num_errors} errors in {len(found)} of {trials} trials")
    metrics = [found[i].metrics for i in range(len(found))]
    return [float(values["started"]) for values in metrics if values is not None]
