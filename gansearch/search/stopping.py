"""What ends a stage before its trials are done: a limit of the study, or somebody who asks for it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ray import tune

from gansearch import schema
from gansearch.object_store import RemotePath, StorageError
from gansearch.paths import RunPaths
from gansearch.search.capacity import Room
from gansearch.search.lease import Lease
from gansearch.search.observer import Observer
from gansearch.search.progress import duration
from gansearch.search.sections import Limits
from gansearch.storage import Location

LOOK_SECONDS = 0.5
"""Least time between two looks into the run directory: Tune asks after every event."""
STORE_LOOK_SECONDS = 3.0
"""Least time between two looks for a stop request on an object store."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclasses.dataclass(frozen=True, slots=True)
class Reason:
    """Why a stage ended early.

    Attributes:
        text: in words.
        spent: whether it used up its time or GPU hours, so that the next stage still runs.
    """

    text: str
    spent: bool = False


class StopRequest:
    """Whether somebody asks for the end: by a file in the run directory, or by a signal.

    Args:
        run: the run directory.
        lease: this process's hold on it; None where nothing else could take it.
    """

    def __init__(self, run: Location, lease: Lease | None = None) -> None:
        self._lease = lease
        self._file = RunPaths(run).stop_request
        self._signal: signal.Signals | None = None
        self._looked = -math.inf

    @property
    def signalled(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    @property
    def lost(self) -> bool:
        """Whether another driver took the run over."""
        return self._lease is not None and self._lease.lost

    def reason(self) -> Reason | None:
        """Return how the end was asked for, or None."""
        if self._signal is not None:
            return Reason(f"interrupted by {self._signal.name}")
        if self.lost:
            return Reason("another driver took the run over")
        return Reason("stopped on request") if self._asked() else None

    def _asked(self) -> bool:
        """Return whether the file is there, as of the last look: on an object store each look is a request."""
        now = time.monotonic()
        if isinstance(self._file, RemotePath) and now - self._looked < STORE_LOOK_SECONDS:
            return False
        self._looked = now
        with contextlib.suppress(OSError):  # a store that is away: a signal still ends the sweep
            return self._file.exists()
        return False

    def clear_file(self) -> None:
        """Remove the file, so that it does not end another sweep."""
        with contextlib.suppress(StorageError):  # whoever goes on removes it
            self._file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C, SIGTERM and SIGHUP for requests; a second signal does what it did before.

        Does nothing outside the main thread, where signals cannot be handled. A signal that this process was
        started to ignore (`nohup`) stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        handled = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]

        def request(number: int, _frame: FrameType | None) -> None:
            self._signal = signal.Signals(number)
            signal.signal(number, before[self._signal])

        for number in handled:
            signal.signal(number, request)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, before[number])


class Limiter(tune.Stopper):
    """Ends a stage when a limit of the study is reached or somebody asks for it.

    Args:
        limits: the stage's limits; its time starts now.
        observer: what the stage has come to.
        gpus: GPUs a trial takes.
        request: whether somebody asks for the end.
        room: what the cluster has room for; None where no machine is waited for.
    """

    def __init__(
        self, limits: Limits, observer: Observer, *, gpus: float, request: StopRequest, room: Room | None = None
    ) -> None:
        self._limits, self._observer, self._gpus, self._request = limits, observer, gpus, request
        self._room = room
        self._started = time.monotonic()
        self._looked = -math.inf
        self.reason: Reason | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles what it is given, and a hold on a run cannot be."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002  # the signature is Tune's
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether the stage must end now, and note why."""
        if self.reason is None:
            self.reason = self._asked() or self._reached()
            if self.reason is not None and not self._request.lost:
                # At once: whoever sent the signal may have sent it to Ray too, and Tune would wait for that.
                self._observer.write_interrupted(self.reason.text)
        return self.reason is not None

    def _asked(self) -> Reason | None:
        """Return how the end was asked for, or None; a file is looked for from time to time."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS and not self._request.signalled:
            return None
        self._looked = now
        return self._request.reason()

    def _reached(self) -> Reason | None:
        """Return the limit that was reached, or None."""
        limits, ended = self._limits, self._observer.ended
        if limits.time_limit is not None and time.monotonic() - self._started > limits.time_limit:
            return Reason(f"the time limit of {limits.time_limit:g} s was reached", spent=True)
        if limits.gpu_hours is not None and self._observer.trial_seconds * self._gpus / 3600 > limits.gpu_hours:
            return Reason(f"the limit of {limits.gpu_hours:g} GPU hours was reached", spent=True)
        longest = limits.wait_for_machines
        if longest is not None and self._room is not None and self._room.waited > longest:
            waited = duration(longest)
            return Reason(f"no machine that a trial fits on was there for {waited} (limits.wait_for_machines)")
        first, failed = limits.stop_if_first_fail, ended[schema.FAILED]
        if first is not None and failed >= first and ended.total() == failed:
            return Reason(f"the first {failed} trials all failed, the last with: {self._observer.last_error}")
        return None
