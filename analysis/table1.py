"""Confirmed configurations beside the four rows of Table 1 of Goodfellow et al. 2014.

Each run gives the configuration that validation chose, with its test scores over the confirm seeds: one row
under `published-2014` and one under each other protocol it was scored by. The published rows stand under no
protocol of ours: how their sigma was chosen is the papers' own. Beside the runs' rows stand those of the data
themselves, where `gansearch calibrate` has computed them. Only runs of one protocol and one data set are held against
each other: validation says who leads and who is tied with the leader, and the difference on test is shown.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis import reference
from analysis.calibration import MODELS, Calibration, find_calibration
from analysis.comparison import Difference, holm, one_sample, welch
from analysis.finalists import Contrast
from analysis.table1_rows import Kind, Score, Table1, TableRow, ToLeader
from analysis.table1_runs import Confirmed, confirmed
from gansearch.errors import ResultsError
from gansearch.protocols import PROTOCOLS
from gansearch.storage import Location, location

__all__ = ["Kind", "Score", "Table1", "TableRow", "ToLeader", "as_plain", "table1"]


def table1(runs: Sequence[Location | str], *, skip_damaged: bool = False) -> Table1:
    """Return the comparison of these runs' confirmed configurations with the published rows.

    Args:
        runs: run directories, 1 or more, in the order of their rows.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when no run is given, or one twice; when one cannot be read, or has no confirmed configuration;
            when a column would hold scores on different images, or a section those of different protocols.
        ConfigError: when a run's plan file cannot be read.
    """
    found = [confirmed(run, label, skip_damaged=skip_damaged) for run, label in zip(runs, _labels(runs), strict=True)]
    _check_columns(found)
    described = _descriptions(found)
    order = sorted(described, key=lambda p: p != PROTOCOLS[reference.RELEASED_CODE].id)
    calibrations = {
        (p, column): one for p in order for column, of in _columns(found, p) if (one := _find(of, p)) is not None
    }
    rows = [*_published()]
    for p in order:
        rows += _with_leaders([row for one in found for row in one.rows if row.protocol_id == p])
        rows += _calibrated(p, {column: one for (under, column), one in calibrations.items() if under == p})
    return Table1(
        datasets=tuple(dict.fromkeys(column for row in rows for column in row.scores)),
        protocols={p: described[p] for p in order},
        rows=tuple(rows),
        test_evaluations={one.label: None if one.evaluations is None else len(one.evaluations) for one in found},
        distinct_test_evaluations=len(frozenset().union(*(one.evaluations or frozenset() for one in found))),
        notes=(
            *(note for one in found for note in one.notes),
            *_copy_notes(found),
            *_calibration_notes(found, order, calibrations),
        ),
        skipped=tuple(path for one in found for path in one.skipped),
    )


def _labels(runs: Sequence[Location | str]) -> list[str]:
    """Return each run's folder name, or its path as given where two share a name."""
    if not runs:
        raise ResultsError("no run is given", hint="give the directories that `gansearch sweep --out` wrote")
    places = [location(run).resolve() for run in runs]
    for place, count in collections.Counter(places).items():
        if count > 1:
            raise ResultsError(f"the run {place} is given {count} times")
    names = collections.Counter(place.name for place in places)
    return [p.name if names[p.name] == 1 else str(run) for run, p in zip(runs, places, strict=True)]


def _check_columns(found: Sequence[Confirmed]) -> None:
    """Raise ResultsError where two runs of one column are of different data: their scores do not compare."""
    for one, other in itertools.combinations(found, 2):
        if one.dataset != other.dataset:
            continue
        if (one.folds, one.planned_folds) != (other.folds, other.planned_folds):
            raise ResultsError(
                f"the column {reference.column_name(one.dataset)} would mix folds: {one.label} was scored on "
                f"{_folds(one)}, {other.label} on {_folds(other)}",
                hint="make a table of each",
            )
        # Of test first: it is what the column shows.
        for split, what in (("test", "test images"), ("valid", "validation images"), ("train", "training images")):
            if one.digests[split] != other.digests[split]:
                raise ResultsError(
                    f"the column {reference.column_name(one.dataset)} would mix different {what}: those of "
                    f"{one.label} have the digest {one.digests[split]}, those of {other.label} {other.digests[split]}",
                    hint="make a table of each",
                )


