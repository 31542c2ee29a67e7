"""Whether a new sweep can be written to a directory; asked before anything is started."""

from __future__ import annotations

import os

from gansearch import storage
from gansearch.errors import ResultsError
from gansearch.object_store import RemotePath
from gansearch.paths import RunPaths
from gansearch.storage import Location


def check_run_directory(run: Location) -> None:
    """Raise ResultsError unless a new sweep can be written to the directory."""
    paths = RunPaths(run)
    if paths.plan.exists():
        raise ResultsError(
            f"{run} already holds a sweep",
            hint=f"`gansearch resume {run}` goes on with it; or give another directory with --out",
        )
    if run.exists() and not run.is_dir():
        raise ResultsError(f"{run} is a file, not a directory", hint="give another directory with --out")
    if run.is_dir() and any(paths.table(name).exists() for name in ("trials", "curves")):
        raise ResultsError(f"{run} already holds tables of other trials", hint="give another directory with --out")
    if isinstance(run, RemotePath):
        storage.probe(run)
        return
    existing = next(folder for folder in (run, *run.parents) if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ResultsError(f"{run} cannot be written: {existing} is not a writable directory", hint="give another one")
