"""The first configurations of a run as text, Markdown and CSV. Rounding happens here and nowhere before."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from analysis.cells import NONE, bullets, columns, escaped, folded, indented, markdown_table, parameter_value
from analysis.top import Top, TopRow
from gansearch import schema

_WORDS = {
    "diverged": schema.DIVERGED,
    "failed": schema.FAILED,
    "stopped": schema.STOPPED,
    "guarded": schema.COLLAPSED,
    "unfinished": "unfinished",
}


def render(found: Top, form: str) -> str:
    """Return the lines as `text`, `markdown` or `csv`.

    Raises:
        ValueError: for another form.
    """
    forms: dict[str, Callable[[Top], str]] = {"text": text, "markdown": markdown, "csv": long_csv}
    if form not in forms:
        raise ValueError(f"the lines are rendered as one of {', '.join(forms)}, not '{form}'")
    return forms[form](found)


def text(found: Top) -> str:
    """Return the lines for a terminal, what the search varies below each."""
    below = [indented(_settings(row)) for row in found.rows]
    lines = [_cells(found, row) for row in found.rows]
    return (
        "\n".join([*folded(_title(found)), "", *columns(_head(found), lines, below), "", *bullets(_foot(found))]) + "\n"
    )


def markdown(found: Top) -> str:
    """Return the lines as GitHub-flavoured Markdown."""
    lines = [[*_cells(found, row), _settings(row)] for row in found.rows]
    table = markdown_table([*_head(found), "settings"], lines)
    foot = (f"- {escaped(line)}" for line in _foot(found))
    return "\n".join([f"**{escaped(_title(found))}**", "", *table, "", *foot]) + "\n"


def long_csv(found: Top) -> str:
    """Return the lines as CSV, with every digit; what does not apply is empty."""
    names = list(dict.fromkeys(name for row in found.rows for name in row.values))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    value = "valid_ll_mean" if found.by == "score" else "report_ll_mean"
    head = ["rank", "config_id", "seed", "stage", "protocol_id", value, "valid_ll_se_seeds", "seeds", "completed"]
    writer.writerow([*head, "status", "epochs", *names])
    for row in found.rows:
        key = [row.rank, row.config_id, row.seed, found.stage, found.protocol_id]
        numbers = [row.ll, row.se_seeds, row.counts.seeds, row.counts.completed, _status(row), row.epochs]
        writer.writerow([*key, *numbers, *(row.values.get(name) for name in names)])
    return out.getvalue()


def _title(found: Top) -> str:
    if found.by == "report":
        return (
            f"The first {len(found.rows):,} of {found.ranked:,} {found.stage} trials of {found.run} by their best "
            f"validation report under {found.protocol_id}, nats (optimistic)"
        )
    return (
        f"The first {len(found.rows):,} of {found.ranked:,} configurations with a completed {found.stage} trial in "
        f"{found.run}, mean validation log-likelihood under {found.protocol_id}, nats"
    )


def _head(found: Top) -> list[str]:
    return [
        "#",
        "configuration",
        *(["seed", "report"] if found.by == "report" else ["valid", "[seeds]"]),
        "epochs",
        "status",
    ]


def _cells(found: Top, row: TopRow) -> list[str]:
    if found.by == "report":
        middle = [str(row.seed), f"{row.ll:.2f}"]
    else:
        middle = [f"{row.ll:.2f}", NONE if row.se_seeds is None else f"{row.se_seeds:.2f}"]
    return [str(row.rank), row.config_id, *middle, NONE if row.epochs is None else str(row.epochs), _status(row)]


def _status(row: TopRow) -> str:
    """Return how the seeds ended, such as `2 COMPLETE, 1 STOPPED`; of one seed, its status."""
    counts = {
        schema.COMPLETE: row.counts.completed,
        **{word: getattr(row.counts, name) for name, word in _WORDS.items()},
    }
    there = {word: count for word, count in counts.items() if count}
    if row.counts.seeds == 1:
        return next(iter(there))
    return ", ".join(f"{count} {word}" for word, count in there.items())


def _settings(row: TopRow) -> str:
    return ", ".join(f"{name}={parameter_value(value)}" for name, value in row.values.items())


def _foot(found: Top) -> list[str]:
    seeds = [] if found.by == "report" else ["[seeds]: standard error of the mean over completed seeds, in nats"]
    skipped = [f"damaged part files left out: {len(found.skipped)}"] if found.skipped else []
    return [f"order: {found.rule}", *seeds, *found.notes, *skipped]
