"""Read the tables of a run directory as a whole, whatever is written to them meanwhile; and the ledger of test scores.

A table is a folder of parts, one a trial, of which the driver merges those that are over into compacted files
(`gansearch.compaction`). While it does, some rows stand in two files; what is read here has each row once.
"""

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gansearch import parts, schema
from gansearch.errors import ResultsError, nearest
from gansearch.object_store import RemotePath
from gansearch.parts import DamagedPartError, MissingPartError
from gansearch.paths import RunPaths
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

READ_TRIES = 50
"""Times that a table is read anew because files of it were merged while it was read."""
STORE_THREADS = 16
"""Files that are read from an object store at a time."""


def read(
    run: Location | str, table_name: str, *, columns: Sequence[str] | None = None, skip_damaged: bool = False
) -> pd.DataFrame:
    """Return a table of a run, all its parts together: first compacted ones, then in the order of their names.

    A nullable int64 column with nulls arrives as float64, a nullable bool column with nulls as object.

    Args:
        run: the run directory, as a path or URI.
        table_name: a name in `schema.TABLES`.
        columns: which columns to read; all by default.
        skip_damaged: read the other parts when one is damaged; `attrs["skipped"]` of the result lists
            the paths of those left out (and is empty when none was).

    Raises:
        ResultsError: when the table is missing or a part is damaged or of another version of the schema.
    """
    table = schema.TABLES.get(table_name)
    if table is None:
        raise ResultsError(f"no table is called '{table_name}'", hint=nearest(table_name, schema.TABLES))
    rows, skipped = read_arrow(run, table, columns=columns, skip_damaged=skip_damaged)
    frame: pd.DataFrame = rows.to_pandas(use_threads=False)
    frame.attrs["skipped"] = skipped
    return frame


def read_arrow(
    run: Location | str,
    table: schema.Table,
    *,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    coded: Sequence[str] = (),
    skip_damaged: bool = False,
) -> tuple[pa.Table, list[str]]:
    """Return a table of a run as Arrow holds it, and the paths of damaged parts that were left out.

    Args:
        run: the run directory, as a path or URI.
        table: which table.
        columns: which columns to read; all by default.
        where: which rows to read; all by default. Pushed down to Parquet.
        coded: which of the columns, of text, come as dictionaries: each text once, however many rows hold it.
        skip_damaged: read the other parts when one is damaged.

    Raises:
        ResultsError: as `read`.
    """
    names = [c.name for c in table.columns]
    for name in columns or ():
        if name not in names:
            raise ResultsError(f"table {table.name} has no column '{name}'", hint=nearest(name, names))
    wanted = list(columns) if columns is not None else names
    for _ in range(READ_TRIES):
        files = part_files(run, table.name)
        try:
            found, skipped = _load_all(files, table, wanted, where, coded, skip_damaged)
        except MissingPartError:
            continue  # merged into another file since
        # A file that was merged while the folder was listed may be in no listing: what it was merged into is in
        # the next.
        if _compacted(part_files(run, table.name)) <= _compacted(files):
            break
    else:
        raise ResultsError(f"{run}: the files of table {table.name} change faster than they can be read")
    empty = parts.arrow_schema(table, tuple(coded)).empty_table().select(wanted)
    return pa.concat_tables([empty, *found]).unify_dictionaries(), skipped


def _compacted(files: Sequence[Location]) -> set[str]:
    return {path.name for path in files if parts.is_compacted(path)}


