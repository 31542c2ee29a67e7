"""A sweep's start: what takes seconds is done at the same time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import ray

from gansearch.search.cluster import connected
from gansearch.search.imports import cores, import_all
from gansearch.search.study import Study

_NEEDED = ("gansearch.search.sweep", "sklearn.datasets")
"""What a sweep imports; the last is where the digits are from."""


@contextlib.contextmanager
def launched(study: Study, address: str | None) -> Iterator[None]:
    """Connect to a cluster, and import meanwhile all that a sweep needs, for the time of the block.

    Each takes seconds, and a start of Ray is mostly waiting. What `gansearch.search.sweep` is called with in the
    block needs no address. A connection that is there already is used.

    Args:
        study: what is to run.
        address: a cluster's address, as `connected` takes it.

    Raises:
        ResourceError: when no cluster can be used there.
    """
    importing = threading.Thread(target=_import_needed, name="imports")
    importing.start()
    try:
        with connected(address, trials=trials_here(study)):
            importing.join()
            yield
    finally:
        importing.join()


def trials_here(study: Study) -> int:
    """Return how many trials of a study would run on this machine's cores at a time; none of those that take a GPU."""
    if ray.is_initialized() or study.resources.gpu:
        return 0
    fit = study.resources.fit(cores(), 0)
    return min(fit, study.max_concurrent or fit, study.num_trials * study.repeats)


def _import_needed() -> None:
    if sys.platform == "linux":  # of this thread alone: Ray's processes go first, for everything waits for them
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    import_all(*_NEEDED)
