"""Merge the parts of trials that are over into few files, while the sweep goes on and readers read.

Only the driver merges, and only parts of search trials with an outcome. A merge writes one compacted file, whole or
not at all, and removes what it took over afterwards. Whoever reads in between finds rows in two files and takes each
once: a part counts before a compacted file (it is the same, or newer), and a compacted file before those that it says
it replaces. So a crash at any instant costs nothing: what was not removed is removed by the next driver.

Files are merged in levels, as in a log-structured merge tree: `BATCH` parts make a file of level 0, `FAN_IN` files of
a level one of the next. Each row is thus rewritten about as often as there are levels, the logarithm of their number.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import threading
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from gansearch import parts, results, schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.storage import Location

BATCH = 40
"""Parts of a table that make a compacted file."""
FAN_IN = 8
"""Compacted files of a level that make one of the next."""
TABLES = tuple(table for table in schema.TABLES.values() if table.part_key)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    """A compacted file.

    Attributes:
        path: where it is.
        level: how often its rows were merged.
        keys: the parts whose rows it holds.
    """

    path: Location
    level: int
    keys: frozenset[tuple[Any, ...]]


class Compactor:
    """Merges the parts of one run in a thread of its own, a batch at a time.

    Args:
        run: the run directory.
        claim_id: of the driver that holds it: once the claim is gone, nothing is merged.
        batch: parts of a table that make a compacted file.
        fan_in: compacted files of a level that make one of the next.
    """

    def __init__(self, run: Location, claim_id: str, *, batch: int = BATCH, fan_in: int = FAN_IN) -> None:
        self._paths, self._claim_id = RunPaths(run), claim_id
        self._batch, self._fan_in = batch, fan_in
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[str, None]] = {table.name: {} for table in TABLES}
        self._files: dict[str, list[_File]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="compaction")
        self._running: concurrent.futures.Future[None] | None = None

    def ended(self, key: TrialKey, protocol_ids: Iterable[str]) -> None:
        """Take note of a trial that has an outcome under each of these protocols."""
        with self._lock:
            for protocol_id in protocol_ids:
                self._waiting[schema.TRIALS.name][f"{key}-{protocol_id}.parquet"] = None
            for table in TABLES:
                if table is not schema.TRIALS:
                    self._waiting[table.name][f"{key}.parquet"] = None
            enough = len(self._waiting[schema.TRIALS.name]) >= self._batch
        if enough and (self._running is None or self._running.done()):
            self._running = self._pool.submit(self._merge_all)

    def close(self) -> None:
        """Merge what fills a batch by now, and end; other parts stay as they are."""
        self._running = self._pool.submit(self._merge_all)
        self._pool.shutdown(wait=True)

    def _merge_all(self) -> None:
        for table in TABLES:
            try:
                self._merge(table)
            except (ResultsError, OSError) as error:  # the parts stay, and are merged another time
                _log.warning("table %s is not compacted now: %s", table.name, error)

    def _merge(self, table: schema.Table) -> None:
        """Merge a table's waiting parts, if they fill a batch, and then whatever levels are full."""
        if table.name not in self._files:
            self._files[table.name] = self._left(table)
        with self._lock:
            names = set(self._waiting[table.name])
        if len(names) >= self._batch:
            there = {path.name: path for path in self._listed(table)}
            present = sorted(names & there.keys())
            if len(present) >= self._batch:
                self._write(table, [there[name] for name in present], level=0)
            with self._lock:  # a trial that failed early has no curves, and one of an earlier driver is merged already
                for name in names if len(present) >= self._batch else names - there.keys():
                    del self._waiting[table.name][name]
        files = self._files[table.name]
        for level in sorted({file.level for file in files}):
            same = [file for file in files if file.level == level]
            if len(same) >= self._fan_in:
                self._write(table, [], level + 1, same)

    def _left(self, table: schema.Table) -> list[_File]:
        """Return the compacted files that earlier drivers left, without those that others have replaced."""
        found = sorted((path for path in self._listed(table) if parts.is_compacted(path)), key=lambda path: path.name)
        replaced = {name for path in found for name in parts.replaces(path)}
        files = []
        for path in found:
            if path.name in replaced:
                self._check_claim()
                path.unlink(missing_ok=True)
            else:
                rows = parts.load(path, table, table.part_key)
                level = int(path.name.removeprefix(parts.COMPACTED).partition("-")[0])
                files.append(_File(path, level, frozenset(results.part_keys(rows, table))))
        return files

    def _listed(self, table: schema.Table) -> list[Location]:
        return list(self._paths.table(table.name).glob("[!._]*.parquet"))

    def _write(self, table: schema.Table, paths: Sequence[Location], level: int, merged: Sequence[_File] = ()) -> None:
        """Put the rows of parts and compacted files into one compacted file, and remove those."""
        loaded = [(path, parts.load(path, table)) for path in paths]
        if table is schema.TRIALS:  # one that goes on after all is not over
            loaded = [(path, rows) for path, rows in loaded if _over(rows)]
        newer = {key for _, rows in loaded for key in results.part_keys(rows, table)}
        files = self._files[table.name]
        # A trial that was run again has a part once more: the file that holds its old rows is written anew.
        stale = [file for file in files if file.keys & newer and file not in merged]
        old = [*merged, *stale]
        if not loaded and not old:
            return
        kept = [results.without(parts.load(file.path, table), table, newer) for file in old]
        rows = pa.concat_tables([*kept, *(rows for _, rows in loaded)])
        level = max([level, *(file.level for file in stale)])
        path = self._paths.table(table.name) / f"{parts.COMPACTED}{level}-{uuid.uuid4().hex[:12]}.parquet"
        self._check_claim()
        parts.write_table(path, parts.replacing(rows, [file.path.name for file in old]))
        files[:] = [file for file in files if file not in old]
        files.append(_File(path, level, frozenset(results.part_keys(rows, table))))
        self._check_claim()
        for gone in [*(path for path, _ in loaded), *(file.path for file in old)]:
            gone.unlink(missing_ok=True)

    def _check_claim(self) -> None:
        if not self._paths.claim(self._claim_id).exists():
            raise ResultsError(f"another driver holds {self._paths.root} now")


def _over(rows: pa.Table) -> bool:
    return not set(rows["status"].to_pylist()) & set(schema.UNFINISHED)
