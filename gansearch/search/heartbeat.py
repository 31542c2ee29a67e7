"""Which trials have said nothing for too long."""

from __future__ import annotations

import time
from collections.abc import Callable

AUTOMATIC_TIMES = 10.0
"""Times the longest wait for a report so far that a trial may be silent for, where no limit is set."""
AUTOMATIC_LEAST = 900.0
"""Least seconds of that."""
LONGEST_STEP = 5.0
"""Seconds of silence that one step of the driver adds at most.

A driver that was stopped, or waited for its storage, has not listened meanwhile: what trials said then is still to
be heard."""


class Heartbeat:
    """Listens to the reports of trials.

    Args:
        limit: seconds that a trial may be silent, above 0; None for ten times the longest wait for a report so far,
            at least `least`, and any time until there was a report.
        least: seconds.
        clock: seconds since some moment.
    """

    def __init__(
        self, limit: float | None, *, least: float = AUTOMATIC_LEAST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._least, self._clock = limit, least, clock
        self._last_step = clock()
        self._now = 0.0
        self._heard: dict[str, float] = {}
        self._longest: float | None = None

    @property
    def limit(self) -> float | None:
        """Seconds that a trial may be silent now; None for any time."""
        if self._limit is not None or self._longest is None:
            return self._limit
        return max(AUTOMATIC_TIMES * self._longest, self._least)

    def start(self, trial_id: str) -> None:
        """Listen to a trial that starts, or starts again."""
        self._heard[trial_id] = self._now

    def report(self, trial_id: str) -> None:
        """Note that a trial has reported."""
        if trial_id in self._heard:
            self._longest = max(self._now - self._heard[trial_id], self._longest or 0.0)
            self._heard[trial_id] = self._now

    def end(self, trial_id: str) -> None:
        """Listen no more to a trial that ended, waits, or was lost."""
        self._heard.pop(trial_id, None)

    def step(self) -> dict[str, float]:
        """Note that the driver listens now; return how long those trials were silent that were so for too long."""
        now = self._clock()
        self._now += min(now - self._last_step, LONGEST_STEP)
        self._last_step = now
        limit = self.limit
        if limit is None:
            return {}
        return {one: self._now - heard for one, heard in self._heard.items() if self._now - heard > limit}
