"""What tables for a terminal and for Markdown are made of: cells with intervals, aligned columns, folded lines.

The largest error of a cell is shown with two significant digits, and everything else in the cell to the same place.
"""

from __future__ import annotations

import decimal
import re
import textwrap
from collections.abc import Iterable, Sequence

from analysis.finalists import Estimate
from analysis.rounding import decimal_place, rounded
from analysis.seed_counts import SeedCounts
from analysis.statistics import Interval

WIDTH = 120
"""Of text, in characters."""
NONE = "-"
"""A cell to which nothing applies."""
INDENT = 4
"""Of what stands below a line, in characters."""
_SMALLEST_P = 0.001

Lines = list[list[str]]


def estimate_cells(estimate: Estimate | None) -> list[str]:
    """Return a mean with its interval over seeds, and the standard error over images."""
    if estimate is None:
        return [NONE, NONE]
    interval, error = estimate.interval, estimate.se_examples
    shown_error = NONE if error is None else rounded(error, decimal_place([error]))
    if interval is None:
        return [rounded(estimate.mean, decimal_place([error or 0.0])), shown_error]
    half = (interval.high - interval.low) / 2
    place = decimal_place([half])
    return [f"{rounded(estimate.mean, place)} ± {rounded(half, place)}", shown_error]


def bad_seeds(counts: SeedCounts) -> str:
    """Return how many of the seeds that ended went bad, with the exact interval of their share."""
    if not counts.ended:
        return NONE
    interval = counts.bad_share_interval
    return f"{counts.bad}/{counts.ended} [{interval.low:.2f}, {interval.high:.2f}]"


def parameter_value(value: object) -> str:
    """Return a parameter's value, four significant digits of it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def with_ends(mean: float, interval: Interval | None) -> str:
    """Return a value and its interval."""
    if interval is None:
        return rounded(mean, decimal_place([]))
    return f"{rounded(mean, place(interval))} {ends(interval)}"


def ends(interval: Interval) -> str:
    """Return an interval."""
    return f"[{rounded(interval.low, place(interval))}, {rounded(interval.high, place(interval))}]"


def place(interval: Interval) -> decimal.Decimal:
    """Return the place that an interval is rounded to."""
    return decimal_place([(interval.high - interval.low) / 2])


def p_value(p: float | None) -> str:
    """Return a p-value, with three decimals."""
    if p is None:
        return NONE
    return f"<{_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"


def columns(head: Sequence[str], lines: Lines, below: Sequence[Sequence[str]] = ()) -> list[str]:
    """Return aligned columns under a head, each line with those that stand below it.

    Where they are too wide, as with scores of seven digits, columns stand closer, and then lines are folded.
    """
    rows = [[*head], *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "
    shown = [gap.join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "-" * min(WIDTH, sum(widths) + len(gap) * (len(widths) - 1))
    out = [*folded(shown[0]), rule]
    for i, line in enumerate(shown[1:]):
        out += [*folded(line), *(below[i] if below else ())]
    return [*out, rule]


def folded(line: str) -> list[str]:
    """Return a line, or as many as it takes, the others indented."""
    indent = " " * INDENT
    fits = len(line) <= WIDTH
    return [line] if fits else textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def indented(text: str) -> list[str]:
    """Return what stands below a line."""
    indent = " " * INDENT
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def bullets(statements: Iterable[str]) -> list[str]:
    """Return one statement a point."""
    return [
        textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        for line in statements
    ]


def escaped(value: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", value)


def markdown_table(head: Sequence[str], lines: Lines) -> list[str]:
    """Return a table in GitHub-flavoured Markdown."""
    rows = [[escaped(value) for value in line] for line in ([*head], *lines)]
    rows.insert(1, ["---"] * len(head))
    return ["| " + " | ".join(row) + " |" for row in rows]


def counted(count: int, noun: str) -> str:
    """Return a number of things, such as `1 trial` or `1,200 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
