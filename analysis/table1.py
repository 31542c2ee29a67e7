"""Confirmed configurations beside the four rows of Table 1 of Goodfellow et al. 2014.

Each run gives the configuration that validation chose, with its test scores over the confirm seeds: one row
under `published-2014` and one under each other protocol it was scored by. The published rows stand under no
protocol of ours: how their sigma was chosen is the papers' own. Rows stand side by side and are never ranked.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from analysis import reference, statistics
from analysis.plan import planned_confirm_seeds
from analysis.records import Row, records
from analysis.seed_counts import SeedCounts, count_seeds
from analysis.selection import choose, count_at_edge, edge_note
from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.protocols import PROTOCOLS, Protocol
from gansearch.storage import Location, location

_COLUMN_NAMES = {"mnist": "MNIST", "digits": "Digits 8x8", "fashion_mnist": "Fashion-MNIST"}
_MODEL = "Adversarial nets"

_Key = tuple[object, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Mean test log-likelihood of one model on one data set, in nats.

    Attributes:
        mean: over test images, and over the completed confirm seeds where there are several.
        se_examples: standard error over test images, of one seed's score (mean over the seeds).
        se_seeds: standard error over training seeds.
        se_folds: standard error over folds.
        test_n: test images; None where it was not printed.
        valid_n: validation images that sigma was chosen on; None where it was not printed.
        per_seed: each completed seed's mean, in the order of the seeds; empty for a published score.
    """

    mean: float
    se_examples: float | None = None
    se_seeds: float | None = None
    se_folds: float | None = None
    test_n: int | None = None
    valid_n: int | None = None
    per_seed: tuple[float, ...] = ()

    @property
    def interval(self) -> statistics.Interval | None:
        """95% t interval over training seeds, in nats; None for fewer than 2 seeds."""
        return statistics.t_interval(self.per_seed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row.

    Attributes:
        model: the model family.
        protocol_id: score protocol; None for a published row.
        scores: by data set; a data set that is not here is blank.
        run: the run's label; None for a published row.
        config_id: the run's configuration; None for a published row.
        counts: its seeds; None for a published row.
        planned_seeds: confirm seeds that the run's plan asks for; None where it is not known.
        citation: where it was published; None for a row of a run.
    """

    model: str
    protocol_id: str | None
    scores: dict[str, Score]
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
        rows: published rows first, then each run's, in the order of `protocols`.
        test_evaluations: evaluations of the test set in each run's ledger, by the run's label; None without one.
        distinct_test_evaluations: those of all ledgers together, an entry that stands in several counted once.
        notes: what a reader of the table must know.
        skipped: damaged parts that were left out.
    """

    datasets: tuple[str, ...]
    protocols: dict[str, str]
    rows: tuple[TableRow, ...]
    test_evaluations: dict[str, int | None]
    distinct_test_evaluations: int
    notes: tuple[str, ...]
    skipped: tuple[str, ...]

    def section(self, protocol_id: str | None) -> tuple[TableRow, ...]:
        """Return the rows scored under one protocol; the published rows for None."""
        return tuple(row for row in self.rows if row.protocol_id == protocol_id)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmed:
    """What one run gives to the table."""

    label: str
    rows: tuple[TableRow, ...]
    protocols: dict[str, str]
    test_digest: str
    evaluations: frozenset[_Key] | None
    seeds: frozenset[_Key]
    weights: frozenset[str]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]


