"""Flags of rows, gathered over a configuration's seeds."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from analysis.records import Row
from analysis.report.sources import Sources
from gansearch import schema


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlagCount:
    """One flag of some of a configuration's seeds.

    Attributes:
        name: the flag.
        meaning: what it means, in a sentence.
        seeds: how many seeds have it.
        of: how many seeds completed.
        reasons: why, one sentence a seed.
    """

    name: str
    meaning: str
    seeds: int
    of: int
    reasons: tuple[str, ...]


def flags(row: Row, sources: Sources) -> dict[str, str]:
    """Return the reason of each flag of a completed row, by the flag's name; no flags of other rows."""
    from analysis.flags import row_flags

    if row["status"] != schema.COMPLETE:
        return {}
    return {flag.name: flag.text for flag in row_flags(row, sources.calibration(row))}


def count_flags(rows: Sequence[Row], sources: Sources) -> list[FlagCount]:
    """Return the flags of a configuration's completed rows, those of the most seeds first."""
    from analysis.flags import MEANINGS

    reasons: dict[str, list[str]] = collections.defaultdict(list)
    for row in rows:
        for name, reason in flags(row, sources).items():
            reasons[name].append(f"seed {row['seed']}: {reason}")
    completed = sum(row["status"] == schema.COMPLETE for row in rows)
    found = [
        FlagCount(name=n, meaning=MEANINGS[n], seeds=len(why), of=completed, reasons=tuple(why))
        for n, why in reasons.items()
    ]
    return sorted(found, key=lambda flag: (-flag.seeds, flag.name))
