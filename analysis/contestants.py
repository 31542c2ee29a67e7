"""What is compared: confirmed configurations of one run or of several, each under its name, with its rows.

All of them are scored under one protocol on the same images, and no two are the same trials: anything else is refused.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence

import pyarrow.compute as pc

from analysis.best import choice_of
from analysis.contestant_names import Name, read_name
from analysis.example_scores import ExampleScores, read_example_scores
from analysis.plan import planned_base, planned_confirm_seeds
from analysis.records import Row, records
from analysis.selection import Choice, check_one_fold
from gansearch import results, schema
from gansearch.errors import ResultsError, nearest
from gansearch.storage import Location, location
from gansearch.yaml_files import located

_SEEN = 5
"""Ids that an error shows before it says how many more there are."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is read of one run directory.

    Attributes:
        place: where it lies.
        choice: how validation ranks its confirmed configurations.
        confirm: its confirm rows, in the order of the replicates.
        base_id: config_id of the study's base; None where the run has no plan file.
        planned: confirm seeds that its plan asks for; None where it is not known.
        skipped: damaged parts that were left out.
    """

    place: Location
    choice: Choice
    confirm: tuple[Row, ...]
    base_id: str | None
    planned: int | None
    skipped: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One configuration, with what is known of it.

    Attributes:
        name: what named it.
        run: the run it is of.
        config_id: hash of the configuration.
        chosen_from: configurations that validation chose it from; 1 where something else named it.
        rows: its confirm rows under the protocol, one a seed.
        examples: the run's scores image by image under the protocol.
    """

    name: Name
    run: Run
    config_id: str
    chosen_from: int
    rows: tuple[Row, ...]
    examples: ExampleScores

    @property
    def complete(self) -> list[Row]:
        """The rows that have a score."""
        return [r for r in self.rows if r["status"] == schema.COMPLETE]

    @property
    def rank(self) -> int | None:
        """Its place by validation in its run; None where no seed completed under the protocol that ranks."""
        ids = [c.config_id for c in self.run.choice.ranking]
        return ids.index(self.config_id) + 1 if self.config_id in ids else None


def contestants(
    given: Sequence[str], *, protocol: str | None = None, skip_damaged: bool = False
) -> tuple[Contestant, ...]:
    """Return what is compared, in the order given.

    Args:
        given: names of them, 2 or more, as `contestant_names.read_name` takes them.
        protocol: id or name of the score protocol; by default the one that ranks: that of the search.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when there is one only, a name or protocol is unknown, a configuration has no completed confirm
            seed, or they cannot be compared.
        ConfigError: when a run's plan file cannot be read.
    """
    if len(given) < 2:
        raise ResultsError("a comparison takes 2 items or more", hint="such as runs/quickstart:paper runs/quickstart")
    names = [read_name(one) for one in given]
    runs = {run: _read(run, skip_damaged) for run in dict.fromkeys(name.run for name in names)}
    examples: dict[tuple[str, str], ExampleScores] = {}
    found = []
    for name in names:
        run = runs[name.run]
        config_id, chosen_from = _resolve(name, run)
        protocol_id = run.choice.protocol_id if protocol is None else _protocol(name, run, protocol)
        rows = tuple(r for r in run.confirm if r["config_id"] == config_id and r["protocol_id"] == protocol_id)
        _check_scores(name, config_id, protocol_id, rows)
        key = name.run, protocol_id
        if key not in examples:
            examples[key] = read_example_scores(run.place, protocol_id, skip_damaged=skip_damaged)
        found.append(
            Contestant(
                name=name, run=run, config_id=config_id, chosen_from=chosen_from, rows=rows, examples=examples[key]
            )
        )
    _check_protocols(found)
    for split in ("valid", "test"):
        _check_images(found, split)
    for one, other in itertools.combinations(found, 2):
        _check_copies(one, other)
    return tuple(found)