def _load_all(
    files: Sequence[Location],
    table: schema.Table,
    wanted: list[str],
    where: pc.Expression | None,
    coded: Sequence[str],
    skip_damaged: bool,
) -> tuple[list[pa.Table], list[str]]:
    """Return the wanted columns and rows of the files, each row once, and which files were left out as damaged.

    Raises:
        MissingPartError: when a file is gone.
    """
    merged = [path for path in files if parts.is_compacted(path)]
    replaced = {name for path in merged for name in parts.replaces(path)}
    files = [path for path in files if path.name not in replaced]
    single = [path for path in files if not parts.is_compacted(path)]
    # The key tells whose part has come since: where there is none of either kind, it need not be read.
    both = len(single) < len(files) and bool(single)
    columns = [*wanted, *(name for name in table.part_key if both and name not in wanted)]
    load = functools.partial(
        _load_or_none, table=table, columns=columns, where=where, coded=coded, skip_damaged=skip_damaged
    )
    if files and isinstance(files[0], RemotePath):
        with concurrent.futures.ThreadPoolExecutor(STORE_THREADS) as pool:
            loaded = list(pool.map(load, files))
    else:
        loaded = [load(path) for path in files]
    skipped = [str(path) for path, one in zip(files, loaded, strict=True) if one is None]
    found = [(path, one) for path, one in zip(files, loaded, strict=True) if one is not None]
    if both and any(len(one) for path, one in found if parts.is_compacted(path)):
        own = (
            {key for path in single for key in _own_keys(path, table, skip_damaged)}
            if where is not None
            else {key for path, one in found if not parts.is_compacted(path) for key in part_keys(one, table)}
        )
        found = [(path, without(one, table, own) if parts.is_compacted(path) else one) for path, one in found]
    return [one.select(wanted) for _, one in found], skipped


def _own_keys(path: Location, table: schema.Table, skip_damaged: bool) -> list[tuple[Any, ...]]:
    """Return the key of a part whose rows may all have been left out: it still counts before a compacted file."""
    rows = _load_or_none(path, table, table.part_key, None, (), skip_damaged)
    return [] if rows is None else part_keys(rows, table)


def _load_or_none(
    path: Location,
    table: schema.Table,
    columns: Sequence[str],
    where: pc.Expression | None,
    coded: Sequence[str],
    skip_damaged: bool,
) -> pa.Table | None:
    try:
        return parts.load(path, table, columns, where, coded)
    except DamagedPartError:
        if not skip_damaged:
            raise
        return None


def part_keys(rows: pa.Table, table: schema.Table) -> list[tuple[Any, ...]]:
    """Return each row's values of the columns that a part is named by."""
    return list(zip(*(rows[name].to_pylist() for name in table.part_key), strict=True))


def without(rows: pa.Table, table: schema.Table, keys: set[tuple[Any, ...]]) -> pa.Table:
    """Return the rows of a compacted file for which there is no part: a part is as new, or newer."""
    if not len(rows):  # Arrow 21 crashes looking for the places of nothing
        return rows
    name = table.part_key[0]
    # Of a large file few rows share even the first column of a key with a part; only those become Python values.
    first = pa.array({key[0] for key in keys}, rows.schema.field(name).type)
    places = pc.indices_nonzero(pc.is_in(rows[name], value_set=first))
    there = part_keys(rows.select(table.part_key).take(places), table)
    gone = [place for place, key in zip(places.to_pylist(), there, strict=True) if key in keys]
    if not gone:
        return rows
    kept = np.ones(len(rows), bool)
    kept[gone] = False
    return rows.filter(pa.array(kept))


def part_files(run: Location | str, table_name: str) -> list[Location]:
    """Return the files of a table, compacted ones first, else by name; unfinished files are not among them.

    Raises:
        ResultsError: when `run` is not a run directory or lacks the table.
    """
    paths = RunPaths(location(run))
    found = _listed(paths.table(table_name))
    for name in () if found else (schema.TRIALS.name, table_name):
        if not paths.table(name).is_dir():
            problem = "is not a run directory" if name == schema.TRIALS.name else "lacks a table"
            raise ResultsError(
                f"{run} {problem}: it has no {name} folder",
                hint="give the directory that `gansearch sweep --out` wrote",
            )
    return found


def _listed(folder: Location) -> list[Location]:
    try:
        files: list[Location] = [path for path in folder.glob("*.parquet") if not path.name.startswith((".", "_"))]
    except OSError as error:
        raise ResultsError(f"cannot read {folder}: {error}") from error
    return sorted(files, key=lambda path: (not parts.is_compacted(path), path.name))


def find_test_evaluation(
    run: Location | str, weights_digest: str, protocol_id: str, data_test_digest: str
) -> dict[str, Any] | None:
    """Return the ledger's row for a model under a protocol on a test split, or None when none was made.

    Raises:
        ResultsError: when the row is there but cannot be read.
    """
    table = schema.TEST_EVALUATIONS
    found = parts.find_part(
        RunPaths(location(run)).part(table.name, weights_digest, protocol_id, data_test_digest), table
    )
    return found[0] if found else None
