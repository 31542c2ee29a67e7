"""Table 1 as text, Markdown, LaTeX and CSV. Rounding happens here and nowhere before.

The largest standard error of a cell is shown with two significant digits, and everything else in the cell to
the same place; published values are shown as they were printed. The kind of each standard error stands beside it.
"""

from __future__ import annotations

import csv
import decimal
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

from analysis import reference
from analysis.table1 import Score, Table1, TableRow

_KINDS = {
    "seeds": "standard error over training seeds",
    "ex": "standard error over test examples (of one seed's score where there are several)",
    "folds": "standard error over folds",
}
_INTERVAL = "95%: t interval over training seeds, for the mean over all seeds"
_SAMPLES = (
    "scores also carry the sampling noise of the generator's samples, which [ex] leaves out: another draw of the "
    "samples moves a score"
)
_BAD = (
    "bad seeds: share of a configuration's seeds that collapsed, diverged or failed, with its exact 95% interval; "
    "collapsed: the scored samples cover under a tenth of what real images cover; collapse to one class, or after "
    "the scored epoch, is not seen"
)
_UNRANKED = (
    "published rows stand beside the runs unranked, as do rows of different protocols: they are not to be ordered "
    "against each other"
)
_TITLE = "Mean test log-likelihood (Parzen window), nats"
_WIDTH = 110
_FORMS = ("text", "markdown", "latex", "csv")


def render(table: Table1, form: str) -> str:
    """Return the table as `text`, `markdown`, `latex` or `csv`.

    Raises:
        ValueError: for another form.
    """
    forms: dict[str, Callable[[Table1], str]] = dict(zip(_FORMS, (text, markdown, latex, long_csv), strict=True))
    if form not in forms:
        raise ValueError(f"a table is rendered as one of {', '.join(_FORMS)}, not '{form}'")
    return forms[form](table)


def decimal_place(errors: Iterable[float]) -> decimal.Decimal:
    """Return the place of the second significant digit of the largest error; hundredths where none is above 0."""
    largest = max(errors, default=0.0)
    if largest <= 0:
        return decimal.Decimal("0.01")
    return decimal.Decimal(1).scaleb(int(decimal.Decimal(f"{largest:.1e}").as_tuple().exponent))


def rounded(value: float, place: decimal.Decimal) -> str:
    """Return a value rounded to a decimal place, never as a negative zero."""
    shown = decimal.Decimal(value).quantize(place)
    return f"{abs(shown) if shown.is_zero() else shown:f}"


def _rounded_error(se: float, place: decimal.Decimal) -> str:
    """Return a standard error; one above 0 that the place would show as 0 keeps one significant digit."""
    if se == 0:
        return "0"
    if decimal.Decimal(se).quantize(place).is_zero():
        return f"{decimal.Decimal(f'{se:.0e}'):f}"
    return rounded(se, place)


def _cell(score: Score | None, published: bool, plus_minus: str) -> str:
    """Return a score with its errors, their kinds and its interval; blank where there is none."""
    if score is None:
        return ""
    errors = [("seeds", score.se_seeds), ("ex", score.se_examples), ("folds", score.se_folds)]
    known = [(kind, se) for kind, se in errors if se is not None]
    if published:
        return " ".join([f"{score.mean:g}", *(f"{plus_minus} {se:g} [{kind}]" for kind, se in known)])
    place = decimal_place(se for _, se in known)
    shown = [rounded(score.mean, place), *(f"{plus_minus} {_rounded_error(se, place)} [{kind}]" for kind, se in known)]
    interval = score.interval
    ends = "" if interval is None else f", 95% [{rounded(interval.low, place)}, {rounded(interval.high, place)}]"
    return " ".join(shown) + ends


def _columns(table: Table1) -> list[str]:
    return ["model", *table.datasets, "seeds", "bad seeds"]


def _values(table: Table1, row: TableRow, plus_minus: str) -> list[str]:
    cells = [_cell(row.scores.get(name), row.run is None, plus_minus) for name in table.datasets]
    if row.counts is None:
        return [row.label, *cells, "", ""]
    seeds = max(len(score.per_seed) for score in row.scores.values())
    interval = row.counts.bad_share_interval
    bad = f"{row.counts.bad}/{row.counts.ended} [{interval.low:.2f}, {interval.high:.2f}]"
    planned = f"/{row.planned_seeds}" if row.planned_seeds is not None and seeds < row.planned_seeds else ""
    return [row.label, *cells, f"{seeds}{planned}", bad]


def _sections(table: Table1, plus_minus: str) -> Iterable[tuple[str, list[list[str]]]]:
    """Yield each section's heading and its rows' values: what was published, then each protocol."""
    yield reference.PROTOCOL, [_values(table, row, plus_minus) for row in table.section(None)]
    for protocol_id in table.protocols:
        rows = [_values(table, row, plus_minus) for row in table.section(protocol_id)]
        yield f"scored under {protocol_id}", rows


