"""Algorithm 1 with many trials at once: each gets what it gets alone."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch

from gansearch.config import TrialConfig
from gansearch.core import algorithm1
from gansearch.core.algorithm1 import Minibatch, Noise, State
from tests.core import games
from tests.core.games import Rates, minibatch, moves, noise, rates, rules, shapes, small, stack_states, start, tensors

ORDERS = ("simultaneous", "alternating")
RULES = ("momentum", "adam")
TRIALS = 3


def stack_masks(parts: list[Noise] | list[Minibatch]) -> list[torch.Tensor]:
    return [games.stacked(layer) for layer in zip(*(p.masks for p in parts if p.masks is not None), strict=True)]


def stack_noise(parts: list[Noise]) -> Noise:
    return Noise(z=games.stacked([p.z for p in parts]), masks=stack_masks(parts))


def stack_minibatches(parts: list[Minibatch]) -> Minibatch:
    x, z = games.stacked([p.x for p in parts]), games.stacked([p.z for p in parts])
    return Minibatch(x=x, z=z, masks=stack_masks(parts))


def step(state: State, batch: Minibatch, fresh: Noise, rate: Rates, config: TrialConfig) -> None:
    """Move both networks in the configured order."""
    nets, moving = shapes(config), moves(config, rate)
    if config.algorithm.order == "simultaneous":
        algorithm1.joint_step(state, batch, moving, nets, rules(config))
    else:
        algorithm1.discriminator_step(state, batch, moving, nets, rules(config))
        algorithm1.generator_step(state, fresh, moving, nets, rules(config))


def trial_rates(config: TrialConfig, t: int, trial: int) -> Rates:
    base = rates(config, t)
    return dataclasses.replace(
        base,
        lr_g=float(base.lr_g) * (1 + trial),
        lr_d=float(base.lr_d) / (1 + trial),
        momentum=float(base.momentum) - 0.1 * trial,
    )


def stack_rates(parts: list[Rates], dtype: torch.dtype) -> Rates:
    columns = {
        name: torch.tensor([getattr(p, name) for p in parts], dtype=dtype) for name in ("lr_g", "lr_d", "momentum")
    }
    return Rates(**columns, g_update=parts[0].g_update, d_update=parts[0].d_update)


def play_trials(
    config: TrialConfig, dtype: torch.dtype, spoil: str | None = None, steps: int = 4
) -> tuple[State, list[dict[str, torch.Tensor]]]:
    """Play trials side by side, the middle one spoilt at step 2; return the state and copies after each step."""
    history = []
    state = stack_states([start(config, seed=30 + i, dtype=dtype) for i in range(TRIALS)], config)
    for t in range(steps):
        batch = stack_minibatches([minibatch(config, 50 + i, t, dtype) for i in range(TRIALS)])
        rate = stack_rates([trial_rates(config, t, i) for i in range(TRIALS)], dtype)
        if t == 2 and spoil == "data":
            batch.x[1, 4, 5] = math.nan
        if t == 2 and spoil == "rate":
            assert isinstance(rate.lr_d, torch.Tensor)
            rate.lr_d[1] = math.inf
        if t == 2 and spoil == "overflow":
            assert isinstance(rate.lr_g, torch.Tensor)
            rate.lr_g[1] = torch.finfo(dtype).max
        fresh = stack_noise([noise(config, 50 + i, t, "generator", dtype) for i in range(TRIALS)])
        step(state, batch, fresh, rate, config)
        history.append(tensors(state))
    return state, history


@pytest.mark.parametrize(
    # A batched product may add in another order: the last bits of sums of a few dozen terms, over four steps.
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float64, 1e-12)],
    ids=["float32", "float64"],
)
@pytest.mark.parametrize(("order", "rule"), list(itertools.product(ORDERS, RULES)))
def test_trials_side_by_side_get_what_each_gets_alone(
    order: str, rule: str, dtype: torch.dtype, tolerance: float
) -> None:
    changes = {"algorithm.order": order, "update.rule": rule, "discriminator.max_col_norm": 1.1, "adam.eps": 0.01}
    config = small(changes)
    _, history = play_trials(config, dtype)
    for i in range(TRIALS):
        alone = start(config, seed=30 + i, dtype=dtype)
        for t in range(len(history)):
            fresh = noise(config, 50 + i, t, "generator", dtype)
            step(alone, minibatch(config, 50 + i, t, dtype), fresh, trial_rates(config, t, i), config)
        for name, value in tensors(alone).items():
            torch.testing.assert_close(
                history[-1][name][i], value, rtol=tolerance, atol=tolerance * float(value.abs().max())
            )


@pytest.mark.parametrize("spoil", ["data", "rate", "overflow"])
@pytest.mark.parametrize(("order", "rule"), list(itertools.product(ORDERS, RULES)))
def test_a_diverging_trial_leaves_the_others_alone(order: str, rule: str, spoil: str) -> None:
    config = small({"algorithm.order": order, "update.rule": rule, "discriminator.max_col_norm": 0.9})
    state, spoilt = play_trials(config, torch.float32, spoil)
    _, healthy = play_trials(config, torch.float32)
    assert state.alive.tolist() == [True, False, True]
    for name, value in spoilt[-1].items():
        assert value.isfinite().all()
        assert torch.equal(value[[0, 2]], healthy[-1][name][[0, 2]])
        # Alternating, D has moved before it is G's step that fails.
        frozen_at = 2 if spoil == "overflow" and order == "alternating" and name.startswith("d") else 1
        assert torch.equal(value[1], spoilt[frozen_at][name][1])
        assert torch.equal(spoilt[1][name], healthy[1][name])
