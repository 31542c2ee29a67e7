"""The studies that the benchmark runs: the shipped quickstart's networks and data, cheap in processors."""

from __future__ import annotations

from typing import Any

from gansearch.search.study import Study, load_study

CONCURRENT = 30
"""Trials at a time."""
SHARE = 0.05
"""Of a processor, which each trial that does not train is given: 40 of them fit on two."""
REAL_SPACE: dict[str, Any] = {
    "momentum.lr_g": {"loguniform": [0.05, 0.2]},
    "momentum.lr_d": {"loguniform": [0.05, 0.2]},
    "momentum.final": {"uniform": [0.5, 0.9]},
}
"""Parameters that do not change what a trial costs: trials of one length show the driver's share of the time."""


def stand_in_study(num_trials: int, concurrent: int = CONCURRENT) -> Study:
    """Return the quickstart's space under random search, so many trials at a time, search stage only."""
    return _changed(num_trials=num_trials, resources={"cpu": SHARE}, max_concurrent=concurrent)


def real_study(num_trials: int, epochs: int) -> Study:
    """Return trials that train the quickstart's networks for so many epochs, a processor each."""
    return _changed(num_trials=num_trials, epochs=epochs, space=REAL_SPACE, resources={"cpu": 1})


def _changed(**changes: Any) -> Study:
    plan = load_study("quickstart").to_dict()
    plan.update(searcher="random", scheduler="none", confirm={**plan["confirm"], "seeds": 0}, **changes)
    return Study.parse(plan, "scale")
