"""An epoch's steps: what they are given, alone or side by side, and that each trial gets what it gets alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import pytest
import torch

from gansearch.config import TrialConfig
from gansearch.core import algorithm1, epochs
from gansearch.core.algorithm1 import Minibatch, Noise, Played, Rules, State, Step
from gansearch.core.datasets import to_unit
from gansearch.core.epochs import STEPS_A_BLOCK, Member, Outcome
from gansearch.core.networks import Networks
from gansearch.core.updates import Momentum
from tests.core import games
from tests.core.games import shapes, small, start, tensors

# A batched product may add in another order: the last bits of sums of a few dozen float64 terms, over 36 steps.
TOLERANCE = 1e-9

LEVELS, M = 16, 13
STEPS = STEPS_A_BLOCK + 2  # a block and a shorter one
ORDERS = ("simultaneous", "alternating")
RULES = ("momentum", "adam")

Settings = dict[str, object]


def images(n: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(8)
    return torch.randint(0, LEVELS + 1, (n, games.DATA_DIM), dtype=torch.uint8, generator=source)


def member(config: TrialConfig, trial: int, done: int = 0) -> Member:
    return Member(config=config, draws=games.draws(70 + trial), epochs=done)


def play(state: State, members: Sequence[Member], n: int, *, side_by_side: bool) -> Outcome:
    nets = shapes(members[0].config)
    return epochs.train_epoch(state, members, nets, images(n), LEVELS, side_by_side=side_by_side)


def states(members: Sequence[Member]) -> list[State]:
    return [start(one.config, seed=one.draws.seed) for one in members]


def together(members: Sequence[Member]) -> State:
    return games.stack_states(states(members), members[0].config)


def cloned(parts: Iterable[torch.Tensor] | None) -> list[torch.Tensor] | None:
    return None if parts is None else [part.clone() for part in parts]


def given(monkeypatch: pytest.MonkeyPatch, members: Sequence[Member], n: int, *, side_by_side: bool) -> list[Step]:
    """Return copies of the steps of an epoch, in order."""
    steps: list[Step] = []
    train = algorithm1.train

    def copying(drawn: Iterable[Step]) -> Iterator[Step]:
        for step in drawn:
            batch = Minibatch(x=step.batch.x.clone(), z=step.batch.z.clone(), masks=cloned(step.batch.masks))
            fresh = step.fresh and Noise(z=step.fresh.z.clone(), masks=cloned(step.fresh.masks))
            steps.append(step._replace(batch=batch, fresh=fresh))
            yield step

    def watched(state: State, drawn: Iterable[Step], nets: Networks, rules: Rules) -> list[Played]:
        return train(state, copying(drawn), nets, rules)

    with monkeypatch.context() as patch:
        patch.setattr(algorithm1, "train", watched)
        play(together(members) if side_by_side else states(members)[0], members, n, side_by_side=side_by_side)
    return steps


def random_parts(step: Step) -> list[torch.Tensor]:
    """Return all that a step draws but its examples."""
    noises: list[Minibatch | Noise] = [step.batch] if step.fresh is None else [step.batch, step.fresh]
    return [tensor for noise in noises for tensor in (noise.z, *(noise.masks or ()))]


# --- What a step is given -------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["uniform", "gaussian", "spherical"])
@pytest.mark.parametrize("order", ORDERS)
def test_draws_do_not_depend_on_who_trains_beside(
    order: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: Settings = {"algorithm.order": order, "noise.distribution": distribution}
    own: list[Settings] = [{"algorithm.k": 1}, {"discriminator.dropout_input": 0.0}, {"algorithm.k": 3}]
    members = [member(small(changes | one), i, done) for i, (one, done) in enumerate(zip(own, (0, 5, 2), strict=True))]
    n = STEPS * M + 3
    beside = given(monkeypatch, members, n, side_by_side=True)
    assert len(beside) == STEPS
    for i, one in enumerate(members):
        alone = given(monkeypatch, [one], n, side_by_side=False)
        for mine, ours in zip(alone, beside, strict=True):
            assert torch.equal(mine.batch.x, ours.batch.x[i])
            parts = zip(random_parts(mine), random_parts(ours), strict=False)  # G's own are last, where there are any
            assert all(torch.equal(a, b[i]) for a, b in parts)
            assert (mine.fresh is not None or mine.joint) <= (ours.fresh is not None or ours.joint)


@pytest.mark.parametrize("rates", [(0.2, 0.5), (0.0, 0.0), (0.0, 0.5)])
def test_draws_do_not_depend_on_the_neighbours_dropout(
    rates: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    own: Settings = {"discriminator.dropout_input": rates[0], "discriminator.dropout_hidden": rates[1]}
    members = [member(small(own), 0), member(small({"discriminator.dropout_hidden": 0.9}), 1)]
    alone = given(monkeypatch, members[:1], STEPS * M, side_by_side=False)
    beside = given(monkeypatch, members, STEPS * M, side_by_side=True)
    for mine, ours in zip(alone, beside, strict=True):
        assert torch.equal(mine.batch.z, ours.batch.z[0])
        masks = ours.batch.masks or ()
        if mine.batch.masks is None:
            assert not any(rates)
            assert all((mask[0] == 1).all() for mask in masks)
        else:
            assert all(torch.equal(a, b[0]) for a, b in zip(mine.batch.masks, masks, strict=True))


@pytest.mark.parametrize("order", ORDERS)
def test_a_shorter_last_block_draws_the_same(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps get the noise and the masks that they get where the epoch, and so the block, goes on."""
    one = member(small({"algorithm.order": order}), 0)
    short = given(monkeypatch, [one], STEPS * M + 3, side_by_side=False)
    whole = given(monkeypatch, [one], 2 * STEPS_A_BLOCK * M, side_by_side=False)
    single = given(monkeypatch, [one], M, side_by_side=False)
    assert [len(steps) for steps in (short, whole, single)] == [STEPS, 2 * STEPS_A_BLOCK, 1]
    for shorter in (short, single):
        for a, b in zip(shorter, whole, strict=False):
            assert all(torch.equal(x, y) for x, y in zip(random_parts(a), random_parts(b), strict=True))


