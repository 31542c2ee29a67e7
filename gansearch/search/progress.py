"""How far a sweep is: gathered by its driver, kept in the run directory, shown anywhere.

`progress.json` is rewritten every few seconds; whoever reads it sees the same as the sweep's own terminal.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from gansearch import parsing
from gansearch.config import TrialConfig
from gansearch.errors import ConfigError, ResultsError
from gansearch.paths import RunPaths
from gansearch.search.domains import show
from gansearch.storage import Location

STALE_SECONDS = 120.0
"""A driver that has said nothing for this long is taken for dead."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best value so far.

    Attributes:
        value: log-likelihood under the report protocol, in nats.
        config_id: its configuration.
        epoch: epochs its trial had done at the report that the value is of.
        changes: the searched parameters' values, as `name=value` text.
    """

    value: float
    config_id: str
    epoch: int
    changes: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the driver knows.

    Attributes:
        study: the study's name.
        stage: `search`, `confirm` or `done`, `stopped` or `failed` at the end.
        planned: trials of the stage.
        running: trials that run now.
        ended: trials of the stage that ended, by status.
        best: the best so far in the search; None before the first report.
        elapsed: seconds since the sweep started.
        left: estimated seconds to the end of the stage; None before a trial has ended.
        note: what ended the sweep or its search early, where something did; while trials run, what they wait for.
        host: the driver's machine.
        pid: the driver's process.
        updated: when this was written, in seconds since 1970.
    """

    study: str
    stage: str
    planned: int
    running: int = 0
    ended: dict[str, int] = dataclasses.field(default_factory=dict)
    best: Best | None = None
    elapsed: float = 0.0
    left: float | None = None
    note: str | None = None
    host: str = dataclasses.field(default_factory=socket.gethostname)
    pid: int = dataclasses.field(default_factory=os.getpid)
    updated: float = dataclasses.field(default_factory=time.time)

    @property
    def done(self) -> int:
        """Trials of the stage that ended."""
        return sum(self.ended.values())

    @property
    def alive(self) -> bool:
        """Whether the driver still runs, as far as can be told from here."""
        if self.stage in ENDED:
            return False
        if self.host == socket.gethostname():
            return _process_runs(self.pid)
        return time.time() - self.updated < STALE_SECONDS

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return dataclasses.asdict(self)


ENDED = ("done", "stopped", "failed")


def changes_of(config: TrialConfig, searched: Sequence[str]) -> str:
    """Return a configuration's searched values in words, those that act."""
    return " ".join(f"{name}={_short(config.get(name))}" for name in searched if config.acts(name))


def _short(value: object) -> str:
    """Return a value with the digits that a display needs."""
    return f"{value:.4g}" if isinstance(value, float) else show(value)


def _process_runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_progress(run: Location) -> Progress:
    """Return what a run's driver last said.

    Raises:
        ResultsError: when the directory holds no sweep.
    """
    path = RunPaths(run).progress
    try:
        return parsing.build(Progress, json.loads(path.read_text(encoding="utf-8")), "it")
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(
            f"{run} holds no sweep: it has no {path.name}", hint="give the directory that `gansearch sweep --out` wrote"
        ) from None
    except ConfigError as error:
        raise ResultsError(f"{path} is no progress of a sweep: {error.message}") from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error


def duration(seconds: float) -> str:
    """Return seconds as people say them: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def lines(progress: Progress) -> list[str]:
    """Return the state of a sweep in a few lines of text."""
    counts = ", ".join(f"{n} {status}" for status, n in progress.ended.items() if n) or "none ended"
    head = f"{progress.study}: {progress.stage}"
    if progress.stage not in ENDED and not progress.alive:
        head += " (its driver is gone)"
    trials = f"  trials   {progress.done} of {progress.planned} ended ({counts}), {progress.running} running"
    times = f"  time     {duration(progress.elapsed)}"
    if progress.left is not None and progress.stage not in ENDED:
        times += f", about {duration(progress.left)} left in this stage"
    out = [head, trials, times]
    if progress.best is not None:
        best = progress.best
        out.append(f"  best     {best.value:.1f} nats (report protocol) at epoch {best.epoch}, config {best.config_id}")
        if best.changes:
            out.append(f"           {best.changes}")
    if progress.note:
        out.append(f"  note     {progress.note}")
    return out


def line(progress: Progress) -> str:
    """Return the state of a sweep in one line, for a log."""
    ended = ", ".join(f"{n} {status}" for status, n in progress.ended.items() if n) or "none ended"
    best = f"; best {progress.best.value:.1f} nats ({progress.best.config_id})" if progress.best else ""
    left = f"; about {duration(progress.left)} left" if progress.left is not None else ""
    note = f"; {progress.note}" if progress.note else ""
    return (
        f"[{duration(progress.elapsed)}] {progress.stage}: {progress.done}/{progress.planned} trials "
        f"({ended}), {progress.running} running{best}{left}{note}"
    )