def table1(runs: Sequence[Location | str], *, skip_damaged: bool = False) -> Table1:
    """Return the comparison of these runs' confirmed configurations with the published rows.

    Args:
        runs: run directories, 1 or more, in the order of their rows.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when a run is given twice, cannot be read, or has no confirmed configuration.
        ConfigError: when a run's plan file cannot be read.
    """
    confirmed = [_confirmed(run, label, skip_damaged) for run, label in zip(runs, _labels(runs), strict=True)]
    described: dict[str, str] = {}
    for one in confirmed:
        described |= one.protocols
    protocols = {p: described[p] for p in sorted(described, key=lambda p: p != PROTOCOLS[reference.RELEASED_CODE].id)}
    order = list(protocols)
    ours = sorted((row for one in confirmed for row in one.rows), key=lambda row: order.index(str(row.protocol_id)))
    rows = (*_published(), *ours)
    return Table1(
        datasets=tuple(dict.fromkeys(dataset for row in rows for dataset in row.scores)),
        protocols=protocols,
        rows=rows,
        test_evaluations={one.label: None if one.evaluations is None else len(one.evaluations) for one in confirmed},
        distinct_test_evaluations=len(frozenset().union(*(one.evaluations or frozenset() for one in confirmed))),
        notes=(*(note for one in confirmed for note in one.notes), *_data_notes(confirmed), *_copy_notes(confirmed)),
        skipped=tuple(path for one in confirmed for path in one.skipped),
    )


def _labels(runs: Sequence[Location | str]) -> list[str]:
    """Return each run's folder name, or its path as given where two share a name."""
    places = [location(run).resolve() for run in runs]
    for place, count in collections.Counter(places).items():
        if count > 1:
            raise ResultsError(f"the run {place} is given {count} times")
    names = collections.Counter(place.name for place in places)
    return [p.name if names[p.name] == 1 else str(run) for run, p in zip(runs, places, strict=True)]


def _published() -> Iterable[TableRow]:
    models: dict[str, dict[str, Score]] = collections.defaultdict(dict)
    for s in reference.TABLE1:
        models[s.model][s.dataset] = Score(
            mean=s.mean,
            se_examples=s.se if s.se_kind == "examples" else None,
            se_folds=s.se if s.se_kind == "folds" else None,
        )
    for model, scores in models.items():
        yield TableRow(model=model, protocol_id=None, scores=scores, citation=reference.CITATION)


def _confirmed(run: Location | str, label: str, skip_damaged: bool) -> _Confirmed:
    trials = results.read(run, schema.TRIALS.name, skip_damaged=skip_damaged)
    staged = records(trials[trials["stage"] == "confirm"], schema.TRIALS)
    planned = planned_confirm_seeds(run)
    choice = choose(trials, planned_confirm_seeds=planned) if staged else None
    if choice is None or choice.stage != "confirm":
        problem = "none of its confirm trials has ended" if staged else "no confirm row is in its trials"
        raise ResultsError(
            f"{run} has no confirmed configuration: {problem}",
            hint="let `gansearch sweep` run to its end; the confirm stage is its last act",
        )
    leader = choice.leader.config_id
    rows = [row for row in staged if row["config_id"] == leader]
    by_protocol: dict[str, list[Row]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["replicate"], r["seed"], r["fold"])):
        by_protocol[row["protocol_id"]].append(row)
    scored = {p: table_row for p, own in by_protocol.items() if (table_row := _row(label, p, own, planned)) is not None}
    if not scored:
        raise ResultsError(f"{run} has no test score: none of the confirm rows of {leader} holds one")
    order = sorted(scored, key=lambda p: (p != PROTOCOLS[reference.RELEASED_CODE].id, p != choice.protocol_id, p))
    protocols = {p: Protocol(**json.loads(by_protocol[p][0]["protocol_json"])) for p in order}
    notes = list(choice.notes)
    for p in order:
        at_edge = 0 if p == choice.protocol_id else count_at_edge(by_protocol[p])  # the choice told of its own
        completed = sum(r["status"] == schema.COMPLETE for r in by_protocol[p])
        own_notes = [*edge_note(at_edge, completed), *_valid_notes(scored[p], protocols[p])]
        notes += [f"under {p}, {note}" for note in own_notes]
    made, skipped = _ledger(run, skip_damaged)
    return _Confirmed(
        label=label,
        rows=tuple(scored[p] for p in order),
        protocols={p: protocol.describe() for p, protocol in protocols.items()},
        test_digest=str(next(r["data_test_digest"] for r in rows if r["test_ll_mean"] is not None)),
        evaluations=made,
        seeds=frozenset((r["config_id"], r["seed"]) for r in staged),
        weights=frozenset(r["weights_digest"] for r in staged if r["weights_digest"] is not None),
        notes=tuple(f"{label}: {note}" for note in notes),
        skipped=(*trials.attrs["skipped"], *skipped),
    )


