"""A sweep's progress while it runs: live on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gansearch.cli.output import say
from gansearch.search.progress import ENDED, Progress, duration, line

if TYPE_CHECKING:
    from rich.console import RenderableType

QUIET_SECONDS = 60.0
"""A log gets a line this often even when nothing changes."""

_ECHO = 3
"""Columns left free: a terminal writes `^C` behind the last line, and must not start another for it."""


@contextlib.contextmanager
def shown(study: str) -> Iterator[Callable[[Progress], None]]:
    """Return what shows each progress of a sweep on stderr for the time of the block."""
    if not sys.stderr.isatty():
        yield Plain(say)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    console = Console(stderr=True)
    with Live(
        Spinner("dots", f"{study}: starting Ray"), console=console, transient=True, redirect_stdout=False
    ) as live:
        yield lambda progress: live.update(panel(progress, console.width - _ECHO))


class Plain:
    """Writes a line when something changed, and once in a while when nothing did.

    Args:
        write: takes a line.
        clock: returns seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._seen: object = None
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        """Hear of a progress."""
        best = progress.best.value if progress.best else None
        state = (progress.stage, progress.done, progress.running, best)
        now = self._clock()
        if state != self._seen or now - self._last >= QUIET_SECONDS:
            self._write(line(progress))
            self._seen, self._last = state, now


def panel(progress: Progress, width: int) -> RenderableType:
    """Return the live display of a progress, so many columns wide."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    ended = Text(", ").join(
        Text(f"{n} {status}", style=_STYLES.get(status, "")) for status, n in progress.ended.items()
    )
    facts.add_row("trials", Text(f"{progress.done} of {progress.planned} ended, {progress.running} running"))
    if progress.ended:
        facts.add_row("", ended)
    left = f", about {duration(progress.left)} left in this stage" if progress.left is not None else ""
    facts.add_row("time", Text(f"{duration(progress.elapsed)}{left}"))
    if progress.best is not None:
        best = progress.best
        facts.add_row("best", Text(f"{best.value:.1f} nats (report protocol) at epoch {best.epoch}", style="bold"))
        facts.add_row("", Text(f"{best.config_id}  {best.changes}"))
    if progress.note:
        facts.add_row("note", Text(progress.note))
    bar = Table.grid(expand=True)  # a bar of its own ends no line
    bar.add_row(ProgressBar(total=max(progress.planned, 1), completed=progress.done))
    running = progress.stage not in ENDED
    foot = Spinner("dots", Text("Ctrl-C ends the sweep; finished trials stay", style="dim")) if running else Text("")
    return Panel(Group(bar, facts, foot), title=f"{progress.study}: {progress.stage}", title_align="left", width=width)


_STYLES = {
    "COMPLETE": "green",
    "STOPPED": "yellow",
    "DIVERGED": "magenta",
    "COLLAPSED": "magenta",
    "FAILED": "red",
    "INTERRUPTED": "dim",
}
