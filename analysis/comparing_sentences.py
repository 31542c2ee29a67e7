"""What the numbers of a comparison support, in words: no more, and no less."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.cells import p_value, place
from analysis.compared import APART, NO_SPREAD, ONE_SEED, Against, Contrast, Item
from analysis.finalists import SIGNIFICANT, Estimate
from analysis.rounding import decimal_place, rounded
from analysis.statistics import Interval


def sentences(reference: Item, item: Item, against: Against) -> Iterable[str]:
    """Yield what is to be said of an item less the reference: on validation, on test, of seeds that went bad."""
    yield _on_split("validation", reference, item, reference.valid, item.valid, against.valid)
    if against.test is not None and reference.test is not None and item.test is not None:
        yield _on_split("test", reference, item, reference.test, item.test, against.test)
        if _opposite(against.valid, against.test):
            yield (
                f"Validation and test tell {item.letter} and {reference.letter} apart in opposite directions: what is "
                "better depends on the images, and no order of the two holds for both"
            )
    yield from _bad_seeds(reference, item, against)
    yield from (_survivors(one) for one in (reference, item) if one.over_survivors)


def _on_split(split: str, reference: Item, item: Item, a: Estimate, b: Estimate, contrast: Contrast) -> str:
    what = f"{item.letter} less {reference.letter} on {split} is {_nats(contrast.seeds.mean, contrast.seeds.interval)}"
    if contrast.outcome == ONE_SEED:
        single = [one.letter for one, own in ((reference, a), (item, b)) if len(own.per_seed) == 1]
        has = f"{' and '.join(single)} {'have' if len(single) > 1 else 'has'} one scored seed"
        return f"{what}, but {has}: one seed has no spread, so nothing tells how far another would lie from it"
    if contrast.outcome == NO_SPREAD:
        return (
            f"{what}, but all seeds of each have one and the same score, which independent trainings do not: nothing "
            "is known of the noise"
        )
    seeds = f"over {len(b.per_seed)} and {len(a.per_seed)} seeds"
    if contrast.outcome == APART:
        return _apart(split, reference, item, contrast, seeds)
    return _not_apart(split, reference, item, contrast, seeds)


def _apart(split: str, reference: Item, item: Item, contrast: Contrast, seeds: str) -> str:
    """A difference whose corrected p-value is small; its interval leaves 0 out, and is told away from 0."""
    mean, interval, sign = contrast.seeds.mean, contrast.seeds.interval, 1 if contrast.seeds.mean > 0 else -1
    said = (
        f"{item.letter} scores {'higher' if mean > 0 else 'lower'} than {reference.letter} on {split} by "
        f"{_nats(abs(mean), interval)} (95% interval {_ends(interval, sign)} {seeds}; {_p(contrast)}): more than the "
        "spread between seeds explains"
    )
    both = contrast.both
    if both is None or both.interval is None or contrast.both_p_holm is None:
        return said
    over = f"Over seeds and images the interval is {_ends(both.interval, sign)}"
    p = f"{'corrected ' if contrast.family > 1 else ''}{_equals(contrast.both_p_holm)}"
    if contrast.both_p_holm < SIGNIFICANT:
        return f"{said}. {over} ({p}): it is shown for other images drawn like these too"
    return f"{said}. {over} ({p}): for other images drawn like these it is not shown"


def _not_apart(split: str, reference: Item, item: Item, contrast: Contrast, seeds: str) -> str:
    pair, seen = f"{item.letter} and {reference.letter}", contrast.seeds
    less = f"{item.letter} less {reference.letter} is {_nats(seen.mean, seen.interval)}"
    shown = f"{less} (95% interval {_ends(seen.interval, 1)} {seeds}; {_p(contrast)})"
    if seen.p is not None and seen.p < SIGNIFICANT:
        said = (
            f"On {split} the seeds would tell {pair} apart if this were the only comparison, but it is one of "
            f"{contrast.family}: {shown}. It is not shown that they differ, nor that they are equal"
        )
    else:
        said = (
            f"On {split} the seeds do not tell {pair} apart: {shown}. That is no evidence that they are equal: "
            "every difference within the interval is in line with these scores"
        )
    return f"{said}. {_power(contrast, seeds)}" if contrast.detectable is not None else said


def _power(contrast: Contrast, seeds: str) -> str:
    smallest = contrast.detectable or 0.0
    half = _two_digits(smallest / 2)
    many = "far more seeds" if contrast.seeds_for_half is None else f"about {contrast.seeds_for_half} seeds each"
    return (
        f"If their spread is as seen, {seeds.removeprefix('over ')} find a true difference of about "
        f"{_two_digits(smallest)} nats in four of five cases; to find one of {half} nats takes {many}"
    )


def _opposite(valid: Contrast, test: Contrast) -> bool:
    return valid.outcome == test.outcome == APART and valid.seeds.mean * test.seeds.mean < 0


def _bad_seeds(reference: Item, item: Item, against: Against) -> Iterable[str]:
    """Tell of shares of bad seeds that are not the same."""
    a, b, p = reference.counts, item.counts, against.bad_p_holm
    if p is None or a.bad * b.ended == b.bad * a.ended:
        return
    shown = ", ".join(
        f"{one.bad} of {one.ended} in {letter} [{_share(one.bad_share_interval)}]"
        for one, letter in ((b, item.letter), (a, reference.letter))
    )
    told = "more than chance explains" if p < SIGNIFICANT else "so many seeds do not tell the shares apart"
    yield f"Seeds that collapsed, diverged or failed: {shown}; {told} (Fisher's exact test, {_equals(p)})"


def _survivors(one: Item) -> str:
    counts = one.counts
    return (
        f"The mean of {one.letter} is over the {counts.completed} of {counts.seeds} seeds that have a score "
        f"({counts.losses()}), which may flatter it"
    )


def _p(contrast: Contrast) -> str:
    """Return the p-value; where it is corrected, with the correction."""
    p, corrected = contrast.seeds.p, contrast.p_holm
    if p is None or corrected is None or contrast.family == 1:
        return _equals(p or 0.0)
    return f"{_equals(p)}, {_equals(corrected)}{_holm(contrast.family)}"


def _holm(family: int) -> str:
    return f" by Holm's correction for {family} comparisons" if family > 1 else ""


def _equals(p: float) -> str:
    shown = p_value(p)
    return f"p < {shown[1:]}" if shown.startswith("<") else f"p = {shown}"


def _nats(value: float, interval: Interval | None) -> str:
    return f"{rounded(value, decimal_place([]) if interval is None else place(interval))} nats"


def _ends(interval: Interval | None, sign: int) -> str:
    if interval is None:
        return "not known"
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f"{rounded(low, place(interval))} to {rounded(high, place(interval))}"


def _share(interval: Interval) -> str:
    return f"{interval.low:.2f}, {interval.high:.2f}"


def _two_digits(value: float) -> str:
    return rounded(value, decimal_place([value]))
