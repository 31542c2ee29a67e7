"""The front of a search: configurations that no other beats in both likelihood and training cost.

It is what a search with two objectives (`nsga2`) is for, and can be asked of any other. Only search-stage rows
are looked at, hence only validation scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from analysis import trial_columns
from analysis.ranking import STATUSES, exact_means
from analysis.records import Row, arrow_records
from analysis.selection import choose_from
from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.storage import Location

if TYPE_CHECKING:
    from analysis.ranking import Floats, Integers

_SETTINGS = tuple(c.name for c in schema.TRIALS.columns if c.name.startswith("cfg_") and c.name != "cfg_json")
_TEXTS = tuple(name for name in _SETTINGS if schema.TRIALS.column(name).type == "string")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One configuration of the front.

    Attributes:
        config_id: hash of the configuration.
        valid_ll_mean: mean validation log-likelihood over its completed search seeds, in nats.
        flops: floating-point operations of its training, mean over the same seeds.
        seeds: those seeds.
        values: the searched parameters' columns (`cfg_...`) that differ within the front.
    """

    config_id: str
    valid_ll_mean: float
    flops: float
    seeds: int
    values: dict[str, Any]


def front(run: Location | str, *, skip_damaged: bool = False) -> tuple[FrontPoint, ...]:
    """Return the search's front, from the highest likelihood to the lowest cost.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, or no search trial completed or some do not say what they cost.
    """
    columns = (*trial_columns.COLUMNS, "flops")
    rows, _ = results.read_arrow(
        run, schema.TRIALS, columns=columns, coded=trial_columns.CODED, skip_damaged=skip_damaged
    )
    trials = trial_columns.from_arrow(rows)
    choose_from(trials, stage="search")  # refuses what cannot be compared
    complete = trials.stage.equal("search") & (trials.status == STATUSES.index(schema.COMPLETE))
    order = trials.by_key()
    order = order[complete[order]]
    config = trials.config.codes[order]
    starts = np.flatnonzero(np.diff(config, prepend=-1))
    seeds = np.diff(np.append(starts, len(config)))
    flops = rows["flops"].fill_null(float("nan")).to_numpy()[order]
    if not np.isfinite(flops).all():
        raise ResultsError(f"{run} has completed search trials that do not say what they cost: their flops are null")
    values, costs = exact_means(trials.score[order], seeds), exact_means(flops, seeds)
    kept = unbeaten(values, costs)
    ids = trials.config.values.take(config[starts[kept]]).to_pylist()
    kept = kept[sorted(range(len(kept)), key=lambda i: (-values[kept[i]], costs[kept[i]], ids[i]))]
    ids = trials.config.values.take(config[starts[kept]]).to_pylist()
    settings = _settings(run, ids, skip_damaged)
    varied = [name for name in _SETTINGS if len({settings[one][name] for one in ids}) > 1]
    return tuple(
        FrontPoint(
            config_id=one,
            valid_ll_mean=float(values[place]),
            flops=float(costs[place]),
            seeds=int(seeds[place]),
            values={name: settings[one][name] for name in varied},
        )
        for one, place in zip(ids, kept, strict=True)
    )


def unbeaten(values: Floats, costs: Floats) -> Integers:
    """Return the places of the points that no other beats: none is as good in both and better in one.

    Args:
        values: the higher, the better, [points].
        costs: the lower, the better, [points].
    """
    order = np.lexsort((costs, -values))
    value, cost = values[order], costs[order]
    begin = np.flatnonzero(np.diff(value, prepend=np.inf))  # of the points that share a value, the cheapest is first
    group = np.cumsum(np.bincount(begin, minlength=len(value))) - 1
    cheapest_above = np.append(np.inf, np.minimum.accumulate(cost))[begin]
    found: Integers = order[(cost == cost[begin][group]) & (cost < cheapest_above[group])]
    return found


def _settings(run: Location | str, config_ids: Sequence[str], skip_damaged: bool) -> dict[str, Row]:
    """Return the values of some configurations' parameters."""
    rows, _ = results.read_arrow(
        run,
        schema.TRIALS,
        columns=("config_id", "stage", *_SETTINGS),
        where=pc.field("config_id").isin(config_ids),
        coded=("stage", *_TEXTS),
        skip_damaged=skip_damaged,
    )
    return {row["config_id"]: row for row in arrow_records(rows) if row["stage"] == "search"}
