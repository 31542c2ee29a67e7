"""Flags: raised for images made wrong on purpose, never for real ones, on real data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import flags
from analysis.calibration import MEAN_IMAGE, REAL, Calibration, CalibrationRow
from analysis.flags import (
    ABOVE_CEILING,
    COLLAPSED,
    GAP,
    LESS_DIVERSE,
    MEANINGS,
    MORE_DIVERSE,
    NEAR_TRAINING,
    SHRUNKEN,
    SIGMA_AT_EDGE,
    Flag,
    ceiling_note,
    configuration_flags,
    find_ceiling,
    row_flags,
)
from gansearch import schema
from gansearch.core import diagnostics
from gansearch.core.datasets import Dataset, as_tensor, load, to_unit
from gansearch.protocols import Protocol
from gansearch.scoring import score_test, score_valid
from tests.analysis.rows import config, trial_row

Images = torch.Tensor
DIGESTS = {"train": "11111111", "valid": "22222222", "test": "33333333"}  # those of `trial_row`
# Random splits of digits in which no flag may be raised: at a rate of one in a hundred it would be, to 74%.
SPLITS = 135


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


def centroids(real: Real) -> Images:
    """Return k-means centroids, as many as there are held-out images, two steps of Lloyd from training images."""
    images = to_unit(real.train, real.levels)
    found = images[: len(real.heldout)].clone()
    for _ in range(2):
        nearest = torch.cdist(images, found).argmin(1)
        counts = torch.bincount(nearest, minlength=len(found)).clamp(min=1)
        found = torch.zeros_like(found).index_add_(0, nearest, images) / counts[:, None]
    return found


def copies(real: Real, share: float) -> Images:
    """Return samples of which a share are training images, in random order."""
    n = len(real.heldout)
    kept = round(share * n)
    images = torch.cat([to_unit(real.train[:kept], real.levels), real.heldout[: n - kept]])
    return images[torch.randperm(n, generator=torch.Generator().manual_seed(5))]


def without_rounder_half(real: Real) -> Images:
    """Return held-out images of the half that is nearer to one of them, twice each: kinds are missing."""
    n = len(real.heldout)
    nearer = (real.heldout - real.heldout[0]).square().sum(1).argsort()[: (n + 1) // 2]
    return real.heldout[nearer].repeat(2, 1)[:n]


MODELS: Mapping[str, tuple[Callable[[Real], Images], set[str]]] = {
    "held-out images": (lambda real: real.heldout, set()),
    "copies": (lambda real: copies(real, 1.0), {NEAR_TRAINING}),
    "a quarter copies": (lambda real: copies(real, 0.25), {NEAR_TRAINING}),
    "noisy copies": (lambda real: (copies(real, 1.0) + noise(real.heldout, 0.02)).clamp(0, 1), {NEAR_TRAINING}),
    "darker": (lambda real: 0.9 * real.heldout, {SHRUNKEN}),
    "nearer to the mean": (lambda real: real.heldout.mean(0) + 0.9 * (real.heldout - real.heldout.mean(0)), {SHRUNKEN}),
    "half blurred": (lambda real: (real.heldout + blurred(real.heldout, real.side)) / 2, {SHRUNKEN}),
    "one image": (lambda real: real.heldout[:1].expand_as(real.heldout), {COLLAPSED}),
    "the mean image": (lambda real: real.heldout.mean(0).expand_as(real.heldout), {COLLAPSED}),
    "a handful": (lambda real: real.heldout[torch.arange(len(real.heldout)) % 6], {COLLAPSED}),
    "half the kinds": (without_rounder_half, {LESS_DIVERSE}),
    "black and white": (lambda real: (real.heldout > 0.5).float(), {MORE_DIVERSE}),
    "validation images": (
        lambda real: to_unit(real.valid, real.levels)[torch.arange(len(real.heldout)) % len(real.valid)],
        {MORE_DIVERSE},
    ),
}
# What else may be said of them, truly: half of the kinds vary less, for one.
ALSO = {"half the kinds": {SHRUNKEN, NEAR_TRAINING}, "half blurred": {LESS_DIVERSE}}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", data_dir=None, download=False)


@pytest.fixture(scope="module")
def dealt_digits(digits: Dataset) -> Real:
    return dealt(digits, 0, 590, 301, 97)


@pytest.fixture(scope="module")
def dealt_mnist(mnist_dir: Path) -> Real:
    return dealt(load("mnist", data_dir=mnist_dir, download=False), 0, 9_000, 1_100, 400, 1_300)


def check(name: str, real: Real) -> None:
    make, expected = MODELS[name]
    found = names(row_flags(measured(make(real), real), None))
    assert expected <= found, found
    assert found <= expected | ALSO.get(name, set())


@pytest.mark.parametrize("name", MODELS)
def test_digits_made_wrong_have_their_flag_and_no_other(name: str, dealt_digits: Real) -> None:
    check(name, dealt_digits)


@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
def test_mnist_made_wrong_has_its_flag_and_no_other(name: str, dealt_mnist: Real) -> None:
    check(name, dealt_mnist)


@pytest.mark.parametrize("sizes", [(690, 300, 7), (900, 210, 5), (1_100, 150, 8)])
def test_real_digits_have_none_however_they_are_dealt(digits: Dataset, sizes: tuple[int, int, int]) -> None:
    for seed in range(SPLITS // 3):
        real = dealt(digits, seed, *sizes)
        assert row_flags(measured(real.heldout, real), None) == (), seed


@pytest.mark.data
def test_the_test_images_of_mnist_have_none(mnist_dir: Path) -> None:
    data = load("mnist", data_dir=mnist_dir, download=False)
    assert data.test is not None
    train, valid, test = map(as_tensor, (data.train, data.valid, data.test))
    real = Real(train, valid, test, to_unit(test, data.levels), 28, data.levels)
    assert row_flags(measured(real.heldout, real), None) == ()


def test_k_means_centroids_lie_near_training_images(dealt_digits: Real) -> None:
    assert NEAR_TRAINING in names(row_flags(measured(centroids(dealt_digits), dealt_digits), None))


def test_blurred_images_are_not_called_copies_and_blurred_copies_are(dealt_digits: Real) -> None:
    for share, expected in ((0.0, False), (1.0, True)):
        samples = copies(dealt_digits, share)
        shrunken = samples.mean(0) + 0.8 * (samples - samples.mean(0))
        found = names(row_flags(measured(shrunken, dealt_digits), None))
        assert (SHRUNKEN in found, NEAR_TRAINING in found) == (True, expected), share


# Scores: real digits against a ceiling of as many others.

SCORED = 250
PROTOCOL = Protocol(name="flags", num_samples=SCORED, sigma_min=0.08, sigma_max=0.5, sigma_points=8)


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


def test_real_digits_do_not_exceed_other_real_digits(digits: Dataset) -> None:
    for seed in range(30):
        real = dealt(digits, seed, 2 * SCORED, 300, 310)
        first, second = (to_unit(half, real.levels) for half in real.train.split(SCORED))
        ceiling = calibration(scored(first, real))
        assert not names(row_flags(scored(second, real), ceiling)) & {ABOVE_CEILING, GAP}, seed


def test_what_fits_the_estimate_better_than_digits_do_exceeds_them(dealt_digits: Real) -> None:
    real = dealt_digits
    train = to_unit(real.train, real.levels)
    ceiling = calibration(scored(train[:SCORED], real))
    # Centroids of all images, as many as the ceiling has of them.
    found = torch.cdist(train, train[:SCORED]).argmin(1)
    means = torch.stack([train[found == i].mean(0) for i in range(SCORED)])
    (flag,) = (flag for flag in row_flags(scored(means, real), ceiling) if flag.name == ABOVE_CEILING)
    assert "on validation, where as many real images score" in flag.text
    assert " on test, where as many real images score" in flag.text


@pytest.mark.data
def test_darker_and_blurred_digits_of_mnist_exceed_real_ones(dealt_mnist: Real) -> None:
    """Samples with 9 / 10 of the ink, or blurred: both score above real images, and say so."""
    train = to_unit(dealt_mnist.train, dealt_mnist.levels)
    first, second = train[:4_000:2], train[1:4_000:2]
    ceiling = calibration(scored(first, dealt_mnist))
    for samples, expected in (
        (second, set()),
        (0.9 * second, {ABOVE_CEILING}),
        ((second + blurred(second, 28)) / 2, {ABOVE_CEILING}),
    ):
        assert names(row_flags(scored(samples, dealt_mnist), ceiling)) == expected


def test_a_model_that_has_learnt_validation_by_heart_is_found_out(dealt_digits: Real) -> None:
    real = dealt_digits
    ceiling = calibration(scored(to_unit(real.train[:SCORED], real.levels), real))
    row = scored(to_unit(real.valid[:SCORED], real.levels), real)
    for known in (ceiling, None):
        (flag,) = (flag for flag in row_flags(row, known) if flag.name == GAP)
        assert "nats more on validation" in flag.text
        assert ("real images" in flag.text) == (known is not None)
    (above,) = (flag for flag in row_flags(row, ceiling) if flag.name == ABOVE_CEILING)
    assert " on test," not in above.text


def plain(**values: object) -> dict[str, Any]:
    """Return a row without a flag, scored as MNIST is, with these values in it."""
    row = trial_row(config(), 41, "confirm", 200.0, scored_by=PROTOCOL, num_samples=10_000, valid_n=10_000)
    row |= {"valid_ll_se_examples": 1.92, "test_ll_mean": 196.0, "test_ll_se_examples": 1.9, "test_n": 10_000}
    row |= {"coverage": 0.55, "coverage_real": 0.55, "spread": 1.0, "pixel_variance_ratio": 1.0}
    return row | {"nn_train_samples": 4.6, "nn_train_heldout": 4.6, "collapsed": False} | values


REAL_MNIST = calibration(plain(valid_ll_mean=248.0, test_ll_mean=244.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, set()),
        ({"valid_ll_mean": 252.0, "test_ll_mean": 248.0}, set()),  # within what draws of real images do
        ({"valid_ll_mean": 271.0, "test_ll_mean": 267.0}, {ABOVE_CEILING}),
        ({"valid_ll_mean": 238.0, "test_ll_mean": 252.0}, {ABOVE_CEILING, GAP}),  # test's own ceiling
        ({"sigma_at_edge": True}, {SIGMA_AT_EDGE}),
        ({"coverage": 0.03, "collapsed": True}, {COLLAPSED}),
        ({"coverage": 0.45}, {LESS_DIVERSE}),
        ({"coverage": 0.50}, set()),
        ({"coverage": 0.65}, {MORE_DIVERSE}),
        ({"spread": 1.1}, {MORE_DIVERSE}),
        ({"nn_train_samples": 4.0}, {NEAR_TRAINING}),
        ({"pixel_variance_ratio": 0.93}, {SHRUNKEN}),
        ({"test_ll_mean": 190.0}, set()),  # 10 nats lower, 4 of which real images are as well
        ({"test_ll_mean": 184.0}, {GAP}),
        ({"test_ll_mean": 212.0}, {GAP}),
    ],
)
def test_values_of_mnists_size(values: dict[str, object], expected: set[str]) -> None:
    assert names(row_flags(plain(**values), REAL_MNIST)) == expected


def test_fewer_samples_and_images_allow_for_more() -> None:
    values: dict[str, object] = {
        "coverage": 0.45,
        "spread": 1.07,
        "pixel_variance_ratio": 0.93,
        "nn_train_samples": 4.1,
    }
    assert len(row_flags(plain(**values), None)) == 4
    assert row_flags(plain(**values, num_samples=300, valid_n=250), None) == ()


def test_every_flag_says_its_numbers_in_one_line() -> None:
    found = row_flags(plain(valid_ll_mean=271.25, test_ll_mean=240.125, coverage=0.25, spread=1.5), REAL_MNIST)
    assert [flag.name for flag in found] == [ABOVE_CEILING, LESS_DIVERSE, MORE_DIVERSE, GAP]
    assert [flag.text for flag in found] == [
        "it scores 271.2 nats on validation, where as many real images score 248.0",
        "the samples cover 0.25 of the validation images, as many real images cover 0.55",
        "the samples' total variance is 1.50 of the data's",
        "it scores 31.1 nats more on validation (271.2) than on test (240.1), real images 4.0 nats more",
    ]
    (gap,) = row_flags(plain(valid_ll_mean=271.25, test_ll_mean=240.125), None)
    assert gap.text.endswith("than on test (240.1); how far the images themselves differ is not known")
    order = [ABOVE_CEILING, SIGMA_AT_EDGE, COLLAPSED, LESS_DIVERSE, MORE_DIVERSE, NEAR_TRAINING, SHRUNKEN, GAP]
    assert list(MEANINGS) == order


# What cannot be judged.

MEASURES = (
    *("valid_ll_mean", "valid_ll_se_examples", "valid_n", "test_ll_mean", "test_ll_se_examples", "test_n", "sigma"),
    *("sigma_at_edge", "num_samples", "collapsed", "coverage", "coverage_real", "spread", "pixel_variance_ratio"),
    *("nn_train_samples", "nn_train_heldout"),
)
WORST = {
    **{"valid_ll_mean": 300.0, "test_ll_mean": 250.0, "sigma_at_edge": True, "coverage": 0.2, "spread": 2.0},
    **{"pixel_variance_ratio": 0.5, "nn_train_samples": 0.1},
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("value", [None, math.nan, "absent"])
def test_a_measure_that_is_missing_raises_nothing(name: str, value: object) -> None:
    whole = row_flags(plain(**WORST), REAL_MNIST)
    assert len(whole) == 7
    row = plain(**WORST)
    if value == "absent":
        del row[name]
    else:
        row[name] = value
    assert names(row_flags(row, REAL_MNIST)) <= names(whole)
    harmless = plain()
    del harmless[name]
    assert row_flags(harmless, REAL_MNIST) == ()


def test_a_row_of_an_older_schema_raises_nothing() -> None:
    assert row_flags({"status": schema.COMPLETE}, None) == ()
    assert row_flags({}, REAL_MNIST) == ()


@pytest.mark.parametrize("status", sorted(set(schema.STATUSES) - {schema.COMPLETE}))
def test_what_did_not_complete_has_no_score_to_doubt(status: str) -> None:
    assert row_flags(plain(**WORST, status=status), REAL_MNIST) == ()


@pytest.mark.parametrize(
    "other",
    [
        calibration(plain(valid_ll_mean=1.0, test_ll_mean=1.0), comparable=False),
        calibration(plain(valid_ll_mean=1.0, test_ll_mean=1.0), model=MEAN_IMAGE),
        dataclasses.replace(REAL_MNIST, protocol_id="full-00000000"),
        dataclasses.replace(REAL_MNIST, digests=DIGESTS | {"test": "44444444"}),
        None,
    ],
    ids=["fewer images", "no real images", "other protocol", "other data", "none"],
)
def test_a_ceiling_that_is_not_the_rows_is_not_used(other: Calibration | None) -> None:
    row = plain(valid_ll_mean=271.0, test_ll_mean=267.0)
    assert row_flags(row, other) == ()
    note = ceiling_note(row, other)
    assert note is not None
    said = ("`gansearch calibrate digits` computes it", "the data have 10,000 training images, fewer than")
    assert any(text in note for text in said)
    told = ceiling_note(row, None, "runs/a")
    assert told is not None
    assert "`gansearch calibrate runs/a`" in told
    assert ceiling_note(row, REAL_MNIST) is None


def test_a_ceiling_without_a_score_is_not_used() -> None:
    other = calibration(plain(valid_ll_mean=math.nan))
    assert row_flags(plain(valid_ll_mean=271.0, test_ll_mean=267.0), other) == ()


def test_a_ceiling_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset) -> None:
    from analysis.calibration import calibrate

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    small = Protocol(name="tiny", num_samples=20, sigma_points=3)
    own = {f"data_{split}_digest": digest for split, digest in digits.digests.items()}
    row = trial_row(config(dataset__name="digits"), 3, score=5.0, scored_by=small, **own)
    assert find_ceiling(row) is None
    made = calibrate(digits, small)
    assert find_ceiling(row) == made
    assert ceiling_note(row, made) is None
    for name in ("data_test_digest", "cfg_dataset_name", "protocol_id"):
        assert find_ceiling({**row, name: None}) is None, name


# Seeds together.


def test_seeds_are_counted() -> None:
    rows = [
        plain(seed=41, coverage=0.3, sigma_at_edge=True),
        plain(seed=42, coverage=0.2),
        plain(seed=43),
        plain(seed=44, **WORST | {"status": schema.DIVERGED}),
    ]
    found = configuration_flags(rows, REAL_MNIST)
    assert [flag.name for flag in found] == [SIGMA_AT_EDGE, LESS_DIVERSE]
    assert found[0].text.startswith("1 of 3 seeds (seed 41): sigma, 0.175, is an end point")
    assert found[1].text.startswith("2 of 3 seeds (seed 41 for one): the samples cover 0.30 of")
    assert configuration_flags(rows[:1], None) == row_flags(rows[0], None)
    assert configuration_flags(rows[2:], None) == configuration_flags([], None) == ()


# The limits' own derivation.


def test_chance_moves_coverage_no_more_than_the_limit_says() -> None:
    """Balls in bins of all kinds of unequal sizes: the share hit varies by c (1 - c) / n at most."""
    draws = np.random.default_rng(0)
    for balls, bins, shape in ((300, 300, 1.0), (1_000, 400, 0.3), (150, 700, 5.0)):
        shares = draws.dirichlet(np.full(bins, shape))
        hit = np.array([np.unique(draws.choice(bins, balls, p=shares)).size / bins for _ in range(1_500)])
        c = hit.mean()
        # The variance of 1,500 draws is known to 2 sqrt(2 / 1,500) = .073 of itself, at two standard errors.
        assert hit.var() < c * (1 - c) / bins * 1.073


def test_diagnostics_compare_as_many_as_the_limits_assume() -> None:
    assert flags.COMPARED == diagnostics.SUBSET
