"""What every readable form of Table 1 says: headings, cells and the foot, rounded for a reader.

The largest standard error of a cell is shown with two significant digits, and everything else in the cell to
the same place; published values are shown as they were printed. The kind of each standard error stands beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from analysis import reference
from analysis.finalists import SIGNIFICANT
from analysis.rounding import decimal_place, rounded, rounded_error
from analysis.table1_rows import Kind, Score, Table1, TableRow, ToLeader

TITLE = "Mean test log-likelihood (Parzen window), nats"
KINDS = {
    "seeds": "standard error over training seeds",
    "ex": "standard error over test examples (of one seed's score where there are several)",
    "folds": "standard error over folds",
}
"""What a mark behind a standard error means."""
INTERVAL = "95%: t interval over training seeds, for the mean over all seeds"
_OVER_FOLDS = "95% of a mean over folds: t interval over the folds' means"
_SAMPLES = (
    "scores also carry the sampling noise of the generator's samples, which [ex] leaves out: another draw of the "
    "samples moves a score"
)
_BAD = (
    "bad seeds: share of a configuration's seeds that collapsed, diverged or failed, with its exact 95% interval; "
    "collapsed: the scored samples cover under a tenth of what real images cover; collapse to one class, or after "
    "the scored epoch, is not seen"
)
_LEADER = (
    "leader: of the runs of one protocol and data set, the one with the highest mean validation score; those that lost "
    "seeds come after the others. to leader: the run less it on test, with the 95% interval of Welch's t over seeds"
)
_TIED = (
    f"tied: on validation its p-value, by Holm corrected for all runs held against the leader, is {SIGNIFICANT} or "
    "more, or there is none (one seed): not told apart, not shown equal. That the leader is the highest of several is "
    "not corrected for"
)
_FOLD_BY_FOLD = (
    "over folds, which are the same for both, the difference and its interval are of the differences fold by fold: "
    "they know of no spread over seeds"
)
_FOLD_TRIALS = "over folds, bad seeds counts trials, a seed on a fold each; those of a seed are alike, so no interval"
_CONDITIONAL = "conditional adversarial nets are trained with labels: they are not held against nets that are not"
_SURVIVORS = (
    "over survivors: one of the two lost seeds without a score; its mean is that of the rest, which may flatter"
)
_CALIBRATION = (
    "calibration: images in the place of a model's samples, unranked. Real training images are what a model scores "
    "whose samples are draws from the data; k-means centroids may lie above it, and are no better model"
)
_FEW = (
    "[n samples]: fewer than the protocol asks for, since there are too few training images: not comparable with the "
    "other rows"
)
_UNRANKED = (
    "published rows stand beside the runs unranked, as do rows of different protocols: they are not to be ordered "
    "against each other"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Some rows under one heading.

    Attributes:
        heading: what they share.
        rows: each row's cells, as many as `columns` gives.
    """

    heading: str
    rows: tuple[tuple[str, ...], ...]


def columns(table: Table1) -> tuple[str, ...]:
    """Return the heads of the columns."""
    return ("model", *table.datasets, *(["to leader"] if table.compares else []), "seeds", "bad seeds")


def sections(table: Table1, *, separator: str = " ") -> Iterable[Section]:
    """Yield what was published, then each protocol's runs and what the data themselves score.

    Args:
        table: the table.
        separator: what stands between the parts of a cell: its mean, each error, its interval.
    """

    def section(heading: str, rows: Iterable[TableRow]) -> Section:
        return Section(heading=heading, rows=tuple(_cells(table, row, separator) for row in rows))

    yield section(reference.PROTOCOL, table.section(None))
    for protocol_id in table.protocols:
        yield section(f"scored under {protocol_id}", table.section(protocol_id))
        if calibration := table.section(protocol_id, Kind.CALIBRATION):
            yield section(f"calibration under {protocol_id}: images of the data, no model", calibration)


def _cells(table: Table1, row: TableRow, separator: str) -> tuple[str, ...]:
    """Return the cells of a row."""
    means = [_mean(row.scores.get(name), separator) for name in table.datasets]
    leader = [separator.join(part for s in row.scores.values() for part in _to_leader(s))] if table.compares else []
    label = " ".join(row.label.split())  # a folder's name may hold a line's end
    if row.counts is None:
        return (label, *means, *leader, "", "")
    seeds = max(len(score.per_seed) for score in row.scores.values())
    interval = row.counts.bad_share_interval
    bad = f"{row.counts.bad}/{row.counts.ended}"
    if (planned := max(score.planned_folds for score in row.scores.values())) > 1:
        folds = max(len(score.folds) for score in row.scores.values())
        of = f"/{planned}" if folds < planned else ""
        return (label, *means, *leader, f"{folds}{of} folds", f"{bad} trials")
    bad += f"{separator}[{interval.low:.2f}, {interval.high:.2f}]"
    of = f"/{row.planned_seeds}" if row.planned_seeds is not None and seeds < row.planned_seeds else ""
    return (label, *means, *leader, f"{seeds}{of}", bad)


