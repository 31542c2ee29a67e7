"""A trial's training, report by report, and the scoring of what it leaves.

It knows nothing of what is inside the model it trains: a `Learner` trains by epochs and can be sampled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Mapping
from typing import Protocol

import torch

from gansearch import pictures, schema, scoring
from gansearch.config import TrialConfig
from gansearch.core import diagnostics
from gansearch.core.adversarial import Adversarial
from gansearch.core.datasets import Dataset, as_tensor
from gansearch.core.shapes import Float, Tensor, UInt8
from gansearch.errors import DataError, ResourceError
from gansearch.provenance import environment
from gansearch.recorder import Checkpoint, Recorder
from gansearch.rows import Row
from gansearch.spec import TrialSpec

REPORT_PICTURES = 16
"""Samples in a report's picture; always of the same noise."""
SHEET_PICTURES = 100
"""Samples in a finalist's sheet."""


class Learner(Protocol):
    """A model family as a trial sees it."""

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch; return measures named by columns of `curves`."""

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of what a sample needs."""

    def sample(self, weights: Mapping[str, Tensor], n: int, purpose: str, step: int = 0) -> Float[Tensor, "n d"]:
        """Return n samples of these weights, images in [0,1]."""

    def diverged(self) -> bool:
        """Return whether training met a value that was not finite and froze."""

    def counters(self) -> dict[str, float]:
        """Return `g_updates`, `d_updates` and `flops` so far."""

    def save(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on."""

    def load(self, tensors: Mapping[str, Tensor], epochs: int) -> None:
        """Continue from what `save` returned after so many epochs."""


def make_learner(config: TrialConfig, train: UInt8[Tensor, "n d"], levels: int, seed: int) -> Learner:
    """Return the untrained model of a configuration."""
    return Adversarial(config, train, levels, seed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a trial runs on.

    Attributes:
        device: `cpu` or `cuda`.
        threads: CPU threads, 1 or more.
        gpu_share: share of a GPU, for the record.
        checkpoint_seconds: least time between two checkpoints, in seconds.
    """

    device: str = "cpu"
    threads: int = 1
    gpu_share: float = 0.0
    checkpoint_seconds: float = 30.0

    def claim(self) -> torch.device:
        """Set this process's threads and return the device.

        Raises:
            ResourceError: when a GPU is asked for and there is none.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ResourceError(
                "a GPU is asked for, but PyTorch sees none here", hint="set resources.gpu to 0, or run where a GPU is"
            )
        torch.set_num_threads(self.threads)
        return torch.device(self.device)


class Training:
    """The model, the data on its device, and everything that reports have gathered so far.

    Continues from the trial's checkpoint where there is one.

    Args:
        spec: what is asked for.
        data: the data set; its test split may be locked away unless the spec reads it.
        recorder: where curves, pictures and checkpoints go.
        placement: what it runs on.
        row: the trial's draft row, filled as training goes.
    """

    def __init__(self, spec: TrialSpec, data: Dataset, recorder: Recorder, placement: Placement, row: Row) -> None:
        self._spec, self._data, self._recorder, self._row = spec, data, recorder, row
        self._device = placement.claim()
        self._checkpoint_seconds = placement.checkpoint_seconds
        row.update(environment(self._device, placement.threads), run_gpu_share=placement.gpu_share)
        self._train = as_tensor(data.train).to(self._device)
        self._valid = as_tensor(data.valid).to(self._device)
        fewest = min(p.num_samples for p in (*spec.protocols, spec.report_protocol))
        self._reference = diagnostics.reference(self._train, self._valid, data.levels, num_samples=fewest)
        self._learner = make_learner(spec.config, self._train, data.levels, spec.seed)
        self._epochs = 0
        self._best: dict[str, Tensor] | None = None
        self._curves: list[Row] = []
        self._pictures: list[Row] = []
        self._seconds = {"train": 0.0, "score": 0.0}
        self._resume()
        self._checkpointed = time.monotonic()

    def to_next_report(self) -> str | None:
        """Train to the next report and write it; return how training ended, or None where it goes on."""
        budget = self._spec.config.algorithm.epochs
        target = min(self._epochs + self._spec.config.score.report_every, budget)
        measures, started = [], time.monotonic()
        while self._epochs < target:
            measures.append(self._learner.train_epoch())
            self._epochs += 1
        diverged = self._learner.diverged()  # waits for the device, so the clock below is honest
        trained = time.monotonic()
        self._seconds["train"] += trained - started
        rate = len(measures) * len(self._data.train) / (trained - started)
        self._report({name: sum(m[name] for m in measures) / len(measures) for name in measures[0]}, rate)
        self._seconds["score"] += time.monotonic() - trained
        self._row.update(
            run_train_seconds=self._seconds["train"],
            run_score_seconds=self._seconds["score"],
            run_seconds=self._seconds["train"] + self._seconds["score"],
            run_examples_per_second=self._epochs * len(self._data.train) / max(self._seconds["train"], 1e-9),
        )
        if diverged:
            return schema.DIVERGED
        if self._epochs == budget:
            return schema.COMPLETE
        if time.monotonic() - self._checkpointed >= self._checkpoint_seconds:
            self.checkpoint()
        return None

    def _report(self, measures: dict[str, float], rate: float) -> None:
        spec, row = self._spec, self._row
        weights = self._learner.weights()
        samples = self._learner.sample(weights, spec.report_protocol.num_samples, "report", self._epochs)
        score, fit = scoring.score_valid(samples, self._valid, self._data.levels, spec.report_protocol)
        diversity = diagnostics.diversity(samples, self._reference)
        counters = self._learner.counters()
        self._curves.append(
            {
                **identity(spec),
                "epoch": self._epochs,
                "report_protocol_id": spec.report_protocol.id,
                "report_ll_mean": score.mean,
                "report_ll_se_examples": score.se,
                "report_sigma": fit.sigma,
                "report_sigma_at_edge": fit.at_edge,
                **measures,
                **dataclasses.asdict(diversity),
                "g_updates": counters["g_updates"],
                "d_updates": counters["d_updates"],
                "examples_per_second": rate,
                "seconds": self._seconds["train"] + self._seconds["score"],
            }
        )
        row.update(epochs=self._epochs, report_last_ll_mean=score.mean, **counters)
        row.update({name: measures[name] for name in ("d_real", "d_fake", "game_value")})
        if math.isfinite(score.mean) and (self._best is None or score.mean > row["report_ll_mean"]):
            row.update(report_ll_mean=score.mean, report_epoch=self._epochs)
            self._best = weights
        self._picture("report", weights, REPORT_PICTURES, 8, self._epochs)
        self._recorder.table(schema.CURVES, spec.key, self._curves)
        self._recorder.table(schema.SAMPLES, spec.key, self._pictures)

    def _picture(self, kind: str, weights: Mapping[str, Tensor], n: int, columns: int, epoch: int) -> None:
        images = self._learner.sample(weights, n, kind)
        png = pictures.png(pictures.sheet(images, self._data.shape, columns))
        shape = {"rows": math.ceil(n / columns), "columns": columns}
        self._pictures.append({**identity(self._spec), "kind": kind, "epoch": epoch, **shape, "png": png})

    def scores(self) -> list[Row]:
        """Score the finished trial; return the columns of its row under each protocol.

        Where the spec reads the test set, its evaluations go to the ledger, one already made of the same
        model is used again, and the per-example values, the sheet and the weights are kept.
        """
        started = time.monotonic()
        spec, levels = self._spec, self._data.levels
        best = spec.config.score.at == "best" and self._best is not None
        weights = self._best if best and self._best is not None else self._learner.weights()
        scored_epoch = self._row["report_epoch"] if best else self._epochs
        digest = weights_digest(weights)
        columns, examples = [], []
        for protocol in spec.protocols:
            samples = self._learner.sample(weights, protocol.num_samples, "score")
            valid, fit = scoring.score_valid(samples, self._valid, levels, protocol)
            found = diagnostics.diagnose(samples, self._reference)
            row: Row = {
                "valid_ll_mean": valid.mean,
                "valid_ll_se_examples": valid.se,
                "valid_n": len(valid.ll),
                "sigma": fit.sigma,
                "sigma_at_edge": fit.at_edge,
                "scored_epoch": scored_epoch,
                "weights_digest": digest,
                **dataclasses.asdict(found),
            }
            if spec.scores_test:
                examples += _examples(spec, protocol.id, "valid", valid)
                row |= self._score_test(samples, fit.sigma, digest, protocol.id, protocol.dtype, examples)
            columns.append(row)
        if spec.scores_test:
            self._recorder.table(schema.EXAMPLES, spec.key, examples)
            self._picture("sheet", weights, SHEET_PICTURES, 10, scored_epoch)
            self._recorder.table(schema.SAMPLES, spec.key, self._pictures)
        if spec.stage != "search":
            state = {"spec": spec.to_dict(), "scored_epoch": scored_epoch, "weights_digest": digest}
            self._recorder.save_weights(spec.key, weights, state)
        self._seconds["score"] += time.monotonic() - started
        self._row.update(
            run_score_seconds=self._seconds["score"], run_seconds=self._seconds["train"] + self._seconds["score"]
        )
        return columns

    def _score_test(
        self, samples: Tensor, sigma: float, digest: str, protocol_id: str, dtype: str, examples: list[Row]
    ) -> Row:
        """Return the test columns under a protocol: from the ledger, or by reading the test set once."""
        data, key = self._data, {"weights_digest": digest, "protocol_id": protocol_id}
        entry = self._recorder.find_test_evaluation(digest, protocol_id, data.digests["test"])
        if entry is None:
            if data.test is None:
                raise DataError("the test split is locked away from this trial, but its stage scores it")
            test = as_tensor(data.test).to(self._device)
            score = scoring.score_test(samples, test, data.levels, sigma, dtype)
            examples += _examples(self._spec, protocol_id, "test", score)
            scores = {"test_ll_mean": score.mean, "test_ll_se_examples": score.se, "test_n": len(score.ll)}
            self._recorder.record_test_evaluation(
                {**identity(self._spec), **key, "data_test_digest": data.digests["test"], **scores}
            )
            return {**scores, "test_evaluation": "made"}
        return {name: entry[name] for name in ("test_ll_mean", "test_ll_se_examples", "test_n")} | {
            "test_evaluation": "reused"
        }

    def checkpoint(self) -> None:
        """Keep everything that the trial needs to go on from its last report."""
        tensors = {f"learner/{name}": t for name, t in self._learner.save().items()}
        tensors |= {f"best/{name}": t for name, t in (self._best or {}).items()}
        names = ("report_ll_mean", "report_epoch", "report_last_ll_mean", "d_real", "d_fake", "game_value")
        row = {name: self._row[name] for name in names if name in self._row}
        state = {"epochs": self._epochs, "seconds": self._seconds, "row": row}
        self._recorder.save_checkpoint(self._spec.key, Checkpoint(tensors, state))
        self._checkpointed = time.monotonic()

    def _resume(self) -> None:
        """Continue from the trial's checkpoint where there is one; later reports are forgotten."""
        saved = self._recorder.load_checkpoint(self._spec.key)
        if saved is None:
            return
        tensors = {name: t.to(self._device) for name, t in saved.tensors.items()}
        groups = {
            group: {n.removeprefix(group): t for n, t in tensors.items() if n.startswith(group)}
            for group in ("learner/", "best/")
        }
        self._epochs = saved.state["epochs"]
        self._learner.load(groups["learner/"], self._epochs)
        self._best = groups["best/"] or None
        self._seconds = saved.state["seconds"]
        self._row.update(saved.state["row"], epochs=self._epochs, **self._learner.counters())

        def before(table: schema.Table) -> list[Row]:
            rows = self._recorder.read_table(table, self._spec.key)
            return [row for row in rows if row["epoch"] <= self._epochs]

        self._curves, self._pictures = before(schema.CURVES), before(schema.SAMPLES)


def identity(spec: TrialSpec) -> Row:
    """Return the columns that every table identifies a trial by."""
    key = spec.key
    return {"config_id": key.config_id, "seed": key.seed, "stage": key.stage, "fold": key.fold}


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the digest of a model's parameters: equal for equal bits."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        content.update(f"{name}{tuple(tensor.shape)}".encode())
        content.update(tensor.numpy().tobytes())
    return content.hexdigest()


def _examples(spec: TrialSpec, protocol_id: str, split: str, score: scoring.SplitScore) -> list[Row]:
    common = {**identity(spec), "protocol_id": protocol_id, "split": split}
    pairs = zip(score.index.tolist(), score.ll.tolist(), strict=True)
    return [{**common, "index": index, "ll": ll} for index, ll in pairs]
