"""Table 1 as text, Markdown, LaTeX, HTML and CSV. `analysis.table1_cells` rounds, for the forms that people read."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

from analysis.rounding import decimal_place, rounded
from analysis.table1_cells import TITLE, columns, foot, sections
from analysis.table1_csv import long_csv
from analysis.table1_html import html
from analysis.table1_latex import latex
from analysis.table1_rows import Table1

__all__ = ["FORMS", "decimal_place", "html", "latex", "long_csv", "markdown", "render", "rounded", "text"]

_WIDTH = 110
FORMS = ("text", "markdown", "latex", "html", "csv")


def render(table: Table1, form: str) -> str:
    """Return the table in one of `FORMS`.

    Raises:
        ValueError: for another form.
    """
    forms: dict[str, Callable[[Table1], str]] = dict(zip(FORMS, (text, markdown, latex, html, long_csv), strict=True))
    if form not in forms:
        raise ValueError(f"a table is rendered as one of {', '.join(FORMS)}, not '{form}'")
    return forms[form](table)


def text(table: Table1) -> str:
    """Return the table for a terminal."""
    head = columns(table)
    parts = [(s.heading, [("  " + cells[0], *cells[1:]) for cells in s.rows]) for s in sections(table)]
    lines = [head, *(cells for _, rows in parts for cells in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    out = [TITLE, "", row(head), rule]
    for heading, rows in parts:
        out += [heading, *(row(cells) for cells in rows)]
    notes = [textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in foot(table)]
    return "\n".join([*out, rule, *notes]) + "\n"


def markdown(table: Table1) -> str:
    """Return the table as GitHub-flavoured Markdown."""

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    head = columns(table)
    out = [f"**{TITLE}**", "", row([_markdown(h) for h in head]), row(["---"] * len(head))]
    for section in sections(table):
        out.append(row([f"*{_markdown(section.heading)}*", *[""] * (len(head) - 1)]))
        out += [row([_markdown(cell) for cell in cells]) for cells in section.rows]
    return "\n".join([*out, "", *(f"- {_markdown(line)}" for line in foot(table))]) + "\n"


def _markdown(value: str) -> str:
    """Return text in which nothing is markup, on one line."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", " ".join(value.split()))
