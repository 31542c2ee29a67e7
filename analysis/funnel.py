"""The confirmed configurations of a run, compared: an honest account of what its search found.

Ranks, the leader and ties follow from validation scores alone: `selection.choose` is blind to test, and the
contrasts on test are made apart and only shown.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from analysis.best import choice_of
from analysis.comparison import Resampled, bootstrap, holm, resample, welch
from analysis.estimates import derived, derived_counts, estimate, per_seed, scored
from analysis.example_scores import ExampleScores, read_example_scores
from analysis.finalists import Comparison, Contrast, Estimate, Finalist, Funnel, OtherProtocol
from analysis.funnel_notes import Evidence, notes
from analysis.ledger import read_ledger
from analysis.plan import planned_base, planned_confirm_seeds, searched_parameters
from analysis.records import Row, arrow_records
from analysis.seed_counts import count_seeds
from analysis.selection import Choice, check_one_fold
from gansearch import results, schema
from gansearch.config import parameters
from gansearch.errors import ResultsError
from gansearch.protocols import Protocol
from gansearch.storage import Location, location

_Rows = Mapping[str, Sequence[Row]]
"""Rows under one protocol by config_id, in the order of the seeds."""
_Contrasts = Mapping[tuple[str, str], Contrast]
"""By configuration and the one it is compared with."""


def funnel(run: Location | str, *, skip_damaged: bool = False) -> Funnel:
    """Return the comparison of a run's confirmed configurations.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, or no confirm trial of it completed.
        ConfigError: when its plan file cannot be read.
    """
    rows, skipped = results.read_arrow(
        run, schema.TRIALS, where=pc.field("stage") == "confirm", skip_damaged=skip_damaged
    )
    planned, base = planned_confirm_seeds(run), planned_base(run)
    confirm = arrow_records(rows)
    choice = choice_of(run, skip_damaged=skip_damaged) if confirm else None
    if choice is None or choice.stage != "confirm":
        problem = "none of its confirm trials has ended" if confirm else "no confirm row is in its trials"
        raise ResultsError(f"{run} has no confirmed configuration: {problem}", hint=f"gansearch confirm {run}")

    check_one_fold(confirm, run)
    order = _order(choice, confirm)
    tables = _by_protocol(confirm, order)
    ranked = tables.pop(choice.protocol_id)
    first = next(r for r in ranked[order[0]] if r["status"] == schema.COMPLETE)
    search = [r for r in _searched_rows(run, order, skip_damaged) if _comparable(r, first)]
    examples = read_example_scores(run, choice.protocol_id, skip_damaged=skip_damaged)
    compared = _finalists(ranked, choice, None if base is None else base.config_id, examples)
    names = _searched(searched_parameters(run), confirm)
    by_id = {r["config_id"]: r for r in confirm}
    finalists = tuple(
        dataclasses.replace(
            finalist,
            values=_values(by_id[finalist.config_id], names),
            search_scores=per_seed([r for r in search if r["config_id"] == finalist.config_id], "valid"),
        )
        for finalist in compared
    )
    made, unread = read_ledger(run, skip_damaged=skip_damaged)
    evidence = Evidence(finalists=finalists, rows=ranked, base=base, search=search, examples=examples, planned=planned)
    return Funnel(
        run=location(run).resolve().name,
        dataset=str(first["cfg_dataset_name"]),
        protocol_id=choice.protocol_id,
        description=_describe(first),
        rule=choice.rule,
        planned_seeds=planned,
        finalists=finalists,
        others=tuple(_other(rows) for rows in tables.values()),
        test_evaluations=None if made is None else len(made),
        notes=(*choice.notes, *notes(evidence)),
        skipped=(*skipped, *examples.skipped, *unread),
    )


def _order(choice: Choice, confirm: Sequence[Row]) -> list[str]:
    """Return every confirmed configuration: the ranked ones, the leader first, then those without a score."""
    ranking = [c.config_id for c in choice.ranking]
    return [*ranking, *sorted({r["config_id"] for r in confirm} - set(ranking))]


def _by_protocol(confirm: Sequence[Row], order: Sequence[str]) -> dict[str, dict[str, list[Row]]]:
    tables: dict[str, dict[str, list[Row]]] = {
        p: {c: [] for c in order} for p in sorted({r["protocol_id"] for r in confirm})
    }
    for row in sorted(confirm, key=lambda r: (r["replicate"], r["seed"], r["fold"])):
        tables[row["protocol_id"]][row["config_id"]].append(row)
    return tables


def _searched_rows(run: Location | str, config_ids: Sequence[str], skip_damaged: bool) -> list[Row]:
    """Return what is told of the search trials of some configurations."""
    rows, _ = results.read_arrow(
        run,
        schema.TRIALS,
        columns=("config_id", "seed", "protocol_id", "status", "valid_ll_mean", "data_valid_digest"),
        where=(pc.field("stage") == "search") & pc.field("config_id").isin(config_ids),
        skip_damaged=skip_damaged,
    )
    return arrow_records(rows)


def _comparable(row: Row, first: Row) -> bool:
    """Return whether a search row's score is of the protocol and the validation images of the confirm rows."""
    return all(row[name] == first[name] for name in ("protocol_id", "data_valid_digest"))


