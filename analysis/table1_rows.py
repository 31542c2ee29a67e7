"""What Table 1 holds: scores, rows, and the whole. `analysis.table1` makes it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from analysis import statistics
from analysis.finalists import SIGNIFICANT, Contrast
from analysis.seed_counts import SeedCounts


class Kind(enum.StrEnum):
    """What a row is of."""

    PUBLISHED = "published"
    CALIBRATION = "calibration"
    RUN = "run"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToLeader:
    """A run's configuration less the leader of its section and column, over training seeds, or fold by fold.

    Attributes:
        leader: label of the leader's run.
        over_survivors: whether one of the two lost seeds, or a fold, that have no score: its mean is over the others.
        valid: on validation, which decides about ties.
        test: on test, which is only shown.
    """

    leader: str
    over_survivors: bool
    valid: Contrast
    test: Contrast

    @property
    def tied(self) -> bool:
        """Whether validation does not tell it apart from the leader. That is not to say that they are equal."""
        return self.valid.p_holm is None or self.valid.p_holm >= SIGNIFICANT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Mean test log-likelihood of one model on one data set, in nats.

    Attributes:
        mean: over test images, and over the completed confirm seeds where there are several.
        se_examples: standard error over test images, of one seed's score (mean over the seeds).
        se_seeds: standard error over training seeds.
        se_folds: standard error over folds.
        folds: the folds that the mean is over; empty where it is over seeds.
        planned_folds: how many it should be over; 1 where it is over seeds.
        test_n: test images; None where it was not printed.
        valid_n: validation images that sigma was chosen on; None where it was not printed.
        per_seed: each completed seed's mean, in the order of the seeds; of several folds each fold's mean over seeds;
            empty where it is not a run's.
        valid_mean: mean validation log-likelihood, over the completed seeds where there are several; None for a
            published score.
        valid_se_examples: its standard error over validation images, as `se_examples`.
        valid_per_seed: each completed seed's mean on validation, in the order of the seeds.
        num_samples: samples, or images, that carry the kernels; None where it was not printed.
        comparable: whether that is the number that the protocol asks for.
        leads: whether validation puts it first among several runs of the section, model and column.
        to_leader: it less that one; None for the leader, and where there is no other.
        protocol: how it was scored, for a published score; else None, for the row says it.
        citation: where it was published; None where it was not.
    """

    mean: float
    se_examples: float | None = None
    se_seeds: float | None = None
    se_folds: float | None = None
    folds: tuple[int, ...] = ()
    planned_folds: int = 1
    test_n: int | None = None
    valid_n: int | None = None
    per_seed: tuple[float, ...] = ()
    valid_mean: float | None = None
    valid_se_examples: float | None = None
    valid_per_seed: tuple[float, ...] = ()
    num_samples: int | None = None
    comparable: bool = True
    leads: bool = False
    to_leader: ToLeader | None = None
    protocol: str | None = None
    citation: str | None = None

    @property
    def interval(self) -> statistics.Interval | None:
        """95% t interval over training seeds, or over folds, in nats; None for fewer than 2."""
        return statistics.t_interval(self.per_seed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row.

    Attributes:
        kind: what it is of.
        model: the model family, or what stands in the place of a model's samples.
        protocol_id: score protocol; None for a published row.
        scores: by column; a column that is not here is blank.
        run: the run's label; None where it is not a run's.
        config_id: the run's configuration; None where it is not a run's.
        counts: its seeds; None where it is not a run's.
        planned_seeds: confirm seeds that the run's plan asks for; None where it is not known.
        citation: where it was published; None where it was not.
    """

    kind: Kind
    model: str
    protocol_id: str | None
    scores: Mapping[str, Score]
    run: str | None = None
    config_id: str | None = None
    counts: SeedCounts | None = None
    planned_seeds: int | None = None
    citation: str | None = None

    @property
    def label(self) -> str:
        """What the row is called."""
        return self.model if self.run is None else f"{self.model}, {self.run}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table1:
    """The whole comparison, with exact numbers.

    Attributes:
        datasets: the columns.
        protocols: description of each protocol, by its id, in the order of the sections.
        rows: published rows first, then those of each of `protocols` in turn: the runs', then the calibration's.
        test_evaluations: evaluations of the test set in each run's ledger, by the run's label; None without one.
        distinct_test_evaluations: those of all ledgers together, an entry that stands in several counted once.
        notes: what a reader of the table must know.
        skipped: damaged parts that were left out.
    """

    datasets: tuple[str, ...]
    protocols: Mapping[str, str]
    rows: tuple[TableRow, ...]
    test_evaluations: Mapping[str, int | None]
    distinct_test_evaluations: int
    notes: tuple[str, ...]
    skipped: tuple[str, ...]

    def section(self, protocol_id: str | None, kind: Kind | None = None) -> tuple[TableRow, ...]:
        """Return the rows scored under one protocol; the published rows for None.

        Args:
            protocol_id: the protocol.
            kind: only rows of this kind; the runs' by default where a protocol is named.
        """
        wanted = kind or (Kind.PUBLISHED if protocol_id is None else Kind.RUN)
        return tuple(row for row in self.rows if row.protocol_id == protocol_id and row.kind == wanted)

    @property
    def compares(self) -> bool:
        """Whether several runs share a section and a column, so that one leads."""
        return any(score.leads for row in self.rows for score in row.scores.values())
