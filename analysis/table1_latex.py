"""Table 1 in LaTeX, for a document that loads the package booktabs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from analysis.table1_cells import TITLE, columns, foot, sections
from analysis.table1_rows import Table1

_LATIN_1 = 0xFF
"""Letters with an accent up to here can be drawn by every LaTeX."""
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
_BREAK = "\n"
"""Between the parts of a cell, which stand below each other: side by side they are wider than a page."""


def latex(table: Table1) -> str:
    """Return the table as a LaTeX `table`."""
    head = columns(table)

    def row(cells: Sequence[str]) -> str:
        return " & ".join(_stacked(cell) for cell in cells) + r" \\"

    out = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(TITLE)}}}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{@{{}}{'l' * (len(head) - 2)}rl@{{}}}}",
        r"\toprule",
        row(head),
    ]
    for section in sections(table, separator=_BREAK):
        heading = rf"\multicolumn{{{len(head)}}}{{@{{}}l@{{}}}}{{\emph{{{escaped(section.heading)}}}}} \\"
        out += [r"\midrule", heading]
        out += [row(_split_label(cells)) for cells in section.rows]
    # The notes stand behind the table, and not in it: what floats cannot be broken over pages.
    notes = [rf"\noindent {escaped(line)}\par" for line in foot(table)]
    closing = [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join([*out, *closing, "", r"{\scriptsize\raggedright", *notes, "}"]) + "\n"


def _split_label(cells: Sequence[str]) -> list[str]:
    """Return the cells of a row with the name of a run below its model's."""
    model, comma, run = cells[0].partition(", ")
    return [f"{model}{comma.strip()}{_BREAK}{run}" if comma else model, *cells[1:]]


def _stacked(cell: str) -> str:
    """Return a cell, its lines below each other."""
    lines = [escaped(line) for line in cell.split(_BREAK)]
    stack = r" \\ ".join(lines)
    return lines[0] if len(lines) == 1 else rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{stack}\end{{tabular}}"


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end LaTeX takes a bare bracket for an option
    "]": "{]}",
    "±": r"$\pm$",
}


def escaped(value: str) -> str:
    """Return text, on one line, in which LaTeX sees no command and no character that it has no glyph for."""
    shown = "".join(_ESCAPES.get(character) or _glyph(character) for character in " ".join(value.split()))
    shown = shown.replace("--", "-{}-")  # which LaTeX would draw as one dash
    return _MINUS.sub("$-$", shown)


def _glyph(character: str) -> str:
    """Return a character that LaTeX can draw in its oldest encoding of fonts; others by their number."""
    parts = unicodedata.normalize("NFD", character)
    known = character.isprintable() and parts[0].isascii() and (len(parts) == 1 or ord(character) <= _LATIN_1)
    return character if known else f"U+{ord(character):04X}"