@pytest.mark.parametrize("order", ORDERS)
def test_noise_and_masks_are_fresh_in_every_step_of_every_epoch(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small({"algorithm.order": order, "discriminator.dropout_input": 0.5})
    drawn = []
    for done in range(3):
        for step in given(monkeypatch, [member(config, 0, done)], STEPS * M, side_by_side=False):
            halves = [half for mask in step.batch.masks or () for half in mask.split(M)]
            drawn += [step.batch.z, *halves]
            if step.fresh is not None:
                drawn += [step.fresh.z, *(step.fresh.masks or ())]
    assert len(drawn) == 3 * STEPS * (7 if order == "simultaneous" else 11)
    assert len({tensor.numpy().tobytes() for tensor in drawn}) == len(drawn)


def test_every_block_goes_on_with_the_images_the_schedule_and_k(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(
        {
            "momentum.lr_g": 0.05,
            "momentum.lr_d": 0.04,
            "momentum.lr_decay": 1.01,
            "momentum.lr_floor": 1e-6,
            "algorithm.order": "alternating",
            "algorithm.k": 5,
        }
    )
    t = 0
    for done in range(2):
        steps = given(monkeypatch, [member(config, 0, done)], STEPS * M, side_by_side=False)
        rows = to_unit(images(STEPS * M), LEVELS).double()
        assert sorted(torch.cat([step.batch.x for step in steps]).tolist()) == sorted(rows.tolist())
        for step in steps:
            assert isinstance(step.moves.g, Momentum)
            assert isinstance(step.moves.d, Momentum)
            assert step.moves.g.lr == pytest.approx(0.05 / 1.01**t, rel=1e-12)
            assert step.moves.d.lr == pytest.approx(0.04 / 1.01**t, rel=1e-12)
            t += 1
            assert (step.fresh is not None) == (t % 5 == 0)
            assert not step.joint
    assert t == 2 * STEPS


# --- Side by side ---------------------------------------------------------------------------------------------

# What may differ between trials, for three of them.
OWN: list[tuple[str, list[Settings]]] = [
    ("momentum", [{"algorithm.k": 1}, {"algorithm.k": 3}, {"algorithm.k": 5}]),
    ("adam", [{"algorithm.k": 2}, {"algorithm.k": 1}, {"algorithm.k": 7}]),
    ("momentum", [{}, {"algorithm.objective": "saturating"}, {"algorithm.loss_scale": 1.0}]),
    ("adam", [{}, {"algorithm.objective": "saturating"}, {"algorithm.loss_scale": 0.3}]),
    ("adam", [{"adam.lr_g": 0.01}, {"adam.lr_d": 0.02}, {"adam.beta1": 0.8}]),
    ("adam", [{"adam.beta2": 0.9}, {"adam.eps": 0.1}, {}]),
    ("momentum", [{"momentum.lr_g": 0.2}, {"momentum.final": 0.95}, {"momentum.lr_decay": 1.05}]),
    ("momentum", [{"generator.max_col_norm": 0.7}, {}, {"generator.max_col_norm": 0.9}]),
    ("adam", [{"discriminator.max_col_norm": 0.7}, {"discriminator.max_col_norm": 0.9}, {}]),
    (
        "momentum",
        [
            {"discriminator.dropout_input": 0.0},
            {"discriminator.dropout_hidden": 0.1},
            {"noise.distribution": "gaussian"},
        ],
    ),
]
ALL: list[Settings] = [
    {"algorithm.k": 1, "generator.max_col_norm": 0.8, "adam.lr_g": 0.01, "momentum.initial": 0.1},
    {
        "algorithm.k": 2,
        "algorithm.objective": "saturating",
        "discriminator.max_col_norm": 0.9,
        "adam.beta1": 0.9,
        "momentum.lr_d": 0.01,
    },
    {
        "algorithm.k": 3,
        "algorithm.loss_scale": 0.8,
        "generator.max_col_norm": 1.1,
        "discriminator.max_col_norm": 0.6,
        "adam.beta2": 0.9,
        "adam.eps": 0.01,
        "discriminator.dropout_hidden": 0.0,
    },
]
COMMON: Settings = {"algorithm.epochs": 9, "momentum.lr_g": 0.05, "momentum.lr_d": 0.04, "adam.eps": 1e-3}


def assert_same_as_alone(members: list[Member], n: int, count: int = 3) -> list[dict[str, torch.Tensor]]:
    """Train some epochs side by side and alone; return what each trial became alone."""
    state, single = together(members), states(members)
    for _ in range(count):
        outcome = play(state, members, n, side_by_side=True)
        for i, (own, one) in enumerate(zip(single, members, strict=True)):
            alone = play(own, [one], n, side_by_side=False)
            assert alone.d_updates == outcome.d_updates[i]
            assert alone.g_updates == outcome.g_updates[i]
            torch.testing.assert_close(
                outcome.measures[:, i], alone.measures, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
            )
        members = [dataclasses.replace(one, epochs=one.epochs + 1) for one in members]
    for i, own in enumerate(single):
        assert state.alive[i] == own.alive
        for name, value in tensors(own).items():
            torch.testing.assert_close(tensors(state)[name][i], value, rtol=TOLERANCE, atol=TOLERANCE)
    return [tensors(own) for own in single]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("rule", "own"), OWN)
def test_trials_with_settings_of_their_own_get_what_each_gets_alone(order: str, rule: str, own: list[Settings]) -> None:
    base = COMMON | {"algorithm.order": order, "update.rule": rule}
    members = [member(small(base | one), i) for i, one in enumerate(own)]
    results = assert_same_as_alone(members, STEPS * M + 3)
    # The setting that is the trial's own acts: with the first trial's settings it becomes another.
    (state,) = states([members[-1]])
    other = member(small(base | own[0]), 2)
    for done in range(3):
        play(state, [dataclasses.replace(other, epochs=done)], STEPS * M + 3, side_by_side=False)
    assert any((tensors(state)[name] - value).abs().max() > 1e-4 for name, value in results[-1].items())


@pytest.mark.parametrize(("order", "rule"), list(itertools.product(ORDERS, RULES)))
def test_trials_at_different_epochs_with_everything_their_own(order: str, rule: str) -> None:
    base = COMMON | {"algorithm.order": order, "update.rule": rule}
    members = [member(small(base | one), i, done) for i, (one, done) in enumerate(zip(ALL, (0, 3, 1), strict=True))]
    assert_same_as_alone(members, STEPS * M + 3)


@pytest.mark.parametrize("network", ["lr_g", "lr_d"])
@pytest.mark.parametrize(("order", "rule"), list(itertools.product(ORDERS, RULES)))
def test_a_trial_diverges_side_by_side_where_it_does_alone(order: str, rule: str, network: str) -> None:
    """Its k is 5: a generator that cannot move is no harm before it is to move, whatever the neighbours do."""
    base = COMMON | {"algorithm.order": order, "update.rule": rule}
    own: list[Settings] = [{}, {"algorithm.k": 5, f"{rule}.{network}": 1e250}, {"algorithm.k": 2}]
    members = [member(small(base | one), i) for i, one in enumerate(own)]
    results = assert_same_as_alone(members, STEPS * M + 3)
    assert all(value.isfinite().all() for result in results for value in result.values())
    state = together(members)
    outcome = play(state, members, STEPS * M + 3, side_by_side=True)
    assert state.alive.tolist() == [True, False, True]
    moved = {"lr_d": 0, "lr_g": 4 if order == "simultaneous" else 5}[network]
    assert outcome.d_updates.tolist() == [STEPS, moved, STEPS]
    assert outcome.g_updates.tolist() == [STEPS, 0, STEPS // 2]
    healthy = [members[0], member(small(base | {"algorithm.k": 5}), 1), members[2]]
    beside = together(healthy)
    play(beside, healthy, STEPS * M + 3, side_by_side=True)
    assert beside.alive.all()
    for name, value in tensors(state).items():
        assert torch.equal(value[[0, 2]], tensors(beside)[name][[0, 2]])


@pytest.mark.parametrize("bounded", [False, True], ids=["free", "max-norm"])
@pytest.mark.parametrize(("order", "rule"), list(itertools.product(ORDERS, RULES)))
def test_a_generator_that_does_not_move_keeps_parameters_and_moments(order: str, rule: str, bounded: bool) -> None:
    changes: Settings = {"algorithm.order": order, "update.rule": rule}
    if bounded:
        changes |= {"generator.max_col_norm": 0.4, "discriminator.max_col_norm": 0.9}
    config = small(changes)
    members = [member(config, i) for i in range(3)]
    nets, joint = shapes(config), order == "simultaneous"
    which = torch.tensor([True, False, True])

    def step(state: State, t: int, g_moves: torch.Tensor | None) -> None:
        batches = [games.minibatch(config, i, t) for i in range(3)]
        noises = [games.noise(config, i, t, "generator") for i in range(3)]

        def stack(parts: Sequence[Minibatch] | Sequence[Noise]) -> list[torch.Tensor]:
            return [games.stacked(layer) for layer in zip(*(part.masks or () for part in parts), strict=True)]

        batch = Minibatch(
            x=games.stacked([one.x for one in batches]),
            z=games.stacked([one.z for one in batches]),
            masks=stack(batches),
        )
        fresh = None if joint else Noise(z=games.stacked([one.z for one in noises]), masks=stack(noises))
        moves = games.moves(config, games.rates(config, t), g_moves)
        algorithm1.train(state, [Step(batch=batch, fresh=fresh, moves=moves, joint=joint)], nets, games.rules(config))

    some, everyone = together(members), together(members)
    for state in (some, everyone):
        step(state, 0, None)  # moments are not 0 after it
        if bounded:
            state.g["0.weight"].mul_(3)  # above the bound, so a clip would show
    before = tensors(some)
    step(some, 1, which)
    step(everyone, 1, None)
    for name, value in tensors(some).items():
        rest = [0, 2] if name.startswith("g") else [0, 1, 2]
        assert torch.equal(value[rest], tensors(everyone)[name][rest])
        assert torch.equal(value[1], before[name][1]) == name.startswith("g")
    assert some.alive.all()
