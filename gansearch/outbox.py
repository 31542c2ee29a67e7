"""Rows that wait on this machine's disk while the storage of their run is away.

A process that cannot write a row keeps it here and tries again. Where it is killed meanwhile, or gives up, the next
process of the run on this machine delivers what waits: rows are never lost with the process that made them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from gansearch import parts, schema, storage
from gansearch.paths import RunPaths
from gansearch.storage import Location

_TABLES = (schema.CURVES, schema.SAMPLES, schema.EXAMPLES, schema.TEST_EVALUATIONS, schema.TRIALS)
"""In the order in which they are delivered: a row that says that a trial has ended comes last."""


def folder(run: Location) -> Path:
    """Return where rows of a run wait on this machine, laid out as the run directory itself."""
    name = hashlib.blake2b(str(run).encode(), digest_size=6).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "gansearch" / "outbox" / name


def deliver(run: Location) -> int:
    """Put what waits into the run; return how many part files that were.

    Of a trial, its row and what belongs to it are delivered where the row is an outcome and the run has none yet: a
    trial that has gone on elsewhere has its own by now. An entry of the ledger is delivered where it is missing.

    Raises:
        ResultsError: when the storage is still away; what is not delivered goes on waiting.
    """
    here, there = RunPaths(folder(run)), RunPaths(run)
    rows = here.table(schema.TRIALS.name).glob("[!._]*.parquet")
    ended = [path.stem for path in rows if _is_outcome(path) and not _is_outcome(there.table("trials") / path.name)]
    delivered = 0
    for table in _TABLES:
        for path in sorted(here.table(table.name).glob("[!._]*.parquet")):
            target = there.table(table.name) / path.name
            if table is schema.TEST_EVALUATIONS:
                wanted = not target.exists()
            else:
                wanted = any(stem == path.stem or stem.startswith(f"{path.stem}-") for stem in ended)
            if wanted:
                storage.write_bytes(target, path.read_bytes())
                delivered += 1
            path.unlink(missing_ok=True)  # another process here may deliver too
    shutil.rmtree(here.root, ignore_errors=True)
    return delivered


def _is_outcome(path: Location) -> bool:
    try:
        rows = parts.find_part(path, schema.TRIALS)
    except parts.DamagedPartError:
        return False
    return bool(rows) and all(row["status"] not in schema.UNFINISHED for row in rows)
