"""The comparison of configurations as text, Markdown and CSV. Rounding happens here and nowhere before."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator

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
from analysis.compared import Against, Compared, Contrast, Item
from analysis.comparison import Difference
from analysis.finalists import Estimate
from analysis.statistics import Interval

FORMS = ("text", "markdown", "csv")
_SCORES = ("", "configuration", "", "seeds", "bad seeds", "valid", "[ex]", "test", "[ex]")
_DIFFERENCES = ("", "on", "over seeds [95%]", "p", "p Holm", "seeds x images [95%]", "p", "p Holm")
_SAID = "What these numbers support"

Values = Iterator[tuple[str, object]]


def render(found: Compared, form: str) -> str:
    """Return the comparison as `text`, `markdown` or `csv`.

    Raises:
        ValueError: for another form.
    """
    forms: dict[str, Callable[[Compared], str]] = dict(zip(FORMS, (text, markdown, long_csv), strict=True))
    if form not in forms:
        raise ValueError(f"the comparison is rendered as one of {', '.join(forms)}, not '{form}'")
    return forms[form](found)


def text(found: Compared) -> str:
    """Return the comparison for a terminal, at most `cells.WIDTH` characters wide."""
    below = [[*indented(item.given), *indented(", ".join(_settings(item)))] for item in found.items]
    return "\n".join(
        [
            *folded(_title(found)),
            "",
            *columns(_SCORES, [_score_line(item) for item in found.items], below),
            "",
            *folded(_difference_title(found)),
            "",
            *columns(_DIFFERENCES, _differences(found)),
            "",
            _SAID,
            "",
            *bullets(sentence for one in found.against for sentence in one.sentences),
            "",
            *bullets(_foot(found)),
            "",
        ]
    )


def markdown(found: Compared) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    scores = [[*_score_line(item), item.given, ", ".join(_settings(item))] for item in found.items]
    return "\n".join(
        [
            f"**{escaped(_title(found))}**",
            "",
            *markdown_table([*_SCORES, "item", "settings"], scores),
            "",
            escaped(_difference_title(found)),
            "",
            *markdown_table(_DIFFERENCES, _differences(found)),
            "",
            f"{_SAID}:",
            "",
            *(f"- {escaped(sentence)}" for one in found.against for sentence in one.sentences),
            "",
            "Notes:",
            "",
            *(f"- {escaped(line)}" for line in _foot(found)),
            "",
        ]
    )


def _title(found: Compared) -> str:
    return f"Confirmed configurations on {found.dataset}, mean log-likelihood (Parzen window), nats"


def _difference_title(found: Compared) -> str:
    return f"Differences: each configuration less {found.reference.letter}, nats"


def _score_line(item: Item) -> list[str]:
    marks = ["leader"] * (item.rank == 1) + ["paper"] * item.is_paper
    return [
        item.letter,
        item.config_id,
        ", ".join(marks),
        f"{item.counts.completed}/{item.counts.seeds}",
        bad_seeds(item.counts),
        *estimate_cells(item.valid),
        *estimate_cells(item.test),
    ]


def _settings(item: Item) -> list[str]:
    """Return the values of the parameters that are not the same in all items."""
    return [f"{name}={parameter_value(value)}" for name, value in item.values.items()]


def _differences(found: Compared) -> Lines:
    lines = []
    for one in found.against:
        lines.append([f"{one.letter} - {found.reference.letter}", "valid", *_contrast(one.valid)])
        if one.test is not None:
            lines.append(["", "test", *_contrast(one.test)])
    return lines


def _contrast(contrast: Contrast) -> list[str]:
    seeds, both = contrast.seeds, contrast.both
    return [
        with_ends(seeds.mean, seeds.interval),
        p_value(seeds.p),
        p_value(contrast.p_holm),
        NONE if both is None or both.interval is None else ends(both.interval),
        p_value(None if both is None else both.p),
        p_value(contrast.both_p_holm),
    ]


def _foot(found: Compared) -> Iterable[str]:
    """Yield what stands under the tables, one statement a line."""
    yield f"scored under {found.description}"
    yield (
        "valid, test: mean over the completed seeds ± 95% t interval over training seeds, on these images; [ex]: "
        "standard error over images of one seed's score, which says nothing about training"
    )
    yield "seeds: completed of all; bad seeds: share that collapsed, diverged or failed, with its exact 95% interval"
    if any(item.is_paper for item in found.items):
        yield "paper: the study's base, in the place of the paper's recipe; leader: first by validation in its run"
    yield (
        "over seeds: Welch's t of the seeds' means, on these images; p Holm: its p-value, corrected for all "
        "comparisons on the same split; intervals are each comparison's own, not corrected"
    )
    yield (
        "seeds x images: bootstrap that draws seeds of each and images common to both again, t interval: holds for "
        "other images too"
    )
    yield from found.notes


def long_csv(found: Compared) -> str:
    """Return one line an item and split, with every digit; what does not apply is empty."""
    names = list(dict.fromkeys(name for item in found.items for name in item.values))
    by_letter = {one.letter: one for one in found.against}
    lines = [
        dict(_line(found, item, by_letter.get(item.letter), split)) | {n: item.values.get(n) for n in names}
        for item in found.items
        for split in ("valid", "test")
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _line(found: Compared, item: Item, against: Against | None, split: str) -> Values:
    own: Estimate | None = item.valid if split == "valid" else item.test
    contrast: Contrast | None = None if against is None else getattr(against, split)
    counts = item.counts
    yield from (("item", item.letter), ("given", item.given), ("config_id", item.config_id))
    yield from (("is_paper", item.is_paper), ("rank", item.rank), ("protocol_id", found.protocol_id))
    yield from (("split", split), ("seeds", counts.seeds), ("completed_seeds", counts.completed))
    yield from (("bad_seeds", counts.bad), ("over_survivors", item.over_survivors))
    yield from _ends("bad_share", counts.bad_share_interval if counts.ended else None)
    yield "ll_mean", None if own is None else own.mean
    yield "ll_se_seeds", None if own is None else own.se_seeds
    yield from _ends("ll", None if own is None else own.interval)
    yield "ll_se_examples", None if own is None else own.se_examples
    yield "less", None if against is None else found.reference.letter
    yield from _difference("seeds", None if contrast is None else contrast.seeds)
    yield "seeds_p_holm", None if contrast is None else contrast.p_holm
    yield from _difference("bootstrap", None if contrast is None else contrast.both)
    yield "bootstrap_p_holm", None if contrast is None else contrast.both_p_holm
    yield "outcome", None if contrast is None else contrast.outcome
    yield "detectable", None if contrast is None else contrast.detectable
    yield "bad_p", None if against is None else against.bad_p
    yield "bad_p_holm", None if against is None else against.bad_p_holm


def _ends(name: str, interval: Interval | None) -> Values:
    yield f"{name}_low_95", None if interval is None else interval.low
    yield f"{name}_high_95", None if interval is None else interval.high


def _difference(name: str, difference: Difference | None) -> Values:
    for field in ("mean", "se", "df", "p"):
        yield f"{name}_{field}", None if difference is None else getattr(difference, field)
    yield from _ends(name, None if difference is None else difference.interval)
