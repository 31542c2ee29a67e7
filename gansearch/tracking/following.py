"""A trial's trackers, each in a thread of its own: whatever becomes of them, the trial goes on.

A service that is away, slow or misconfigured costs the trial nothing while it trains, and at its end no more than
`END_SECONDS`. What goes wrong is logged once for each trial and tracker, and that tracker hears no more of the trial.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from gansearch.tracking.interface import Destination, Row, trial_name

END_SECONDS = 30.0
"""Longest wait at a trial's end for its trackers to take what is left."""
_LONGEST = 300
"""Characters of an error that are logged."""

_log = logging.getLogger(__name__)


def prepare(destinations: Sequence[Destination]) -> None:
    """Make what the trials of a run share where they are followed. What fails is logged: trials go on without it."""
    for one in destinations:
        with _Contained("a trial", one.name):
            one.prepare()


class Following:
    """The trackers of one trial. None is started before it trains, or has ended without.

    Args:
        destinations: where it is followed.
    """

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self._destinations = destinations
        self._followers: list[_Follower] = []
        self._epoch = -1

    @property
    def started(self) -> bool:
        """Whether a tracker has heard of the trial."""
        return bool(self._followers)

    def reports(self, draft: Row, curve: Sequence[Row]) -> None:
        """Hand on the reports that are new.

        Args:
            draft: what is known of the trial's row.
            curve: its rows of `curves` so far, in the order of their epochs: from the first one on where the trial
                goes on from a checkpoint.
        """
        if not self._destinations:
            return
        self._start(draft)
        for row in curve:
            if row["epoch"] > self._epoch:
                self._epoch = row["epoch"]
                for follower in self._followers:
                    follower.put(dict(row))

    def end(self, rows: Sequence[Row]) -> None:
        """Hand on how the trial stands, and wait for the trackers, though not for long.

        Args:
            rows: its rows, one under each protocol; none where nobody has written any yet.
        """
        if rows:
            self._start(rows[0])
        for follower in self._followers:
            follower.put([dict(row) for row in rows])
        until = time.monotonic() + END_SECONDS
        for follower in self._followers:
            follower.wait(until)
        self._followers = []

    def _start(self, draft: Row) -> None:
        if not self._followers:
            self._followers = [_Follower(one, dict(draft)) for one in self._destinations]


class _Follower:
    """One tracker of one trial."""

    def __init__(self, destination: Destination, draft: Row) -> None:
        self._what = f"trial {trial_name(draft)}", destination.name
        self._waiting: queue.SimpleQueue[Row | list[Row]] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._follow, args=(destination, draft), daemon=True, name=f"gansearch-{destination.name}"
        )
        self._thread.start()

    def put(self, what: Row | list[Row]) -> None:
        if self._thread.is_alive():
            self._waiting.put(what)

    def wait(self, until: float) -> None:
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            _log.warning("%s: %s has not taken all of it within %.0f s", *self._what, END_SECONDS)

    def _follow(self, destination: Destination, draft: Row) -> None:
        with _Contained(*self._what):
            tracker = destination.start(draft)
            while not isinstance(what := self._waiting.get(), list):
                tracker.report(what)
            tracker.end(what)


class _Contained:
    """Ends the block at any error of a tracker, and logs it in one line; the traceback where debugging is on."""

    def __init__(self, trial: str, tracker: str) -> None:
        self._what = trial, tracker

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            text = " ".join(str(error).split())[:_LONGEST]
            _log.warning("%s cannot be followed in %s: %s: %s", *self._what, type(error).__name__, text)
            _log.debug("what happened", exc_info=error)
        return isinstance(error, Exception)
