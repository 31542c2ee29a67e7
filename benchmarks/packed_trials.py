"""A trial of a search without Ray: its reports, scores and rows, with PyTorch and NumPy alone.

What `gansearch.training` does for a trial, less pictures, checkpoints, guards and the test set; tests hold the rows of
both against one another.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.packed_networks import on_device
from gansearch import schema
from gansearch.core import diagnostics, parzen
from gansearch.core.datasets import Dataset, to_unit
from gansearch.core.pack import Slot
from gansearch.core.shapes import Tensor
from gansearch.protocols import Protocol
from gansearch.provenance import environment
from gansearch.rows import Row, draft_row, final_rows, identity
from gansearch.spec import TrialSpec

Write = Callable[[schema.Table, Row], None]
"""Takes a row of a table."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """What all trials share.

    Attributes:
        data: the images.
        train: training images on the device, as bytes.
        valid: validation images on the device, as bytes.
        reference: what diagnostics compare samples with.
        environment: the `run_*` columns that say where.
    """

    data: Dataset
    train: Tensor
    valid: Tensor
    reference: diagnostics.Reference
    environment: Row

    @classmethod
    def of(cls, data: Dataset, device: torch.device, specs: Sequence[TrialSpec]) -> Bench:
        """Return what trials share on a device."""
        train, valid = on_device(data.train, device), on_device(data.valid, device)
        fewest = min(one.num_samples for spec in specs for one in (*spec.protocols, spec.report_protocol))
        return cls(
            data=data,
            train=train,
            valid=valid,
            reference=diagnostics.reference(train, valid, data.levels, num_samples=fewest),
            environment=environment(device, torch.get_num_threads()),
        )

    def score(self, samples: Tensor, one: Protocol) -> tuple[parzen.SigmaFit, float, float]:
        """Return sigma, and the validation score with its standard error."""
        index = parzen.valid_subset(len(self.valid), one).to(self.valid.device)
        fit = parzen.fit_sigma(samples, to_unit(self.valid[index], self.data.levels), one)
        return fit, *parzen.mean_and_se(fit.valid_ll)


class Run:
    """A trial of the search: its place in the pack, and what its reports have gathered.

    Args:
        spec: what is asked for.
        slot: its place.
        bench: what all trials share.
        write: takes its rows.
        share: of the GPU that is its, for the record.
    """

    def __init__(self, spec: TrialSpec, slot: Slot, bench: Bench, write: Write, share: float) -> None:
        self.spec, self.slot, self._bench, self._write = spec, slot, bench, write
        self.row = draft_row(spec, bench.data.digests) | bench.environment | {"run_gpu_share": share}
        self._best: dict[str, Tensor] | None = None
        self._best_collapsed = False
        self._epochs: list[dict[str, float]] = []
        self._since = self._train = self._score = 0.0

    def trained(self) -> float | None:
        """Take an epoch that the pack has trained; return the report's value where one is due."""
        epoch = self.slot.train_epoch()
        self._epochs.append(epoch.measures)
        self._since += epoch.seconds
        self._train += epoch.seconds
        self.row["epochs"] += 1
        config = self.spec.config
        due = self.row["epochs"] % config.score.report_every == 0 or self.row["epochs"] == config.algorithm.epochs
        return self._report() if due else None

    @property
    def ended(self) -> bool:
        """Whether the budget is spent."""
        return bool(self.row["epochs"] == self.spec.config.algorithm.epochs)

    def _report(self) -> float:
        began = time.perf_counter()
        spec, protocol, row = self.spec, self.spec.report_protocol, self.row
        weights = self.slot.weights()
        samples = self.slot.sample(weights, protocol.num_samples, "report")
        fit, mean, se = self._bench.score(samples, protocol)
        cheap = diagnostics.diversity(samples, self._bench.reference)
        counters, size = self.slot.counters(), spec.config.algorithm.batch_size
        examples = self._bench.data.n_train // size * size
        measures = {name: sum(one[name] for one in self._epochs) / len(self._epochs) for name in self._epochs[0]}
        curve = {
            **identity(spec),
            "epoch": row["epochs"],
            "report_protocol_id": protocol.id,
            "report_ll_mean": mean,
            "report_ll_se_examples": se,
            "report_sigma": fit.sigma,
            "report_sigma_at_edge": fit.at_edge,
            **measures,
            **dataclasses.asdict(cheap),
            "g_updates": counters["g_updates"],
            "d_updates": counters["d_updates"],
            "examples_per_second": len(self._epochs) * examples / self._since,
        }
        row.update(report_last_ll_mean=mean, **counters)
        row.update({name: measures[name] for name in ("d_real", "d_fake", "game_value")})
        if self._beats_best(mean, collapsed=cheap.collapsed):
            row.update(report_ll_mean=mean, report_epoch=row["epochs"])
            self._best, self._best_collapsed = weights, cheap.collapsed
        self._epochs, self._since = [], 0.0
        self._score += time.perf_counter() - began
        row.update(run_train_seconds=self._train, run_examples_per_second=row["epochs"] * examples / self._train)
        self._write(schema.CURVES, curve | {"seconds": self._train + self._score})
        return mean

    def _beats_best(self, value: float, *, collapsed: bool) -> bool:
        """Return whether a report's weights are the best so far; collapsed samples never beat others."""
        if not math.isfinite(value):
            return False
        if self._best is None or self._best_collapsed:
            return True
        return not collapsed and value > self.row["report_ll_mean"]

    def end(self, status: str, error: str | None = None) -> list[Row]:
        """Write the trial's rows; score it first where it completed."""
        began, scores = time.perf_counter(), []
        if status == schema.COMPLETE:
            scores = [self._scores(one) for one in self.spec.protocols]
            if not all(math.isfinite(one["valid_ll_mean"]) for one in scores):
                status, error, scores = schema.DIVERGED, "the samples have no finite log-likelihood", []
        self._score += time.perf_counter() - began
        self.row.update(run_score_seconds=self._score, run_seconds=self._train + self._score)
        rows = final_rows(self.row, self.spec, status, error=error, scores=scores)
        for row in rows:
            self._write(schema.TRIALS, row)
        return rows

    def _scores(self, one: Protocol) -> Row:
        weights, epoch = self.slot.weights(), self.row["epochs"]
        if self.spec.config.score.at == "best" and self._best is not None:
            weights, epoch = self._best, self.row["report_epoch"]
        samples = self.slot.sample(weights, one.num_samples, "score")
        fit, mean, se = self._bench.score(samples, one)
        return {
            "valid_ll_mean": mean,
            "valid_ll_se_examples": se,
            "valid_n": len(fit.valid_ll),
            "sigma": fit.sigma,
            "sigma_at_edge": fit.at_edge,
            "scored_epoch": epoch,
            **dataclasses.asdict(diagnostics.diagnose(samples, self._bench.reference)),
        }


def line(row: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON; a moment as text, as `read` reads it again."""
    return json.dumps({name: v.isoformat() if isinstance(v, datetime.datetime) else v for name, v in row.items()})


def read(path: Path, table: schema.Table) -> Iterator[Row]:
    """Yield the rows of a file that the search wrote."""
    moments = {column.name for column in table.columns if column.type == "timestamp"}
    for text in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        yield {
            name: datetime.datetime.fromisoformat(value) if name in moments and value is not None else value
            for name, value in row.items()
        }
