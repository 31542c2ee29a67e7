"""What a number of seeds can show, against statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower

from analysis.comparison import welch
from analysis.detectable import MOST_SEEDS, POWER, detectable, power, seeds_to_find

# Two noncentral t distributions in double precision, each good to about 1e-9 in its tails.
NONCENTRAL = 1e-7
_SPREADS = st.tuples(st.floats(0.1, 50), st.floats(0.1, 50))


@given(st.floats(0.05, 6), st.integers(2, 40), st.sampled_from([0.05, 0.05 / 3, 0.01]), st.floats(0.01, 300))
def test_the_power_with_equal_spreads_is_statsmodels(effect: float, n: int, level: float, spread: float) -> None:
    """With equal spreads and numbers Welch's degrees of freedom are 2n - 2: the two-sample t test.

    Beyond a noncentrality of 6 the power is 1 to many digits, and statsmodels has no number for the other tail.
    """
    assume(effect * math.sqrt(n / 2) < 6)
    expected = TTestIndPower().power(effect, n, level, ratio=1)
    assert power(effect * spread, (spread, spread), (n, n), level) == pytest.approx(expected, abs=NONCENTRAL)


def test_the_power_with_unequal_spreads_is_what_a_simulation_finds() -> None:
    """10,000 pairs: a share of .8 has a standard error of .004; four of them, and as much for the approximation.

    Satterthwaite's degrees of freedom are those of the true spreads here, and of the seen ones in the test.
    """
    pairs, spreads, seeds, tolerance = 10_000, (3.0, 8.0), (7, 5), 2 * 4 * 0.004
    difference = detectable(spreads, seeds)
    rng = np.random.default_rng(12)
    a = spreads[0] * rng.normal(size=(pairs, seeds[0])) + difference
    b = spreads[1] * rng.normal(size=(pairs, seeds[1]))
    p_values = [welch(x, y).p for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    found = sum(p is not None and p < 0.05 for p in p_values) / pairs
    assert found == pytest.approx(POWER, abs=tolerance)


@given(_SPREADS, st.tuples(st.integers(2, 30), st.integers(2, 30)), st.sampled_from([0.05, 0.05 / 7]))
def test_the_detectable_difference_has_the_power_asked_for(
    spreads: tuple[float, float], seeds: tuple[int, int], level: float
) -> None:
    found = detectable(spreads, seeds, level)
    assert power(found, spreads, seeds, level) == pytest.approx(POWER, abs=NONCENTRAL)
    tiny = detectable((1e-200 * spreads[0], 1e-200 * spreads[1]), seeds, level)
    assert tiny == pytest.approx(1e-200 * found, rel=1e-6)


def test_many_seeds_need_what_normal_quantiles_say() -> None:
    """With n seeds each and spread s: (1.95996 + .84162) s sqrt(2/n), up to terms in 1/n."""
    n = 4_000
    assert detectable((5.0, 5.0), (n, n)) == pytest.approx((1.95996 + 0.84162) * 5 * math.sqrt(2 / n), rel=2 / n)


@given(_SPREADS, st.floats(0.3, 60))
def test_no_fewer_seeds_would_do(spreads: tuple[float, float], difference: float) -> None:
    n = seeds_to_find(difference, spreads)
    if n is None:
        assert power(difference, spreads, (MOST_SEEDS, MOST_SEEDS)) < POWER
        return
    assert power(difference, spreads, (n, n)) >= POWER
    assert n == 2 or power(difference, spreads, (n - 1, n - 1)) < POWER


def test_statsmodels_asks_for_as_many_seeds() -> None:
    for effect in (0.4, 1.1, 1.6):
        expected = TTestIndPower().solve_power(effect, alpha=0.05, power=POWER)
        assert seeds_to_find(3 * effect, (3.0, 3.0)) == math.ceil(expected)


def test_a_difference_that_nobody_could_find() -> None:
    assert seeds_to_find(0.001, (10.0, 10.0)) is None


def test_one_configuration_without_spread_leaves_that_of_the_other() -> None:
    assert power(3.0, (0.0, 2.0), (9, 4)) == pytest.approx(power(3.0, (0.0, 2.0), (5, 4)), abs=NONCENTRAL)


@pytest.mark.parametrize(("spreads", "seeds"), [((1.0, 1.0), (1, 5)), ((0.0, 0.0), (3, 3)), ((1.0, 2.0), (4, 0))])
def test_what_has_no_power_is_refused(spreads: tuple[float, float], seeds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2 seeds or more and a spread above 0"):
        power(1.0, spreads, seeds)
