"""The trials as compact data for a table that the page's script sorts and filters.

Test scores are not in it: a table that sorts by them would invite to choose by them. They stand with the finalists.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from analysis.records import Row
from analysis.render import decimal_place
from analysis.report.marks import flags
from analysis.report.section import Content
from analysis.report.sources import Sources
from analysis.report.words import brief, visible
from gansearch import schema

MOST_ROWS = 20_000
"""Trials that the table holds: about 4 MB."""
_DIGITS = 6
"""Significant digits of a number: what is shown has four."""

_NATS = ("valid_ll_mean", "report_ll_mean")
_FIXED = (
    ("config_id", "Configuration", "hash of the configuration"),
    ("stage", "Stage", "search, confirm, train or reproduce"),
    ("status", "Status", "how the trial ended"),
    ("valid_ll_mean", "Validation, nats", "mean Parzen log-likelihood of the validation images"),
    ("report_ll_mean", "Best report, nats", "best validation score among the reports, under the report protocol"),
    ("epochs", "Epochs", "epochs run"),
)
_RUN = (
    ("sigma", "Sigma", "bandwidth chosen on validation images"),
    ("coverage", "Coverage", "share of fixed validation images that are nearest to some sample"),
    ("run_seconds", "Seconds", "wall-clock time of the trial"),
    ("seed", "Seed", "the trial's seed"),
    ("error", "Remark", "why the trial did not complete"),
)


def content(sources: Sources) -> Content:
    """Return the table's data, the choices of its filters, and what is left out."""
    rows, others = _one_a_trial(sources.trials)
    rows.sort(key=_place)
    shown = rows[:MOST_ROWS]
    return {
        "data": {"columns": [column.packed() for column in _columns(shown, sources)], "count": len(shown)},
        "stages": [s for s in schema.STAGES if any(r["stage"] == s for r in shown)],
        "statuses": [s for s in schema.STATUSES if any(r["status"] == s for r in shown)],
        "total": len(rows),
        "shown": len(shown),
        "others": others,
        "searched": sources.searched,
    }


def _one_a_trial(trials: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return one row a trial, under the search's protocol where it has one, and the protocols that are left out."""
    search = [r["protocol_id"] for r in trials if r["stage"] == "search"] or [r["protocol_id"] for r in trials]
    preferred = collections.Counter(search).most_common(1)[0][0]
    chosen: dict[tuple[Any, ...], Row] = {}
    for row in trials:
        key = tuple(row[name] for name in ("config_id", "seed", "stage", "fold"))
        if key not in chosen or row["protocol_id"] == preferred:
            chosen[key] = row
    kept = {row["protocol_id"] for row in chosen.values()}
    return list(chosen.values()), sorted({row["protocol_id"] for row in trials} - kept)


def _place(row: Row) -> tuple[float, float, str, int]:
    """Return what rows are sorted by: by validation score, then by the best report, the highest first."""
    scores = (row["valid_ll_mean"], row["report_ll_mean"])
    first, second = (-s if s is not None and math.isfinite(s) else math.inf for s in scores)
    return first, second, row["config_id"], row["seed"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One column.

    Attributes:
        label: its name.
        about: what it means.
        values: a value a row; None where a row has none.
        numeric: whether they are numbers.
        places: decimal places that are shown; None for four significant digits.
        falls: whether the highest value is the first to look at.
        aside: whether paper, which is narrow, does without it.
    """

    label: str
    about: str
    values: Sequence[Any]
    numeric: bool = False
    places: int | None = None
    falls: bool = False
    aside: bool = False

    def packed(self) -> dict[str, Any]:
        """Return it as the page's script takes it."""
        kind = "number" if self.numeric else "text"
        plain = {name: getattr(self, name) for name in ("label", "about", "places", "falls", "aside")}
        return plain | {"kind": kind, "values": _packed(self)}


def _columns(rows: Sequence[Row], sources: Sources) -> Iterable[_Column]:
    errors = [e for r in rows if (e := r["valid_ll_se_examples"]) is not None and math.isfinite(e)]
    nats = min(4, max(0, -int(decimal_place(errors).as_tuple().exponent)))
    for name, label, about in _FIXED:
        column = _column(rows, name, label, about)
        yield dataclasses.replace(column, places=nats, falls=True) if name in _NATS else column
    if len({row["protocol_id"] for row in rows}) > 1:
        yield _column(rows, "protocol_id", "Protocol", "score protocol; scores of different ones do not compare")
    if len({row["cfg_dataset_name"] for row in rows}) > 1:
        yield _column(rows, "cfg_dataset_name", "Data set", "scores on different ones do not compare")
    for parameter in sources.searched:
        yield _column(rows, schema.cfg_column(parameter), parameter, "searched")
    doubts = [", ".join(flags(row, sources)) for row in rows]
    yield _Column(label="Flags", about="reasons to doubt the score", values=doubts)
    for name, label, about in _RUN:
        column = _column(rows, name, label, about)
        yield dataclasses.replace(column, aside=True, places=0 if name == "seed" else None)


def _column(rows: Sequence[Row], name: str, label: str, about: str) -> _Column:
    numeric = schema.TRIALS.column(name).type in ("float64", "int64")
    return _Column(label=label, about=about, values=[row[name] for row in rows], numeric=numeric)


def _packed(column: _Column) -> object:
    """Return numbers with six significant digits; texts as their places among the different ones there are."""
    if column.numeric:
        return [None if v is None else v if isinstance(v, int) else _shortened(v) for v in column.values]
    texts = ["" if v is None else str(visible(brief(v))) for v in column.values]
    places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return {"texts": list(places), "places": [places[text] for text in texts]}


def _shortened(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short
