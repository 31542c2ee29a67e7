"""What the data themselves score: against SciPy and a plain k-means, and what the cache may be trusted with."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special

from analysis.calibration import (
    KMEANS,
    KMEANS_ITERATIONS,
    MEAN_IMAGE,
    MODELS,
    REAL,
    Calibration,
    CalibrationRow,
    as_plain,
    calibrate,
    find_calibration,
    folder,
)
from analysis.calibration_scores import centroid_count, centroids, duration, real_images, scores
from gansearch.core.datasets import as_tensor, describe, load, to_unit
from gansearch.core.parzen import fixed_subset
from gansearch.errors import DataError, ResultsError
from gansearch.protocols import PROTOCOLS, Protocol
from gansearch.scoring import score_test, score_valid
from tests.analysis.images import LEVELS, dataset

SMALL = Protocol(name="small", num_samples=11, sigma_points=12, dtype="float64")
ROUNDING = 1e-6
"""Images are float32 and of order 1: at sigma .05 an error of 6e-8 in each of 6 pixels moves a value by 6e-6 of it."""
LLOYD = 1e-5
"""Sums of at most 31 float32 values of order 1, in another order: 31 roundings of 6e-8 each."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _log_likelihood(samples: NDArray[Any], points: NDArray[Any], sigma: float) -> NDArray[Any]:
    """Return the Parzen estimate straight from its definition, in float64."""
    squares = ((points[:, None, :] - samples[None, :, :]) ** 2).sum(-1)
    d = points.shape[1]
    lls = special.logsumexp(-squares / (2 * sigma**2), axis=1, b=1 / len(samples))
    found: NDArray[Any] = lls - d / 2 * math.log(2 * math.pi * sigma**2)
    return found


def _unit(images: NDArray[Any]) -> NDArray[Any]:
    return images.astype(np.float64) / LEVELS


def _row(found: Calibration, model: str) -> CalibrationRow:
    row = found.row(model)
    assert row is not None
    return row


def _lloyd(images: NDArray[Any], start: NDArray[Any]) -> NDArray[Any]:
    means = start.copy()
    for _ in range(KMEANS_ITERATIONS):
        nearest = ((images[:, None, :] - means[None, :, :]) ** 2).sum(-1).argmin(1)
        assert set(nearest) == set(range(len(means))), "no cluster is empty in this test"
        means = np.stack([images[nearest == k].mean(0) for k in range(len(means))])
    return means


def test_each_row_is_the_estimate_of_its_images_at_a_sigma_that_validation_chose() -> None:
    data = dataset()
    found = calibrate(data, SMALL)
    assert data.test is not None
    train, valid, test = map(_unit, (data.train, data.valid, data.test))
    real = train[fixed_subset(31, 11).numpy()]
    sets = {REAL: real, KMEANS: _lloyd(train, real), MEAN_IMAGE: np.repeat(train.mean(0, keepdims=True), 11, axis=0)}
    assert [row.model for row in found.rows] == list(MODELS) == list(sets)
    for model, images in sets.items():
        row = _row(found, model)
        on_valid, on_test = (_log_likelihood(images, points, row.sigma) for points in (valid, test))
        assert (row.num_samples, row.comparable, row.valid_n, row.test_n) == (11, True, 13, 17)
        assert row.valid_ll_mean == pytest.approx(on_valid.mean(), rel=10 * ROUNDING, abs=10 * ROUNDING)
        assert row.test_ll_mean == pytest.approx(on_test.mean(), rel=10 * ROUNDING, abs=10 * ROUNDING)
        assert row.valid_ll_se_examples == pytest.approx(on_valid.std(ddof=1) / math.sqrt(13), rel=100 * ROUNDING)
        assert row.test_ll_se_examples == pytest.approx(on_test.std(ddof=1) / math.sqrt(17), rel=100 * ROUNDING)
        for other in (0.97, 1.03):
            assert _log_likelihood(images, valid, other * row.sigma).mean() < on_valid.mean()


def test_centroids_are_those_of_lloyds_algorithm_from_the_real_images() -> None:
    data = dataset(n_train=31)
    start = real_images(data, 7)
    assert start.dtype == torch.float32
    expected = _lloyd(_unit(data.train), start.numpy().astype(np.float64))
    np.testing.assert_allclose(centroids(data, 7).numpy(), expected, atol=LLOYD)


def test_k_means_centroids_score_above_as_many_real_images() -> None:
    """Theis et al. 2015: a better score, and no model. And more real images score above fewer."""
    data = load("digits", data_dir=None, download=False)
    few, more = (scores(data, Protocol(name="some", num_samples=n, sigma_points=12)) for n in (150, 450))
    for real, kmeans, mean in (few, more):
        assert all(row.comparable for row in (real, kmeans, mean))
        assert kmeans.test_ll_mean > real.test_ll_mean + real.test_ll_se_examples
        assert mean.test_ll_mean < real.test_ll_mean
    assert more[0].test_ll_mean > few[0].test_ll_mean
    assert more[2].test_ll_mean == few[2].test_ll_mean


