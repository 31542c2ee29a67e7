"""A table's rows as plain Python values: None for null, integers as integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gansearch import schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Row = dict[str, Any]

_PLAIN: dict[str, Callable[[Any], Any]] = {"string": str, "int64": int, "float64": float, "bool": bool}


def records(frame: pd.DataFrame, table: schema.Table) -> list[Row]:
    """Return the rows of a frame that `gansearch.results.read` or `pandas.read_parquet` gave.

    pandas holds a null as NaN, None or NaT, and integers beside nulls as floats; here each value has the
    type that the schema states, or is None. Columns that the schema does not know are left out.

    Args:
        frame: any of the table's columns.
        table: the table they belong to.
    """
    columns = []
    names = [c.name for c in table.columns if c.name in frame.columns]
    for name in names:
        plain = _PLAIN.get(table.column(name).type, lambda value: value)
        column = frame[name]
        pairs = zip(column, column.isna(), strict=True)
        columns.append([None if null else plain(value) for value, null in pairs])
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def arrow_records(rows: pa.Table) -> list[Row]:
    """Return the rows of a table that `gansearch.results.read_arrow` gave; NaN is None here too."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return [{name: plain(value) for name, value in row.items()} for row in rows.to_pylist()]
