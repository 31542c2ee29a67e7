"""What the log-likelihood alone does not show: collapse, shrinking, memorising.

All measures compare samples with training and validation images in pixel units of [0,1]; the test set is
never read. The real images in them are fixed subsets (`parzen.fixed_subset`), the same for every trial.

- Collapse, to one image or to a handful: `coverage`. A thousand samples of a model that has learnt the
  data are nearest to about as many validation images as a thousand real images are; a collapsed model's
  are nearest to a few.
- Shrinking or smoothing: `spread` and `pixel_variance_ratio` are below 1. Both raise the Parzen estimate
  above that of real images, which is one reason why it is a poor proxy (Theis et al. 2015).
- Memorising: samples lie nearer to training images than held-out images do (`nearest_distances`).
"""

from __future__ import annotations

import dataclasses
import math

import torch

from gansearch.core.datasets import to_unit
from gansearch.core.distances import full_precision
from gansearch.core.parzen import fixed_subset
from gansearch.core.shapes import Float, Float64, Int64, Real, Tensor

# Samples, training images and validation images compared: enough that coverage is known to about .01.
SUBSET = 1_000
# A model is called collapsed below this share of what real images cover.
COLLAPSED_BELOW = 0.1
# A pixel whose variance is less than this share of the mean pixel's is as good as constant.
_NEGLIGIBLE_VARIANCE = 0.01
# Images converted from bytes at a time.
_CHUNK = 4_096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What diagnostics need of a data set: built once, by `reference`, for all its trials.

    Attributes:
        train: all training images, in bytes.
        levels: the byte that stands for a pixel value of 1.
        images: validation images whose coverage is measured, in [0,1].
        n_compared: samples, and real training images, that may cover them.
        coverage_real: share of `images` that training images cover.
        data_variance: variance of each pixel over the training images.
        nn_train_heldout: mean distance of a validation image to its nearest training image.
    """

    train: Real[Tensor, "n_train d"]
    levels: int
    images: Float[Tensor, "v d"]
    n_compared: int
    coverage_real: float
    data_variance: Float64[Tensor, " d"]
    nn_train_heldout: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """The cheap measures, for each report. NaN where samples are not finite.

    Attributes:
        coverage: share of fixed validation images nearest to some sample.
        coverage_real: the same for as many real training images.
        spread: total variance of samples over that of training images.
    """

    coverage: float
    coverage_real: float
    spread: float

    @property
    def collapsed(self) -> bool:
        """Whether the samples cover under a tenth of what real images cover."""
        return self.coverage < COLLAPSED_BELOW * self.coverage_real


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """All measures, for the scored samples. NaN where samples are not finite.

    Attributes:
        coverage: share of fixed validation images nearest to some sample.
        coverage_real: the same for as many real training images.
        spread: total variance of samples over that of training images.
        pixel_variance_ratio: median over pixels of sample variance over data variance.
        nn_train_samples: mean distance of a sample to its nearest training image, in pixel units.
        nn_train_heldout: the same for validation images.
        collapsed: whether the samples cover under a tenth of what real images cover.
    """

    coverage: float
    coverage_real: float
    spread: float
    pixel_variance_ratio: float
    nn_train_samples: float
    nn_train_heldout: float
    collapsed: bool


@torch.no_grad()
def reference(
    train: Real[Tensor, "n_train d"], valid: Real[Tensor, "n_valid d"], levels: int, *, num_samples: int = SUBSET
) -> Reference:
    """Return what diagnostics need of a data set.

    The coverage of `SUBSET` validation images by `SUBSET` training images is the yardstick, with fewer of
    either where the split has fewer, and of the latter where the model has.

    Args:
        train: training images, bytes from 0 to `levels`; kept, not copied.
        valid: validation images, on the same device.
        levels: the byte that stands for a pixel value of 1.
        num_samples: the fewest samples that will be diagnosed, 1 or more.
    """
    images = to_unit(valid[_subset(len(valid), SUBSET, valid)], levels)
    n_compared = min(SUBSET, num_samples, len(train))
    real = to_unit(train[_subset(len(train), n_compared, train)], levels)
    return Reference(
        train=train,
        levels=levels,
        images=images,
        n_compared=n_compared,
        coverage_real=coverage(real, images),
        data_variance=pixel_variance(train, levels),
        nn_train_heldout=nearest_distances(images, train, levels).mean().item(),
    )


def diversity(samples: Float[Tensor, "n d"], data: Reference) -> Diversity:
    """Return the cheap measures of samples in [0,1] (one product of 1,000 x 1,000 x d).

    Raises:
        ValueError: when there are fewer samples than the reference compares.
    """
    return Diversity(
        coverage=coverage(samples[_compared(samples, data)], data.images),
        coverage_real=data.coverage_real,
        spread=spread(samples, data.data_variance),
    )


def diagnose(samples: Float[Tensor, "n d"], data: Reference) -> Diagnostics:
    """Return all measures of samples in [0,1] (one product of 1,000 x n_train x d).

    Raises:
        ValueError: when there are fewer samples than the reference compares.
    """
    cheap = diversity(samples, data)
    compared = samples[_compared(samples, data)]
    return Diagnostics(
        **dataclasses.asdict(cheap),
        pixel_variance_ratio=pixel_variance_ratio(samples, data.data_variance),
        nn_train_samples=nearest_distances(compared, data.train, data.levels).mean().item(),
        nn_train_heldout=data.nn_train_heldout,
        collapsed=cheap.collapsed,
    )


@torch.no_grad()
def coverage(samples: Float[Tensor, "n d"], images: Float[Tensor, "v d"]) -> float:
    """Return the share of `images` that are the nearest image of some sample; NaN if a sample is not finite.

    It grows with the number of samples: compare it with that of as many real images.
    """
    if not samples.isfinite().all():
        return math.nan
    with full_precision(samples.device):
        closeness = torch.addmm(images.square().sum(1), samples, images.T, alpha=-2)
    covered = torch.bincount(closeness.argmin(1)).count_nonzero().item()
    return covered / len(images)


@torch.no_grad()
def spread(samples: Float[Tensor, "n d"], data_variance: Float64[Tensor, " d"]) -> float:
    """Return the total variance of samples over that of the data: 0 for one image, 1 for the data."""
    return (_variance(samples).sum() / data_variance.sum()).item()


@torch.no_grad()
def pixel_variance_ratio(samples: Float[Tensor, "n d"], data_variance: Float64[Tensor, " d"]) -> float:
    """Return the median over pixels of sample variance over data variance.

    Pixels that hardly vary in the data, such as MNIST's margin, are left out.
    """
    varies = data_variance > _NEGLIGIBLE_VARIANCE * data_variance.mean()
    return (_variance(samples)[varies] / data_variance[varies]).median().item()


@torch.no_grad()
def nearest_distances(points: Float[Tensor, "n d"], data: Real[Tensor, "m d"], levels: int) -> Float64[Tensor, " n"]:
    """Return the Euclidean distance of each point to its nearest image of `data`, in pixel units.

    It is computed without cancellation, so that of a copy is 0.

    Args:
        points: points in [0,1].
        data: images, bytes from 0 to `levels`, 1 or more.
        levels: the byte that stands for a pixel value of 1.
    """
    nearest = nearest_index(points, data, levels)
    return (points.double() - to_unit(data[nearest], levels).double()).square().sum(1).sqrt()


@torch.no_grad()
def nearest_index(points: Float[Tensor, "n d"], data: Real[Tensor, "m d"], levels: int) -> Int64[Tensor, " n"]:
    """Return the place of the image of `data` nearest to each point, by Euclidean distance.

    Images are converted from bytes a few thousand at a time, and compared by a matrix product.

    Args:
        points: points in [0,1].
        data: images, bytes from 0 to `levels`, 1 or more.
        levels: the byte that stands for a pixel value of 1.
    """
    least = points.new_full((len(points),), math.inf)
    nearest = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    with full_precision(points.device):
        for start in range(0, len(data), _CHUNK):
            images = to_unit(data[start : start + _CHUNK], levels)
            value, index = torch.addmm(images.square().sum(1), points, images.T, alpha=-2).min(1)
            nearest = torch.where(value < least, index + start, nearest)
            least = torch.minimum(value, least)
    return nearest


@torch.no_grad()
def pixel_variance(data: Real[Tensor, "m d"], levels: int) -> Float64[Tensor, " d"]:
    """Return the variance of each pixel over the images, in squared pixel units."""
    # Sums of bytes and of their squares are integers below 2^53, exact in float64 for 10^11 images.
    total = torch.zeros(data.shape[1], dtype=torch.float64, device=data.device)
    squares = torch.zeros_like(total)
    for start in range(0, len(data), _CHUNK):
        pixels = data[start : start + _CHUNK].double()
        total += pixels.sum(0)
        squares += pixels.square().sum(0)
    return (squares - total**2 / len(data)) / (len(data) - 1) / levels**2


def _variance(samples: Tensor) -> Tensor:
    """Return the unbiased variance of each pixel over 2 or more samples."""
    if len(samples) < 2:
        raise ValueError(f"a variance needs 2 samples or more, got shape {tuple(samples.shape)}")
    variance: Tensor = samples.var(0)
    return variance.to(torch.float64)


def _subset(n: int, count: int, like: Tensor) -> Tensor:
    return fixed_subset(n, count).to(like.device)


def _compared(samples: Tensor, data: Reference) -> Tensor:
    """Return the indices of the samples that are compared with as many real images."""
    if len(samples) < data.n_compared:
        raise ValueError(f"{len(samples)} samples cannot be compared with {data.n_compared} real images")
    return _subset(len(samples), data.n_compared, samples)
