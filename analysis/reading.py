"""The tables of one run or of many, as pandas frames whose columns have the types that the schema states.

    from analysis.reading import read_trials
    trials = read_trials("runs/*", columns=["config_id", "valid_ll_mean"], where=[("status", "==", "COMPLETE")])

Rows that do not fit `where` are left out by Parquet as far as its statistics tell, and never reach pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gansearch import results, schema
from gansearch.errors import ResultsError, nearest
from gansearch.paths import RunPaths
from gansearch.storage import Location, expand

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.compute as pc

Condition = tuple[str, str, Any]
"""A column, one of `OPERATORS`, and a value; a collection of values for `in` and `not in`."""
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
RUN = "run"
"""The column that says which run a row is of."""

Runs = Location | str | Sequence[Location | str]


def read_trials(
    runs: Runs,
    *,
    columns: Sequence[str] | None = None,
    where: Sequence[Condition] = (),
    skip_damaged: bool = False,
) -> pd.DataFrame:
    """Return the trials of runs: one row a trial under each of its score protocols.

    Args:
        runs: a run directory, as a path or URI; with wildcards (`runs/*`) all that it names; or several of these.
        columns: which columns beside `run`; all by default.
        where: conditions that all must hold, such as `("status", "==", "COMPLETE")`. Null fits no condition.
        skip_damaged: leave out damaged parts instead of refusing; `attrs["skipped"]` of the result lists them.

    Returns:
        The column `run` first, then the others in the schema's order or as given. Text is `string`, integers are
        `Int64`, truth values `boolean`: null is null, and integers stay integers beside it. Of a run that lacks the
        table there are no rows.

    Raises:
        ResultsError: when nothing is there, a column or operator is unknown, or a part cannot be read.
    """
    return _read(schema.TRIALS, runs, columns, where, skip_damaged)


def read_curves(
    runs: Runs,
    *,
    columns: Sequence[str] | None = None,
    where: Sequence[Condition] = (),
    skip_damaged: bool = False,
) -> pd.DataFrame:
    """Return the reports of runs' trials: one row a report; as `read_trials`."""
    return _read(schema.CURVES, runs, columns, where, skip_damaged)


def read_examples(
    runs: Runs,
    *,
    columns: Sequence[str] | None = None,
    where: Sequence[Condition] = (),
    skip_damaged: bool = False,
) -> pd.DataFrame:
    """Return the images' log-likelihoods under runs' confirmed trials: one row an image; as `read_trials`."""
    return _read(schema.EXAMPLES, runs, columns, where, skip_damaged)


def _read(
    table: schema.Table, runs: Runs, columns: Sequence[str] | None, where: Sequence[Condition], skip_damaged: bool
) -> pd.DataFrame:
    if columns is not None and RUN in columns:
        raise ResultsError(f"the column {RUN} is always there", hint="leave it out of columns")
    condition = _expression(table, where)
    found, skipped = [], []
    for run in _places(runs):
        if not RunPaths(run).table(table.name).is_dir() and RunPaths(run).table(schema.TRIALS.name).is_dir():
            continue
        rows, left_out = results.read_arrow(run, table, columns=columns, where=condition, skip_damaged=skip_damaged)
        found.append(rows.add_column(0, RUN, pa.repeat(pa.scalar(str(run), pa.string()), len(rows))))
        skipped += left_out
    if not found:
        raise ResultsError(f"none of the runs has the table {table.name}", hint="a sweep writes it when its stage runs")
    frame: pd.DataFrame = pa.concat_tables(found).to_pandas(use_threads=False, types_mapper=_nullable().get)
    frame.attrs["skipped"] = skipped
    return frame


def _nullable() -> dict[pa.DataType, Any]:
    """Return pandas' types that hold null beside values; a float has NaN, a timestamp NaT."""
    import pandas as pd

    return {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def _places(runs: Runs) -> list[Location]:
    """Return the run directories, each once."""
    given = [runs] if isinstance(runs, Location | str) else list(runs)
    found: dict[Location, None] = {}
    for one in given:
        places = expand(one) if isinstance(one, str) else [one]
        if len(places) != 1:  # of a name with wildcards, what is no run is not meant
            places = [place for place in places if RunPaths(place).table(schema.TRIALS.name).is_dir()]
        if not places:
            raise ResultsError(f"{one} names no run directory", hint="a run directory has a folder trials")
        found |= dict.fromkeys(places)
    if not found:
        raise ResultsError("no run is given", hint="give a run directory, or a path with wildcards such as 'runs/*'")
    return list(found)


def _expression(table: schema.Table, where: Sequence[Condition]) -> pc.Expression | None:
    """Return the conditions as Arrow takes them."""
    if not where:
        return None
    names = [c.name for c in table.columns]
    for condition in where:
        if len(condition) != 3:
            raise ResultsError(f"a condition is (column, operator, value), got {condition!r}")
        name, operator, value = condition
        if name not in names:
            raise ResultsError(f"table {table.name} has no column '{name}'", hint=nearest(str(name), names))
        if operator not in OPERATORS:
            raise ResultsError(f"'{operator}' is no operator", hint=f"known operators: {', '.join(OPERATORS)}")
        if operator in ("in", "not in") and (isinstance(value, str) or not hasattr(value, "__iter__")):
            raise ResultsError(f"'{operator}' takes a collection of values, got {value!r}", hint="such as a list")
    try:
        return pq.filters_to_expression([tuple(condition) for condition in where])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ResultsError(f"the conditions {list(where)!r} cannot be used: {error}") from error


__all__ = ["OPERATORS", "RUN", "Condition", "Runs", "read_curves", "read_examples", "read_trials"]