def _folds(of: Confirmed) -> str:
    known = f"fold{'s' if len(of.folds) > 1 else ''} {', '.join(map(str, of.folds))}"
    return known if of.planned_folds <= len(of.folds) else f"{known} of {of.planned_folds}"


def _descriptions(found: Sequence[Confirmed]) -> dict[str, str]:
    """Return each protocol in words, by its id; ResultsError where one id stands for two of them."""
    first: dict[str, Confirmed] = {}
    for one in found:
        for name, protocol in one.protocols.items():
            holder = first.setdefault(name, one)
            if holder.protocols[name] != protocol:
                raise ResultsError(
                    f"the rows under {name} would mix protocols: those of {holder.label} and {one.label} were scored "
                    "by different ones that share the id",
                    hint="make a table of each",
                )
    return {name: one.protocols[name].describe() for name, one in first.items()}


def _published() -> Iterable[TableRow]:
    models: dict[str, dict[str, Score]] = collections.defaultdict(dict)
    for s in reference.TABLE1:
        models[s.model][s.dataset] = Score(
            mean=s.mean,
            se_examples=s.se if s.se_kind == "examples" else None,
            se_folds=s.se if s.se_kind == "folds" else None,
            protocol=s.protocol,
            citation=s.citation,
        )
    for model, scores in models.items():
        yield TableRow(kind=Kind.PUBLISHED, model=model, protocol_id=None, scores=scores, citation=reference.CITATION)


