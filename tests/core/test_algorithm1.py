"""Algorithm 1: its steps against NumPy, its theory in one dimension, divergence."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from gansearch.config import TrialConfig
from gansearch.core import algorithm1
from gansearch.core.algorithm1 import MEASURES, Logits, Minibatch, Noise, State, Step
from gansearch.core.discriminator import discriminate
from tests.core import games, reference_step
from tests.core.games import Rates, minibatch, moves, noise, rates, rules, shapes, small, start, tensors

# Sums of a few dozen terms in float64 lose about 1e-14; four steps multiply that by the networks' slopes.
FLOAT64_TOLERANCE = 1e-10

ORDERS = ("simultaneous", "alternating")
RULES = ("momentum", "adam")
OBJECTIVES = ("non-saturating", "saturating")


def play(state: State, config: TrialConfig, steps: int, seed: int, dtype: torch.dtype) -> None:
    """Take steps of the configured order and k."""
    course = []
    for t in range(steps):
        update_g, joint = (t + 1) % config.algorithm.k == 0, config.algorithm.order == "simultaneous"
        fresh = noise(config, seed, t, "generator", dtype) if update_g and not joint else None
        course.append(
            Step(
                batch=minibatch(config, seed, t, dtype),
                fresh=fresh,
                moves=moves(config, rates(config, t)),
                joint=update_g and joint,
            )
        )
    assert len(algorithm1.train(state, course, shapes(config), rules(config))) == steps


def joint_step(state: State, batch: Minibatch, rate: Rates, config: TrialConfig) -> Logits:
    return algorithm1.joint_step(state, batch, moves(config, rate), shapes(config), rules(config))


def discriminator_step(state: State, batch: Minibatch, rate: Rates, config: TrialConfig) -> Logits:
    nets = shapes(config, batch.x.shape[-1])
    return algorithm1.discriminator_step(state, batch, moves(config, rate), nets, rules(config))


def measured(logits: Logits, config: TrialConfig) -> dict[str, float]:
    return dict(zip(MEASURES, algorithm1.measure(logits, rules(config)).tolist(), strict=True))


def numpy_of(params: dict[str, torch.Tensor]) -> reference_step.Arrays:
    return {name: p.detach().to(torch.float64).numpy().copy() for name, p in params.items()}


def play_reference(
    state: State, config: TrialConfig, steps: int, seed: int, dtype: torch.dtype
) -> dict[str, np.ndarray]:
    """Take the same steps from the same state with NumPy; return parameters by the names of `tensors`."""
    recipe = reference_step.recipe_of(config)
    g, d = reference_step.player(numpy_of(state.g)), reference_step.player(numpy_of(state.d))

    def draw_of(passing: Noise | Minibatch) -> reference_step.Draw:
        assert passing.masks is not None
        z, masks = passing.z.to(torch.float64).numpy(), [mask.to(torch.float64).numpy() for mask in passing.masks]
        if isinstance(passing, Noise):
            return reference_step.Draw(z=z, masks_fake=masks)
        return reference_step.Draw(
            z=z,
            masks_fake=[mask[len(z) :] for mask in masks],
            x=passing.x.to(torch.float64).numpy(),
            masks_real=[mask[: len(z)] for mask in masks],
        )

    for t in range(steps):
        batch, rate, update_g = minibatch(config, seed, t, dtype), rates(config, t), (t + 1) % config.algorithm.k == 0
        moving = reference_step.Rates(lr_g=float(rate.lr_g), lr_d=float(rate.lr_d), momentum=float(rate.momentum))
        draw = draw_of(batch)
        if update_g and config.algorithm.order == "simultaneous":
            reference_step.joint_step(g, d, draw, moving, recipe)
        else:
            reference_step.discriminator_step(g, d, draw, moving, recipe)
        if update_g and config.algorithm.order == "alternating":
            fresh = draw_of(noise(config, seed, t, "generator", dtype))
            reference_step.generator_step(g, d, fresh, moving, recipe)
    return {f"{group}/{name}": p for group, net in (("g", g), ("d", d)) for name, p in net.params.items()}


def largest_difference(state: State, expected: dict[str, np.ndarray]) -> float:
    got = tensors(state)
    return max(float(np.abs(got[name].to(torch.float64).numpy() - value).max()) for name, value in expected.items())


@pytest.mark.parametrize("bounded", [False, True], ids=["free", "max-norm"])
@pytest.mark.parametrize(("order", "rule", "objective"), list(itertools.product(ORDERS, RULES, OBJECTIVES)))
def test_steps_agree_with_numpy_in_float64(order: str, rule: str, objective: str, bounded: bool) -> None:
    """Four discriminator and two generator steps: momentum, Adam's correction and the schedules all act."""
    changes: dict[str, object] = {
        "algorithm.order": order,
        "algorithm.objective": objective,
        "algorithm.k": 2,
        "algorithm.loss_scale": 0.7,
        "update.rule": rule,
    }
    if bounded:
        changes |= {"generator.max_col_norm": 0.8, "discriminator.max_col_norm": 0.9, "generator.output": "tanh"}
    config = small(changes)
    state = start(config, seed=3)
    before = tensors(state)
    expected = play_reference(state, config, steps=4, seed=5, dtype=torch.float64)
    play(state, config, steps=4, seed=5, dtype=torch.float64)
    assert largest_difference(state, expected) < FLOAT64_TOLERANCE
    # The step that is compared is not a small one.
    assert all(largest_difference(state, {name: before[name].numpy()}) > 1e-3 for name in ("g/0.weight", "d/0.weight"))


