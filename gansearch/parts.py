"""Read and write one part of a table: a Parquet file that carries the full explicit schema.

Because every part has every column with its type, `pandas.read_parquet(run / "trials")` works on any mixture of
parts, with no code of ours.
"""

from __future__ import annotations

import datetime
import functools
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gansearch import schema, storage
from gansearch.errors import ResultsError
from gansearch.object_store import StorageError
from gansearch.storage import Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_VERSION_KEY = b"gansearch.schema_version"
_CODED = pa.dictionary(pa.int32(), pa.string())
_MANY_ROWS = 20_000
"""A file with more rows is asked first which of its rows fit a condition, and then for those."""
_BATCH_ROWS = 16_384
"""Rows of a large file in memory at a time, where few of them are wanted."""


_REPLACES = b"gansearch.replaces"
"""Metadata of a compacted file: names of the compacted files whose rows it took over, as text with spaces."""
COMPACTED = "compacted-"
"""What the names of files begin with that hold the rows of many parts."""


class DamagedPartError(ResultsError):
    """A part file that is truncated or whose bytes changed."""


class MissingPartError(ResultsError):
    """A part file that is not there, or not any more."""


def is_compacted(path: Location) -> bool:
    """Return whether a file holds the rows of many parts."""
    return path.name.startswith(COMPACTED)


@functools.cache
def arrow_schema(table: schema.Table, coded: tuple[str, ...] = ()) -> pa.Schema:
    """Return a table's Arrow schema; units and meanings travel as field metadata, the version as table metadata.

    Args:
        table: which table.
        coded: columns of text that are to be dictionaries in memory; in a file, none is.
    """
    types = {c.name: _CODED if c.name in coded else _TYPES[c.type] for c in table.columns}
    fields = [
        pa.field(c.name, types[c.name], nullable=c.nullable, metadata={"unit": c.unit, "doc": c.doc})
        for c in table.columns
    ]
    return pa.schema(fields, metadata={_VERSION_KEY: str(schema.VERSION).encode(), b"gansearch.table": table.name})


def write_part(path: Location, table: schema.Table, rows: Sequence[Mapping[str, object]]) -> None:
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
    check_rows(table, rows)
    target = arrow_schema(table)
    data = pa.Table.from_arrays([_column(table, f, rows) for f in target], schema=target)
    write_table(path, data)


def write_table(path: Location, rows: pa.Table) -> None:
    """Write a file of a table, a part or a compacted one, replacing the one of that name.

    Args:
        path: the file's place; missing folders are made.
        rows: with the schema of `arrow_schema`, and of a compacted file also what it replaces.

    Raises:
        ResultsError: when the file cannot be written.
    """
    # Of one row, a dictionary is as long as its values.
    options = {"compression": "zstd"} if is_compacted(path) else {"use_dictionary": False}
    with storage.writing(path):
        # The page checksums let a reader tell changed bytes from values.
        storage.write(path, lambda file: pq.write_table(rows, file, write_page_checksum=True, **options))


