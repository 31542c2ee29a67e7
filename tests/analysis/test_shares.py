"""Fisher's exact test, against SciPy and by hand."""

from __future__ import annotations

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.shares import fisher

# SciPy adds up floating-point probabilities; here they are whole numbers.
SUMMED = 1e-9
_SHARES = st.integers(1, 25).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(_SHARES, _SHARES)
def test_fishers_test_is_scipys(a: tuple[int, int], b: tuple[int, int]) -> None:
    table = [[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]
    assert fisher(*a, *b) == pytest.approx(scipy.stats.fisher_exact(table)[1], abs=SUMMED)
    assert fisher(*a, *b) == fisher(*b, *a)


def test_by_hand() -> None:
    """3 of 3 against 0 of 3: one table of 20 is as extreme on each side. 2 of 3 against 0 of 3: 3 + 3 of 15."""
    assert fisher(3, 3, 0, 3) == 2 / 20
    assert fisher(2, 3, 0, 3) == 6 / 15
    assert fisher(0, 4, 0, 7) == 1


@pytest.mark.parametrize("counts", [(-1, 3, 0, 3), (4, 3, 0, 3), (0, 3, 0, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="a share needs"):
        fisher(*counts)
