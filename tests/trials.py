"""Small real trials: digits, networks of a few units, score protocols of a few hundred samples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gansearch import schema
from gansearch.config import TrialConfig
from gansearch.core.datasets import Dataset, load
from gansearch.placement import Placement
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.spec import TrialSpec
from gansearch.trial import Report, run

FULL = Protocol(name="small-full", num_samples=211, sigma_points=5)
PUBLISHED = Protocol(
    name="small-published", num_samples=157, sigma_points=7, refine=False, valid_subset="first", valid_count=97
)
REPORT = Protocol(name="small-report", num_samples=149, sigma_points=6, valid_subset="random", valid_count=83)
SMALL: dict[str, Any] = {
    "noise.dim": 6,
    "generator.hidden": (13, 11),
    "generator.init_range": 0.3,
    "discriminator.hidden": (9,),
    "discriminator.pieces": 3,
    "discriminator.init_range": 0.1,
    "algorithm.epochs": 5,
    "algorithm.batch_size": 100,
}
EVERY_REPORT = Placement(checkpoint_seconds=0.0)
"""Writes a checkpoint at every report."""


@functools.cache
def digits() -> Dataset:
    """Return the real digits."""
    return load("digits", data_dir=None, download=False)


def spec(stage: str = "search", seed: int = 3, values: Mapping[str, Any] | None = None, **changes: Any) -> TrialSpec:
    """Return the spec of a small trial.

    Args:
        stage: its stage.
        seed: its seed.
        values: parameters that differ from `SMALL`, by dotted name.
        changes: other fields of the spec.
    """
    config = TrialConfig().replace(SMALL | dict(values or {}))
    fields: dict[str, Any] = {"protocols": (FULL,), "report_protocol": REPORT} | changes
    return TrialSpec(config=config, seed=seed, stage=stage, **fields)


def run_trial(
    trial: TrialSpec,
    folder: Path,
    *,
    data: Dataset | None = None,
    placement: Placement = EVERY_REPORT,
    on_report: Callable[[Report], None] = lambda _: None,
) -> list[Row]:
    """Run a trial to its end; return its rows."""
    return run(trial, data or digits(), Recorder(folder), placement, on_report)


def best_reports(frame: pd.DataFrame) -> list[int]:
    """Return the place of the report that counts as best after each of a trial's reports, in the order of epochs.

    The first highest of those whose samples cover a tenth of what real images cover, or the latest so far
    while none does. All values must be finite.
    """
    lls = frame["report_ll_mean"].tolist()
    healthy = (frame["coverage"] >= 0.1 * frame["coverage_real"]).tolist()
    best = []
    for now in range(len(lls)):
        candidates = [i for i in range(now + 1) if healthy[i]]
        best.append(max(candidates, key=lambda i: lls[i]) if candidates else now)
    return best


class InterruptAfter:
    """Raises KeyboardInterrupt at the n-th report, as Ctrl-C would."""

    def __init__(self, reports: int) -> None:
        self._left = reports

    def __call__(self, _report: Report) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def read(folder: Path, table: schema.Table) -> pd.DataFrame:
    """Return a table as a user reads it: by pandas alone."""
    return pd.read_parquet(folder / table.name)


def outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's columns but for those that say where and how long it ran."""
    return {name: value for name, value in row.items() if not name.startswith("run_")}


def curves(folder: Path) -> pd.DataFrame:
    """Return the curves of a run without the columns that measure time, in the order of epochs."""
    frame = read(folder, schema.CURVES).drop(columns=["seconds", "examples_per_second"])
    return frame.sort_values("epoch").reset_index(drop=True)
