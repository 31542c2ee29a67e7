"""Two shares compared: how many seeds of each configuration went bad."""

from __future__ import annotations

import math


def fisher(count_a: int, total_a: int, count_b: int, total_b: int) -> float:
    """Return the two-sided p-value of Fisher's exact test that two shares are equal.

    Given how many were seen in all, it adds up the probabilities of the tables that are as likely as the one seen, or
    less. It is exact: in whole numbers up to the last division.

    Args:
        count_a: seeds that went bad, 0 to `total_a`.
        total_a: seeds, 1 or more.
        count_b: the same of the other configuration.
        total_b: seeds of the other configuration.

    Raises:
        ValueError: when the counts are out of range.

    Source:
        Fisher 1935; the two-sided rule is that of Freeman and Halton 1951, which R and SciPy follow.
    """
    for count, total in ((count_a, total_a), (count_b, total_b)):
        if not 0 <= count <= total or total < 1:
            raise ValueError(f"a share needs 0 <= count <= total and a total of 1 or more, got {count} of {total}")
    bad = count_a + count_b
    ways = [
        math.comb(total_a, k) * math.comb(total_b, bad - k) for k in range(max(0, bad - total_b), min(bad, total_a) + 1)
    ]
    seen = math.comb(total_a, count_a) * math.comb(total_b, count_b)
    return sum(way for way in ways if way <= seen) / math.comb(total_a + total_b, bad)
