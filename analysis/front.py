"""The front of a search: configurations that no other beats in both likelihood and training cost.

It is what a search with two objectives (`nsga2`) is for, and can be asked of any other. Only search-stage rows
are looked at, hence only validation scores.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

from analysis import statistics
from analysis.records import Row, records
from analysis.selection import choose
from gansearch import results, schema
from gansearch.storage import Location


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
        ResultsError: when the run cannot be read, or no search trial completed.
    """
    trials = results.read(run, schema.TRIALS.name, skip_damaged=skip_damaged)
    search = trials[trials["stage"] == "search"]
    choose(search)  # refuses what cannot be compared
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in records(search[search["status"] == schema.COMPLETE], schema.TRIALS):
        groups[row["config_id"]].append(row)
    means = {
        config_id: (statistics.mean([r["valid_ll_mean"] for r in rows]), statistics.mean([r["flops"] for r in rows]))
        for config_id, rows in groups.items()
    }
    kept = [
        one
        for one, (value, flops) in means.items()
        if not any(_beats(other, (value, flops)) for other in means.values())
    ]
    kept.sort(key=lambda one: (-means[one][0], means[one][1], one))
    varied = _varied([groups[one][0] for one in kept])
    return tuple(
        FrontPoint(
            config_id=one,
            valid_ll_mean=means[one][0],
            flops=means[one][1],
            seeds=len(groups[one]),
            values={name: groups[one][0][name] for name in varied},
        )
        for one in kept
    )


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether one (value, cost) is as good as another in both and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def _varied(rows: Sequence[Row]) -> list[str]:
    names = [c.name for c in schema.TRIALS.columns if c.name.startswith("cfg_") and c.name != "cfg_json"]
    return [name for name in names if len({row[name] for row in rows}) > 1]