def _foot(table: Table1) -> list[str]:
    """Return what stands under the table, one statement a line."""
    shown = [score for row in table.rows for score in row.scores.values()]
    used = {
        "seeds": any(s.se_seeds is not None for s in shown),
        "ex": any(s.se_examples is not None for s in shown),
        "folds": any(s.se_folds is not None for s in shown),
    }
    evaluations = ", ".join(
        f"{label} {'not known (no ledger)' if count is None else count}"
        for label, count in table.test_evaluations.items()
    )
    if len(table.test_evaluations) > 1:
        evaluations += f"; {table.distinct_test_evaluations} different ones in all"
    return [
        *(f"[{kind}]: {meaning}" for kind, meaning in _KINDS.items() if used[kind]),
        *([_INTERVAL] if used["seeds"] else []),
        _SAMPLES,
        _BAD,
        *(f"protocol {description}" for description in table.protocols.values()),
        f"evaluations of the test set: {evaluations}",
        f"published rows: {reference.CITATION}",
        _UNRANKED,
        *table.notes,
        reference.CAVEAT,
    ]


def text(table: Table1) -> str:
    """Return the table for a terminal."""
    head = _columns(table)
    sections = [
        (heading, [["  " + values[0], *values[1:]] for values in rows]) for heading, rows in _sections(table, "±")
    ]
    lines = [head, *(values for _, rows in sections for values in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def row(values: Sequence[str]) -> str:
        return "  ".join(value.ljust(width) for value, width in zip(values, widths, strict=True)).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    out = [_TITLE, "", row(head), rule]
    for heading, rows in sections:
        out += [heading, *(row(values) for values in rows)]
    foot = [textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in _foot(table)]
    return "\n".join([*out, rule, *foot]) + "\n"


def markdown(table: Table1) -> str:
    """Return the table as GitHub-flavoured Markdown."""

    def row(values: Sequence[str]) -> str:
        return "| " + " | ".join(values) + " |"

    head = _columns(table)
    out = [f"**{_TITLE}**", "", row([_markdown(h) for h in head]), row(["---"] * len(head))]
    for heading, rows in _sections(table, "±"):
        out.append(row([f"*{_markdown(heading)}*", *[""] * (len(head) - 1)]))
        out += [row([_markdown(value) for value in values]) for values in rows]
    return "\n".join([*out, "", *(f"- {_markdown(line)}" for line in _foot(table))]) + "\n"


def _markdown(value: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", value)


def latex(table: Table1) -> str:
    """Return the table as a LaTeX `table` that needs the package booktabs."""
    head = _columns(table)

    def row(values: Sequence[str]) -> str:
        return " & ".join(_latex(value) for value in values) + r" \\"

    out = [
        r"\begin{table}",
        rf"\caption{{{_latex(_TITLE)}}}",
        rf"\begin{{tabular}}{{l{'l' * len(table.datasets)}rl}}",
        r"\toprule",
        row(head),
    ]
    for heading, rows in _sections(table, "±"):
        out += [r"\midrule", rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{_latex(heading)}}}}} \\"]
        out += [row(values) for values in rows]
    out += [r"\bottomrule", r"\end{tabular}", "", r"\smallskip\footnotesize\raggedright"]
    out += [_latex(line) + r"\par" for line in _foot(table)]
    return "\n".join([*out, r"\end{table}"]) + "\n"


_LATEX = {
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


def _latex(value: str) -> str:
    return "".join(_LATEX.get(character, character) for character in value)


_CSV_COLUMNS = (
    "model",
    "run",
    "config_id",
    "dataset",
    "protocol_id",
    "protocol",
    "test_ll_mean",
    "test_ll_se_examples",
    "test_ll_se_seeds",
    "test_ll_se_folds",
    "test_ll_low_95",
    "test_ll_high_95",
    "test_n",
    "valid_n",
    "scored_seeds",
    "planned_seeds",
    "seeds",
    "collapsed",
    "diverged",
    "failed",
    "stopped",
    "guarded",
    "unfinished",
    "bad_share",
    "bad_share_low_95",
    "bad_share_high_95",
    "run_test_evaluations",
    "citation",
    "caveat",
)


def long_csv(table: Table1) -> str:
    """Return one line a score with every digit; what does not apply is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for row in table.rows:
        protocol = reference.PROTOCOL if row.protocol_id is None else table.protocols[row.protocol_id]
        for dataset, score in row.scores.items():
            identity = [row.model, row.run, row.config_id, dataset, row.protocol_id, protocol]
            outcomes = [*_score_numbers(score), *_seed_numbers(table, row, score)]
            writer.writerow([*identity, *outcomes, row.citation, reference.CAVEAT])
    return out.getvalue()


def _score_numbers(score: Score) -> list[object]:
    interval = score.interval
    ends = (None, None) if interval is None else (interval.low, interval.high)
    return [score.mean, score.se_examples, score.se_seeds, score.se_folds, *ends, score.test_n, score.valid_n]


def _seed_numbers(table: Table1, row: TableRow, score: Score) -> list[object]:
    if row.counts is None or row.run is None:
        return [None] * 13
    counts, interval = row.counts, row.counts.bad_share_interval
    ended = [counts.collapsed, counts.diverged, counts.failed, counts.stopped, counts.guarded, counts.unfinished]
    shares = [counts.bad_share, interval.low, interval.high]
    made = table.test_evaluations[row.run]
    return [len(score.per_seed), row.planned_seeds, counts.seeds, *ended, *shares, made]
