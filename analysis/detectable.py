"""What a number of seeds can show: the smallest difference that Welch's test finds with a given probability.

Notation: configurations a and b have n_a and n_b seeds whose scores have standard deviations s_a and s_b. Under a true
difference d the test's t is taken as noncentral t, with noncentrality d / se for se^2 = s_a^2/n_a + s_b^2/n_b and
Satterthwaite's degrees of freedom. With equal n and s that is exactly the power of the two-sample t test; else it is an
approximation, as Welch's test itself is. The spread that is put in is an estimate: from 3 seeds each it is known within
a factor of about 2, and so is what comes out.

The difference that was seen must not be put in for d: "observed power" is the p-value told again (Hoenig and Heisey
2001). Here d is asked for.
"""

from __future__ import annotations

import math

from scipy import optimize, special

from analysis.comparison import satterthwaite

POWER = 0.8
"""Of a difference that is called detectable: it is found in four of five cases."""
MOST_SEEDS = 10_000
"""A number of seeds that nobody trains: more is told as none."""


def power(difference: float, spreads: tuple[float, float], seeds: tuple[int, int], level: float = 0.05) -> float:
    """Return the probability that Welch's two-sided test finds a true difference.

    Args:
        difference: the true one, in nats.
        spreads: standard deviation over seeds of each configuration, in nats; not both 0.
        seeds: of each, 2 or more.
        level: of the test.

    Raises:
        ValueError: when there is no spread, or a configuration has fewer than 2 seeds.

    Source:
        Cohen 1988, section 2.3 (noncentral t); Welch 1947 for unequal spreads.
    """
    if min(seeds) < 2 or not max(spreads) > 0:
        raise ValueError(f"a power needs 2 seeds or more and a spread above 0, got {seeds} and {spreads}")
    errors = [spread / math.sqrt(n) for spread, n in zip(spreads, seeds, strict=True)]
    df = satterthwaite(errors, [n - 1 for n in seeds])
    threshold = float(special.stdtrit(df, 1 - level / 2))
    shift = abs(difference) / math.hypot(*errors)
    # The other tail is below level / 2, and falls so fast with the shift that its digits do not matter.
    other = float(special.nctdtr(df, shift, -threshold))
    return 1 - float(special.nctdtr(df, shift, threshold)) + (0.0 if math.isnan(other) else other)


def detectable(
    spreads: tuple[float, float], seeds: tuple[int, int], level: float = 0.05, chance: float = POWER
) -> float:
    """Return the true difference that so many seeds find with a probability of `chance`, in nats.

    Args:
        spreads: as for `power`.
        seeds: as for `power`.
        level: of the test.
        chance: the probability, above `level` and below 1.

    Raises:
        ValueError: as `power`.
    """
    unit, high = max(spreads), 1.0  # in units of the spread, so that the solver's tolerance is relative to it
    while power(high * unit, spreads, seeds, level) < chance:
        high *= 2
    return unit * float(optimize.brentq(lambda d: power(d * unit, spreads, seeds, level) - chance, 0.0, high))


def seeds_to_find(
    difference: float, spreads: tuple[float, float], level: float = 0.05, chance: float = POWER
) -> int | None:
    """Return the fewest seeds each that find a true difference with a probability of `chance`.

    Args:
        difference: the true one, in nats; not 0.
        spreads: as for `power`.
        level: of the test.
        chance: the probability, above `level` and below 1.

    Returns:
        The number of seeds of each configuration, 2 or more; None where it is above `MOST_SEEDS`.

    Raises:
        ValueError: as `power`.
    """

    def found(n: int) -> bool:
        return power(difference, spreads, (n, n), level) >= chance

    few, many = 1, 2
    while not found(many):
        few, many = many, 2 * many
        if few >= MOST_SEEDS:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if found(middle) else (middle, many)
    return many if many <= MOST_SEEDS else None
