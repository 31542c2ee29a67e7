"""Read and write the tables of a run directory.

A file appears whole or not at all: it is written beside its place under a name that begins with a dot
(which Parquet readers ignore), synced, and moved there. Every part carries the full explicit schema, so
that `pandas.read_parquet(run / "trials")` works on any mixture of parts, with no code of ours.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import operator
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gansearch import schema
from gansearch.errors import ResultsError, nearest
from gansearch.paths import RunPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_VERSION_KEY = b"gansearch.schema_version"


class DamagedPartError(ResultsError):
    """A part file that is truncated or whose bytes changed."""


def arrow_schema(table: schema.Table) -> pa.Schema:
    """Return a table's Arrow schema; units and meanings travel as field metadata, the version as table metadata."""
    fields = [
        pa.field(c.name, _TYPES[c.type], nullable=c.nullable, metadata={"unit": c.unit, "doc": c.doc})
        for c in table.columns
    ]
    return pa.schema(fields, metadata={_VERSION_KEY: str(schema.VERSION).encode(), b"gansearch.table": table.name})


def write_part(path: Path, table: schema.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Write one part of a table, replacing the one of that name.

    Args:
        path: the part's place, from `RunPaths.part`; missing folders are made.
        table: the table it belongs to.
        rows: column name to value; a nullable column that a row lacks becomes null.

    Raises:
        ValueError: when a row has an unknown column, lacks a required one, holds a value of the wrong
            type, or shares its key with another.
        ResultsError: when the file cannot be written.
    """
    _check_rows(table, rows)
    target = arrow_schema(table)
    data = pa.Table.from_arrays([_column(table, f, rows) for f in target], schema=target)
    # The page checksums let a reader tell changed bytes from values.
    _replace(path, lambda file: pq.write_table(data, file, write_page_checksum=True, use_dictionary=False))


def _check_rows(table: schema.Table, rows: Sequence[Mapping[str, object]]) -> None:
    known = {c.name for c in table.columns}
    required = [c.name for c in table.columns if not c.nullable]
    keys = set()
    for row in rows:
        if unknown := sorted(set(row) - known):
            raise ValueError(f"table {table.name} has no column {', '.join(unknown)}")
        if missing := [name for name in required if row.get(name) is None]:
            raise ValueError(f"table {table.name}: a row lacks {', '.join(missing)}")
        keys.add(tuple(row[name] for name in table.key))
    if len(keys) < len(rows):
        raise ValueError(f"table {table.name}: two rows share one key ({', '.join(table.key)})")


def _column(table: schema.Table, field: pa.Field, rows: Sequence[Mapping[str, object]]) -> pa.Array:
    values: list[Any] = [row.get(field.name) for row in rows]
    if any(isinstance(v, datetime.datetime) and v.tzinfo is None for v in values):
        raise ValueError(f"table {table.name}: {field.name} needs a time zone")
    try:
        if field.type == pa.int64():  # Arrow would cut 2.5 down to 2
            values = [None if v is None else operator.index(v) for v in values]
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(f"table {table.name}: {field.name} cannot hold {values}: {error}") from error


def read_part(path: Path, table: schema.Table) -> list[dict[str, Any]]:
    """Return the rows of one part.

    Raises:
        ResultsError: when it is missing, damaged, or of another version of the schema.
    """
    rows: list[dict[str, Any]] = _load(path, table, None).to_pylist()
    return rows


def read(
    run: Path | str, table_name: str, *, columns: Sequence[str] | None = None, skip_damaged: bool = False
) -> pd.DataFrame:
    """Return a table of a run, all its parts together, in the order of their names.

    A nullable int64 column with nulls arrives as float64, a nullable bool column with nulls as object.

    Args:
        run: the run directory.
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
    names = [c.name for c in table.columns]
    for name in columns or ():
        if name not in names:
            raise ResultsError(f"table {table_name} has no column '{name}'", hint=nearest(name, names))
    parts, skipped = [], []
    for path in part_files(run, table_name):
        try:
            parts.append(_load(path, table, columns))
        except DamagedPartError:
            if not skip_damaged:
                raise
            skipped.append(str(path))
    target = arrow_schema(table)
    empty = target.empty_table().select(list(columns) if columns is not None else names)
    frame: pd.DataFrame = pa.concat_tables([empty, *parts]).to_pandas(use_threads=False)
    frame.attrs["skipped"] = skipped
    return frame


def part_files(run: Path | str, table_name: str) -> list[Path]:
    """Return the paths of a table's parts, sorted by name; unfinished files are not among them.

    Raises:
        ResultsError: when `run` is not a run directory or lacks the table.
    """
    paths = RunPaths(Path(run))
    for name in (schema.TRIALS.name, table_name):
        if not paths.table(name).is_dir():
            problem = "is not a run directory" if name == schema.TRIALS.name else "lacks a table"
            raise ResultsError(
                f"{run} {problem}: it has no {name} folder",
                hint="give the directory that `gansearch sweep --out` wrote",
            )
    return sorted(p for p in paths.table(table_name).glob("*.parquet") if not p.name.startswith((".", "_")))


def _load(path: Path, table: schema.Table, columns: Sequence[str] | None) -> pa.Table:
    """Return a part's columns (all by default), cast to this version's schema metadata."""
    target = arrow_schema(table)
    wanted = target if columns is None else pa.schema([target.field(n) for n in columns], metadata=target.metadata)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            later = _check_schema(path, file.schema_arrow, table, target)
            data = file.read(columns=[n for n in wanted.names if n not in later], use_threads=False)
    except (FileNotFoundError, PermissionError) as error:
        raise ResultsError(f"cannot read {path}: {_reason(error)}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedPartError(
            f"{path} is damaged: it was cut short or its bytes changed", hint="--skip-damaged reads the rest"
        ) from error
    for name in wanted.names:
        if name in later:
            data = data.append_column(name, pa.nulls(len(data), wanted.field(name).type))
    return data.select(wanted.names).cast(wanted)


def _check_schema(path: Path, found: pa.Schema, table: schema.Table, target: pa.Schema) -> set[str]:
    """Return the columns that a part of an older version does not have yet.

    Raises:
        ResultsError: unless it has every column of its version, with the type of today.
    """
    version = (found.metadata or {}).get(_VERSION_KEY, b"none").decode()
    hint = "read it with the version of gansearch that wrote it"
    if version not in map(str, range(1, schema.VERSION + 1)):
        raise ResultsError(
            f"{path} has schema version {version}, this gansearch reads 1 to {schema.VERSION}", hint=hint
        )
    later = {c.name for c in table.columns if c.since > int(version)}
    if missing := [name for name in target.names if name not in found.names and name not in later]:
        raise ResultsError(f"{path} lacks the columns {', '.join(missing)}", hint=hint)
    for field in target:
        if field.name not in later and found.field(field.name).type != field.type:
            raise ResultsError(
                f"{path}: column {field.name} is {found.field(field.name).type}, not {field.type}", hint=hint
            )
    return later


def version_of(path: Path) -> int | None:
    """Return the version of the schema that a part was written with; None where that cannot be told."""
    try:
        version = (pq.read_schema(path).metadata or {}).get(_VERSION_KEY, b"").decode()
    except (pa.ArrowException, OSError, ValueError):
        return None
    return int(version) if version.isdecimal() else None


def find_test_evaluation(
    run: Path | str, weights_digest: str, protocol_id: str, data_test_digest: str
) -> dict[str, Any] | None:
    """Return the ledger's row for a model under a protocol on a test split, or None when none was made.

    Raises:
        ResultsError: when the row is there but cannot be read.
    """
    table = schema.TEST_EVALUATIONS
    path = RunPaths(Path(run)).part(table.name, weights_digest, protocol_id, data_test_digest)
    return read_part(path, table)[0] if path.exists() else None


def record_test_evaluation(run: Path | str, row: Mapping[str, object]) -> None:
    """Enter an evaluation of the test set in the ledger; an entry that is there already is kept.

    Args:
        run: the run directory.
        row: a row of `schema.TEST_EVALUATIONS`.

    Raises:
        ValueError: when the row does not fit the table.
        ResultsError: when the ledger cannot be written.
    """
    table = schema.TEST_EVALUATIONS
    _check_rows(table, [row])
    path = RunPaths(Path(run)).part(table.name, *(str(row[name]) for name in table.key))
    if not path.exists():
        write_part(path, table, [row])


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all; missing folders are made.

    Raises:
        ResultsError: when the file cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file, whole or not at all; missing folders are made.

    Raises:
        ResultsError: when the file cannot be written.
    """
    _replace(path, lambda file: file.write(content))


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, whole or not at all; missing folders are made.

    Raises:
        ValueError: when a number is not finite, which JSON cannot hold.
        ResultsError: when the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Put a file in place in one step, so that neither a reader nor a crash ever meets half of it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {_reason(error)}", hint="check the free space and the permissions there"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    # Some shared file systems refuse to sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
