"""What a reader of a comparison must know beside the numbers."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Sequence

from analysis.cells import ends, p_value
from analysis.compared import Against, Item
from analysis.comparison import one_sample
from analysis.contestants import Contestant
from analysis.estimates import scored
from analysis.selection import count_at_edge, edge_note

_Both = Sequence[tuple[Item, Contestant]]
_ENVIRONMENT = {
    "gansearch": "run_gansearch_version",
    "torch": "run_torch_version",
    "device": "run_device_name",
    "training images": "data_train_digest",
}
_SPLITS = {"valid": "validation", "test": "test"}


def notes(found: Sequence[Contestant], items: Sequence[Item], against: Sequence[Against]) -> Iterable[str]:
    """Yield what must be known, the weightiest first.

    Args:
        found: what is compared.
        items: the same, as they stand in the comparison.
        against: the comparisons with the first of them.
    """
    both = list(zip(items, found, strict=True))
    parts: tuple[Callable[[_Both], Iterable[str]], ...] = (
        *(_chosen, _protocol, _spread, _collapse, _unfinished),
        *(_pairs, _copies, _test, _digests, _environment, _edges),
    )
    for part in parts:
        yield from part(both)
    yield from _images(both, against)


def _chosen(both: _Both) -> Iterable[str]:
    """Tell which items stand there because their validation scores were the highest."""
    chosen = []
    for item, _ in both:
        if item.chosen_from > 1 and item.rule == "conditions":
            chosen.append(f"{item.letter} (the best of the {item.chosen_from} that have its values)")
        elif item.rule in ("leader", "rank", "config") and item.rank == 1 and item.ranked > 1:
            chosen.append(f"{item.letter} (the leader, the highest of {item.ranked} means)")
        elif item.rule == "rank" and item.chosen_from > 1:
            chosen.append(f"{item.letter} (number {item.rank} of {item.ranked})")
    if chosen:
        yield (
            f"chosen by the validation scores that are compared here: {', '.join(chosen)}; intervals and p-values are "
            "those of items named beforehand: the mean and the differences of one that was chosen by its score are "
            "biased by that choice, of a highest one upwards, on test too, which scores the same models"
        )


def _protocol(both: _Both) -> Iterable[str]:
    for item, one in both:
        used, ranks = one.complete[0]["protocol_id"], one.run.choice.protocol_id
        if used != ranks and item.rule in ("leader", "rank", "conditions"):
            yield (
                f"{item.letter} was chosen under {ranks}, the protocol that ranks in its run, and is scored here under "
                f"{used}"
            )


def _spread(both: _Both) -> Iterable[str]:
    counts = {item.letter: len(item.valid.per_seed) for item, _ in both}
    if single := [letter for letter, n in counts.items() if n == 1]:
        yield (
            f"one completed seed has no spread, so no interval and no p-value: {', '.join(single)}; its comparisons do "
            "not count in Holm's correction"
        )
    if pairs := [letter for letter, n in counts.items() if n == 2]:
        yield (
            f"two completed seeds: {', '.join(pairs)}; the interval of their mean is 12.7 standard errors to each "
            "side, that of a difference up to as many: hardly anything is told apart by it"
        )
    for item, _ in both:
        if len(item.valid.per_seed) > 1 and item.valid.se_seeds == 0:
            yield (
                f"{item.letter}: its seeds have one and the same score, which independent trainings do not: its spread "
                "of 0 is no measure of the noise, and p-values of its comparisons are too small"
            )


def _collapse(both: _Both) -> Iterable[str]:
    if collapsed := [f"{item.letter} {item.counts.collapsed}" for item, _ in both if item.counts.collapsed]:
        yield (
            f"completed seeds that collapsed count in means and intervals ({', '.join(collapsed)}); scores that fall "
            "into two groups are not normal, and a t interval of a few of them covers far less than it says "
            "(docs/comparing.md has figures): read the share of bad seeds beside it"
        )
    if unknown := [item.letter for item, one in both if any(r["collapsed"] is None for r in one.complete)]:
        yield f"whether seeds collapsed was not recorded: {', '.join(unknown)}"


def _unfinished(both: _Both) -> Iterable[str]:
    for item, one in both:
        planned = max(one.run.planned or 0, item.counts.seeds)
        missing = planned - item.counts.seeds + item.counts.unfinished
        if missing:
            yield (
                f"{item.letter}: {missing} of {planned} planned seeds have not ended: numbers that are looked at "
                "on the way, and again at the end, are right less often than they say"
            )


def _pairs(both: _Both) -> Iterable[str]:
    """Tell where the reference and another were trained from the same seeds: their trials are pairs."""
    reference, first = both[0]
    for item, one in both[1:]:
        by_seed = [{r["seed"]: r["valid_ll_mean"] for r in scored(c.rows, "valid")} for c in (first, one)]
        common = sorted(set(by_seed[0]) & set(by_seed[1]))
        if not common:
            continue
        pair = f"{reference.letter} and {item.letter}"
        if len(common) < max(map(len, by_seed)) or len(common) < 2:
            yield (
                f"{pair} have {len(common)} seed{'s' if len(common) > 1 else ''} in common: those trials are pairs, "
                "which Welch's t takes for independent"
            )
            continue
        paired = one_sample([by_seed[1][seed] - by_seed[0][seed] for seed in common])
        shown = "" if paired.interval is None else f", 95% interval {ends(paired.interval)}, p {p_value(paired.p)}"
        yield (
            f"{pair} were trained from the same {len(common)} seeds: their trials are pairs, which Welch's t takes for "
            f"independent; paired by seed, {item.letter} less {reference.letter} on validation is "
            f"{paired.mean:.2f} nats{shown} (not corrected)"
        )


def _copies(both: _Both) -> Iterable[str]:
    for item, one in both:
        weights = collections.Counter(r["weights_digest"] for r in one.complete if r["weights_digest"] is not None)
        if any(count > 1 for count in weights.values()):
            yield f"{item.letter}: seeds share the same weights: they are copies, and its spread is too small"


def _test(both: _Both) -> Iterable[str]:
    for item, _ in both:
        with_test = 0 if item.test is None else len(item.test.per_seed)
        if with_test < item.counts.completed:
            yield f"{item.letter}: {with_test} of {item.counts.completed} completed seeds have a test score"


def _digests(both: _Both) -> Iterable[str]:
    for split, called in _SPLITS.items():
        unknown = [
            item.letter for item, one in both if any(r[f"data_{split}_digest"] is None for r in scored(one.rows, split))
        ]
        if unknown:
            yield f"which {called} images were scored was not recorded, so may not be the same: {', '.join(unknown)}"


def _environment(both: _Both) -> Iterable[str]:
    """Tell what else differs between items of different runs, and may be what makes the difference."""
    differing = []
    for name, column in _ENVIRONMENT.items():
        values = [frozenset(r[column] for r in one.complete) - {None} for _, one in both]
        if any(a != b for a, b in itertools.combinations([v for v in values if v], 2)):
            differing.append(name)
    if differing:
        yield f"not the same for all items, beside their configurations: {', '.join(differing)}"


def _edges(both: _Both) -> Iterable[str]:
    for item, one in both:
        for note in edge_note(count_at_edge(one.rows), item.counts.completed):
            yield f"{item.letter}: {note}"


def _images(both: _Both, against: Sequence[Against]) -> Iterable[str]:
    if missing := [item.letter for item, one in both if one.examples.missing]:
        yield f"no table of scores image by image, so no bootstrap over seeds and images: {', '.join(missing)}"
        return
    for split, called in _SPLITS.items():
        contrasts = [(one.letter, one.valid if split == "valid" else one.test) for one in against]
        without = [letter for letter, contrast in contrasts if contrast is not None and contrast.both is None]
        if without:
            yield (
                f"scores image by image on {called} are missing, or do not average to a seed's score: no bootstrap for "
                f"{both[0][0].letter} and {', '.join(without)}"
            )