@pytest.mark.parametrize(("order", "rule"), list(itertools.product(ORDERS, RULES)))
def test_steps_agree_with_numpy_in_float32(order: str, rule: str) -> None:
    # A value of the backward pass is a sum over a chain of fan-ins and the minibatch, about 60 terms of size 1 or
    # less, so its error is below 60 * 2^-24; Adam divides it by eps or more, momentum multiplies the rate by
    # 1 / (1 - .65) at most; 4 steps add up.
    adam_eps, lr, steps = 0.01, 0.3, 4
    gradient_error = 60 * 2.0**-24
    amplification = lr / adam_eps if rule == "adam" else lr / (1 - 0.65)
    tolerance = steps * gradient_error * amplification
    config = small({"algorithm.order": order, "algorithm.k": 2, "update.rule": rule, "adam.eps": adam_eps})
    state = start(config, seed=3, dtype=torch.float32)
    expected = play_reference(state, config, steps=steps, seed=5, dtype=torch.float32)
    play(state, config, steps=steps, seed=5, dtype=torch.float32)
    assert largest_difference(state, expected) < tolerance


def test_joint_step_takes_both_gradients_at_one_moment() -> None:
    """G's step is that of the D before the step: with D's rate at 0 nothing about it changes."""
    config = small()
    moved, still = start(config, seed=3), start(config, seed=3)
    batch = minibatch(config, 5, 0)
    joint_step(moved, batch, rates(config, 0), config)
    joint_step(still, batch, rates(config, 0, lr_d=0.0), config)
    assert not torch.equal(moved.d["0.weight"], still.d["0.weight"])
    assert all(torch.equal(moved.g[name], still.g[name]) for name in moved.g)


def test_measures_are_those_of_the_logits() -> None:
    config = small(
        {"algorithm.loss_scale": 0.7, "discriminator.dropout_input": 0.0, "discriminator.dropout_hidden": 0.0}
    )
    state = start(config, seed=3)
    batch = minibatch(config, 5, 0)
    g, d = numpy_of(state.g), numpy_of(state.d)
    measures = measured(joint_step(state, batch, rates(config, 0), config), config)
    ones = [np.ones((13, width)) for width in (games.DATA_DIM, 6, 4)]
    images, _ = reference_step.generate(g, batch.z.numpy(), "sigmoid")
    real = reference_step.sigmoid(reference_step.discriminate(d, batch.x.numpy(), ones, 5)[0])
    fake = reference_step.sigmoid(reference_step.discriminate(d, images, ones, 5)[0])
    value = np.log(real).mean() + np.log(1 - fake).mean()
    expected = {
        "loss_d": -0.7 * value,
        "loss_g": -np.log(fake).mean(),
        "game_value": value,
        "d_real": real.mean(),
        "d_fake": fake.mean(),
    }
    assert measures == pytest.approx(expected, abs=FLOAT64_TOLERANCE)


# --- Proposition 1 and Theorem 1 in one dimension -------------------------------------------------------------

GAUSSIAN_BATCH = 500
GAUSSIAN_STEPS = 400
LARGE_SAMPLE = 100_000


def gaussian_game(rule: str) -> TrialConfig:
    """Return a game whose generator is z -> w z + b exactly, so that its samples are Gaussian."""
    return TrialConfig().replace(
        {
            "noise.dim": 1,
            "noise.distribution": "gaussian",
            "generator.hidden": [],
            "generator.output": "linear",
            "discriminator.hidden": [20, 12],
            "discriminator.pieces": 4,
            "discriminator.dropout_input": 0.0,
            "discriminator.dropout_hidden": 0.0,
            "discriminator.init_range": 0.5,
            "algorithm.batch_size": GAUSSIAN_BATCH,
            "algorithm.loss_scale": 1.0,
            "update.rule": rule,
        }
    )


def gaussian_minibatch(data: tuple[float, float], source: torch.Generator, m: int) -> Minibatch:
    x = data[0] + data[1] * torch.randn(m, 1, generator=source)
    return Minibatch(x=x, z=torch.randn(m, 1, generator=source), masks=None)