def _mean(score: Score | None, separator: str) -> str:
    """Return a score with its errors, their kinds and its interval; blank where there is none."""
    if score is None:
        return ""
    known = [(kind, se) for kind, se in _errors(score) if se is not None]
    if score.citation is not None:
        shown = [f"{score.mean:g}", *(f"± {se:g} [{kind}]" for kind, se in known)]
        return " ".join(shown)
    place = decimal_place(se for _, se in known)
    shown = [rounded(score.mean, place), *(f"± {rounded_error(se, place)} [{kind}]" for kind, se in known)]
    few = [] if score.comparable or score.num_samples is None else [f"[{score.num_samples:,} samples]"]
    interval = score.interval
    ends = [] if interval is None else [f"95% [{rounded(interval.low, place)}, {rounded(interval.high, place)}]"]
    # A comma keeps the interval apart where nothing else does.
    mean = " ".join(shown[:2])
    comma = "," if ends and separator == " " else ""
    return separator.join([mean, *shown[2:], *few]) + comma + "".join(separator + part for part in ends)


def _errors(score: Score) -> tuple[tuple[str, float | None], ...]:
    return ("seeds", score.se_seeds), ("ex", score.se_examples), ("folds", score.se_folds)


def _to_leader(score: Score) -> tuple[str, ...]:
    """Return whether a score leads, or how it is to the leader's on test, in parts; none where it is not compared."""
    if score.leads:
        return ("leader",)
    return () if score.to_leader is None else tuple(_difference(score.to_leader))


def _difference(found: ToLeader) -> Iterable[str]:
    test = found.test.seeds
    place = decimal_place([] if test.se is None else [test.se])
    yield f"{'+' if test.mean > 0 else ''}{rounded(test.mean, place)}"
    if test.interval is not None:
        yield f"[{rounded(test.interval.low, place)}, {rounded(test.interval.high, place)}]"
    if found.tied:
        yield "tied"
    if found.over_survivors:
        yield "over survivors"


def foot(table: Table1) -> tuple[str, ...]:
    """Return what stands under the table, one statement a line; the caveat is the last."""
    shown = [score for row in table.rows for score in row.scores.values()]
    used = {kind for score in shown for kind, se in _errors(score) if se is not None}
    compared = [score.to_leader for score in shown if score.to_leader is not None]
    over_folds = any(score.planned_folds > 1 for score in shown)
    calibrated = [row for row in table.rows if row.kind is Kind.CALIBRATION]
    return (
        *(f"[{kind}]: {meaning}" for kind, meaning in KINDS.items() if kind in used),
        *([INTERVAL] if "seeds" in used else []),
        *([_OVER_FOLDS] if over_folds else []),
        _SAMPLES,
        *([_LEADER] if compared else []),
        *([_FOLD_BY_FOLD] if any(score.folds and score.to_leader is not None for score in shown) else []),
        *([_CONDITIONAL] if len({row.model for row in table.rows if row.kind is Kind.RUN}) > 1 else []),
        *([_TIED] if any(c.tied for c in compared) else []),
        *([_SURVIVORS] if any(c.over_survivors for c in compared) else []),
        _BAD,
        *([_FOLD_TRIALS] if over_folds else []),
        *([_CALIBRATION] if calibrated else []),
        *(_on_validation(table) if calibrated else []),
        *([] if all(score.comparable for score in shown) else [_FEW]),
        *(f"protocol {description}" for description in table.protocols.values()),
        f"evaluations of the test set: {_evaluations(table)}",
        f"published rows: {reference.CITATION}",
        *dict.fromkeys(f"published {s.dataset}: {s.protocol}" for s in reference.TABLE1),
        _UNRANKED,
        *table.notes,
        reference.CAVEAT,
    )


def _evaluations(table: Table1) -> str:
    shown = ", ".join(
        f"{label} {'not known (no ledger)' if count is None else count}"
        for label, count in table.test_evaluations.items()
    )
    several = len(table.test_evaluations) > 1
    return shown + (f"; {table.distinct_test_evaluations} different ones in all" if several else "")


def _on_validation(table: Table1) -> Iterable[str]:
    """Yield what the data score on validation, which is what validation scores are read by: a line each column."""
    for protocol_id in table.protocols:
        for column in table.datasets:
            own = [
                f"{row.model} {_validation(score)}"
                for row in table.section(protocol_id, Kind.CALIBRATION)
                if (score := row.scores.get(column)) is not None
            ]
            if own:
                yield f"the same on validation images, {column} under {protocol_id}: {', '.join(own)}"


def _validation(score: Score) -> str:
    on_valid = Score(mean=score.valid_mean or 0.0, se_examples=score.valid_se_examples)
    return _mean(on_valid, " ")
