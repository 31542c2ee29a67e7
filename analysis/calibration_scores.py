"""Score a data set's own images as a model's samples are scored. `analysis.calibration` says what for, and keeps it.

Where a data set has too few training images for a protocol's samples, what there is is scored, and marked as not
comparable: the number of samples moves a Parzen score more than anything else (real MNIST digits score 121, 244 and
319 nats with 1,000, 10,000 and 50,000 of them).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator

import torch

from analysis.calibration import KMEANS, KMEANS_ITERATIONS, MEAN_IMAGE, REAL, CalibrationRow
from gansearch.core import parzen
from gansearch.core.datasets import Dataset, DatasetInfo, as_tensor, to_unit
from gansearch.errors import DataError
from gansearch.protocols import Protocol
from gansearch.scoring import score_test, score_valid

_LEAST_IMAGES = 2
"""Half of fewer would be no centroid at all."""


def scores(data: Dataset, protocol: Protocol) -> tuple[CalibrationRow, ...]:
    """Return what real training images, k-means centroids and the mean image score under a protocol.

    Args:
        data: the data set, with its test images.
        protocol: how to score.

    Raises:
        DataError: when the test images are locked away, or there are fewer than 2 training images.
    """
    if data.test is None:
        raise DataError(f"the test split of '{data.name}' is locked away, and a calibration scores it")
    if data.n_train < _LEAST_IMAGES:
        raise DataError(f"'{data.name}' has {data.n_train} training images, a calibration needs {_LEAST_IMAGES}")
    valid, test = as_tensor(data.valid), as_tensor(data.test)
    rows = []
    for model, images in _sets(data, protocol.num_samples):
        on_valid, fit = score_valid(images, valid, data.levels, protocol)
        on_test = score_test(images, test, data.levels, fit.sigma, protocol.dtype)
        num_samples = protocol.num_samples if model == MEAN_IMAGE else len(images)
        rows.append(
            CalibrationRow(
                model=model,
                num_samples=num_samples,
                comparable=num_samples == protocol.num_samples,
                sigma=fit.sigma,
                sigma_at_edge=fit.at_edge,
                valid_ll_mean=on_valid.mean,
                valid_ll_se_examples=on_valid.se,
                test_ll_mean=on_test.mean,
                test_ll_se_examples=on_test.se,
                valid_n=len(on_valid.ll),
                test_n=len(on_test.ll),
            )
        )
    return tuple(rows)


def _sets(data: Dataset, count: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each set of images with its name, float32 [n, d], where a protocol asks for so many samples."""
    yield REAL, real_images(data, min(count, data.n_train))
    yield KMEANS, centroids(data, centroid_count(data.n_train, count))
    # In float64, so that the sum of many images loses nothing.
    yield MEAN_IMAGE, to_unit(as_tensor(data.train), data.levels).mean(0, dtype=torch.float64, keepdim=True).float()


def real_images(data: Dataset, count: int) -> torch.Tensor:
    """Return training images in [0,1], float32 [count, d]: those of `core.parzen.fixed_subset`, always the same."""
    return to_unit(as_tensor(data.train)[parzen.fixed_subset(data.n_train, count)], data.levels)


def centroid_count(n_train: int, num_samples: int) -> int:
    """Return how many centroids to look for: the protocol's samples, or half of the training images.

    With as many centroids as images, or more, each would be an image: real images once more. Half as many average
    two images each, which is what shows that averages score above images.
    """
    return num_samples if num_samples < n_train else n_train // 2


@functools.lru_cache(maxsize=1)
def centroids(data: Dataset, count: int) -> torch.Tensor:
    """Return k-means centroids of the training images, in [0,1], float32 [count, d].

    Lloyd's algorithm by scikit-learn, in float32, a fixed number of iterations from the `count` real images of
    `real_images`: that start is free, where k-means++ reads all images once a centroid (an hour on MNIST), and it
    leaves averaging as the only difference to the real images' row. Mini-batches would be faster still, but at 5
    images a centroid few of them would ever move. The first iterations bring almost all of the gain. The same start
    gives the same centroids but for the order of float32 sums, which threads decide: that is far below a score's
    standard error.

    Kept for the next protocol with as many samples.

    Args:
        data: the data set.
        count: how many, fewer than training images.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    start = real_images(data, count).numpy()
    fit = KMeans(count, init=start, n_init=1, max_iter=KMEANS_ITERATIONS, tol=0.0, algorithm="lloyd", random_state=0)
    with warnings.catch_warnings():
        # Equal images in the data leave fewer different centroids. They stay: a centroid may stand twice, as images do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(to_unit(as_tensor(data.train), data.levels).numpy())
    return torch.from_numpy(fit.cluster_centers_).float()


def duration(data: DatasetInfo, protocol: Protocol) -> str:
    """Return how long a calibration takes on a few cores, in words, from the operations of its matrix products."""
    kmeans = KMEANS_ITERATIONS * data.n_train * centroid_count(data.n_train, protocol.num_samples)
    # Two sets of images meet the validation images for the grid and while it is refined, and the test images once.
    pairs = 2 * min(protocol.num_samples, data.n_train) * (2 * data.n_valid + data.n_test)
    operations = 2 * data.dim * (kmeans + pairs)
    for most, words in ((1e10, "seconds"), (1e12, "under a minute"), (2e13, "some minutes")):
        if operations < most:
            return words
    return "many minutes"
