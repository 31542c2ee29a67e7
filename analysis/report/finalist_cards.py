"""The confirmed configurations: compared in tables and a figure, and each with its settings, samples and flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from analysis.finalists import Finalist, Funnel
from analysis.funnel_table import blocks, foot
from analysis.report.embedding import data_uri
from analysis.report.marks import FlagCount, count_flags
from analysis.report.plots import FINALISTS, drawing
from analysis.report.section import Content, attempt, sentence
from analysis.report.sources import Sources
from analysis.report.words import brief
from analysis.strips import sheets

_MOST_PICTURE_BYTES = 2_000_000
"""Of all sheets together: with base64's third on top they leave room for the rest of a page of 10 MB."""
_MARKS = "what it is"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sheet of samples.

    Attributes:
        uri: the picture, inside its URI.
        alt: what it shows, in words.
        caption: which seed's it is.
    """

    uri: str
    alt: str
    caption: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One finalist.

    Attributes:
        finalist: its numbers.
        marks: what it is, such as leader or tied.
        settings: the searched parameters: name, value, and whether the paper's has the same.
        pictures: its sheets of samples, one a seed.
        left_out: seeds whose sheets the page has no room for.
        flags: the flags of its seeds.
    """

    finalist: Finalist
    marks: tuple[str, ...]
    settings: tuple[tuple[str, str, bool], ...]
    pictures: tuple[Picture, ...]
    left_out: int
    flags: tuple[FlagCount, ...]


def content(sources: Sources) -> Content:
    """Return the comparison's tables and figure, and a card a finalist.

    Raises:
        ResultsError: when no confirm trial has a score.
    """
    found = sources.funnel.get()
    pictures = attempt(lambda: _pictures(sources, found))
    return {
        "drawing": drawing(sources, FINALISTS),
        "blocks": [
            {"title": b.title, "names": [name or _MARKS for name in b.head], "lines": b.lines} for b in blocks(found)
        ],
        "notes": found.notes,
        "foot": [line for line in foot(found) if line not in found.notes],
        "cards": [_card(f, found, sources, pictures.value or {}) for f in found.finalists],
        "problem": None if pictures.error is None else sentence(pictures.error),
    }


def _card(f: Finalist, found: Funnel, sources: Sources, pictures: Mapping[str, Sequence[Picture]]) -> Card:
    paper = {} if found.paper is None else found.paper.values
    rows = [
        r
        for r in sources.trials
        if (r["config_id"], r["stage"], r["protocol_id"]) == (f.config_id, "confirm", found.protocol_id)
    ]
    shown = pictures.get(f.config_id, ())
    return Card(
        finalist=f,
        marks=(*["leader"] * (f.rank == 1), *["tied"] * f.tied, *["paper"] * f.is_paper),
        settings=tuple((n, brief(v), not f.is_paper and paper.get(n) == v) for n, v in f.values.items()),
        pictures=tuple(p for p in shown if p.uri),
        left_out=sum(not p.uri for p in shown),
        flags=tuple(count_flags(rows, sources)),
    )


def _pictures(sources: Sources, found: Funnel) -> dict[str, list[Picture]]:
    """Return the sheets of each configuration, the first seed of each before the second: room goes to them in turn."""
    by_id: dict[str, list[Picture]] = {f.config_id: [] for f in found.finalists}
    own = [s for s in sheets(sources.run, skip_damaged=sources.skip_damaged) if s.config_id in by_id]
    turns: dict[str, int] = dict.fromkeys(by_id, 0)
    ordered = []
    for sheet in sorted(own, key=lambda s: (s.config_id, s.seed, s.fold)):
        ordered.append((turns[sheet.config_id], sheet))
        turns[sheet.config_id] += 1
    room = _MOST_PICTURE_BYTES
    for _, sheet in sorted(ordered, key=lambda entry: (entry[0], list(by_id).index(entry[1].config_id))):
        room -= len(sheet.png)
        fold = f", fold {sheet.fold}" if sheet.fold else ""
        images = f"{sheet.rows} by {sheet.columns} generated images"
        by_id[sheet.config_id].append(
            Picture(
                uri=data_uri(sheet.png, "image/png") if room >= 0 else "",
                alt=f"Samples of configuration {sheet.config_id}, seed {sheet.seed}{fold}: a sheet of {images}",
                caption=f"Seed {sheet.seed}{fold}, epoch {sheet.epoch}",
            )
        )
    return by_id