def _read(given: str, skip_damaged: bool) -> Run:
    place = location(given)
    rows, skipped = results.read_arrow(
        place, schema.TRIALS, where=pc.field("stage") == "confirm", skip_damaged=skip_damaged
    )
    confirm = records(rows.to_pandas(use_threads=False), schema.TRIALS)
    planned, base = planned_confirm_seeds(place), planned_base(place)
    problem = None if confirm else "no confirm row is in its trials"
    if confirm:
        with located(given):
            choice = choice_of(place, skip_damaged=skip_damaged)
        problem = None if choice.stage == "confirm" else "none of its confirm trials has ended"
    if problem is not None:
        raise ResultsError(
            f"{given} has no confirmed configuration: {problem}",
            hint=f"gansearch confirm {given}; a score of the search is one seed, and the best of many",
        )
    check_one_fold(confirm, given)
    return Run(
        place=place,
        choice=choice,
        confirm=tuple(sorted(confirm, key=lambda r: (r["replicate"], r["seed"], r["fold"]))),
        base_id=None if base is None else base.config_id,
        planned=planned,
        skipped=tuple(skipped),
    )


def _resolve(name: Name, run: Run) -> tuple[str, int]:
    """Return the config_id that a name means, and from how many configurations validation chose it."""
    ranking = [c.config_id for c in run.choice.ranking]
    if name.rule == "leader":
        return ranking[0], len(ranking)
    if name.rule == "rank":
        if name.rank > len(ranking):
            raise ResultsError(
                f"'{name.given}': validation ranks {len(ranking)} configurations of {name.run}",
                hint=f"#1 to #{len(ranking)}",
            )
        return ranking[name.rank - 1], len(ranking)
    confirmed = {r["config_id"]: r for r in run.confirm}
    if name.rule == "paper":
        return _paper(name, run, confirmed), 1
    if name.rule == "config":
        return _by_prefix(name, list(confirmed)), 1
    fitting = [c for c in ranking if all(condition.holds(confirmed[c]) for condition in name.conditions)]
    if not fitting:
        seen = sorted({str(confirmed[c][schema.cfg_column(name.conditions[0].name)]) for c in ranking})
        raise ResultsError(
            f"'{name.given}': no confirmed configuration of {name.run} with a score has these values",
            hint=f"those of {name.conditions[0].name} are {_listed(seen)}",
        )
    return fitting[0], len(fitting)


def _paper(name: Name, run: Run, confirmed: Mapping[str, Row]) -> str:
    if run.base_id is None:
        raise ResultsError(
            f"'{name.given}': {name.run} has no plan file, so which configuration is the study's base is not known",
            hint=f"name it by its config_id: {_listed(sorted(confirmed))}",
        )
    if run.base_id not in confirmed:
        raise ResultsError(
            f"'{name.given}': the study's base {run.base_id} was not confirmed",
            hint=f"gansearch confirm {name.run}; confirmed are {_listed(sorted(confirmed))}",
        )
    return run.base_id


def _by_prefix(name: Name, confirmed: Sequence[str]) -> str:
    found = sorted(config_id for config_id in confirmed if config_id.startswith(name.prefix))
    if len(found) > 1:
        raise ResultsError(
            f"'{name.given}': several confirmed configurations begin with {name.prefix}", hint=_listed(found)
        )
    if not found:
        raise ResultsError(
            f"'{name.given}': no confirmed configuration of {name.run} begins with {name.prefix}",
            hint=f"confirmed are {_listed(sorted(confirmed))}",
        )
    return found[0]


def _listed(values: Sequence[str]) -> str:
    more = f" and {len(values) - _SEEN} more" if len(values) > _SEEN else ""
    return ", ".join(values[:_SEEN]) + more


def _protocol(name: Name, run: Run, asked: str) -> str:
    """Return the id of the protocol that is asked for by its id or name."""
    known = {str(r["protocol_id"]): str(json.loads(r["protocol_json"])["name"]) for r in run.confirm}
    if asked in known:
        return asked
    ids = sorted(protocol_id for protocol_id, called in known.items() if called == asked)
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise ResultsError(f"{name.run} has several protocols called {asked}", hint=f"give an id: {_listed(ids)}")
    close = nearest(asked, {*known, *known.values()})
    raise ResultsError(
        f"no confirm trial of {name.run} is scored under a protocol '{asked}'",
        hint=f"{close}{'' if close.endswith('?') else ';'} `gansearch rescore` scores under others",
    )


