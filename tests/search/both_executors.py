"""The two executors for tests that both must pass, and sweeps on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from gansearch import schema
from gansearch.search.driver import SweepResult
from gansearch.search.progress import Progress
from gansearch.search.study import Study
from gansearch.search.sweep import sweep
from tests.search.small_studies import plan

EXECUTORS = ("tune", "packed")
SLOTS = 4
"""Trials that an engine trains at once."""
ADAM_DIVERGES = 1e37
"""A step of Adam is about its rate, and the square of this one overflows float32."""
TOO_WIDE = 10**18
"""A layer of this width has more weights than can be counted: its trial cannot be set up."""


def asked(executor: str, slots: int = SLOTS) -> Any:
    """Return an executor as a study asks for it."""
    return {"name": executor, "slots": slots} if executor == "packed" else executor


@dataclasses.dataclass(frozen=True)
class Swept:
    """A sweep that has ended, and what it said on the way."""

    study: Study
    run: Path
    result: SweepResult
    said: list[Progress]

    def table(self, name: str, stage: str | None = None) -> pd.DataFrame:
        """Return a table of the run in the order of its key."""
        table = schema.TABLES[name]
        rows = pd.read_parquet(self.run / name)
        rows = rows if stage is None else rows[rows["stage"] == stage]
        return rows.sort_values(list(table.key), ignore_index=True)


def swept(executor: str, folder: Path, *, slots: int = SLOTS, **changes: Any) -> Swept:
    """Run the small study, changed, on an executor; `slots` is of the packed one alone."""
    found = Study.parse(plan(**{"executor": asked(executor, slots), **changes}), "small")
    said: list[Progress] = []
    result = sweep(found, folder / "run", on_progress=said.append)
    return Swept(found, folder / "run", result, said)