@pytest.mark.parametrize(("n_train", "real", "kmeans"), [(9, 9, 4), (11, 11, 5), (12, 11, 11)])
def test_too_few_training_images_are_marked_as_not_comparable(n_train: int, real: int, kmeans: int) -> None:
    rows = {row.model: row for row in scores(dataset(n_train=n_train), SMALL)}
    assert {model: row.num_samples for model, row in rows.items()} == {REAL: real, KMEANS: kmeans, MEAN_IMAGE: 11}
    assert {model: row.comparable for model, row in rows.items()} == {
        REAL: real == 11,
        KMEANS: kmeans == 11,
        MEAN_IMAGE: True,
    }
    assert centroid_count(n_train, 11) == kmeans


def test_equal_images_are_no_obstacle() -> None:
    """The mixture's points lie on a grid of bytes, so that many are equal; scikit-learn would warn."""
    data = load("gaussian_mixture", data_dir=None, download=False)
    assert len(np.unique(data.train, axis=0)) < len(data.train)
    rows = scores(data, Protocol(name="many", num_samples=1_700, sigma_min=0.001, sigma_points=12))
    assert all(math.isfinite(row.test_ll_mean) for row in rows)


def test_what_cannot_be_calibrated_is_told() -> None:
    with pytest.raises(DataError, match="the test split of 'mnist' is locked away"):
        calibrate(dataset().without_test(), SMALL)
    with pytest.raises(DataError, match="'mnist' has 1 training images, a calibration needs 2"):
        calibrate(dataset(n_train=1), SMALL)


def test_it_is_computed_once() -> None:
    data = dataset()
    assert find_calibration(data.name, SMALL.id, data.digests) is None
    made = calibrate(data, SMALL)
    (file,) = folder().iterdir()
    assert file.name.startswith(f"mnist-{SMALL.id}-")
    assert find_calibration(data.name, SMALL.id, data.digests) == made
    before = file.stat().st_mtime_ns
    # The name and the digests are what counts: other bytes under the same digests are not looked at.
    assert calibrate(dataset(n_train=29), SMALL) == made
    assert file.stat().st_mtime_ns == before
    assert json.loads(json.dumps(as_plain(made), allow_nan=False))["rows"][1]["model"] == KMEANS


def test_other_data_and_other_protocols_are_other_calibrations() -> None:
    data = dataset()
    calibrate(data, SMALL)
    for split in ("train", "valid", "test"):
        assert find_calibration("mnist", SMALL.id, {**data.digests, split: "44444444"}) is None
        assert find_calibration("mnist", SMALL.id, {k: v for k, v in data.digests.items() if k != split}) is None
    assert find_calibration("digits", SMALL.id, data.digests) is None
    assert find_calibration("mnist", PROTOCOLS["full"].id, data.digests) is None
    assert find_calibration("../mnist", SMALL.id, data.digests) is None


def _truncated(text: str) -> str:
    return text[:-20]


def _another_digit(text: str) -> str:
    document = json.loads(text)
    document["content"]["rows"][0]["test_ll_mean"] += 1.0
    return json.dumps(document)


def _no_rows(text: str) -> str:
    document = json.loads(text)
    del document["content"]["rows"]
    return json.dumps(document)


@pytest.mark.parametrize("damage", [_truncated, _another_digit, _no_rows, lambda _: "[]", lambda _: ""])
def test_a_damaged_file_is_as_if_there_were_none(damage: Callable[[str], str]) -> None:
    data = dataset()
    made = calibrate(data, SMALL)
    (file,) = folder().iterdir()
    file.write_text(damage(file.read_text(encoding="utf-8")), encoding="utf-8")
    assert find_calibration(data.name, SMALL.id, data.digests) is None
    assert calibrate(data, SMALL) == made
    assert find_calibration(data.name, SMALL.id, data.digests) == made


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ResultsError, match=r"cannot write .*file"):
        calibrate(dataset(), SMALL)


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder() == tmp_path / "cache" / "gansearch" / "calibration"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".cache" / "gansearch" / "calibration"


def test_a_row_of_a_model_that_is_not_there_is_none() -> None:
    empty = Calibration(dataset="mnist", protocol_id=SMALL.id, digests={}, rows=())
    assert empty.row(REAL) is None
    assert dataclasses.replace(empty, rows=scores(dataset(), SMALL)).row(MEAN_IMAGE) is not None


def test_how_long_it_takes_is_said_in_words() -> None:
    full = PROTOCOLS["full"]
    assert duration(describe("digits"), full) == "seconds"
    assert duration(describe("mnist"), full) == "some minutes"
    assert duration(describe("mnist"), dataclasses.replace(full, num_samples=1_000)) == "under a minute"


@pytest.mark.slow
@pytest.mark.data
def test_real_digits_score_as_is_known(mnist_dir: Path) -> None:
    """10,000 real MNIST digits: draws from 242.8 to 245.9 nats on test were seen, and about 248 on validation."""
    data, full = load("mnist", data_dir=mnist_dir, download=False), PROTOCOLS["full"]
    images = real_images(data, full.num_samples)
    valid, fit = score_valid(images, as_tensor(data.valid), data.levels, full)
    assert data.test is not None
    test = score_test(images, as_tensor(data.test), data.levels, fit.sigma, full.dtype)
    assert 241 < test.mean < 247
    assert 245 < valid.mean < 251
    assert torch.equal(images[:3], to_unit(as_tensor(data.train)[fixed_subset(50_000, 10_000)[:3]], 255))
