"""What Ray Tune keeps of trials that have ended: as little as it needs, so that a sweep may have any number of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray.tune.execution.tune_controller import TuneController

from gansearch.search.replacing import replaced

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial


def forget(trial: TuneTrial) -> None:
    """Drop what Tune keeps of the results of a trial that has ended; the tables hold them."""
    kept = trial.run_metadata
    for values in (kept.last_result, kept.metric_analysis, kept.metric_n_steps):
        values.clear()


@contextlib.contextmanager
def first_snapshot_only() -> Iterator[None]:
    """Let Tune write its state once, at the start, for the time of the block.

    A snapshot holds every trial there has been, and Tune keeps a copy of each one's part. It writes one at the end,
    whatever its period; nothing here reads any. It looks for a file at the end, which is why there is one.
    """
    with replaced(TuneController, "checkpoint", _once_each):
        yield


def _once_each(method: Any) -> Any:
    written = set[int]()

    def checkpoint(controller: TuneController, *args: Any, **options: Any) -> None:
        if id(controller) not in written:
            written.add(id(controller))
            method(controller, *args, **options)

    return checkpoint