def _with_leaders(rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the rows of a section, each with its difference to the leader of its column, where that has several.

    Conditional models are trained with labels, so they and others have leaders of their own.
    """
    groups: dict[tuple[str, str], list[TableRow]] = collections.defaultdict(list)
    for row in rows:
        for column in row.scores:
            groups[row.model, column].append(row)
    scores = {of: _compared(of[1], own) for of, own in groups.items() if len(own) > 1}
    return [
        dataclasses.replace(
            row,
            scores={c: scores.get((row.model, c), {}).get(str(row.run), own) for c, own in row.scores.items()},
        )
        for row in rows
    ]


def _compared(column: str, rows: Sequence[TableRow]) -> dict[str, Score]:
    """Return the scores of one column and protocol by run, the leader named and the others held against it.

    The leader is found as `analysis.selection` finds it among a run's configurations: by validation, and those that
    lost seeds come after the others, for their mean is over survivors.
    """
    scores = {str(row.run): row.scores[column] for row in rows}
    lacking = {run for run, score in scores.items() if score.folds and len(score.folds) < score.planned_folds}
    partial = lacking | {str(row.run) for row in rows if row.counts is not None and not row.counts.all_completed}
    lost = lacking | {str(row.run) for row in rows if row.counts is not None and row.counts.lost > 0}
    leader = min(scores, key=lambda run: (run in partial, -(scores[run].valid_mean or 0.0), run))
    others = [run for run in scores if run != leader]
    contrasts = {
        split: _contrasts(scores[leader], [scores[run] for run in others], split) for split in ("valid", "test")
    }
    out = {leader: dataclasses.replace(scores[leader], leads=True)}
    for i, run in enumerate(others):
        to_leader = ToLeader(
            leader=leader,
            over_survivors=run in lost or leader in lost,
            valid=contrasts["valid"][i],
            test=contrasts["test"][i],
        )
        out[run] = dataclasses.replace(scores[run], to_leader=to_leader)
    return out


def _contrasts(leader: Score, others: Sequence[Score], split: str) -> list[Contrast]:
    """Return the others less the leader over seeds, or fold by fold; their p-values corrected for all of them."""
    differences = [_difference(other, leader, "valid_per_seed" if split == "valid" else "per_seed") for other in others]
    adjusted = holm([d.p for d in differences])
    return [Contrast(seeds=d, p_holm=p, bootstrap=None) for d, p in zip(differences, adjusted, strict=True)]


def _difference(one: Score, other: Score, name: str) -> Difference:
    """Return one less another over seeds; over folds, which are the same for both, of the folds that both have."""
    values, others = getattr(one, name), getattr(other, name)
    if not one.folds:
        return welch(values, others)
    by_fold, other_by_fold = dict(zip(one.folds, values, strict=True)), dict(zip(other.folds, others, strict=True))
    shared = sorted(by_fold.keys() & other_by_fold.keys())
    if not shared:
        return welch(values, others)
    return one_sample([by_fold[fold] - other_by_fold[fold] for fold in shared])


def _columns(found: Sequence[Confirmed], protocol_id: str) -> list[tuple[str, Confirmed]]:
    """Return the columns in which a protocol has scores, each with the first run that has one there.

    Those whose means are over several folds are left out: a calibration is of one.
    """
    first: dict[str, Confirmed] = {}
    for one in found:
        if protocol_id in one.protocols and len(one.folds) == 1:
            first.setdefault(reference.column_name(one.dataset), one)
    return list(first.items())


def _find(of: Confirmed, protocol_id: str) -> Calibration | None:
    known = {split: value for split, value in of.digests.items() if value is not None}
    return find_calibration(of.dataset, protocol_id, known)


def _calibrated(protocol_id: str, calibrations: Mapping[str, Calibration]) -> Iterable[TableRow]:
    """Yield what the data themselves score under a protocol: a row for each kind of images, in all columns."""
    for model in MODELS if calibrations else ():
        scores = {
            column: Score(
                mean=row.test_ll_mean,
                se_examples=row.test_ll_se_examples,
                test_n=row.test_n,
                valid_n=row.valid_n,
                valid_mean=row.valid_ll_mean,
                valid_se_examples=row.valid_ll_se_examples,
                num_samples=row.num_samples,
                comparable=row.comparable,
            )
            for column, one in calibrations.items()
            if (row := one.row(model)) is not None
        }
        yield TableRow(kind=Kind.CALIBRATION, model=model, protocol_id=protocol_id, scores=scores)


def _copy_notes(found: Sequence[Confirmed]) -> Iterable[str]:
    """Say which runs hold the same confirm trials."""
    for one, other in itertools.combinations(found, 2):
        seeds, weights = len(one.seeds & other.seeds), len(one.weights & other.weights)
        if seeds or weights:
            yield (
                f"{one.label} and {other.label} share confirm trials ({seeds} with the same configuration and seed, "
                f"{weights} with the same weights): a copy, or one study run twice; they are not independent"
            )


def _calibration_notes(
    found: Sequence[Confirmed], order: Sequence[str], calibrations: Mapping[tuple[str, str], Calibration]
) -> Iterable[str]:
    """Say which columns have no calibration, and the command that computes it."""
    missing: dict[str, list[tuple[str, Confirmed]]] = collections.defaultdict(list)
    for p in order:
        for column, of in _columns(found, p):
            if (p, column) not in calibrations:
                missing[column].append((p, of))
    shipped = {PROTOCOLS[name].id for name in ("full", "published-2014")}
    for column, places in missing.items():
        protocols, of = [p for p, _ in places], places[0][1]
        name = of.dataset if shipped.issuperset(protocols) else of.run
        yield (
            f"{column}: what the data themselves score under {' and '.join(protocols)} is not computed yet: "
            f"`gansearch calibrate {shlex.quote(name)}`"
        )


def as_plain(table: Table1) -> dict[str, Any]:
    """Return the table as JSON-able values, with every digit."""
    plain = dataclasses.asdict(table)
    for row, values in zip(table.rows, plain["rows"], strict=True):
        values["label"] = row.label
        for column, score in row.scores.items():
            interval = score.interval
            values["scores"][column]["mean_95"] = None if interval is None else dataclasses.astuple(interval)
            if score.to_leader is not None:
                values["scores"][column]["to_leader"]["tied"] = score.to_leader.tied
        if row.counts is not None:
            values["counts"] |= {
                "seeds": row.counts.seeds,
                "ended": row.counts.ended,
                "bad": row.counts.bad,
                "bad_share": row.counts.bad_share,
                "bad_share_95": dataclasses.astuple(row.counts.bad_share_interval),
            }
    return plain | {"published_protocol": reference.PROTOCOL, "caveat": reference.CAVEAT}
