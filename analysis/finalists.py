"""What the comparison of a run's confirmed configurations holds. `analysis.funnel` makes it.

Validation alone ranks them and says which are tied with the leader; everything on test stands beside. A seed
without a score is counted, never dropped in silence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from analysis import statistics
from analysis.comparison import Difference
from analysis.seed_counts import SeedCounts

SIGNIFICANT = 0.05
"""A configuration whose adjusted p-value is below this is told apart from the leader."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A configuration's mean log-likelihood on one split, in nats.

    Attributes:
        per_seed: each completed seed's mean over the images, in the order of the seeds.
        se_examples: standard error over the images, of one seed's score (mean over the seeds); None where unknown.
    """

    per_seed: tuple[float, ...]
    se_examples: float | None

    @property
    def mean(self) -> float:
        """Mean over the completed seeds, in nats."""
        return statistics.mean(self.per_seed)

    @property
    def se_seeds(self) -> float | None:
        """Its standard error over seeds, in nats; None for one seed."""
        return statistics.standard_error(self.per_seed)

    @property
    def interval(self) -> statistics.Interval | None:
        """95% t interval over seeds, in nats; None for one seed."""
        return statistics.t_interval(self.per_seed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One configuration less another on one split.

    Attributes:
        seeds: over seeds, on these very images (Welch).
        p_holm: its p-value, corrected for all comparisons of the family; None where it has none.
        bootstrap: over seeds and images; None where the values of the images are not there.
    """

    seeds: Difference
    p_holm: float | None
    bootstrap: Difference | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One configuration less another.

    Attributes:
        other: config_id of the other.
        over_survivors: whether one of the two lost seeds that have no score: its mean is over the others.
        valid: on validation.
        test: on test; None where one of them has no test score.
    """

    other: str
    over_survivors: bool
    valid: Contrast
    test: Contrast | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One confirmed configuration.

    Attributes:
        config_id: hash of the configuration.
        is_paper: whether it is the study's base.
        values: the searched parameters that act in it, by dotted name.
        rank: its place by validation, from 1; None where no seed completed.
        counts: how its confirm seeds ended.
        valid: validation score; None where no seed completed.
        test: test score; None where no completed seed has one.
        search_scores: validation score of each of its completed search trials, under the same protocol.
        to_leader: it less the leader; None for the leader and where no seed completed.
        to_paper: it less the study's base; None for that one, and where one of them has no score.
    """

    config_id: str
    is_paper: bool
    values: Mapping[str, object]
    rank: int | None
    counts: SeedCounts
    valid: Estimate | None
    test: Estimate | None
    search_scores: tuple[float, ...]
    to_leader: Comparison | None
    to_paper: Comparison | None

    @property
    def search_valid(self) -> float | None:
        """Mean over its completed search seeds, in nats; None where it has none, as when it was stopped early."""
        return statistics.mean(self.search_scores) if self.search_scores else None

    @property
    def optimism(self) -> float | None:
        """The search's value less the confirmed one, in nats: the winner's curse."""
        return None if self.search_valid is None or self.valid is None else self.search_valid - self.valid.mean

    @property
    def tied(self) -> bool:
        """Whether validation does not tell it apart from the leader. That is not to say that they are equal."""
        if self.to_leader is None:
            return False
        p = self.to_leader.valid.p_holm
        return p is None or p >= SIGNIFICANT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OtherProtocol:
    """Scores under a protocol that is not ranked.

    Attributes:
        protocol_id: the protocol.
        description: what it is, in words.
        test: test scores by config_id, in the order of the finalists; those without one are left out.
    """

    protocol_id: str
    description: str
    test: Mapping[str, Estimate]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """The comparison of a run's confirmed configurations, with exact numbers.

    Attributes:
        run: the run directory's name.
        dataset: name of the data set.
        protocol_id: the protocol that ranks: the search's own.
        description: what it is, in words.
        rule: how they are ranked, in words.
        planned_seeds: confirm seeds that the run's plan asks for; None where it is not known.
        finalists: the ranked ones, the leader first, then those without a completed seed.
        others: test scores under other protocols.
        test_evaluations: evaluations of the test set in the run's ledger; None without one.
        notes: what a reader must know.
        skipped: damaged parts that were left out.
    """

    run: str
    dataset: str
    protocol_id: str
    description: str
    rule: str
    planned_seeds: int | None
    finalists: tuple[Finalist, ...]
    others: tuple[OtherProtocol, ...]
    test_evaluations: int | None
    notes: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def leader(self) -> Finalist:
        """The configuration that validation puts first."""
        return self.finalists[0]

    @property
    def paper(self) -> Finalist | None:
        """The study's base; None where it was not confirmed, or the run has no plan file."""
        return next((f for f in self.finalists if f.is_paper), None)
