"""How the seeds of one configuration ended. Collapse is counted, not hidden in a mean."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from analysis import statistics
from analysis.records import Row
from gansearch import schema


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SeedCounts:
    """How the seeds of one configuration ended, under one protocol.

    Attributes:
        completed: seeds with a score.
        collapsed: those among them whose samples collapsed; their scores count.
        diverged: seeds that became non-finite; they have no score.
        failed: seeds that an error ended; they have no score.
    """

    completed: int
    collapsed: int
    diverged: int
    failed: int

    @property
    def seeds(self) -> int:
        """Seeds that came to an end of their own: completed, diverged or failed."""
        return self.completed + self.diverged + self.failed

    @property
    def bad(self) -> int:
        """Seeds that collapsed, diverged or failed."""
        return self.collapsed + self.diverged + self.failed

    @property
    def bad_share(self) -> float:
        """Their share of the seeds."""
        return self.bad / self.seeds

    @property
    def bad_share_interval(self) -> statistics.Interval:
        """Exact 95% interval of that share."""
        return statistics.share_interval(self.bad, self.seeds)


def count_seeds(rows: Sequence[Row]) -> SeedCounts:
    """Return how the seeds ended, from one row of `trials` a seed; STOPPED and INTERRUPTED seeds do not count."""
    status = collections.Counter(r["status"] for r in rows)
    return SeedCounts(
        completed=status[schema.COMPLETE],
        collapsed=sum(r["status"] == schema.COMPLETE and r["collapsed"] is True for r in rows),
        diverged=status[schema.DIVERGED],
        failed=status[schema.FAILED],
    )
