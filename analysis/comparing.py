"""Configurations compared with a reference: over training seeds, and over seeds and images together.

The first item is the reference. Every other less the reference is one comparison, on validation and on test. All
comparisons on one split are a family, within which p-values are corrected by Holm's rule. A trial's seed follows from
its configuration, so the seeds of two configurations are independent draws, which is what Welch's t asks for.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.compared import Against, Compared, Contrast, Item, letter
from analysis.comparing_notes import notes
from analysis.comparing_sentences import sentences
from analysis.comparison import Difference, Resampled, bootstrap, holm, resample, welch
from analysis.contestants import Contestant, contestants
from analysis.detectable import detectable, seeds_to_find
from analysis.estimates import derived, derived_counts, estimate, scored
from analysis.finalists import SIGNIFICANT, Estimate
from analysis.seed_counts import count_seeds
from analysis.shares import fisher
from gansearch import schema
from gansearch.config import parameters
from gansearch.errors import ResultsError
from gansearch.protocols import Protocol


def compare(given: Sequence[str], *, protocol: str | None = None, skip_damaged: bool = False) -> Compared:
    """Return the comparison of configurations with the first of them.

    Args:
        given: what is compared, 2 or more, each as `RUN`, `RUN:leader`, `RUN:paper`, `RUN:#2`, `RUN:CONFIG_ID` (4
            characters of it or more) or `RUN:NAME=VALUE[,NAME=VALUE]`; a run is a path or a URI.
        protocol: id or name of the score protocol; by default the one that ranks: that of the search.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when there is one only, a run cannot be read, a name is unknown, a configuration has no completed
            confirm seed, or two are scored under different protocols, on different data, or are the same trials.
        ConfigError: when a run's plan file cannot be read.
    """
    found = contestants(given, protocol=protocol, skip_damaged=skip_damaged)
    items = _items(found)
    valid = _contrasts(found, [item.valid for item in items], "valid")
    test = _contrasts(found, [item.test for item in items], "test")
    shares = [_fisher(items[0], item) for item in items[1:]]
    against = []
    for i, (item, p, p_holm) in enumerate(zip(items[1:], shares, holm(shares), strict=True), 1):
        one = Against(letter=item.letter, valid=valid[i], test=test.get(i), bad_p=p, bad_p_holm=p_holm)
        against.append(dataclasses.replace(one, sentences=tuple(sentences(items[0], item, one))))
    first = found[0].complete[0]
    return Compared(
        dataset=str(first["cfg_dataset_name"]),
        protocol_id=str(first["protocol_id"]),
        description=Protocol(**json.loads(first["protocol_json"])).describe(),
        items=items,
        against=tuple(against),
        notes=tuple(notes(found, items, against)),
        skipped=tuple(dict.fromkeys(path for one in found for path in (*one.run.skipped, *one.examples.skipped))),
    )


def _items(found: Sequence[Contestant]) -> tuple[Item, ...]:
    values = _differing(found)
    items = []
    for i, one in enumerate(found):
        valid = estimate(one.rows, "valid")
        if valid is None:
            raise ResultsError(f"'{one.name.given}' has no validation score")
        items.append(
            Item(
                letter=letter(i),
                given=one.name.given,
                config_id=one.config_id,
                rule=one.name.rule,
                rank=one.rank,
                ranked=len(one.run.choice.ranking),
                chosen_from=one.chosen_from,
                is_paper=one.config_id == one.run.base_id,
                values=values[i],
                counts=count_seeds(one.rows),
                valid=valid,
                test=estimate(one.rows, "test"),
            )
        )
    return tuple(items)


def _differing(found: Sequence[Contestant]) -> list[dict[str, object]]:
    """Return each contestant's values of the parameters that are not the same in all."""
    columns = {name: schema.cfg_column(name) for name, _ in parameters()} | {"schedule": "cfg_schedule"}
    rows = [one.complete[0] for one in found]
    differing = [name for name, column in columns.items() if len({row[column] for row in rows}) > 1]
    return [{n: row[columns[n]] for n in differing if row[columns[n]] is not None} for row in rows]


def _contrasts(found: Sequence[Contestant], estimates: Sequence[Estimate | None], split: str) -> dict[int, Contrast]:
    """Return each item less the first, by the item's place; without those of which one has no score."""
    first, drawn = estimates[0], _resampled(found, split)
    if first is None:
        return {}
    others = {i: own for i, own in enumerate(estimates) if i and own is not None}
    seeds = {i: welch(own.per_seed, first.per_seed) for i, own in others.items()}
    both = {i: bootstrap(drawn[i], drawn[0]) for i in others if i in drawn and 0 in drawn}
    p_holm, both_p_holm = _corrected(seeds), _corrected(both)
    family = sum(d.p is not None for d in seeds.values())
    out = {}
    for i, own in others.items():
        smallest, for_half = (None, None) if seeds[i].df is None else _power(own.per_seed, first.per_seed, family)
        out[i] = Contrast(
            seeds=seeds[i],
            p_holm=p_holm[i],
            both=both.get(i),
            both_p_holm=both_p_holm.get(i),
            family=family,
            detectable=smallest,
            seeds_for_half=for_half,
        )
    return out


def _corrected(differences: Mapping[int, Difference]) -> dict[int, float | None]:
    return dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))


def _power(a: Sequence[float], b: Sequence[float], family: int) -> tuple[float, int | None]:
    spreads, level = (statistics.stdev(a), statistics.stdev(b)), SIGNIFICANT / family
    smallest = detectable(spreads, (len(a), len(b)), level)
    return smallest, seeds_to_find(smallest / 2, spreads, level)


def _resampled(found: Sequence[Contestant], split: str) -> Mapping[int, Resampled]:
    """Return those whose images' values are all there, by place, with seeds and images drawn again.

    Draws follow from the name: it is the config_id, as in `analysis.funnel`, so that both give the same numbers; one
    configuration of several runs has trials of its own in each, and so draws of its own.
    """
    matrices, images, names = {}, None, {}
    for i, one in enumerate(found):
        rows = scored(one.rows, split)
        keys = [(one.config_id, r["seed"], r["fold"]) for r in rows]
        matrix = one.examples.matrix(split, keys, [r[f"{split}_ll_mean"] for r in rows])
        if matrix is None:
            continue
        own = one.examples.images(split, keys[0])
        images = images or own
        if own == images:
            again = sum(other.config_id == one.config_id for other in found[:i])
            names[i] = f"{one.config_id}/{again}" if again else one.config_id
            matrices[names[i]] = matrix
    if not matrices:
        return {}
    drawn = resample(matrices, f"{found[0].complete[0]['protocol_id']}/{split}")
    return {i: drawn[name] for i, name in names.items()}


def _fisher(reference: Item, item: Item) -> float | None:
    a, b = reference.counts, item.counts
    return fisher(a.bad, a.ended, b.bad, b.ended) if a.ended and b.ended else None


def as_plain(found: Compared) -> dict[str, Any]:
    """Return the comparison as JSON-able values, with every digit and what follows from them."""
    plain = dataclasses.asdict(found)
    for item, values in zip(found.items, plain["items"], strict=True):
        values["over_survivors"] = item.over_survivors
        values["counts"] |= derived_counts(item.counts)
        for split, own in (("valid", item.valid), ("test", item.test)):
            if own is not None:
                values[split] |= derived(own)
    for against, values in zip(found.against, plain["against"], strict=True):
        for split, contrast in (("valid", against.valid), ("test", against.test)):
            if contrast is not None:
                values[split]["outcome"] = contrast.outcome
    return plain


__all__ = ["as_plain", "compare"]
