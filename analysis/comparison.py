"""Two configurations compared: over training seeds, and over seeds and examples together.

Notation: x[s, i] is the log-likelihood of image i under the model of seed s. Configuration a has n_a seeds, b has
n_b, both are scored on the same m images. The difference is that of the means over all seeds and images; what is
asked is how far it would be from the same difference over all seeds (and all images) there could be.

Seeds are few, so every interval here is a t interval. A percentile bootstrap of 3 seeds covers 73% instead of 95%:
resampling n values gives (n - 1)/n of the variance, and its percentiles have normal tails.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis import statistics
from analysis.statistics import Interval

Array = NDArray[np.float64]

REPLICATES = 2_000
"""The standard error of a standard error of so many replicates is 1/sqrt(4,000) = 1.6% of it."""
_BLOCK_DRAWS = 2_000_000
"""Images drawn at a time: enough for a matrix product to pay, few enough to take little memory."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean of one configuration less that of another.

    Attributes:
        mean: the difference, in nats.
        se: its standard error, in nats; None where a configuration has fewer than 2 seeds.
        df: degrees of freedom of `se`; None where `se` is None or 0.
        interval: 95% t interval, in nats; None as `df`.
        p: two-sided p-value of no difference; None as `df`.
    """

    mean: float
    se: float | None = None
    df: float | None = None
    interval: Interval | None = None
    p: float | None = None


def welch(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Return the difference of two means over independent seeds, whose spreads may differ.

    Where neither configuration has any spread nothing is known of the noise: `se` is 0 and there is neither an
    interval nor a p-value.

    Args:
        a: one score a seed, 1 or more.
        b: the same of the other configuration.

    Source:
        Welch 1947 (t), Satterthwaite 1946 (degrees of freedom).
    """
    mean = statistics.mean(a) - statistics.mean(b)
    errors = [e for e in (statistics.standard_error(a), statistics.standard_error(b)) if e is not None]
    if len(errors) < len((a, b)):
        return Difference(mean=mean)
    return _t(mean, math.hypot(*errors), satterthwaite(errors, (len(a) - 1, len(b) - 1)))


def one_sample(differences: Sequence[float]) -> Difference:
    """Return the mean of differences within pairs: for configurations that were trained from the same seeds.

    Args:
        differences: one a pair, 1 or more.

    Source:
        Student 1908 (paired t).
    """
    error = statistics.standard_error(differences)
    mean = statistics.mean(differences)
    return Difference(mean=mean) if error is None else _t(mean, error, len(differences) - 1 if error else None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """One configuration's scores and what they average to when seeds and images are drawn again.

    Attributes:
        scores: log-likelihoods [seeds, images], in nats.
        means: mean of each replicate [replicates], in nats.
    """

    scores: Array
    means: Array


def resample(scores: Mapping[str, Array], images: str, replicates: int = REPLICATES) -> dict[str, Resampled]:
    """Draw seeds and images again, with replacement: the images once for all configurations, the seeds for each.

    The weight of a seed is moved away from 1/n by sqrt(n/(n - 1)) times what was drawn (Rao and Wu 1988), so that
    the replicates have the variance s^2/n of a mean of n seeds, and not (n - 1)/n of it. The draws follow from
    `images` and each configuration's name alone: not from its scores, and not from which others there are.

    Args:
        scores: log-likelihoods [seeds, images] by the configuration's name, all on the same images in one order.
        images: what names the images, such as protocol and split.
        replicates: how many.

    Raises:
        ValueError: when the configurations are not scored on the same number of images, or one is empty.
    """
    widths = {matrix.shape[1:] for matrix in scores.values()}
    if len(widths) != 1 or not all(matrix.size for matrix in scores.values()):
        raise ValueError(f"configurations are compared on the same images, got {sorted(widths)}")
    stacked = np.concatenate(list(scores.values()))
    per_seed = _image_means(stacked, _generator(f"images/{images}"), replicates)
    out, first = {}, 0
    for name, matrix in scores.items():
        n = len(matrix)
        own = per_seed[:, first : first + n]
        first += n
        drawn = _generator(f"seeds/{images}/{name}").multinomial(n, np.full(n, 1 / n), size=replicates) / n
        stretch = math.sqrt(n / (n - 1)) if n > 1 else 1.0
        weights = 1 / n + stretch * (drawn - 1 / n)
        out[name] = Resampled(scores=matrix, means=(weights * own).sum(1))
    return out


def bootstrap(a: Resampled, b: Resampled) -> Difference:
    """Return the difference over seeds and images, from configurations that were resampled together.

    `se` is the standard deviation of the replicates' differences. Its expectation squared is the variance over
    seeds, s_a^2/n_a + s_b^2/n_b, that over the images both share, and the interaction of seeds and images counted
    up to three times (Owen 2007), which errs on the wide side and matters only where an image's own noise rules:
    the interaction is divided by n m. The interval is the difference +- t se. Its degrees of freedom are Welch's
    for the seeds alone: what the images add is known so well that it would raise them, and with 3 seeds whose
    spread came out small by chance the interval would then be too short.

    Args:
        a: from `resample`.
        b: from the same call.
    """
    means = [one.scores.mean(axis=1) for one in (a, b)]
    mean = float(means[0].mean() - means[1].mean())
    counts = len(means[0]), len(means[1])
    if min(counts) <= 1:
        return Difference(mean=mean)
    errors = [float(values.std(ddof=1)) / math.sqrt(len(values)) for values in means]
    se = float((a.means - b.means).std(ddof=1))
    return _t(mean, se, satterthwaite(errors, [n - 1 for n in counts]))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for being several, in their order, by Holm's step-down rule.

    The i-th smallest of m (from 0) is multiplied by m - i, is at least as large as those before it, and at most 1.
    A missing p-value (None or NaN) stays None and does not count among the m.

    Source:
        Holm 1979.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None and not math.isnan(p))
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = min(1.0, max(largest, (len(known) - rank) * p))
        adjusted[i] = largest
    return adjusted


def satterthwaite(errors: Sequence[float], df: Sequence[int]) -> float | None:
    """Return the degrees of freedom of a root sum of squares of standard errors; None where all are 0.

    Args:
        errors: independent standard errors.
        df: the degrees of freedom of each.

    Source:
        Satterthwaite 1946.
    """
    total = math.hypot(*errors)
    if total == 0:
        return None
    return 1 / sum((error / total) ** 4 / n for error, n in zip(errors, df, strict=True))


def _t(mean: float, se: float, df: float | None) -> Difference:
    if df is None or se == 0:
        return Difference(mean=mean, se=se)
    half = float(special.stdtrit(df, 0.975)) * se
    p = 2 * float(special.stdtr(df, -abs(mean) / se))
    return Difference(mean=mean, se=se, df=df, interval=Interval(mean - half, mean + half), p=p)


def _image_means(scores: Array, generator: np.random.Generator, replicates: int) -> Array:
    """Return each row's mean over redrawn images [replicates, rows]; the draw is the same for all rows."""
    m = scores.shape[1]
    out = np.empty((replicates, len(scores)))
    block = max(1, _BLOCK_DRAWS // m)
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        drawn = generator.integers(0, m, size=(count, m)) + m * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * m).reshape(count, m)
        out[start : start + count] = times.astype(np.float64) @ scores.T / m
    return out


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little"))
