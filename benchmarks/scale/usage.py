"""What this process holds in memory and has used of the processor, sampled while it works."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

_MEGA = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One moment.

    Attributes:
        count: of what the process works on.
        megabytes: resident memory.
        cpu_seconds: processor time of the process so far, all its threads together.
    """

    count: int
    megabytes: float
    cpu_seconds: float


class Usage:
    """Samples this process beside a count, for the time of a `with` block.

    Args:
        count: what each sample stands beside.
        seconds: between two samples.

    Attributes:
        samples: in the order of time.
    """

    def __init__(self, count: Callable[[], int], seconds: float = 0.2) -> None:
        self.samples: list[Sample] = []
        self._count, self._seconds, self._ended = count, seconds, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Usage:
        self.samples.append(sample(self._count()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.samples.append(sample(self._count()))

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.samples.append(sample(self._count()))

    def at(self, count: int) -> Sample:
        """Return the first sample of so high a count; the last one where none is."""
        return next((found for found in self.samples if found.count >= count), self.samples[-1])

    @property
    def most_megabytes(self) -> float:
        """The most memory of all samples."""
        return max(found.megabytes for found in self.samples)

    def cpu_milliseconds(self, first: int, last: int) -> float:
        """Return the processor time that each of the counts `first` to `last` took, on average.

        Counts move in steps where they are heard of from time to time, so it is that of the steps nearest to both.
        """
        before, after = self.at(first - 1), self.at(last)
        return 1000 * (after.cpu_seconds - before.cpu_seconds) / max(after.count - before.count, 1)


def sample(count: int) -> Sample:
    """Return the process as it is now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Sample(
        count=count,
        megabytes=pages * os.sysconf("SC_PAGESIZE") / _MEGA,
        cpu_seconds=time.process_time(),
    )
