"""The confirmed configurations as text, Markdown and CSV. Rounding happens here and nowhere before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from analysis.cells import (
    NONE,
    Lines,
    bad_seeds,
    bullets,
    columns,
    ends,
    escaped,
    estimate_cells,
    folded,
    indented,
    markdown_table,
    p_value,
    parameter_value,
    with_ends,
)
from analysis.finalists import SIGNIFICANT, Comparison, Contrast, Finalist, Funnel
from analysis.funnel_csv import long_csv
from analysis.rounding import decimal_place, rounded


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
    """Return the comparison for a terminal, at most `cells.WIDTH` characters wide."""
    scores, *others = blocks(found)
    below = [indented(", ".join(settings(found, f))) for f in found.finalists]
    out = [*folded(scores.title), "", *columns(scores.head, scores.lines, below)]
    for block in others:
        out += ["", *folded(block.title), "", *columns(block.head, block.lines)]
    return "\n".join([*out, "", *bullets(foot(found))]) + "\n"


def markdown(found: Funnel) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    scores, *others = blocks(found)
    lines = [[*line, ", ".join(settings(found, f))] for line, f in zip(scores.lines, found.finalists, strict=True)]
    out = [f"**{escaped(scores.title)}**", "", *markdown_table([*scores.head, "settings"], lines)]
    for block in others:
        out += ["", escaped(block.title), "", *markdown_table(block.head, block.lines)]
    return "\n".join([*out, "", *(f"- {escaped(line)}" for line in foot(found))]) + "\n"


def _title(found: Funnel) -> str:
    return f"Confirmed configurations of {found.run} on {found.dataset}, mean log-likelihood (Parzen window), nats"


_SCORES = ("#", "configuration", "", "seeds", "bad seeds", "valid", "[ex]", "search", "test", "[ex]")


def _score_line(f: Finalist) -> list[str]:
    marks = ["leader"] * (f.rank == 1) + ["tied"] * f.tied + ["paper"] * f.is_paper
    return [
        NONE if f.rank is None else str(f.rank),
        f.config_id,
        ", ".join(marks),
        f"{f.counts.completed}/{f.counts.seeds}",
        bad_seeds(f.counts),
        *estimate_cells(f.valid),
        _search(f),
        *estimate_cells(f.test),
    ]


def _search(f: Finalist) -> str:
    """Return the search's value and by how much it lies above the confirmed one."""
    if f.search_valid is None:
        return NONE
    error = 0.0 if f.valid is None else f.valid.se_seeds or f.valid.se_examples or 0.0
    place = decimal_place([error])
    if f.optimism is None:
        return rounded(f.search_valid, place)
    sign = "+" if f.optimism > 0 else ""
    return f"{rounded(f.search_valid, place)} ({sign}{rounded(f.optimism, place)})"


def settings(found: Funnel, f: Finalist) -> list[str]:
    """Return the searched values that differ from the paper's; all of them for the paper's and where it is unknown."""
    paper: Mapping[str, object] = {} if found.paper is None or f.is_paper else found.paper.values
    shown = [f"{name}={parameter_value(value)}" for name, value in f.values.items() if paper.get(name, NONE) != value]
    return shown or ["as the base in all that is searched"]


_DIFFERENCE = "Differences: the row's configuration less the one it is against, nats"
_DIFFERENCES = ("#", "configuration", "against", "on", "over seeds [95%]", "p", "p Holm", "seeds x images [95%]", "")


def _differences(found: Funnel) -> Lines:
    """Return one line a comparison and split: against the leader, then against the study's base."""
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
        with_ends(seeds.mean, seeds.interval),
        p_value(seeds.p),
        p_value(contrast.p_holm),
        NONE if both is None or both.interval is None else ends(both.interval),
    ]


def _other_blocks(found: Funnel) -> Iterable[Block]:
    """Yield the test scores under each other protocol."""
    ranks = {f.config_id: str(f.rank) for f in found.finalists}
    head = ("#", "configuration", "seeds", "test", "[ex]")
    for other in found.others:
        lines = [[ranks[c], c, str(len(e.per_seed)), *estimate_cells(e)] for c, e in other.test.items()]
        if lines:
            yield Block(title=f"On test under {other.protocol_id}", head=head, lines=lines)


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
        yield "paper: the study's base, in the place of the paper's recipe; below the others: what differs from it"
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
