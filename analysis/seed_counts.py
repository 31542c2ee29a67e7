"""How the seeds of one configuration ended. Collapse is counted, not hidden in a mean."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

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
        stopped: seeds that the scheduler, or a limit on their time, ended early; they have no score, and are not bad.
        guarded: seeds that a guard ended when they had collapsed; they have no score.
        unfinished: seeds that run, or did when the sweep ended; they have no score, and are not bad.
    """

    completed: int
    collapsed: int
    diverged: int
    failed: int
    stopped: int
    guarded: int
    unfinished: int

    @property
    def seeds(self) -> int:
        """All seeds, however they ended."""
        return self.ended + self.stopped + self.unfinished

    @property
    def ended(self) -> int:
        """Seeds that came to an end of their own: completed, diverged, failed or collapsed for good."""
        return self.completed + self.diverged + self.failed + self.guarded

    @property
    def all_completed(self) -> bool:
        """Whether every seed has a score."""
        return self.completed == self.seeds

    @property
    def lost(self) -> int:
        """Seeds that ended without a score: a mean is over the others."""
        return self.seeds - self.completed - self.unfinished

    @property
    def bad(self) -> int:
        """Seeds that collapsed, diverged or failed."""
        return self.collapsed + self.guarded + self.diverged + self.failed

    @property
    def bad_share(self) -> float:
        """Their share of the seeds that ended."""
        return self.bad / self.ended

    @property
    def bad_share_interval(self) -> statistics.Interval:
        """Exact 95% interval of that share."""
        return statistics.share_interval(self.bad, self.ended)

    def losses(self) -> str:
        """Return how the seeds without a score ended, such as `1 diverged, 2 stopped`."""
        words = {"diverged": "diverged", "guarded": "ended by a guard", "failed": "failed", "stopped": "stopped"}
        words |= {"unfinished": "unfinished"}
        return ", ".join(f"{getattr(self, name)} {word}" for name, word in words.items() if getattr(self, name))


def count_seeds(rows: Sequence[Row]) -> SeedCounts:
    """Return how the seeds ended, from one row of `trials` a seed."""
    collapsed = sum(r["status"] == schema.COMPLETE and r["collapsed"] is True for r in rows)
    return counts_of([r["status"] for r in rows], collapsed=collapsed)


def counts_of(statuses: Iterable[str], *, collapsed: int) -> SeedCounts:
    """Return how the seeds ended, from their statuses.

    Args:
        statuses: one a seed.
        collapsed: completed seeds whose samples collapsed.
    """
    status = collections.Counter(statuses)
    return SeedCounts(
        completed=status[schema.COMPLETE],
        collapsed=collapsed,
        diverged=status[schema.DIVERGED],
        failed=status[schema.FAILED],
        stopped=status[schema.STOPPED],
        guarded=status[schema.COLLAPSED],
        unfinished=sum(status[name] for name in schema.UNFINISHED),
    )