def train_discriminator(
    rule: str, data: tuple[float, float], generated: tuple[float, float]
) -> tuple[State, TrialConfig, float]:
    """Train D against a fixed generator; return its state and the game's value on a fresh sample."""
    config = gaussian_game(rule)
    source = torch.Generator().manual_seed(11)
    state = start(config, seed=2, dtype=torch.float32, data_dim=1)
    state.g["0.weight"].fill_(generated[1])
    state.g["0.bias"].fill_(generated[0])
    initial = {"momentum": 0.1, "adam": 0.01}[rule]
    for t in range(GAUSSIAN_STEPS):
        # To zero at the end, which averages the noise of the minibatches out.
        lr = initial * (1 - t / GAUSSIAN_STEPS)
        step = Rates(lr_g=0.0, lr_d=lr, momentum=0.8, g_update=1, d_update=t + 1)
        discriminator_step(state, gaussian_minibatch(data, source, GAUSSIAN_BATCH), step, config)
    still = Rates(lr_g=0.0, lr_d=0.0, momentum=0.0, g_update=1, d_update=GAUSSIAN_STEPS + 1)
    fresh = gaussian_minibatch(data, source, LARGE_SAMPLE)
    measures = measured(discriminator_step(state, fresh, still, config), config)
    return state, config, measures["game_value"]


@pytest.mark.parametrize("rule", RULES)
def test_discriminator_reaches_its_optimum(rule: str) -> None:
    """Proposition 1: D* = p_data / (p_data + p_g); and V(D*, G) = -log 4 + 2 JSD (Theorem 1)."""
    data, generated = (0.6, 0.5), (-0.4, 0.9)
    state, config, value = train_discriminator(rule, data, generated)
    x = np.linspace(-6, 6, 4001)
    p_data, p_g = norm.pdf(x, *data), norm.pdf(x, *generated)
    optimum = p_data / (p_data + p_g)
    points = torch.from_numpy(x).float().unsqueeze(-1)
    d = discriminate(shapes(config, 1), state.d, points, None).sigmoid().numpy()
    assert np.average(np.abs(d - optimum), weights=p_data + p_g) < 0.02
    dx = x[1] - x[0]
    best_value = (p_data * np.log(optimum) + p_g * np.log1p(-optimum)).sum() * dx
    assert -math.log(4) + 0.1 < best_value  # the two distributions differ, so the value is informative
    assert value == pytest.approx(best_value, abs=0.01)


@pytest.mark.parametrize("rule", RULES)
def test_value_of_the_game_is_minus_log_4_where_samples_are_data(rule: str) -> None:
    _, _, value = train_discriminator(rule, (0.6, 0.5), (0.6, 0.5))
    assert value == pytest.approx(-math.log(4), abs=0.01)


# --- Divergence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [1e30, 1e38, 1e300])
@pytest.mark.parametrize("network", ["lr_g", "lr_d"])
@pytest.mark.parametrize("rule", RULES)
def test_no_rate_puts_what_is_not_finite_into_parameters(rule: str, network: str, lr: float) -> None:
    config = small({"update.rule": rule})
    state = start(config, seed=3, dtype=torch.float32)
    joint_step(state, minibatch(config, 5, 0, torch.float32), rates(config, 0), config)
    before = tensors(state)
    for t in (1, 2, 3):
        rate = rates(config, t, **{network: lr})
        joint_step(state, minibatch(config, 5, t, torch.float32), rate, config)
        assert all(value.isfinite().all() for value in tensors(state).values())
    assert not state.alive
    # The step itself is refused, so both networks stay where they were before it.
    assert all(torch.equal(value, before[name]) for name, value in tensors(state).items())


@pytest.mark.parametrize("rule", RULES)
def test_nan_data_freezes_a_trial_for_good(rule: str) -> None:
    config = small({"update.rule": rule, "generator.max_col_norm": 0.5, "discriminator.max_col_norm": 0.5})
    state = start(config, seed=3)
    before = tensors(state)
    batch = minibatch(config, 5, 0)
    batch.x[7, 2] = math.nan
    discriminator_step(state, batch, rates(config, 0), config)
    fresh, rate = noise(config, 5, 0, "generator"), moves(config, rates(config, 0))
    algorithm1.generator_step(state, fresh, rate, shapes(config), rules(config))
    joint_step(state, minibatch(config, 5, 1), rates(config, 1), config)
    assert not state.alive
    assert all(torch.equal(value, before[name]) for name, value in tensors(state).items())


def test_an_infinite_loss_freezes_where_the_step_would_be_finite() -> None:
    """Logits of -inf on examples: the loss is infinite, its gradient only as large as the examples."""
    config = small({"discriminator.hidden": []})
    state = start(config, seed=3, dtype=torch.float32)
    batch = minibatch(config, 5, 0, torch.float32)
    state.d["0.weight"].fill_(-1e35)
    before = tensors(state)
    large = dataclasses.replace(batch, x=batch.x * 1e10)
    # The factors are finite: examples of 1e10, and slopes of at most the rate.
    logits = discriminator_step(state, large, rates(config, 0), config)
    assert not logits.real.isfinite().any()
    assert measured(logits, config)["loss_d"] == math.inf
    assert not state.alive
    assert all(torch.equal(value, before[name]) for name, value in tensors(state).items())
