"""The benchmark's table, as arrays."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.search.points import FloatArray, coordinates
from gansearch import schema
from gansearch.search.space import Space


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """Training curves of P points from S seeds each, at R reports.

    Attributes:
        u: (P, d) places in the unit cube; an integer stands at the centre of its cell.
        epochs: (R,) epochs of the reports.
        current: (P, S, R) validation log-likelihood at each report, in nats: what schedulers compare. NaN after
            the end of a trial that diverged.
        objective: (P, S, R) what the searcher is told of a trial that ends there, in nats.
        final: (P, S) score under the final protocol, in nats; NaN for a trial that has none.
        flops: (P, S) floating-point operations of the whole training.
    """

    u: FloatArray
    epochs: FloatArray
    current: FloatArray
    objective: FloatArray
    final: FloatArray
    flops: FloatArray

    @property
    def quality(self) -> FloatArray:
        """(P,) true quality of each point: the mean final score over its seeds.

        A seed without a final score counts as the worst one there is: a user of the point would get nothing.
        """
        return np.asarray(np.where(np.isnan(self.final), np.nanmin(self.final), self.final).mean(axis=1))


def read(path: Path, space: Space) -> Curves:
    """Return the curves of a file that `benchmarks.search.table` wrote.

    Args:
        path: the file.
        space: the space whose points it holds.
    """
    frame = pd.read_parquet(path)
    epochs = np.sort(frame["epoch"].unique())
    points, seeds = frame["point"].nunique(), frame["replicate"].nunique()
    shape = (points, seeds, len(epochs))
    place = (frame["point"].to_numpy(), frame["replicate"].to_numpy(), np.searchsorted(epochs, frame["epoch"]))
    current, objective = np.full(shape, np.nan), np.full(shape, np.nan)
    current[place] = frame["report_ll_mean"]
    objective[place] = frame["objective"]
    trials = frame.drop_duplicates(["point", "replicate"])
    trial = (trials["point"].to_numpy(), trials["replicate"].to_numpy())
    final, flops = np.full(shape[:2], np.nan), np.full(shape[:2], np.nan)
    complete = trials["status"] == schema.COMPLETE
    final[trial] = trials["valid_ll_mean"].where(complete)
    flops[trial] = trials["flops"]
    names = [p.name for p in space.parameters]
    distinct = frame.drop_duplicates("point").sort_values("point")[names]
    u = np.stack([coordinates(space, dict(zip(names, row, strict=True))) for row in distinct.itertuples(index=False)])
    return Curves(u=u, epochs=epochs.astype(float), current=current, objective=objective, final=final, flops=flops)


def made(path: Path) -> dict[str, Any]:
    """Return what made a table: study, seeds, protocols and versions."""
    content: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"gansearch"])
    return content
