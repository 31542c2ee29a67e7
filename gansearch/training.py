"""A trial's training, report by report, and the scoring of what it leaves.

It knows nothing of what is inside the model it trains: a `Learner` trains by epochs and can be sampled.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from gansearch import pictures, schema, scoring
from gansearch.config import TrialConfig
from gansearch.core import diagnostics
from gansearch.core.adversarial import Adversarial, Epoch
from gansearch.core.datasets import Dataset
from gansearch.core.shapes import Float, Int64, Real, Tensor
from gansearch.errors import DataError, ResultsError
from gansearch.placement import Placement
from gansearch.provenance import environment
from gansearch.recorder import Checkpoint, Recorder
from gansearch.rows import Row, identity
from gansearch.spec import TrialSpec

_log = logging.getLogger(__name__)

REPORT_PICTURES = 16
"""Samples in a report's picture; always of the same noise."""
SHEET_PICTURES = 100
"""Samples in a finalist's sheet."""


class Learner(Protocol):
    """A model family as a trial sees it."""

    def train_epoch(self) -> Epoch:
        """Train one epoch; return measures named by columns of `curves`, and what it took."""

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of what a sample needs."""

    def sample(self, weights: Mapping[str, Tensor], n: int, purpose: str, step: int = 0) -> Float[Tensor, "n d"]:
        """Return n samples of these weights, images in [0,1]."""

    def diverged(self) -> bool:
        """Return whether training met a value that was not finite and froze."""

    def counters(self) -> dict[str, int | float]:
        """Return `g_updates`, `d_updates` and `flops` so far."""

    def save(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on."""

    def load(self, tensors: Mapping[str, Tensor], epochs: int) -> None:
        """Continue from what `save` returned after so many epochs."""


def make_learner(
    config: TrialConfig, train: Real[Tensor, "n d"], levels: int, seed: int, labels: Int64[Tensor, " n"] | None = None
) -> Learner:
    """Return the untrained model of a configuration."""
    return Adversarial(config, train, levels, seed, labels)


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """How training ended.

    Attributes:
        status: COMPLETE where the budget is spent and the trial is to be scored, else DIVERGED, COLLAPSED or STOPPED.
        error: why, where it is not COMPLETE.
    """

    status: str
    error: str | None = None


LearnerMaker = Callable[[TrialConfig, Real[Tensor, "n d"], int, int, Int64[Tensor, " n"] | None], Learner]
"""Makes the untrained model of a configuration from training images, their levels, a seed and the images' classes."""


