"""Real images dealt out as data and samples, and the rows and calibrations that come of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from analysis.calibration import REAL, Calibration, CalibrationRow
from analysis.flags import Flag
from gansearch.core import diagnostics
from gansearch.core.datasets import Dataset, as_tensor, to_unit
from gansearch.protocols import Protocol
from gansearch.scoring import score_test, score_valid
from tests.analysis.rows import config, trial_row

Images = torch.Tensor
DIGESTS = {"train": "11111111", "valid": "22222222", "test": "33333333"}  # those of `trial_row`
SCORED = 250
PROTOCOL = Protocol(name="flags", num_samples=SCORED, sigma_min=0.08, sigma_max=0.5, sigma_points=8)


@dataclasses.dataclass(frozen=True)
class Real:
    """Real images, dealt out.

    Attributes:
        train: what a model is trained on, as bytes.
        valid: validation images, as bytes.
        test: test images, as bytes.
        heldout: other images in [0,1], the samples of a perfect model.
        side: height and width of an image.
        levels: the byte that stands for 1.
    """

    train: Images
    valid: Images
    test: Images
    heldout: Images
    side: int
    levels: int

    @functools.cached_property
    def reference(self) -> diagnostics.Reference:
        return diagnostics.reference(self.train, self.valid, self.levels, num_samples=len(self.heldout))


def dealt(data: Dataset, seed: int | None, *sizes: int) -> Real:
    """Return a data set's images in random order (as they are without a seed), in parts of these sizes."""
    images = np.concatenate([data.train, data.valid])
    order = np.arange(len(images)) if seed is None else np.random.default_rng(seed).permutation(len(images))
    train, valid, test, heldout = (as_tensor(part) for part in np.split(images[order], np.cumsum(sizes))[:4])
    return Real(train, valid, test, to_unit(heldout, data.levels), data.shape[1], data.levels)


def measured(samples: Images, real: Real, **values: Any) -> dict[str, Any]:
    """Return the row of a model with these samples, but for its log-likelihood."""
    found = dataclasses.asdict(diagnostics.diagnose(samples, real.reference))
    return trial_row(config(), 7, score=1.5, num_samples=len(samples), valid_n=len(real.valid), **found, **values)


def names(found: tuple[Flag, ...]) -> set[str]:
    return {flag.name for flag in found}


def noise(like: Images, scale: float) -> Images:
    return scale * torch.randn(like.shape, generator=torch.Generator().manual_seed(3))


def blurred(images: Images, side: int) -> Images:
    return torch.nn.functional.avg_pool2d(images.view(-1, 1, side, side), 3, 1, 1).flatten(1)


def copies(real: Real, share: float) -> Images:
    """Return samples of which a share are training images, in random order."""
    n = len(real.heldout)
    kept = round(share * n)
    images = torch.cat([to_unit(real.train[:kept], real.levels), real.heldout[: n - kept]])
    return images[torch.randperm(n, generator=torch.Generator().manual_seed(5))]


def scored(samples: Images, real: Real) -> dict[str, Any]:
    """Return the row of a model with these samples, with both its scores."""
    valid, fit = score_valid(samples, real.valid, real.levels, PROTOCOL)
    test = score_test(samples, real.test, real.levels, fit.sigma, PROTOCOL.dtype)
    scores = {"valid_ll_mean": valid.mean, "valid_ll_se_examples": valid.se, "sigma_at_edge": fit.at_edge}
    scores |= {"test_ll_mean": test.mean, "test_ll_se_examples": test.se, "test_n": len(real.test)}
    row = trial_row(config(), 7, "confirm", 0.0, scored_by=PROTOCOL, num_samples=len(samples), valid_n=len(real.valid))
    return row | scores


def calibration(row: Mapping[str, Any], *, comparable: bool = True, model: str = REAL, **values: Any) -> Calibration:
    """Return a calibration in which real images score what a row says."""
    fields = {name: row[name] for name in ("sigma", "sigma_at_edge", "num_samples", "valid_n", "test_n")}
    fields |= {f"{s}_{n}": row[f"{s}_{n}"] for s in ("valid", "test") for n in ("ll_mean", "ll_se_examples")}
    own = CalibrationRow(model=model, comparable=comparable, **(fields | values))
    return Calibration(dataset="mnist", protocol_id=PROTOCOL.id, digests=DIGESTS, rows=(own,))