def _row(label: str, protocol_id: str, rows: Sequence[Row], planned: int | None) -> TableRow | None:
    """Return the row of one configuration under one protocol; None where no seed has a test score."""
    scored = [r for r in rows if r["status"] == schema.COMPLETE and r["test_ll_mean"] is not None]
    if not scored:
        return None
    values = tuple(r["test_ll_mean"] for r in scored)
    score = Score(
        mean=statistics.mean(values),
        se_examples=statistics.mean([r["test_ll_se_examples"] for r in scored]),
        se_seeds=statistics.standard_error(values),
        test_n=scored[0]["test_n"],
        valid_n=scored[0]["valid_n"],
        per_seed=values,
    )
    dataset = str(scored[0]["cfg_dataset_name"])
    return TableRow(
        model=_MODEL,
        protocol_id=protocol_id,
        scores={_COLUMN_NAMES.get(dataset, dataset): score},
        run=label,
        config_id=str(scored[0]["config_id"]),
        counts=count_seeds(rows),
        planned_seeds=planned,
    )


def _valid_notes(row: TableRow, protocol: Protocol) -> Iterable[str]:
    """Say where the data have fewer validation images than the protocol asks for."""
    asked = 0 if protocol.valid_subset == "all" else protocol.valid_count
    for score in row.scores.values():
        if score.valid_n is not None and score.valid_n < asked:
            yield f"sigma was chosen on all {score.valid_n:,} validation images there are, not on {asked:,}"


def _ledger(run: Location | str, skip_damaged: bool) -> tuple[frozenset[_Key] | None, list[str]]:
    """Return the keys of the test evaluations in a run's ledger and the damaged parts left out."""
    table = schema.TEST_EVALUATIONS
    if not (location(run) / table.name).is_dir():
        return None, []
    ledger = results.read(run, table.name, skip_damaged=skip_damaged)
    skipped: list[str] = ledger.attrs["skipped"]
    return frozenset(tuple(r[name] for name in table.key) for r in records(ledger, table)), skipped


def _data_notes(confirmed: Sequence[_Confirmed]) -> Iterable[str]:
    """Say where one column holds scores of different test images."""
    splits: dict[str, dict[str, list[str]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for one in confirmed:
        for dataset in one.rows[0].scores:
            splits[dataset][one.test_digest].append(one.label)
    for dataset, digests in splits.items():
        if len(digests) > 1:
            groups = "; ".join(", ".join(labels) for labels in digests.values())
            yield f"{dataset}: these runs were scored on different test images and do not compare: {groups}"


def _copy_notes(confirmed: Sequence[_Confirmed]) -> Iterable[str]:
    """Say which runs hold the same confirm trials."""
    for one, other in itertools.combinations(confirmed, 2):
        seeds, weights = len(one.seeds & other.seeds), len(one.weights & other.weights)
        if seeds or weights:
            yield (
                f"{one.label} and {other.label} share confirm trials ({seeds} with the same configuration and seed, "
                f"{weights} with the same weights): a copy, or one study run twice; they are not independent"
            )


def as_plain(table: Table1) -> dict[str, Any]:
    """Return the table as JSON-able values, with every digit."""
    plain = dataclasses.asdict(table)
    for row, values in zip(table.rows, plain["rows"], strict=True):
        values["label"] = row.label
        for dataset, score in row.scores.items():
            interval = score.interval
            values["scores"][dataset]["mean_95"] = None if interval is None else dataclasses.astuple(interval)
        if row.counts is not None:
            values["counts"] |= {
                "seeds": row.counts.seeds,
                "ended": row.counts.ended,
                "bad": row.counts.bad,
                "bad_share": row.counts.bad_share,
                "bad_share_95": dataclasses.astuple(row.counts.bad_share_interval),
            }
    return plain | {"published_protocol": reference.PROTOCOL, "caveat": reference.CAVEAT}
