"""Figures from what a run left behind: its rows and its files."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from gansearch import schema


def marginal_milliseconds(started: Sequence[float], first: int, last: int) -> float:
    """Return the milliseconds from one trial's start to the next one's, on average over trials `first` to `last`.

    Args:
        started: when each trial started, in seconds, in any order.
        first: the first trial counted, from 1 in the order of the starts; 2 or more.
        last: the last one counted.
    """
    if not 2 <= first <= last <= len(started):
        raise ValueError(f"trials {first} to {last} of {len(started)}")
    order = sorted(started)
    return 1000 * (order[last - 1] - order[first - 2]) / (last - first + 1)


def windows(trials: int, size: int = 1000, skipped: int = 100) -> list[tuple[int, int]]:
    """Return the first and the last `size` trials, those of the start-up skipped; one window where they overlap."""
    skipped = min(skipped, trials // 3)
    first = (skipped + 1, min(skipped + size, trials))
    last = (trials - size + 1, trials)
    return [first, last] if last[0] > first[1] else [first]


def wall_over_compute(started: Sequence[float], seconds: Sequence[float], workers: int) -> float:
    """Return a sweep's wall time over (sum of its trials' time / workers), after start-up.

    After start-up: from the moment at which every worker has begun its first trial, up to the end of the last trial.
    Of trials that had begun before that moment, the rest counts. 1 is reached where no worker ever waits, not for its
    next trial nor, at the end, for the other workers' last ones.

    Args:
        started: when each trial started, in seconds.
        seconds: how long each took.
        workers: trials that can run at a time.
    """
    if len(started) <= workers:
        raise ValueError(f"{len(started)} trials say nothing about {workers} workers")
    begun = sorted(started)[workers - 1]
    ends = [start + taken for start, taken in zip(started, seconds, strict=True)]
    compute = sum(max(end - max(start, begun), 0.0) for start, end in zip(started, ends, strict=True))
    return (max(ends) - begun) / (compute / workers)


def gap_seconds(started: Sequence[float], seconds: Sequence[float], workers: int) -> float:
    """Return the median time from a trial's end to the start of the trial that took its place.

    The trial that takes a place is the one after the first `workers` trials, in the order of the ends.
    """
    starts = sorted(started)[workers:]
    ends = sorted(start + taken for start, taken in zip(started, seconds, strict=True))[: len(starts)]
    return statistics.median(start - end for start, end in zip(starts, ends, strict=True))


def table_files(run: Path) -> dict[str, int]:
    """Return how many files each table's folder of a run holds, whatever their names."""
    folders = {name: run / name for name in schema.TABLES}
    return {name: sum(1 for _ in folder.iterdir()) for name, folder in folders.items() if folder.is_dir()}


def run_bytes(run: Path) -> int:
    """Return what all files of a run directory hold together."""
    return sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
