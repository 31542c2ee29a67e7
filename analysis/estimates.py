"""A configuration's mean score on one split, from its rows: one a seed, under one protocol."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from analysis import statistics
from analysis.finalists import Estimate
from analysis.records import Row
from analysis.seed_counts import SeedCounts
from gansearch import schema


def scored(rows: Sequence[Row], split: str) -> list[Row]:
    """Return the completed rows that have a finite score on a split.

    Args:
        rows: of `trials`.
        split: `valid` or `test`.
    """
    name = f"{split}_ll_mean"
    return [r for r in rows if r["status"] == schema.COMPLETE and r[name] is not None and math.isfinite(r[name])]


def per_seed(rows: Sequence[Row], split: str) -> tuple[float, ...]:
    """Return the scores of the rows that have one, in nats."""
    return tuple(r[f"{split}_ll_mean"] for r in scored(rows, split))


def estimate(rows: Sequence[Row], split: str) -> Estimate | None:
    """Return the estimate that the rows give; None where none has a score on the split."""
    with_score = scored(rows, split)
    if not with_score:
        return None
    errors = [e for r in with_score if (e := r[f"{split}_ll_se_examples"]) is not None]
    return Estimate(
        per_seed=per_seed(rows, split),
        se_examples=statistics.mean(errors) if len(errors) == len(with_score) else None,
    )


def derived(found: Estimate) -> dict[str, object]:
    """Return what follows from an estimate's fields, for those who read them as data."""
    interval = found.interval
    ends = None if interval is None else dataclasses.astuple(interval)
    return {"mean": found.mean, "se_seeds": found.se_seeds, "mean_95": ends}


def derived_counts(counts: SeedCounts) -> dict[str, object]:
    """Return what follows from the fields of a configuration's counts."""
    known = counts.ended > 0
    return {
        "seeds": counts.seeds,
        "ended": counts.ended,
        "bad": counts.bad,
        "bad_share": counts.bad_share if known else None,
        "bad_share_95": dataclasses.astuple(counts.bad_share_interval) if known else None,
    }
