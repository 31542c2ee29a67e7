"""Intervals against SciPy, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis import statistics

# Two routes through special functions in double precision: a few hundred units in the last place.
RELATIVE = 1e-10

_SCORES = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=11).filter(lambda v: np.std(v) > 1e-3)


@given(_SCORES, st.floats(0.5, 0.999))
def test_the_t_interval_is_scipys(values: list[float], level: float) -> None:
    found = statistics.t_interval(values, level)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(level)
    scale = max(map(abs, values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=RELATIVE, abs=scale * RELATIVE)


def test_three_seeds_by_hand() -> None:
    """Mean 42, s = sqrt 7; t(.975, 2 degrees of freedom) = 4.30265 (tables)."""
    values = [40.0, 41.0, 45.0]
    t, tolerance = 4.30265, 1e-4  # the table's five decimals times an error below 3
    mean = statistics.t_interval(values)
    one_more = statistics.prediction_interval(values)
    assert mean is not None
    assert one_more is not None
    assert statistics.standard_error(values) == pytest.approx(math.sqrt(7 / 3), rel=RELATIVE)
    assert mean.high - 42 == pytest.approx(t * math.sqrt(7 / 3), abs=tolerance)
    assert one_more.high - 42 == pytest.approx(t * math.sqrt(7) * math.sqrt(1 + 1 / 3), abs=tolerance)
    assert mean.low + mean.high == pytest.approx(84, rel=RELATIVE)
    assert one_more.low + one_more.high == pytest.approx(84, rel=RELATIVE)


def test_intervals_cover_as_often_as_they_say() -> None:
    """4,000 sets of 5 seeds: a share of .9 has a standard error of .0047, so 4 of them are .019."""
    level, n, sets, tolerance = 0.9, 5, 4_000, 0.019
    draws = np.random.default_rng(7).normal(120.0, 8.0, (sets, n + 1))
    covered = predicted = 0
    for row in draws:
        mean = statistics.t_interval(row[:n].tolist(), level)
        one_more = statistics.prediction_interval(row[:n].tolist(), level)
        assert mean is not None
        assert one_more is not None
        covered += mean.low <= 120.0 <= mean.high
        predicted += one_more.low <= row[n] <= one_more.high
    assert covered / sets == pytest.approx(level, abs=tolerance)
    assert predicted / sets == pytest.approx(level, abs=tolerance)


def test_one_seed_has_no_spread() -> None:
    assert statistics.standard_error([3.0]) is None
    assert statistics.t_interval([3.0]) is None
    assert statistics.prediction_interval([3.0]) is None
    with pytest.raises(ValueError, match="no values"):
        statistics.mean([])


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_share_interval_is_scipys(counts: tuple[int, int], level: float) -> None:
    found = statistics.share_interval(*counts, level)
    expected = scipy.stats.binomtest(*counts).proportion_ci(level, method="exact")
    # SciPy solves for the ends by root finding with an absolute tolerance of 2e-12.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_share_intervals_closed_form_at_the_ends() -> None:
    """With 0 of n seen the upper end solves (1 - p)^n = .025."""
    for n in (1, 3, 10):
        none, all_ = statistics.share_interval(0, n), statistics.share_interval(n, n)
        assert (none.low, all_.high) == (0.0, 1.0)
        assert none.high == pytest.approx(1 - 0.025 ** (1 / n), rel=RELATIVE)
        assert all_.low == pytest.approx(0.025 ** (1 / n), rel=RELATIVE)


@pytest.mark.parametrize(("count", "total"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="a share needs"):
        statistics.share_interval(count, total)
