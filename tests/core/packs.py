"""Games for packs: trials that differ in all that may differ, and how they go alone and packed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest
import torch

from gansearch.config import TrialConfig
from gansearch.core.adversarial import Adversarial, Epoch
from gansearch.core.algorithm1 import State
from gansearch.core.pack import Pack, Slot
from tests.core.games import small

LEVELS = 16
ORDERS = ("simultaneous", "alternating")
RULES = ("momentum", "adam")
GAMES = list(itertools.product(ORDERS, RULES))
M, STEPS = 13, 12
N = STEPS * M + 5
"""Images of an epoch of 12 steps: a block of draws, two steps of the next one, and 5 images that are left over."""

Tensors = dict[str, torch.Tensor]
FLOAT32_TOLERANCE, FLOAT64_TOLERANCE = 1e-5, 1e-11
"""Of the largest value that a tensor has had. A batched product may add in another order, by 1e-7 of the sum in float32
and 1e-16 in float64, and training multiplies what differs: by less than 100 in 96 steps of these games, and by less
than 1e5 in 300."""

# The first four stand side by side from beginning to end, but for what a test does to one of them.
EVERYBODY: list[dict[str, object]] = [
    {"algorithm.k": 1, "discriminator.dropout_input": 0.2, "discriminator.dropout_hidden": 0.5},
    {
        "algorithm.k": 2,
        "algorithm.objective": "saturating",
        "algorithm.loss_scale": 1.0,
        "noise.distribution": "gaussian",
        "discriminator.dropout_input": 0.0,
        "discriminator.dropout_hidden": 0.0,
        "discriminator.max_col_norm": 0.9,
        "momentum.lr_g": 0.03,
        "momentum.initial": 0.1,
        "adam.lr_g": 0.003,
        "adam.beta1": 0.9,
    },
    {
        "algorithm.k": 3,
        "algorithm.loss_scale": 0.7,
        "discriminator.dropout_input": 0.0,
        "discriminator.dropout_hidden": 0.3,
        "generator.max_col_norm": 1.1,
        "momentum.lr_d": 0.02,
        "momentum.lr_decay": 1.01,
        "momentum.final": 0.9,
        "adam.lr_d": 0.001,
        "adam.beta2": 0.99,
    },
    {"algorithm.k": 2, "noise.distribution": "gaussian", "momentum.ramp_unit": "epochs", "momentum.ramp_end": 4.0},
    {"algorithm.k": 3, "algorithm.objective": "saturating", "discriminator.dropout_input": 0.4, "adam.eps": 1e-4},
    {"algorithm.k": 1, "algorithm.loss_scale": 0.3, "generator.max_col_norm": 0.8, "discriminator.max_col_norm": 1.2},
]
JOINS, LEAVES, DIVERGES = 4, 5, 3


class Place(NamedTuple):
    """A trial's stay in a pack: its configuration, its seed, and before which epochs it comes and goes."""

    config: TrialConfig
    seed: int
    joins: int = 0
    leaves: int | None = None


@dataclasses.dataclass(frozen=True)
class After:
    """A trial after an epoch."""

    tensors: Tensors
    measures: Mapping[str, float]
    counters: Mapping[str, int | float]
    diverged: bool


def images(n: int = N, dim: int = 9) -> torch.Tensor:
    source = torch.Generator().manual_seed(8)
    return torch.randint(0, LEVELS + 1, (n, dim), dtype=torch.uint8, generator=source)


def game(order: str, rule: str, changes: Mapping[str, object] | None = None) -> TrialConfig:
    base: dict[str, object] = {
        "algorithm.order": order,
        "algorithm.epochs": 30,
        "update.rule": rule,
        "momentum.lr_g": 0.05,
        "momentum.lr_d": 0.04,
        "adam.lr_g": 0.002,
        "adam.lr_d": 0.002,
        # Where a gradient vanishes, Adam's step has its sign alone: with a larger eps it is as smooth as the rest.
        "adam.eps": 1e-3,
    }
    return small(base | dict(changes or {}))