def _finalists(ranked: _Rows, choice: Choice, base_id: str | None, examples: ExampleScores) -> Iterable[Finalist]:
    """Yield the configurations in their order, without what the search says of them."""
    ranks = {c.config_id: i for i, c in enumerate(choice.ranking, 1)}
    leader = choice.leader.config_id
    counts = {c: count_seeds(rows) for c, rows in ranked.items()}
    valid, test = (_estimates(ranked, split) for split in ("valid", "test"))
    pairs = [leader] if base_id is None or base_id == leader else [leader, base_id]
    on_valid = _contrasts(ranked, valid, "valid", pairs, examples)
    on_test = _contrasts(ranked, test, "test", pairs, examples)

    def less(config_id: str, other: str | None) -> Comparison | None:
        if other is None or (config_id, other) not in on_valid:
            return None
        lost = [counts[c].seeds - counts[c].completed - counts[c].unfinished for c in (config_id, other)]
        key = (config_id, other)
        return Comparison(other=other, over_survivors=any(lost), valid=on_valid[key], test=on_test.get(key))

    for config_id in ranked:
        yield Finalist(
            config_id=config_id,
            is_paper=config_id == base_id,
            values={},
            rank=ranks.get(config_id),
            counts=counts[config_id],
            valid=valid.get(config_id),
            test=test.get(config_id),
            search_scores=(),
            to_leader=less(config_id, leader),
            to_paper=less(config_id, base_id),
        )


def _estimates(rows: _Rows, split: str) -> dict[str, Estimate]:
    """Return the estimate of each configuration that has a score on the split."""
    found = {config_id: estimate(own, split) for config_id, own in rows.items()}
    return {config_id: one for config_id, one in found.items() if one is not None}


def _contrasts(
    rows: _Rows, estimates: Mapping[str, Estimate], split: str, others: Sequence[str], examples: ExampleScores
) -> _Contrasts:
    """Return each configuration less each of the others, where both have a score on the same images."""
    digests = {r[f"data_{split}_digest"] for own in rows.values() for r in scored(own, split)}
    if len(digests) > 1:  # of validation, the choice has refused it
        return {}
    drawn = _resampled(rows, estimates, split, examples)
    out = {}
    for other in (o for o in others if o in estimates):
        family = [c for c in estimates if c != other]
        differences = [welch(estimates[c].per_seed, estimates[other].per_seed) for c in family]
        adjusted = holm([d.p for d in differences])
        for config_id, difference, p in zip(family, differences, adjusted, strict=True):
            both = bootstrap(drawn[config_id], drawn[other]) if config_id in drawn and other in drawn else None
            out[config_id, other] = Contrast(seeds=difference, p_holm=p, bootstrap=both)
    return out


def _resampled(
    rows: _Rows, estimates: Mapping[str, Estimate], split: str, examples: ExampleScores
) -> dict[str, Resampled]:
    """Return the configurations whose images' values are all there, with seeds and images drawn again."""
    matrices, images = {}, None
    for config_id, own in estimates.items():
        keys = [(config_id, r["seed"], r["fold"]) for r in scored(rows[config_id], split)]
        matrix = examples.matrix(split, keys, own.per_seed)
        if matrix is None:
            continue
        images = images or examples.images(split, keys[0])
        if examples.images(split, keys[0]) == images:
            matrices[config_id] = matrix
    protocol_id = next(r["protocol_id"] for own in rows.values() for r in own)
    return resample(matrices, f"{protocol_id}/{split}") if matrices else {}


def _searched(names: Sequence[str] | None, confirm: Sequence[Row]) -> tuple[str, ...]:
    """Return the parameters to show: what the plan varies, and without a plan what varies among the finalists."""
    columns = {name: schema.cfg_column(name) for name, _ in parameters()}
    if names is None:
        return tuple(name for name, column in columns.items() if len({r[column] for r in confirm}) > 1)
    return tuple(name for name in names if name in columns)


def _values(row: Row, names: Sequence[str]) -> dict[str, object]:
    """Return the values of parameters that act in a row's configuration, and its schedule where it has one."""
    columns = {name: schema.cfg_column(name) for name in (*names, "schedule")}
    return {name: row[column] for name, column in columns.items() if row[column] is not None}


def _describe(row: Row) -> str:
    return Protocol(**json.loads(row["protocol_json"])).describe()


def _other(rows: _Rows) -> OtherProtocol:
    first = next(r for own in rows.values() for r in own)
    return OtherProtocol(protocol_id=first["protocol_id"], description=_describe(first), test=_estimates(rows, "test"))


def as_plain(found: Funnel) -> dict[str, Any]:
    """Return the comparison as JSON-able values, with every digit and what follows from them."""
    plain = dataclasses.asdict(found)
    for finalist, values in zip(found.finalists, plain["finalists"], strict=True):
        values |= {"search_valid": finalist.search_valid, "optimism": finalist.optimism, "tied": finalist.tied}
        values["counts"] |= derived_counts(finalist.counts)
        for split, own in (("valid", finalist.valid), ("test", finalist.test)):
            if own is not None:
                values[split] |= derived(own)
    for other, values in zip(found.others, plain["others"], strict=True):
        for config_id, own in other.test.items():
            values["test"][config_id] |= derived(own)
    return plain