def replacing(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return rows with a note of the compacted files that they take over."""
    return rows.replace_schema_metadata({**rows.schema.metadata, _REPLACES: " ".join(names).encode()})


def replaces(path: Location) -> list[str]:
    """Return the names of the compacted files whose rows this one took over.

    Raises:
        MissingPartError: when it is gone.
    """
    try:
        metadata = pq.read_schema(storage.source(path)).metadata or {}
    except FileNotFoundError as error:
        raise MissingPartError(f"{path} is gone") from error
    except (pa.ArrowException, OSError, ValueError):
        return []  # damaged: whoever reads its rows says so
    names: list[str] = metadata.get(_REPLACES, b"").decode().split()
    return names


def migrate(path: Location, table: schema.Table) -> None:
    """Rewrite a file of an older version of the schema in this one; nulls stand in the columns that came later.

    Raises:
        ResultsError: when it cannot be read or written.
    """
    rows = load(path, table)
    if "schema_version" in rows.column_names:
        place = rows.column_names.index("schema_version")
        versions = pa.array([schema.VERSION] * len(rows), pa.int64())
        rows = rows.set_column(place, rows.schema.field(place), versions)
    write_table(path, replacing(rows, replaces(path)) if is_compacted(path) else rows)


def check_rows(table: schema.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Raise ValueError unless the rows fit a table: no unknown column, all required ones, each key once."""
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


def read_part(path: Location, table: schema.Table) -> list[dict[str, Any]]:
    """Return the rows of one part.

    Raises:
        MissingPartError: when there is none.
        ResultsError: when it is damaged, or of another version of the schema.
    """
    rows: list[dict[str, Any]] = load(path, table).to_pylist()
    return rows


def find_part(path: Location, table: schema.Table) -> list[dict[str, Any]]:
    """Return the rows of one part; none where there is no such part.

    Raises:
        ResultsError: when it is damaged, or of another version of the schema.
    """
    try:
        return read_part(path, table)
    except MissingPartError:
        return []


def load(
    path: Location,
    table: schema.Table,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    coded: Sequence[str] = (),
) -> pa.Table:
    """Return a part's columns (all by default), with this version's types.

    Args:
        path: the file.
        table: the table that it belongs to.
        columns: which columns; all by default.
        where: which rows; all by default. Parquet leaves out what its statistics rule out, and the rest is filtered.
        coded: which of the columns, of text, come as dictionaries: each text once, however many rows hold it.

    Raises:
        MissingPartError: when there is none.
        DamagedPartError: when it was cut short or its bytes changed.
        ResultsError: when it cannot be read, or is of another version of the schema.
    """
    target = arrow_schema(table, tuple(coded))
    wanted = target if columns is None else pa.schema([target.field(n) for n in columns], metadata=target.metadata)
    read = _read if where is None else functools.partial(_read_where, where=where)
    try:
        data = read(path, table, target, wanted.names)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPartError(f"cannot read {path}: {storage.reason(error)}") from error
    except (PermissionError, StorageError) as error:
        raise ResultsError(f"cannot read {path}: {storage.reason(error)}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedPartError(
            f"{path} is damaged: it was cut short or its bytes changed", hint="--skip-damaged reads the rest"
        ) from error
    return data.select(wanted.names).cast(wanted)


def _read(path: Location, table: schema.Table, target: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Return columns of a part: nulls where it does not have them yet."""
    with _opened(path, target) as file:
        later = _check_schema(path, file.schema_arrow, table, target)
        data = file.read(columns=[n for n in names if n not in later], use_threads=False)
    return _with_nulls(data, target, [n for n in names if n in later])


def _read_where(
    path: Location, table: schema.Table, target: pa.Schema, names: Sequence[str], where: pc.Expression
) -> pa.Table:
    """Return columns of those rows of a part that fit a condition."""
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    reader = ds.ParquetFileFormat(
        read_options=ds.ParquetReadOptions(dictionary_columns=_coded(target)),
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True),
    )
    local = isinstance(path, Path)
    fragment = reader.make_fragment(str(path), LocalFileSystem()) if local else reader.make_fragment(_source(path))
    if _check_schema(path, fragment.physical_schema, table, target):  # the condition may be on what it does not have
        return _read(path, table, target, target.names).filter(where)
    if fragment.metadata.num_rows > _MANY_ROWS:
        return _read_few(path, fragment, target, names, where)
    return fragment.to_table(columns=list(names), filter=where, use_threads=False)


def _read_few(path: Location, fragment: Any, target: pa.Schema, names: Sequence[str], where: pc.Expression) -> pa.Table:
    """Return the rows of a large file that fit a condition.

    The condition's own columns are read first, of the row groups that statistics do not rule out. The wanted columns,
    which may be a hundred, are read of those groups only where a row fits, some thousand rows at a time.
    """
    found = [target.empty_table().select(list(names))]
    for group in fragment.split_by_row_group(where):
        fits = group.to_table(columns={"fits": where}, use_threads=False)["fits"]
        if not pc.any(fits).as_py():
            continue
        groups, begin = [one.id for one in group.row_groups], 0
        with _opened(path, target) as file:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(names), use_threads=False):
                rows = pa.Table.from_batches([batch]).select(list(names))
                found.append(rows.filter(fits.slice(begin, len(batch))))
                begin += len(batch)
    return pa.concat_tables([rows.replace_schema_metadata() for rows in found if len(rows)] or found)


def _opened(path: Location, target: pa.Schema) -> pq.ParquetFile:
    return pq.ParquetFile(_source(path), page_checksum_verification=True, read_dictionary=_coded(target) or None)


def _coded(target: pa.Schema) -> list[str]:
    return [field.name for field in target if field.type == _CODED]


def _with_nulls(data: pa.Table, target: pa.Schema, names: Sequence[str]) -> pa.Table:
    for name in names:
        data = data.append_column(name, pa.nulls(len(data), target.field(name).type))
    return data


def _source(path: Location) -> Any:
    """Return what is read: of a store, a small file in one request."""
    if isinstance(path, Path) or is_compacted(path):
        return storage.source(path)
    return pa.BufferReader(path.read_bytes())


def _check_schema(path: Location, found: pa.Schema, table: schema.Table, target: pa.Schema) -> set[str]:
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
    if not later and found.equals(target):
        return later
    if missing := [name for name in target.names if name not in found.names and name not in later]:
        raise ResultsError(f"{path} lacks the columns {', '.join(missing)}", hint=hint)
    for field in target:
        if field.name not in later and found.field(field.name).type != field.type:
            raise ResultsError(
                f"{path}: column {field.name} is {found.field(field.name).type}, not {field.type}", hint=hint
            )
    return later


def version_of(path: Location) -> int | None:
    """Return the version of the schema that a part was written with; None where that cannot be told."""
    try:
        version = (pq.read_schema(storage.source(path)).metadata or {}).get(_VERSION_KEY, b"").decode()
    except (pa.ArrowException, OSError, ValueError):
        return None
    return int(version) if version.isdecimal() else None
