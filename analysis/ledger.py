"""The ledger of a run: which evaluations of the test set were made."""

from __future__ import annotations

from gansearch import results, schema
from gansearch.paths import RunPaths
from gansearch.storage import Location, location

Evaluation = tuple[object, ...]
"""Key of an entry: which model was scored, under which protocol, on which test split."""


def read_ledger(run: Location | str, *, skip_damaged: bool = False) -> tuple[frozenset[Evaluation] | None, list[str]]:
    """Return the evaluations in a run's ledger, None where it has no ledger, and the damaged parts left out.

    Raises:
        ResultsError: when it cannot be read.
    """
    table = schema.TEST_EVALUATIONS
    if not RunPaths(location(run)).table(table.name).is_dir():
        return None, []
    ledger, skipped = results.read_arrow(run, table, columns=table.key, skip_damaged=skip_damaged)
    return frozenset(zip(*(ledger[name].to_pylist() for name in table.key), strict=True)), skipped
