"""Imports that take seconds, done ahead of time."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage for the time of the block: while modules are imported that is a fifth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def import_all(*names: str) -> None:
    """Import modules; what cannot be imported is left for whoever needs it, and hears why."""
    with uncollected():
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
