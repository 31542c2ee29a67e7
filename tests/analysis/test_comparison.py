"""Differences against SciPy, closed forms and simulation; Holm's correction by its definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison import REPLICATES, Array, bootstrap, holm, one_sample, resample, welch

# Two routes through special functions in double precision: a few hundred units in the last place.
RELATIVE = 1e-10
# Of the standard error of 2,000 replicates, 1/sqrt(4,000); five of them.
BOOTSTRAP = 5 / math.sqrt(2 * REPLICATES)

_SEEDS = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=11).filter(lambda v: np.std(v) > 1e-3)


@given(_SEEDS, _SEEDS)
def test_welch_is_scipys(a: list[float], b: list[float]) -> None:
    found = welch(a, b)
    expected: Any = scipy.stats.ttest_ind(a, b, equal_var=False)
    ends = expected.confidence_interval(0.95)
    scale = max(map(abs, a + b))
    assert found.interval is not None
    assert found.mean == pytest.approx(np.mean(a) - np.mean(b), abs=scale * RELATIVE)
    assert found.df == pytest.approx(expected.df, rel=1e-9)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)  # the tail of t: 1e-10 of t is more of p
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(ends), abs=scale * 1e-8)


@given(_SEEDS, _SEEDS)
def test_the_difference_changes_sign_with_the_order(a: list[float], b: list[float]) -> None:
    one, other = welch(a, b), welch(b, a)
    assert one.mean == -other.mean
    assert (one.se, one.p) == pytest.approx((other.se, other.p), rel=RELATIVE)


def test_welch_by_hand() -> None:
    """Variances 4 and 1 of 3 seeds: se = sqrt(5/3), df = (5/3)^2 / (16/9/2 + 1/9/2) = 50/17."""
    found = welch([2.0, 4.0, 6.0], [0.0, 1.0, 2.0])
    assert (found.mean, found.se, found.df) == pytest.approx((3.0, math.sqrt(5 / 3), 50 / 17), rel=RELATIVE)


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0, 3.0]), ([1.0, 4.0], [2.0]), ([1.0], [2.0])])
def test_one_seed_has_a_difference_and_nothing_else(a: list[float], b: list[float]) -> None:
    found = welch(a, b)
    assert found.mean == np.mean(a) - np.mean(b)
    assert (found.se, found.df, found.interval, found.p) == (None, None, None, None)


def test_without_any_spread_nothing_is_said_of_the_noise() -> None:
    found = welch([0.1] * 3, [0.2] * 4)
    assert (found.se, found.df, found.interval, found.p) == (0.0, None, None, None)
    one_sided = welch([0.1] * 3, [0.2, 0.3])
    assert one_sided.df == 1.0  # that of the configuration that has a spread
    assert one_sided.p is not None


def _scores(n: int, m: int, rng: np.random.Generator, seeds: float = 3.0) -> Array:
    return 100 + seeds * rng.normal(size=(n, 1)) + 20 * rng.normal(size=(n, m))


def test_seeds_alone_give_welch() -> None:
    """Where all images of a seed score the same, drawing images again changes nothing: the two methods agree."""
    rng = np.random.default_rng(5)
    a, b = (rng.normal(size=(n, 1)) * np.ones((1, 7)) for n in (4, 6))
    drawn = resample({"a": a, "b": b}, "images")
    found, expected = bootstrap(drawn["a"], drawn["b"]), welch(a[:, 0].tolist(), b[:, 0].tolist())
    assert found.mean == pytest.approx(expected.mean, rel=RELATIVE)
    assert found.df == pytest.approx(expected.df, rel=RELATIVE)
    assert found.se == pytest.approx(expected.se, rel=BOOTSTRAP)


def test_shared_images_leave_the_difference_and_own_ones_do_not() -> None:
    """Both configurations find the same images hard: paired over images, only what differs between them remains."""
    rng = np.random.default_rng(6)
    m = 400
    seeds, hard, own = rng.normal(size=(2, 5, 1)), 30 * rng.normal(size=m), 12 * rng.normal(size=m)
    shared = resample({"a": seeds[0] + hard, "b": seeds[1] + hard}, "images")
    paired = bootstrap(shared["a"], shared["b"])
    expected = welch(seeds[0, :, 0].tolist(), seeds[1, :, 0].tolist())
    assert paired.se == pytest.approx(expected.se, rel=BOOTSTRAP)
    apart = resample({"a": seeds[0] + hard + own, "b": seeds[1] + hard}, "images")
    assert expected.se is not None
    with_images = math.hypot(expected.se, own.std(ddof=1) / math.sqrt(m))
    assert bootstrap(apart["a"], apart["b"]).se == pytest.approx(with_images, rel=BOOTSTRAP)


def test_the_draws_follow_from_names_alone() -> None:
    """Not from which other configurations there are, nor from their order, nor from a global generator."""
    rng = np.random.default_rng(7)
    scores = {name: _scores(n, 50, rng) for name, n in (("a", 3), ("b", 4), ("c", 5))}
    drawn = resample(scores, "valid")
    np.random.seed(1)  # the global generator is set to show that it is not used
    again = resample({"c": scores["c"], "a": scores["a"]}, "valid")
    # Another number of rows in a matrix product may change the last bits.
    np.testing.assert_allclose(again["a"].means, drawn["a"].means, rtol=1e-12)
    assert not np.allclose(resample(scores, "test")["a"].means, drawn["a"].means)
    one, other = bootstrap(drawn["a"], drawn["b"]), bootstrap(drawn["b"], drawn["a"])
    assert (one.mean, one.se, one.p) == (-other.mean, other.se, other.p)


def test_one_seed_or_no_spread_has_no_interval() -> None:
    rng = np.random.default_rng(8)
    a, b = _scores(1, 30, rng), _scores(4, 30, rng)
    drawn = resample({"a": a, "b": b, "c": np.repeat(a, 2, axis=0)}, "images")
    single = bootstrap(drawn["a"], drawn["b"])
    assert (single.se, single.interval) == (None, None)
    assert single.mean == pytest.approx(a.mean() - b.mean(), rel=RELATIVE)
    same = resample({"a": np.ones((3, 9)), "b": np.zeros((2, 9))}, "images")
    assert bootstrap(same["a"], same["b"]).interval is None


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        resample({"a": np.zeros((2, 5)), "b": np.zeros((2, 6))}, "images")
    with pytest.raises(ValueError, match="same images"):
        resample({"a": np.zeros((0, 5))}, "images")


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (10, 10), (3, 10)])
@pytest.mark.parametrize(
    ("noise", "wide"),
    [
        ({"seeds": (4.0, 4.0), "images": 5.0, "both": 5.0}, False),
        ({"seeds": (1.0, 8.0), "images": 5.0, "both": 5.0}, False),
        ({"seeds": (1.0, 1.0), "images": 20.0, "both": 5.0}, True),
        ({"seeds": (0.05, 0.05), "images": 20.0, "both": 1.0}, True),
    ],
    ids=["seeds", "unequal", "mixed", "images"],
)
def test_the_interval_covers(noise: dict[str, Any], wide: bool, seeds: tuple[int, int]) -> None:
    """2,000 pairs: a share of .95 has a standard error of .0049.

    Welch's own t is an approximation that gives up to .015 where one of 3 seeds has most of the spread; where the
    images matter, the degrees of freedom of the seeds alone make the interval wider than it had to be.
    """
    pairs, m, tolerance = 2_000, 60, 4 * 0.0049
    rng = np.random.default_rng(seeds)
    covered = 0
    for i in range(pairs):
        hard = 30 * rng.normal(size=m)
        scores = {
            name: hard
            + spread * rng.normal(size=(n, 1))
            + noise["images"] / math.sqrt(2) * rng.normal(size=m)
            + noise["both"] * rng.normal(size=(n, m))
            for name, n, spread in zip("ab", seeds, noise["seeds"], strict=True)
        }
        drawn = resample(scores, str(i), 500)
        interval = bootstrap(drawn["a"], drawn["b"]).interval
        assert interval is not None
        covered += interval.low <= 0 <= interval.high
    print(seeds, noise, covered / pairs)
    assert covered / pairs >= 0.95 - tolerance
    assert wide or covered / pairs <= 0.95 + 2 * tolerance


def test_holm_by_hand() -> None:
    """Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04, and none may be below one before it."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.4, 0.9, 0.5]) == [pytest.approx(1.0)] * 3
    assert holm([]) == []


