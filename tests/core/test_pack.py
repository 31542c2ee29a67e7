"""Trials in a pack: each gets what it gets alone, whoever is beside it, joins or leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pytest
import torch

from gansearch.core import algorithm1
from gansearch.core.algorithm1 import Played, State, Step
from tests.core.packs import (
    DIVERGES,
    EVERYBODY,
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    GAMES,
    JOINS,
    LEAVES,
    ORDERS,
    STEPS,
    Place,
    assert_close,
    everybody,
    game,
    play_alone,
    play_packed,
)

# --- Alone and packed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "count", "tolerance"),
    [(torch.float32, 8, FLOAT32_TOLERANCE), (torch.float64, 25, FLOAT64_TOLERANCE)],
    ids=["float32-96-steps", "float64-300-steps"],
)
@pytest.mark.parametrize(("order", "rule"), GAMES)
def test_each_trial_gets_what_it_gets_alone(
    order: str, rule: str, dtype: torch.dtype, count: int, tolerance: float
) -> None:
    midway = count // 2
    # What overflows in float32 is in float64 just a large number.
    places = everybody(order, rule, midway, diverges=midway - 1, rate=1e30 if dtype == torch.float32 else 1e250)
    stays = [count - midway if i == JOINS else midway if i == LEAVES else count for i in range(len(places))]
    courses = play_packed(places, count, dtype)
    assert [len(course) for course in courses] == stays
    for place, course in zip(places, courses, strict=True):
        assert_close(course, play_alone(place, len(course), dtype), tolerance)
    assert [course[-1].diverged for course in courses] == [i == DIVERGES for i in range(len(places))]
    frozen = courses[DIVERGES]
    assert not frozen[midway - 2].diverged
    assert frozen[midway - 1].diverged
    assert all(tensor.isfinite().all() for tensor in frozen[-1].tensors.values())
    assert frozen[-1].counters == frozen[midway - 1].counters


@pytest.mark.parametrize(("order", "rule"), GAMES)
def test_a_slot_does_not_depend_on_its_place_or_its_neighbours(order: str, rule: str) -> None:
    places = everybody(order, rule, 2)[:4]
    courses = play_packed(places, 4)
    turned = play_packed(places[::-1], 4)[::-1]
    among_others = [Place(game(order, rule), 7 + i) for i in range(3)]
    elsewhere = play_packed([*among_others, places[2]], 4)[-1]
    for place, course, other in zip(places, courses, turned, strict=True):
        assert_close(other, play_alone(place, 4), FLOAT32_TOLERANCE)
        assert_close(other, course, FLOAT32_TOLERANCE)
    assert_close(elsewhere, courses[2], FLOAT32_TOLERANCE)


def test_a_pack_of_one_is_the_trial_alone() -> None:
    for order, rule in GAMES:
        place = Place(game(order, rule, EVERYBODY[1]), 3)
        assert_close(play_packed([place], 3)[0], play_alone(place, 3), FLOAT32_TOLERANCE)


# --- Draws ----------------------------------------------------------------------------------------------------


class Drawn(NamedTuple):
    """What a trial was given for a step: examples, noise and D's masks, and noise and masks of G's own step."""

    x: torch.Tensor
    z: torch.Tensor
    masks: list[torch.Tensor] | None
    fresh_z: torch.Tensor | None
    fresh_masks: list[torch.Tensor] | None


def watch_draws(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Return a list to which every step is added with copies of what it was given."""
    seen: list[Step] = []
    train = algorithm1.train

    def copied(part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            return part.clone()
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            fields = {f.name: copied(getattr(part, f.name)) for f in dataclasses.fields(part)}
            return dataclasses.replace(part, **fields)
        return [copied(one) for one in part] if isinstance(part, list | tuple) else part

    def watched(state: State, steps: Iterable[Step], *rest: Any) -> list[Played]:
        def passed() -> Iterable[Step]:
            for step in steps:
                seen.append(Step(copied(step.batch), copied(step.fresh), step.moves, step.joint))
                yield step

        return train(state, passed(), *rest)

    monkeypatch.setattr(algorithm1, "train", watched)
    return seen


def drawn(step: Step, row: int | None = None) -> Drawn:
    """Return what a step gave the trial of a row, or a trial alone."""

    def own(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if row is None else tensor[row]

    def all_own(masks: Sequence[torch.Tensor] | None) -> list[torch.Tensor] | None:
        return None if masks is None else [own(mask) for mask in masks]

    batch, fresh = step.batch, step.fresh
    return Drawn(
        own(batch.x),
        own(batch.z),
        all_own(batch.masks),
        None if fresh is None else own(fresh.z),
        None if fresh is None else all_own(fresh.masks),
    )


def same_masks(packed: list[torch.Tensor] | None, alone: list[torch.Tensor] | None) -> bool:
    """Return whether masks are equal; beside trials that drop units, one that drops none multiplies by 1."""
    if alone is None:
        return packed is None or all(bool((mask == 1).all()) for mask in packed)
    return packed is not None and all(torch.equal(a, b) for a, b in zip(packed, alone, strict=True))


@pytest.mark.parametrize("order", ORDERS)
def test_draws_are_those_of_the_trial_alone_in_any_slot(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_draws(monkeypatch)
    places = everybody(order, "momentum", 2, diverges=1)
    places[0] = places[0]._replace(leaves=3)  # all others move up a place
    play_packed(places, 4)
    packed = list(seen)
    assert len(packed) == 4 * STEPS
    rows = [[i for i, p in enumerate(places) if p.joins <= e and not (p.leaves or 9) <= e] for e in range(4)]
    rows = [sorted(own, key=lambda i: (places[i].joins, i)) for own in rows]
    assert rows == [[0, 1, 2, 3, 5], [0, 1, 2, 3, 5], [0, 1, 2, 3, 4], [1, 2, 3, 4]]
    compared = 0
    for i, place in enumerate(places):
        seen.clear()
        here = [e for e in range(4) if i in rows[e]]
        play_alone(place, len(here))
        for n, epoch in enumerate(here):
            own = seen[n * STEPS :][:STEPS]
            for theirs, step in zip(packed[epoch * STEPS :][:STEPS], own, strict=True):
                one, other = drawn(theirs, rows[epoch].index(i)), drawn(step)
                assert torch.equal(one.x, other.x)
                assert torch.equal(one.z, other.z)
                assert same_masks(one.masks, other.masks)
                if other.fresh_z is not None:  # alone, G's noise is made where G moves
                    assert one.fresh_z is not None
                    assert torch.equal(one.fresh_z, other.fresh_z)
                    assert same_masks(one.fresh_masks, other.fresh_masks)
                    compared += 1
    assert (compared > 0) == (order == "alternating")


# --- Divergence -----------------------------------------------------------------------------------------------
