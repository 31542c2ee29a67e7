"""The confirmed configurations as text, Markdown and CSV. Rounding happens here and nowhere before.

The largest error of a cell is shown with two significant digits, and everything else in the cell to the same place.
"""

from __future__ import annotations

import dataclasses
import decimal
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from analysis.finalists import SIGNIFICANT, Comparison, Contrast, Estimate, Finalist, Funnel
from analysis.funnel_csv import long_csv
from analysis.render import decimal_place, rounded
from analysis.statistics import Interval

WIDTH = 120
"""Of the text, in characters."""
_NONE = "-"
_SMALLEST_P = 0.001
_INDENT = 4

Lines = list[list[str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One table of the comparison, rounded for a reader.

    Attributes:
        title: what stands above it.
        head: the columns' names; empty for the marks.
        lines: its cells.
    """

    title: str
    head: tuple[str, ...]
    lines: Lines


def render(found: Funnel, form: str) -> str:
    """Return the comparison as `text`, `markdown` or `csv`.

    Raises:
        ValueError: for another form.
    """
    forms: dict[str, Callable[[Funnel], str]] = {"text": text, "markdown": markdown, "csv": long_csv}
    if form not in forms:
        raise ValueError(f"the comparison is rendered as one of {', '.join(forms)}, not '{form}'")
    return forms[form](found)


def blocks(found: Funnel) -> tuple[Block, ...]:
    """Return the scores, then the differences where there are any, then test scores under each other protocol."""
    scores = Block(title=_title(found), head=_SCORES, lines=[_score_line(f) for f in found.finalists])
    differences = Block(title=_DIFFERENCE, head=_DIFFERENCES, lines=_differences(found))
    return (scores, *([differences] if differences.lines else []), *_other_blocks(found))


def text(found: Funnel) -> str:
    """Return the comparison for a terminal, at most `WIDTH` characters wide."""
    scores, *others = blocks(found)
    below = [_wrapped(settings(found, f)) for f in found.finalists]
    out = [*_folded(scores.title), "", *_columns(scores.head, scores.lines, below)]
    for block in others:
        out += ["", *_folded(block.title), "", *_columns(block.head, block.lines)]
    statements = [
        textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        for line in foot(found)
    ]
    return "\n".join([*out, "", *statements]) + "\n"


def markdown(found: Funnel) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""

    def table(head: Sequence[str], lines: Lines) -> list[str]:
        rows = [[_escaped(value) for value in line] for line in ([*head], *lines)]
        rows.insert(1, ["---"] * len(head))
        return ["| " + " | ".join(row) + " |" for row in rows]

    scores, *others = blocks(found)
    lines = [[*line, ", ".join(settings(found, f))] for line, f in zip(scores.lines, found.finalists, strict=True)]
    out = [f"**{_escaped(scores.title)}**", "", *table([*scores.head, "settings"], lines)]
    for block in others:
        out += ["", _escaped(block.title), "", *table(block.head, block.lines)]
    return "\n".join([*out, "", *(f"- {_escaped(line)}" for line in foot(found))]) + "\n"


def _escaped(value: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", value)


def _title(found: Funnel) -> str:
    return f"Confirmed configurations of {found.run} on {found.dataset}, mean log-likelihood (Parzen window), nats"


_SCORES = ("#", "configuration", "", "seeds", "bad seeds", "valid", "[ex]", "search", "test", "[ex]")


def _score_line(f: Finalist) -> list[str]:
    marks = ["leader"] * (f.rank == 1) + ["tied"] * f.tied + ["paper"] * f.is_paper
    return [
        _NONE if f.rank is None else str(f.rank),
        f.config_id,
        ", ".join(marks),
        f"{f.counts.completed}/{f.counts.seeds}",
        _bad(f),
        *_estimate(f.valid),
        _search(f),
        *_estimate(f.test),
    ]


def _bad(f: Finalist) -> str:
    if not f.counts.ended:
        return _NONE
    interval = f.counts.bad_share_interval
    return f"{f.counts.bad}/{f.counts.ended} [{interval.low:.2f}, {interval.high:.2f}]"


def _estimate(estimate: Estimate | None) -> list[str]:
    """Return a mean with its interval, and the standard error over images."""
    if estimate is None:
        return [_NONE, _NONE]
    interval, error = estimate.interval, estimate.se_examples
    shown_error = _NONE if error is None else rounded(error, decimal_place([error]))
    if interval is None:
        return [rounded(estimate.mean, decimal_place([error or 0.0])), shown_error]
    half = (interval.high - interval.low) / 2
    place = decimal_place([half])
    return [f"{rounded(estimate.mean, place)} ± {rounded(half, place)}", shown_error]


def _search(f: Finalist) -> str:
    """Return the search's value and by how much it lies above the confirmed one."""
    if f.search_valid is None:
        return _NONE
    error = 0.0 if f.valid is None else f.valid.se_seeds or f.valid.se_examples or 0.0
    place = decimal_place([error])
    if f.optimism is None:
        return rounded(f.search_valid, place)
    sign = "+" if f.optimism > 0 else ""
    return f"{rounded(f.search_valid, place)} ({sign}{rounded(f.optimism, place)})"


def settings(found: Funnel, f: Finalist) -> list[str]:
    """Return the searched values that differ from the paper's; all of them for the paper's and where it is unknown."""
    paper: Mapping[str, object] = {} if found.paper is None or f.is_paper else found.paper.values
    shown = [f"{name}={_value(value)}" for name, value in f.values.items() if paper.get(name, _NONE) != value]
    return shown or ["as the paper's in all that is searched"]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _wrapped(settings: Sequence[str]) -> list[str]:
    indent = " " * _INDENT
    return textwrap.wrap(
        ", ".join(settings), WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


_DIFFERENCE = "Differences: the row's configuration less the one it is against, nats"
_DIFFERENCES = ("#", "configuration", "against", "on", "over seeds [95%]", "p", "p Holm", "seeds x images [95%]", "")


def _differences(found: Funnel) -> Lines:
    """Return one line a comparison and split: against the leader, then against the paper's configuration."""
    lines = []
    for f in found.finalists:
        against = [("leader", f.to_leader), ("paper", f.to_paper)]
        if found.paper is found.leader:
            del against[1]
        for name, comparison in against:
            if comparison is not None:
                lines += _comparison(f, name, comparison)
    return lines


def _comparison(f: Finalist, name: str, comparison: Comparison) -> Lines:
    tied = ["tied"] if name == "leader" and f.tied else []
    marks = ", ".join([*tied, *(["over survivors"] if comparison.over_survivors else [])])
    lines = [[str(f.rank), f.config_id, name, "valid", *_contrast(comparison.valid), marks]]
    if comparison.test is not None:
        lines.append(["", "", "", "test", *_contrast(comparison.test), ""])
    return lines


def _contrast(contrast: Contrast) -> list[str]:
    seeds, both = contrast.seeds, contrast.bootstrap
    return [
        _with_ends(seeds.mean, seeds.interval),
        _p(seeds.p),
        _p(contrast.p_holm),
        _NONE if both is None or both.interval is None else _ends(both.interval),
    ]


def _with_ends(mean: float, interval: Interval | None) -> str:
    if interval is None:
        return rounded(mean, decimal_place([]))
    return f"{rounded(mean, _place(interval))} {_ends(interval)}"


def _ends(interval: Interval) -> str:
    place = _place(interval)
    return f"[{rounded(interval.low, place)}, {rounded(interval.high, place)}]"


def _place(interval: Interval) -> decimal.Decimal:
    return decimal_place([(interval.high - interval.low) / 2])


def _p(p: float | None) -> str:
    if p is None:
        return _NONE
    return f"<{_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"


def _other_blocks(found: Funnel) -> Iterable[Block]:
    """Yield the test scores under each other protocol."""
    ranks = {f.config_id: str(f.rank) for f in found.finalists}
    head = ("#", "configuration", "seeds", "test", "[ex]")
    for other in found.others:
        lines = [[ranks[c], c, str(len(e.per_seed)), *_estimate(e)] for c, e in other.test.items()]
        if lines:
            yield Block(title=f"On test under {other.protocol_id}", head=head, lines=lines)


def _columns(head: Sequence[str], lines: Lines, below: Sequence[Sequence[str]] = ()) -> list[str]:
    """Return aligned columns under a head, each line with those that stand below it.

    Where they are too wide, as with scores of seven digits, columns stand closer, and then lines are folded.
    """
    rows = [[*head], *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "
    shown = [gap.join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "-" * min(WIDTH, sum(widths) + len(gap) * (len(widths) - 1))
    out = [*_folded(shown[0]), rule]
    for i, line in enumerate(shown[1:]):
        out += [*_folded(line), *(below[i] if below else ())]
    return [*out, rule]


def _folded(line: str) -> list[str]:
    indent = " " * _INDENT
    fits = len(line) <= WIDTH
    return [line] if fits else textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def foot(found: Funnel) -> Iterable[str]:
    """Yield what stands under the table, one statement a line."""
    made = found.test_evaluations
    yield f"ranked under {found.description}: {found.rule}; test decides nothing"
    yield (
        "valid, test: mean over the completed seeds ± 95% t interval over training seeds, on these images; [ex]: "
        "standard error over images of one seed's score, which says nothing about training"
    )
    yield (
        "search: validation score of the search, under the same protocol, and by how much it lies above the confirmed "
        "mean: the winner's curse; - where no search trial of it completed"
    )
    yield "seeds: completed of all; bad seeds: share that collapsed, diverged or failed, with its exact 95% interval"
    if found.paper is not None:
        yield "paper: the study's base, the paper's configuration; below the others: what differs from it"
    if len([f for f in found.finalists if f.valid is not None]) > 1:
        yield (
            "over seeds: Welch's t of the seeds' means, on these images; p Holm: its p-value, corrected for all "
            "comparisons with the same configuration on the same split"
        )
        yield (
            "seeds x images: bootstrap that draws seeds of each and images common to both again, t interval: holds for "
            "other images too"
        )
        yield f"tied: p Holm on validation is {SIGNIFICANT} or more, or there is none: not told apart, not shown equal"
    if any(c.over_survivors for f in found.finalists for c in (f.to_leader, f.to_paper) if c is not None):
        yield "over survivors: one of the two lost seeds without a score; its mean is that of the rest, and flatters it"
    yield (
        "test evaluations in the run's ledger: not known (no ledger)"
        if made is None
        else f"test evaluations in the run's ledger: {made}, over all protocols"
    )
    yield from (other.description for other in found.others)
    yield from found.notes