def test_holm_counts_only_what_has_a_p_value() -> None:
    assert holm([None, 0.02, math.nan, 0.01]) == [None, pytest.approx(0.02), None, pytest.approx(0.02)]
    assert holm([None]) == [None]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=9), st.randoms(use_true_random=False))
def test_holm_is_its_definition(p_values: list[float | None], random: Any) -> None:
    """p_i is rejected at level t where all p_(j) up to it are at most t / (m - j): the step-down rule itself."""
    adjusted = holm(p_values)
    known = [p for p in p_values if p is not None]
    for p, q in zip(p_values, adjusted, strict=True):
        assert (p is None) == (q is None)
        if p is not None and q is not None:
            steps = [(len(known) - sum(other < o for other in known)) * o for o in known if o <= p]
            assert q == pytest.approx(min(1.0, max(steps)), rel=RELATIVE, abs=1e-300)
            assert p <= q <= 1
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


@given(_SEEDS)
def test_paired_differences_are_scipys(differences: list[float]) -> None:
    found = one_sample(differences)
    expected: Any = scipy.stats.ttest_1samp(differences, 0.0)
    ends = expected.confidence_interval(0.95)
    scale = max(map(abs, differences))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.df == expected.df
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(ends), abs=scale * 1e-8)


def test_one_pair_or_equal_differences_have_no_interval() -> None:
    assert one_sample([3.0]).se is None
    assert (one_sample([0.5] * 3).se, one_sample([0.5] * 3).interval) == (0.0, None)
