"""What the run cost, by stage and by how its trials ended."""

from __future__ import annotations

from analysis.costs import SECONDS_AN_HOUR, Amount
from analysis.report.plots import COSTS, drawing
from analysis.report.section import Content
from analysis.report.sources import Sources
from analysis.report.words import duration

_HEAD = ("stage", "status", "trials", "epochs", "time", "in training", "in scoring", "CPU-hours", "GPU-hours")


def content(sources: Sources) -> Content:
    """Return the figure of the costs, the lines of their table, and what to know of them.

    Raises:
        UserError: when the costs are not known.
    """
    found = sources.costs.get()
    lines = [_line(line.stage, line.status, line.amount) for line in found.lines]
    return {
        "drawing": drawing(sources, COSTS),
        "head": _HEAD,
        "lines": [*lines, _line("all", "", found.total)],
        "notes": found.notes,
    }


def _line(stage: str, status: str, amount: Amount) -> list[str]:
    times = [duration(hours * SECONDS_AN_HOUR) for hours in (amount.hours, amount.train_hours, amount.score_hours)]
    hours = [f"{value:,.3g}" for value in (amount.cpu_hours, amount.gpu_hours)]
    return [stage, status, f"{amount.trials:,}", f"{amount.epochs:,}", *times, *hours]
