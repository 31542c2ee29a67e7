"""What `gansearch sweep STUDY --out RUN` does, with workers that say when they begin: run by `benchmarks.startup`."""

from __future__ import annotations

import functools
import importlib
import signal
import sys

from gansearch.search.launch import launched
from gansearch.search.study import load_study


def run(name: str, out: str, address: str | None) -> None:
    """Run a study as the command does.

    Args:
        name: the study.
        out: the run directory.
        address: a running cluster; None for Ray on this machine.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have it ignored
    importlib.import_module("gansearch.cli")  # of the command itself: its time counts
    study = load_study(name)
    with launched(study, address):
        from benchmarks.startup_worker import StampingWorker
        from gansearch.search import sweep
        from gansearch.search.replacing import replaced

        with replaced(sweep, "Driver", lambda driver: functools.partial(driver, worker=StampingWorker)):
            sweep.sweep(study, out)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
