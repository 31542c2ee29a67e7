"""A generator's samples held against images: the Parzen log-likelihood under a protocol.

`score_model` is all that becomes of a trained model under one protocol. Whoever scores one, at the end of its
trial or later, calls it: the ledger of test evaluations is kept there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping

import torch

from gansearch import schema
from gansearch.core import diagnostics, parzen
from gansearch.core.datasets import Dataset, as_tensor, to_unit
from gansearch.core.shapes import Float, Real, Tensor
from gansearch.errors import DataError
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.rows import Row, identity
from gansearch.spec import TrialSpec

_TEST_SCORES = ("test_ll_mean", "test_ll_se_examples", "test_n")


@dataclasses.dataclass(frozen=True, slots=True)
class SplitScore:
    """Log-likelihoods of the images of a split.

    Attributes:
        ll: one value an image, in nats, float64 [n].
        index: place of each image in its split, int64 [n].
    """

    ll: Float[Tensor, " n"]
    index: Tensor

    @property
    def mean(self) -> float:
        """Mean over images, in nats."""
        return parzen.mean_and_se(self.ll)[0]

    @property
    def se(self) -> float:
        """Standard error of the mean over images, in nats."""
        return parzen.mean_and_se(self.ll)[1]


def score_valid(
    samples: Float[Tensor, "s d"], valid: Real[Tensor, "n d"], levels: int, protocol: Protocol
) -> tuple[SplitScore, parzen.SigmaFit]:
    """Choose sigma on the protocol's validation images; return their score and the fit.

    Args:
        samples: the protocol's number of samples, in [0,1].
        valid: the whole validation split, as bytes.
        levels: the byte that stands for a pixel value of 1.
        protocol: how to score.
    """
    index = parzen.valid_subset(len(valid), protocol).to(valid.device)
    fit = parzen.fit_sigma(samples, to_unit(valid[index], levels), protocol)
    return SplitScore(fit.valid_ll, index), fit


def score_test(
    samples: Float[Tensor, "s d"], test: Real[Tensor, "n d"], levels: int, sigma: float, dtype: str
) -> SplitScore:
    """Return the score of the whole test split at the sigma that validation chose.

    Args:
        samples: the samples sigma was chosen for.
        test: the whole test split, as bytes.
        levels: the byte that stands for a pixel value of 1.
        sigma: the bandwidth.
        dtype: precision of the distances, as in the protocol.
    """
    ll = parzen.log_likelihood(samples, to_unit(test, levels), sigma, dtype=dtype)
    return SplitScore(ll, torch.arange(len(test)))


class Sampler(typing.Protocol):
    """What draws samples of given weights."""

    def sample(self, weights: Mapping[str, Tensor], n: int, purpose: str, step: int = 0) -> Float[Tensor, "n d"]:
        """Return n samples of these weights, images in [0,1]."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Weights that are to be scored.

    Attributes:
        spec: the trial that trained them. Its stage decides whether the test set is read.
        sampler: what draws their samples: the trial's learner, or one with its configuration and seed.
        weights: what a sample needs, by name.
        epoch: the epoch of the weights.
        digest: digest of the weights.
    """

    spec: TrialSpec
    sampler: Sampler
    weights: Mapping[str, Tensor]
    epoch: int
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)  # no slots, for the reference is cached
class Images:
    """A data set on the device where models are scored.

    Attributes:
        data: the data set; its test split may be locked away unless a trial that reads it is scored.
        device: where.
        train: the training images there, as bytes.
        valid: the validation images there, as bytes.
        num_samples: the fewest samples that any protocol draws: diagnostics compare no more.
    """

    data: Dataset
    device: torch.device
    train: Real[Tensor, "n d"]
    valid: Real[Tensor, "m d"]
    num_samples: int

    @functools.cached_property
    def reference(self) -> diagnostics.Reference:
        """What diagnostics need; made by the first report, for on MNIST it takes a second or two."""
        return diagnostics.reference(self.train, self.valid, self.data.levels, num_samples=self.num_samples)


@functools.lru_cache(maxsize=1)
def images_on(device: torch.device, data: Dataset, num_samples: int) -> Images:
    """Return a data set on a device.

    Kept for the process's next trial, which mostly has the same data.

    Args:
        device: where.
        data: the data set.
        num_samples: the fewest samples that any protocol draws, 2 or more: diagnostics compare no more.
    """
    train, valid = as_tensor(data.train).to(device), as_tensor(data.valid).to(device)
    return Images(data=data, device=device, train=train, valid=valid, num_samples=num_samples)


def score_model(model: Model, protocol: Protocol, images: Images, recorder: Recorder) -> Row:
    """Score a trained model; return the columns of its trial's row under a protocol.

    Where its trial reads the test set, the evaluation goes to the ledger, one already made of the same model
    is used again, and the per-example values are kept beside those of other protocols. A validation score that
    is not finite ends it there.

    Args:
        model: what to score.
        protocol: how.
        images: what samples are held against.
        recorder: where the ledger and the per-example values are.

    Raises:
        DataError: when the test split must be read and is locked away.
        ResultsError: when a table cannot be read or written.
    """
    spec = model.spec
    samples = model.sampler.sample(model.weights, protocol.num_samples, "score")
    valid, fit = score_valid(samples, images.valid, images.data.levels, protocol)
    row: Row = {
        "valid_ll_mean": valid.mean,
        "valid_ll_se_examples": valid.se,
        "valid_n": len(valid.ll),
        "sigma": fit.sigma,
        "sigma_at_edge": fit.at_edge,
        "scored_epoch": model.epoch,
        "weights_digest": model.digest,
        **dataclasses.asdict(diagnostics.diagnose(samples, images.reference)),
    }
    if spec.scores_test and math.isfinite(valid.mean):
        row |= _read_test_once(model, protocol, images, recorder, samples, fit.sigma, _examples(spec, protocol, valid))
    return row


def _read_test_once(
    model: Model,
    protocol: Protocol,
    images: Images,
    recorder: Recorder,
    samples: Tensor,
    sigma: float,
    validated: list[Row],
) -> Row:
    """Return the test columns under a protocol, from the ledger or by reading the test set once.

    Args:
        model: what is scored.
        protocol: how.
        images: what samples are held against.
        recorder: where the ledger and the per-example values are.
        samples: the samples sigma was chosen for.
        sigma: the bandwidth.
        validated: the values of the validation images, one row each.
    """
    spec, data = model.spec, images.data
    entry = recorder.find_test_evaluation(model.digest, protocol.id, data.digests["test"])
    # Those of this trial's own earlier evaluation; another trial's stand in its own part.
    found = recorder.read_table(schema.EXAMPLES, spec.key)
    kept = [row for row in found if row["protocol_id"] == protocol.id]
    others = [row for row in found if row["protocol_id"] != protocol.id]
    tested = [row for row in kept if row["split"] == "test"]
    if entry is not None:
        recorder.table(schema.EXAMPLES, spec.key, [*others, *validated, *tested])
        return {name: entry[name] for name in _TEST_SCORES} | {"test_evaluation": "reused"}
    if data.test is None:
        raise DataError("the test split is locked away from this trial, but its stage scores it")
    if tested and kept[: -len(tested)] == validated:
        # Killed before the ledger's entry. Equal validation values: they are of these very weights.
        ll = torch.tensor([row["ll"] for row in tested], dtype=torch.float64)
        score = SplitScore(ll, torch.arange(len(ll)))
    else:
        test = as_tensor(data.test).to(images.device)
        score = score_test(samples, test, data.levels, sigma, protocol.dtype)
        tested = _examples(spec, protocol, score, "test")
        # Before the ledger's entry: once that is there, the test set is not read for them again.
        recorder.table(schema.EXAMPLES, spec.key, [*others, *validated, *tested])
    scores = dict(zip(_TEST_SCORES, (score.mean, score.se, len(score.ll)), strict=True))
    named = {"weights_digest": model.digest, "protocol_id": protocol.id, "data_test_digest": data.digests["test"]}
    recorder.record_test_evaluation({**identity(spec), **named, **scores})
    return {**scores, "test_evaluation": "made"}


def _examples(spec: TrialSpec, protocol: Protocol, score: SplitScore, split: str = "valid") -> list[Row]:
    common = {**identity(spec), "protocol_id": protocol.id, "split": split}
    pairs = zip(score.index.tolist(), score.ll.tolist(), strict=True)
    return [{**common, "index": index, "ll": ll} for index, ll in pairs]
