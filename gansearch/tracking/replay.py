"""A run's tables told to a tracker as if its trials ran now."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gansearch.tracking.interface import Destination, ended

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = ("config_id", "seed", "stage", "fold")
_CHUNK = 4096


def replay(trials: pa.Table, curves: pa.Table, destination: Destination) -> tuple[int, int]:
    """Tell a tracker of each trial that has an outcome.

    What it knows of them already is not doubled.

    Args:
        trials: a run's table of that name.
        curves: the other one.
        destination: where they are followed.

    Returns:
        How many trials it was told of, and how many were left out because they have no outcome.
    """
    told = left_out = 0
    reports = _grouped(curves, "epoch")
    waiting = next(reports, None)
    for key, rows in _grouped(trials, "protocol_id"):
        while waiting is not None and waiting[0] < key:
            waiting = next(reports, None)
        if not ended(rows):
            left_out += 1
            continue
        tracker = destination.start(rows[0])
        for report in waiting[1] if waiting is not None and waiting[0] == key else ():
            tracker.report(report)
        tracker.end(rows)
        told += 1
    return told, left_out


def _grouped(table: pa.Table, last: str) -> Iterator[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Yield each trial's key and rows, in the order of the keys; few rows at a time are Python's."""
    batches = table.sort_by([(name, "ascending") for name in (*_KEY, last)]).to_batches(max_chunksize=_CHUNK)
    rows = (row for batch in batches for row in batch.to_pylist())
    for key, group in itertools.groupby(rows, key=lambda row: tuple(row[name] for name in _KEY)):
        yield key, list(group)
