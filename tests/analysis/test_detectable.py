"""What a number of seeds can show, against simulation, and against statsmodels where seeds are many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower

from analysis.comparison import welch
from analysis.detectable import MOST_SEEDS, POWER, detectable, power, seeds_to_find

QUADRATURE = 1e-5
"""Of a mean over 32 quantiles."""
SOLVED = 1e-7
"""Of a power that was solved for: the solver knows the difference to 1e-12 of it."""
_SPREADS = st.tuples(st.floats(0.1, 50), st.floats(0.1, 50))


@given(st.floats(0.05, 6), st.integers(40, 90), st.sampled_from([0.05, 0.05 / 3, 0.01]), st.floats(0.01, 300))
def test_the_power_of_many_seeds_with_equal_spreads_is_statsmodels(
    effect: float, n: int, level: float, spread: float
) -> None:
    """Then Welch's degrees of freedom are nearly 2n - 2, those of the two-sample t test, and never more.

    Beyond a noncentrality of 6 the power is 1 to many digits, and statsmodels has no number for the other tail.
    """
    assume(effect * math.sqrt(n / 2) < 6)
    expected = TTestIndPower().power(effect, n, level, ratio=1)
    found = power(effect * spread, (spread, spread), (n, n), level)
    assert expected - 2e-3 <= found <= expected + SOLVED


@pytest.mark.parametrize("level", [0.05, 0.05 / 4])
@pytest.mark.parametrize(
    ("spreads", "seeds"),
    [((4.0, 4.0), (2, 2)), ((4.0, 4.0), (3, 3)), ((2.0, 7.0), (3, 4)), ((3.0, 8.0), (7, 5)), ((0.0, 3.0), (4, 3))],
)
def test_the_power_is_what_a_simulation_finds(
    spreads: tuple[float, float], seeds: tuple[int, int], level: float
) -> None:
    """10,000 pairs: a share of .8 has a standard error of .004; four of them."""
    pairs, tolerance = 10_000, 4 * 0.004
    difference = detectable(spreads, seeds, level)
    rng = np.random.default_rng(12)
    a = spreads[0] * rng.normal(size=(pairs, seeds[0])) + difference
    b = spreads[1] * rng.normal(size=(pairs, seeds[1]))
    p_values = [welch(x, y).p for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    found = sum(p is not None and p < level for p in p_values) / pairs
    assert found == pytest.approx(POWER, abs=tolerance)


def test_few_seeds_find_less_than_the_two_sample_t_test_says() -> None:
    effect = TTestIndPower().solve_power(nobs1=3, alpha=0.05, power=POWER)
    assert power(effect, (1.0, 1.0), (3, 3)) == pytest.approx(0.70, abs=0.01)


@settings(deadline=None)  # solvers
@given(_SPREADS, st.tuples(st.integers(2, 30), st.integers(2, 30)), st.sampled_from([0.05, 0.05 / 7]))
def test_the_detectable_difference_has_the_power_asked_for(
    spreads: tuple[float, float], seeds: tuple[int, int], level: float
) -> None:
    found = detectable(spreads, seeds, level)
    assert power(found, spreads, seeds, level) == pytest.approx(POWER, abs=SOLVED)
    tiny = detectable((1e-200 * spreads[0], 1e-200 * spreads[1]), seeds, level)
    assert tiny == pytest.approx(1e-200 * found, rel=1e-6)


def test_many_seeds_need_what_normal_quantiles_say() -> None:
    """With n seeds each and spread s: (1.95996 + .84162) s sqrt(2/n), up to terms in 1/n."""
    n = 4_000
    assert detectable((5.0, 5.0), (n, n)) == pytest.approx((1.95996 + 0.84162) * 5 * math.sqrt(2 / n), rel=2 / n)


@settings(deadline=None)  # solvers
@given(_SPREADS, st.floats(0.3, 60))
def test_no_fewer_seeds_would_do(spreads: tuple[float, float], difference: float) -> None:
    n = seeds_to_find(difference, spreads)
    if n is None:
        assert power(difference, spreads, (MOST_SEEDS, MOST_SEEDS)) < POWER
        return
    assert power(difference, spreads, (n, n)) >= POWER
    assert n == 2 or power(difference, spreads, (n - 1, n - 1)) < POWER


def test_statsmodels_asks_for_as_many_seeds_where_they_are_many() -> None:
    for effect in (0.2, 0.4):
        expected = TTestIndPower().solve_power(effect, alpha=0.05, power=POWER)
        assert seeds_to_find(3 * effect, (3.0, 3.0)) in (math.ceil(expected), math.ceil(expected) + 1)


def test_a_difference_that_nobody_could_find() -> None:
    assert seeds_to_find(0.001, (10.0, 10.0)) is None


def test_one_configuration_without_spread_leaves_that_of_the_other() -> None:
    assert power(3.0, (0.0, 2.0), (9, 4)) == pytest.approx(power(3.0, (0.0, 2.0), (5, 4)), abs=QUADRATURE)


@pytest.mark.parametrize(("spreads", "seeds"), [((1.0, 1.0), (1, 5)), ((0.0, 0.0), (3, 3)), ((1.0, 2.0), (4, 0))])
def test_what_has_no_power_is_refused(spreads: tuple[float, float], seeds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2 seeds or more and a spread above 0"):
        power(1.0, spreads, seeds)
