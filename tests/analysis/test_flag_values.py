"""Flags of rows: which values raise one, what cannot be judged, what is said of several seeds."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.calibration import MEAN_IMAGE, Calibration
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
    ceiling_note,
    configuration_flags,
    find_ceiling,
    row_flags,
)
from gansearch import schema
from gansearch.core.datasets import load
from gansearch.protocols import Protocol
from tests.analysis.flag_images import (
    DIGESTS,
    PROTOCOL,
    calibration,
    names,
)
from tests.analysis.rows import config, trial_row


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


def test_a_ceiling_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.calibration import calibrate

    digits = load("digits", data_dir=None, download=False)
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
