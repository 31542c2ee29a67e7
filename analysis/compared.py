"""What a comparison of configurations holds. `analysis.comparing` makes it."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping

from analysis.comparison import Difference
from analysis.finalists import SIGNIFICANT, Estimate
from analysis.seed_counts import SeedCounts

APART, NOT_APART, ONE_SEED, NO_SPREAD = "apart", "not apart", "one seed", "no spread"


def letter(i: int) -> str:
    """Return what the i-th item (from 0) is called: A to Z, then AA, AB ..."""
    more, last = divmod(i, len(string.ascii_uppercase))
    return (letter(more - 1) if more else "") + string.ascii_uppercase[last]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """An item less the reference on one split.

    Attributes:
        seeds: over seeds, on these very images (Welch).
        p_holm: its p-value, corrected for all comparisons on the split; None where it has none.
        both: over seeds and images (bootstrap); None where the values of the images are not there.
        both_p_holm: its p-value, corrected likewise.
        family: comparisons on the split that have a p-value over seeds.
        detectable: true difference that so many seeds find in four of five cases, were their spread as seen and were
            this p-value to pass the strictest step of the correction, in nats; None where there is no spread.
        seeds_for_half: seeds of each that find half of it as often; None as `detectable`, or beyond all reason.
    """

    seeds: Difference
    p_holm: float | None
    both: Difference | None
    both_p_holm: float | None
    family: int
    detectable: float | None
    seeds_for_half: int | None

    @property
    def outcome(self) -> str:
        """`apart`, `not apart`, `one seed` (one of the two has no spread to know) or `no spread` (none has any)."""
        if self.seeds.se is None:
            return ONE_SEED
        if self.p_holm is None:
            return NO_SPREAD
        return APART if self.p_holm < SIGNIFICANT else NOT_APART


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One configuration that is compared.

    Attributes:
        letter: what it is called in tables and sentences: `A` is the reference.
        given: what named it.
        config_id: hash of the configuration.
        rule: `leader`, `paper`, `config`, `rank` or `conditions`.
        rank: its place by validation among its run's confirmed configurations; None where it has none.
        ranked: how many configurations its run ranks.
        chosen_from: configurations that validation chose it from; 1 where something else named it.
        is_paper: whether it is its study's base.
        values: parameters that are not the same in all items, by dotted name; without those that do not act.
        counts: how its confirm seeds ended.
        valid: validation score.
        test: test score; None where no completed seed has one.
    """

    letter: str
    given: str
    config_id: str
    rule: str
    rank: int | None
    ranked: int
    chosen_from: int
    is_paper: bool
    values: Mapping[str, object]
    counts: SeedCounts
    valid: Estimate
    test: Estimate | None

    @property
    def over_survivors(self) -> bool:
        """Whether seeds ended without a score, so that its mean is over the others."""
        return self.counts.lost > 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """One item less the reference.

    Attributes:
        letter: the item.
        valid: on validation.
        test: on test; None where one of the two has no test score.
        bad_p: p-value that both lose as large a share of seeds (Fisher's exact test); None where no seed ended.
        bad_p_holm: it, corrected for all comparisons.
        sentences: what the numbers support, in words.
    """

    letter: str
    valid: Contrast
    test: Contrast | None
    bad_p: float | None
    bad_p_holm: float | None
    sentences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The comparison, with exact numbers.

    Attributes:
        dataset: name of the data set.
        protocol_id: score protocol of all numbers.
        description: what it is, in words.
        items: in the order given, the reference first.
        against: every other item less the reference, in the same order.
        notes: what a reader must know.
        skipped: damaged parts that were left out.
    """

    dataset: str
    protocol_id: str
    description: str
    items: tuple[Item, ...]
    against: tuple[Against, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def reference(self) -> Item:
        """The item that the others are compared with."""
        return self.items[0]