def _check_scores(name: Name, config_id: str, protocol_id: str, rows: Sequence[Row]) -> None:
    """Raise ResultsError unless a seed completed, and all that did have a score."""
    complete = [r for r in rows if r["status"] == schema.COMPLETE]
    if not complete:
        states = ", ".join(f"seed {r['seed']} {r['status']}" for r in rows[:_SEEN])
        raise ResultsError(
            f"'{name.given}': configuration {config_id} has no completed confirm seed under {protocol_id}"
            f"{f': {states}' if states else ''}",
            hint=f"gansearch finalists {name.run}" if states else "`gansearch rescore` scores under other protocols",
        )
    for row in complete:
        if row["valid_ll_mean"] is None or not math.isfinite(row["valid_ll_mean"]):
            raise ResultsError(
                f"'{name.given}': trial {config_id} with seed {row['seed']} is COMPLETE without a finite score"
            )


def _check_protocols(found: Sequence[Contestant]) -> None:
    first = found[0].complete[0]
    for other in found[1:]:
        row = other.complete[0]
        if row["protocol_id"] != first["protocol_id"]:
            one, two = json.loads(first["protocol_json"]), json.loads(row["protocol_json"])
            fields = sorted(field for field in {*one, *two} - {"name"} if one.get(field) != two.get(field))
            shown = ", ".join(f"{field} {one.get(field)} against {two.get(field)}" for field in fields) or "name only"
            common = sorted(
                {r["protocol_id"] for r in found[0].run.confirm} & {r["protocol_id"] for r in other.run.confirm}
            )
            raise ResultsError(
                f"'{found[0].name.given}' and '{other.name.given}' rank by different score protocols: "
                f"{first['protocol_id']} and {row['protocol_id']} differ in {shown}",
                hint=f"--protocol {common[0]}, which both have"
                if common
                else "`gansearch rescore` scores under the other one",
            )


def _check_images(found: Sequence[Contestant], split: str) -> None:
    """Raise ResultsError where two are scored on different images; a digest that was not recorded is told elsewhere."""
    by_digest: dict[str, str] = {}
    for one in found:
        for row in one.complete:
            if row[f"data_{split}_digest"] is not None and row[f"{split}_ll_mean"] is not None:
                by_digest.setdefault(row[f"data_{split}_digest"], f"'{one.name.given}' ({row['cfg_dataset_name']})")
    if len(by_digest) > 1:
        (first, one_name), (second, other_name) = list(by_digest.items())[:2]
        called = {"valid": "validation", "test": "test"}[split]
        raise ResultsError(
            f"scores on different data do not compare: the {called} images of {one_name} have the digest {first}, "
            f"those of {other_name} {second}"
        )


def _check_copies(one: Contestant, other: Contestant) -> None:
    """Raise ResultsError where two items share trials: they are not independent, and a difference means nothing."""
    both = f"'{one.name.given}' and '{other.name.given}'"
    if one.run.place.resolve() == other.run.place.resolve() and one.config_id == other.config_id:
        raise ResultsError(
            f"{both} are one configuration, {one.config_id}: there is nothing to compare",
            hint=f"{one.name.run}:#2 is the second by validation" if len(one.run.choice.ranking) > 1 else None,
        )
    known = {mark for row in one.complete for mark in _marks(row)}
    shared = sum(any(mark in known for mark in _marks(row)) for row in other.complete)
    if shared:
        raise ResultsError(
            f"{both} share {shared} trial{'s' if shared > 1 else ''}: one run is a copy of the other, or of part of it",
            hint="compare trials that were trained apart",
        )


def _marks(row: Row) -> Iterable[tuple[object, ...]]:
    """Yield what a trained model is known by: its weights; where they were not recorded, its seed and its score."""
    if row["weights_digest"] is not None:
        yield ("weights", row["weights_digest"])
    yield ("seed", row["config_id"], row["seed"], row["valid_ll_mean"])


__all__ = ["Contestant", "Run", "contestants"]
