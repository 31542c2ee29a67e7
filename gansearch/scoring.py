"""A generator's samples held against images: the Parzen log-likelihood under a protocol."""

from __future__ import annotations

import dataclasses

import torch

from gansearch.core import parzen
from gansearch.core.datasets import to_unit
from gansearch.core.shapes import Float, Tensor, UInt8
from gansearch.protocols import Protocol


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
    samples: Float[Tensor, "s d"], valid: UInt8[Tensor, "n d"], levels: int, protocol: Protocol
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
    samples: Float[Tensor, "s d"], test: UInt8[Tensor, "n d"], levels: int, sigma: float, dtype: str
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