class Training:
    """The model, the data on its device, and everything that reports have gathered so far.

    Continues from the trial's checkpoint where there is one. A checkpoint that cannot be read costs time
    and nothing else: the trial starts over, which is logged, and ends with the same bits.

    Args:
        spec: what is asked for.
        data: the data set; its test split may be locked away unless the spec reads it.
        recorder: where curves, pictures and checkpoints go.
        placement: what it runs on.
        row: the trial's draft row, filled as training goes.
        make_learner: makes the model.

    Raises:
        DataError: when the spec reads the test split and it is locked away.
        ResourceError: when the device is not there.
        ValueError: when the data do not fill one minibatch.
    """

    def __init__(
        self,
        spec: TrialSpec,
        data: Dataset,
        recorder: Recorder,
        placement: Placement,
        row: Row,
        make_learner: LearnerMaker = make_learner,
    ) -> None:
        if spec.scores_test and data.test is None:
            raise DataError("the test split is locked away from this trial, but its stage scores it")
        self._origin = time.monotonic()  # when the trial would have started, had it never been interrupted
        self._spec, self._data, self._recorder, self._row = spec, data, recorder, row
        self._device = placement.claim()
        self._checkpoint_seconds = placement.checkpoint_seconds
        row.update(environment(self._device, placement.threads), run_gpu_share=placement.gpu_share)
        fewest = min(p.num_samples for p in (*spec.protocols, spec.report_protocol))
        self._images = scoring.images_on(self._device, data, fewest)
        labels = None
        if spec.config.condition.on == "labels" and data.train_labels is not None:
            labels = torch.from_numpy(data.train_labels.astype("int64")).to(self._device)
        self._learner = make_learner(spec.config, self._images.train, data.levels, spec.seed, labels)
        self._epochs = 0
        self._amid_epochs = False
        self._elsewhere = False  # whether others are trained and report between two reports of this one
        self._best: dict[str, Tensor] | None = None
        self._best_collapsed = False
        self._curves: list[Row] = []
        self._pictures: list[Row] = []
        self._seconds = {"train": 0.0, "score": 0.0}
        self._resume()
        self._over = self._ending(self._learner.diverged())  # it may have been interrupted after its last report
        self._checkpointed = self._left = time.monotonic()

    @property
    def goes_on(self) -> bool:
        """Whether some epochs are done and training has not ended with them."""
        return self._epochs > 0 and self._over is None

    @property
    def curve(self) -> Sequence[Row]:
        """The trial's reports so far, those before its checkpoint among them."""
        return self._curves

    @property
    def epochs_to_report(self) -> int:
        """Epochs that are to be trained until the next report; 0 where training has ended."""
        if self._over is not None:
            return 0
        every, budget = self._spec.config.score.report_every, self._spec.config.algorithm.epochs
        return min((self._epochs // every + 1) * every, budget) - self._epochs

    def to_next_report(self) -> Ending | None:
        """Train to the next report and write it; return how training ended, or None where it goes on."""
        if self._over is not None:
            return self._over
        target, entered = self._epochs + self.epochs_to_report, time.monotonic()
        trained: list[Epoch] = []
        self._amid_epochs = True
        while self._epochs < target:
            trained.append(self._learner.train_epoch())
            self._epochs += 1
            if self.out_of_time(sum(epoch.seconds for epoch in trained)):
                break  # and report, for the searcher to hear what it came to
        diverged = self._learner.diverged()
        seconds = sum(epoch.seconds for epoch in trained)
        self._elsewhere = trained[0].elsewhere
        if self._elsewhere:  # what of the time since its last report was others' is not this trial's
            self._origin += entered - self._left - seconds
        self._seconds["train"] += seconds
        rate = len(trained) * self._examples_per_epoch / seconds
        names, reporting = trained[0].measures, time.monotonic()
        self._report({name: sum(epoch.measures[name] for epoch in trained) / len(trained) for name in names}, rate)
        self._scored_since(reporting)
        self._note_speed()
        self._amid_epochs = False
        self._over = self._ending(diverged)
        self._left = time.monotonic()
        if self._over is None and time.monotonic() - self._checkpointed >= self._checkpoint_seconds:
            self.checkpoint()
        self._left = time.monotonic()
        return self._over

    def _ending(self, diverged: bool) -> Ending | None:
        """Return how training has ended, or None where it goes on.

        Divergence comes first, for a frozen trial is never scored; then the budget, for a guard saves time, and a
        trial that has none left to save is scored.
        """
        if diverged:
            return Ending(schema.DIVERGED, f"a loss or a step became non-finite by epoch {self._epochs}")
        if self._epochs == self._spec.config.algorithm.epochs:
            return Ending(schema.COMPLETE)
        if (reason := self._spec.guards.collapsed(self._curves)) is not None:
            return Ending(schema.COLLAPSED, reason)
        reason = self.out_of_time()
        return None if reason is None else Ending(schema.STOPPED, reason)

    def out_of_time(self, since: float = 0.0) -> str | None:
        """Return why the trial is ended now, so many seconds after its last report, or None."""
        return self._spec.guards.out_of_time(self._seconds["train"] + self._seconds["score"] + since)

    @property
    def _examples_per_epoch(self) -> int:
        """Real examples of an epoch: whole minibatches."""
        size = self._spec.config.algorithm.batch_size
        return len(self._data.train) // size * size

    def _note_speed(self) -> None:
        seconds = self._seconds["train"]
        self._row.update(
            run_train_seconds=seconds, run_examples_per_second=self._epochs * self._examples_per_epoch / seconds
        )

    def _scored_since(self, started: float) -> None:
        now = time.monotonic()
        self._seconds["score"] += now - started
        self._row.update(run_score_seconds=self._seconds["score"], run_seconds=now - self._origin)

    def _report(self, measures: dict[str, float], rate: float) -> None:
        spec, row = self._spec, self._row
        weights = self._learner.weights()
        # The same noise at every report: differences between epochs are those of the weights.
        samples = self._learner.sample(weights, spec.report_protocol.num_samples, "report")
        score, fit = scoring.score_valid(samples, self._images.valid, self._data.levels, spec.report_protocol)
        diversity = diagnostics.diversity(samples, self._images.reference)
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
                "seconds": time.monotonic() - self._origin,
            }
        )
        row.update(epochs=self._epochs, report_last_ll_mean=score.mean, **counters)
        row.update({name: measures[name] for name in ("d_real", "d_fake", "game_value")})
        if self._beats_best(score.mean, diversity.collapsed):
            row.update(report_ll_mean=score.mean, report_epoch=self._epochs)
            self._best, self._best_collapsed = weights, diversity.collapsed
        self._picture("report", weights, REPORT_PICTURES, 8, self._epochs)
        self._recorder.table(schema.CURVES, spec.key, self._curves)
        self._recorder.table(schema.SAMPLES, spec.key, self._pictures)

    def _beats_best(self, value: float, collapsed: bool) -> bool:
        """Return whether a report's weights replace the best so far.

        Collapsed samples near the mean image, where every generator starts, have a higher likelihood than
        those of a healthy run for many epochs: they never beat samples that have not collapsed, and a trial
        that has not left collapse stands at its latest weights, not at its start. The first stage of two is
        forgotten when the second begins.
        """
        if not math.isfinite(value):
            return False
        if self._best is None or self._best_collapsed:
            return True
        if self._row["report_epoch"] < self._spec.config.pretraining.epochs <= self._epochs:
            return True
        return not collapsed and value > self._row["report_ll_mean"]

    def _picture(self, kind: str, weights: Mapping[str, Tensor], n: int, columns: int, epoch: int) -> None:
        images = self._learner.sample(weights, n, kind)
        png = pictures.png(pictures.sheet(images, self._data.shape, columns, space=self._data.space))
        shape = {"rows": math.ceil(n / columns), "columns": columns}
        self._pictures.append({**identity(self._spec), "kind": kind, "epoch": epoch, **shape, "png": png})

    def scores(self) -> list[Row]:
        """Score the finished trial; return the columns of its row under each protocol.

        Where the spec reads the test set, so does this, as `scoring.score_model` says. With a finite validation
        score under every protocol a finalist's sheet and weights are kept.
        """
        started = time.monotonic()
        spec = self._spec
        if spec.config.score.at == "best" and self._best is not None:
            weights, epoch = self._best, self._row["report_epoch"]
        else:
            weights, epoch = self._learner.weights(), self._epochs
        digest = weights_digest(weights)
        model = scoring.Model(spec=spec, sampler=self._learner, weights=weights, epoch=epoch, digest=digest)
        columns = [scoring.score_model(model, protocol, self._images, self._recorder) for protocol in spec.protocols]
        if all(math.isfinite(row["valid_ll_mean"]) for row in columns):
            self._keep(model)
        self._scored_since(started)
        return columns

    def _keep(self, model: scoring.Model) -> None:
        """Keep what a finished trial leaves beside its row and its examples."""
        spec = self._spec
        if spec.scores_test:
            self._picture("sheet", model.weights, SHEET_PICTURES, 10, model.epoch)
            self._recorder.table(schema.SAMPLES, spec.key, self._pictures)
        if spec.stage != "search":
            state = {"spec": spec.to_dict(), "scored_epoch": model.epoch, "weights_digest": model.digest}
            self._recorder.save_weights(spec.key, model.weights, state)

    def checkpoint(self) -> None:
        """Keep everything that the trial needs to go on from its last report.

        Does nothing where an exception left training between two reports: the last checkpoint stands.
        """
        if self._amid_epochs:
            return
        tensors = {f"learner/{name}": t for name, t in self._learner.save().items()}
        tensors |= {f"best/{name}": t for name, t in (self._best or {}).items()}
        names = ("report_ll_mean", "report_epoch", "report_last_ll_mean", "d_real", "d_fake", "game_value")
        state = {
            "epochs": self._epochs,
            "seconds": self._seconds,
            "total_seconds": (self._left if self._elsewhere else time.monotonic()) - self._origin,
            "started": self._row["run_started"].isoformat(),
            "row": {name: self._row[name] for name in names if name in self._row},
            "best_collapsed": self._best_collapsed,
        }
        self._recorder.save_checkpoint(self._spec.key, Checkpoint(tensors, state))
        self._checkpointed = time.monotonic()

    def _resume(self) -> None:
        """Continue from the trial's checkpoint where there is one that can be read."""
        recorder, key = self._recorder, self._spec.key
        try:
            saved = recorder.load_checkpoint(key)
            if saved is not None:
                curves = recorder.read_table(schema.CURVES, key)
                self._continue_from(saved, curves, recorder.read_table(schema.SAMPLES, key))
        except (ResultsError, KeyError, ValueError) as error:
            _log.warning("trial %s starts over: %s", key, error)

    def _continue_from(self, saved: Checkpoint, curves: list[Row], samples: list[Row]) -> None:
        """Take over a checkpoint; forget reports after it, and the sheet, which scoring draws anew.

        Raises:
            KeyError: when it lacks something; nothing has changed then.
            ValueError: when it is not of this configuration; nothing has changed then.
        """
        best_collapsed = saved.state["best_collapsed"]
        groups: dict[str, dict[str, Tensor]] = {"learner": {}, "best": {}}
        for name, tensor in saved.tensors.items():
            group, _, own_name = name.partition("/")
            groups[group][own_name] = tensor.to(self._device)
        epochs = saved.state["epochs"]
        self._learner.load(groups["learner"], epochs)
        self._epochs, self._best, self._best_collapsed = epochs, groups["best"] or None, best_collapsed
        self._seconds, started = saved.state["seconds"], datetime.datetime.fromisoformat(saved.state["started"])
        self._origin -= saved.state["total_seconds"]
        self._row.update(saved.state["row"], epochs=epochs, run_started=started, **self._learner.counters())
        if epochs:
            self._note_speed()
        self._curves = [row for row in curves if row["epoch"] <= epochs]
        self._pictures = [row for row in samples if row["epoch"] <= epochs and row["kind"] == "report"]


def copy_course(recorder: Recorder, donor: TrialSpec, child: TrialSpec, saved: Checkpoint) -> None:
    """Let a trial go on from another's checkpoint: give it that, and the reports up to there, as its own.

    A trial that has a checkpoint already goes on from that one.

    Args:
        recorder: the run that holds both.
        donor: whose checkpoint it is.
        child: the trial that goes on; differs from the donor in its schedule after the checkpoint alone.
        saved: the checkpoint.
    """
    if recorder.paths.checkpoint(child.key).exists():
        return
    for table in (schema.CURVES, schema.SAMPLES):
        rows = [row for row in recorder.read_table(table, donor.key) if row["epoch"] <= saved.state["epochs"]]
        recorder.table(table, child.key, [row | identity(child) for row in rows])
    recorder.save_checkpoint(child.key, saved)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the digest of a model's parameters: equal for equal bits."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        content.update(f"{name}{tuple(tensor.shape)}".encode())
        content.update(tensor.numpy().tobytes())
    return content.hexdigest()
