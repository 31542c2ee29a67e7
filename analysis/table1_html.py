"""Table 1 in HTML: a fragment to stand in a page, which it asks nothing of.

It is ASCII, holds no script and loads nothing. Colours are the page's own, so that it is read on light and on dark
ones, and a table wider than the screen moves within its frame, by keyboard too.
"""

from __future__ import annotations

import html as escaping
import re
from collections.abc import Sequence

from analysis.finalists import SIGNIFICANT
from analysis.table1_cells import INTERVAL, KINDS, TITLE, Section, columns, foot, sections
from analysis.table1_rows import Table1

_STYLE = """\
.table1 { line-height: 1.4; }
.table1-frame { overflow-x: auto; }
.table1 table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.table1 caption { text-align: left; font-weight: bold; padding: .4em 0; }
.table1 th, .table1 td { text-align: left; vertical-align: top; padding: .25em .8em .25em 0; }
.table1 thead th { border-top: 2px solid; border-bottom: 1px solid; white-space: nowrap; }
.table1 tbody td { white-space: nowrap; }
.table1 tbody th { font-weight: normal; }
.table1 tbody th[scope=row] { padding-left: 1em; overflow-wrap: anywhere; min-width: 10em; }
.table1 tbody th[scope=rowgroup] { font-style: italic; padding-top: .7em; }
.table1 tbody:last-of-type tr:last-child > * { border-bottom: 2px solid; }
.table1 abbr { text-decoration: underline dotted; cursor: help; }
.table1 ul { font-size: .85em; padding-left: 1.2em; max-width: 75em; overflow-wrap: anywhere; }"""

_EXPLAINED = {f"[{kind}]": meaning for kind, meaning in KINDS.items()} | {
    "95%": INTERVAL.removeprefix("95%: "),
    "tied": f"validation does not tell it apart from the leader: p by Holm is {SIGNIFICANT} or more, or there is none",
    "over survivors": "one of the two lost seeds without a score",
}
"""What a mark in a cell means."""
_MARK = re.compile("|".join(re.escape(mark) for mark in _EXPLAINED))


def html(table: Table1) -> str:
    """Return the table as a fragment of HTML: a frame with the table, its caption and heads, and the foot as a list."""
    head = columns(table)
    cells = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in head)
    return "\n".join(
        [
            '<div class="table1">',
            f"<style>\n{_STYLE}\n</style>",
            f'<div class="table1-frame" role="region" aria-label="{_escaped(TITLE)}" tabindex="0">',
            "<table>",
            f"<caption>{_escaped(TITLE)}</caption>",
            f"<thead>\n<tr>{cells}</tr>\n</thead>",
            *(_body(section, len(head)) for section in sections(table, separator="\n")),
            "</table>",
            "</div>",
            "<ul>",
            *(f"<li>{_escaped(line)}</li>" for line in foot(table)),
            "</ul>",
            "</div>\n",
        ]
    )


def _body(section: Section, width: int) -> str:
    heading = f'<tr><th scope="rowgroup" colspan="{width}">{_escaped(section.heading)}</th></tr>'
    return "\n".join(["<tbody>", heading, *map(_row, section.rows), "</tbody>"])


def _row(cells: Sequence[str]) -> str:
    label, *others = cells
    return f'<tr><th scope="row">{_escaped(label)}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in others)}</tr>'


def _cell(cell: str) -> str:
    """Return a cell, its parts below each other and its marks explained."""
    marked = _MARK.sub(lambda m: f'<abbr title="{_escaped(_EXPLAINED[m[0]])}">{m[0]}</abbr>', _escaped(cell))
    return marked.replace("\n", "<br>")


def _escaped(value: str) -> str:
    """Return text in which a browser sees no markup, in ASCII: a fragment cannot say how it is encoded."""
    return escaping.escape(value).encode("ascii", "xmlcharrefreplace").decode("ascii")