def everybody(order: str, rule: str, midway: int, diverges: int | None = None, rate: float = 1e30) -> list[Place]:
    """Return six trials: one joins midway, one leaves, and one diverges at a rate that it has after so many epochs."""
    places = [Place(game(order, rule, changes), 40 + i) for i, changes in enumerate(EVERYBODY)]
    places[JOINS] = places[JOINS]._replace(joins=midway)
    places[LEAVES] = places[LEAVES]._replace(leaves=midway)
    if diverges is not None:
        config = places[DIVERGES].config.changed(diverges, {f"{rule}.lr_d": rate})
        places[DIVERGES] = places[DIVERGES]._replace(config=config)
    return places


def converted(state: State, dtype: torch.dtype) -> State:
    groups = {
        name: {key: tensor.to(dtype) for key, tensor in getattr(state, name).items()}
        for name in ("g", "d", "g_moments", "d_moments")
    }
    return State(**groups, alive=state.alive)


def copies(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def after(trial: Adversarial | Slot, epoch: Epoch) -> After:
    return After(copies(trial.save()), epoch.measures, trial.counters(), trial.diverged())


def play_alone(place: Place, count: int, dtype: torch.dtype = torch.float32) -> list[After]:
    """Train a trial alone for so many epochs."""
    alone = Adversarial(place.config, images(), LEVELS, place.seed)
    alone.state = converted(alone.state, dtype)
    return [after(alone, alone.train_epoch()) for _ in range(count)]


def play_packed(
    places: Sequence[Place],
    count: int,
    dtype: torch.dtype = torch.float32,
    meddle: Callable[[int, list[Slot | None]], None] = lambda _epoch, _slots: None,
) -> list[list[After]]:
    """Train trials in a pack; return each one's course, in the order of the places.

    Args:
        places: the trials.
        count: epochs of the pack.
        dtype: type of all parameters.
        meddle: is called before each epoch with its number and the slots.
    """
    pack = Pack(images(), LEVELS)
    slots: list[Slot | None] = [None] * len(places)
    courses: list[list[After]] = [[] for _ in places]
    for epoch in range(count):
        for i, place in enumerate(places):
            if place.joins == epoch:
                slots[i] = slot = pack.join(place.config, place.seed)
                slot.own.state = converted(slot.own.state, dtype)
            leaving = slots[i]
            if place.leaves == epoch and leaving is not None:
                pack.leave(leaving)
                slots[i] = None
        meddle(epoch, slots)
        pack.train_epoch()
        for there, course in zip(slots, courses, strict=True):
            if there is not None:
                course.append(after(there, there.train_epoch()))
    return courses


def assert_close(course: Sequence[After], alone: Sequence[After], tolerance: float) -> None:
    """Hold a course against another, element by element; what is counted must be equal."""
    assert len(course) == len(alone) > 0
    largest: dict[str, float] = {}  # so far, for a tensor of one value may pass zero
    for one, other in zip(course, alone, strict=True):
        assert one.tensors.keys() == other.tensors.keys()
        for name, value in other.tensors.items():
            if value.dtype.is_floating_point:
                largest[name] = max(largest.get(name, 0.0), float(value.abs().max()))
                assert float((one.tensors[name] - value).abs().max()) <= tolerance * largest[name], name
            else:
                assert torch.equal(one.tensors[name], value), name
        assert (one.counters, one.diverged) == (other.counters, other.diverged)
        assert one.measures == pytest.approx(other.measures, rel=tolerance, abs=tolerance)


def assert_same(one: Sequence[After], other: Sequence[After]) -> None:
    """Hold a course against another bit for bit."""
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in b.tensors)
        assert (a.measures, a.counters, a.diverged) == (b.measures, b.counters, b.diverged)
