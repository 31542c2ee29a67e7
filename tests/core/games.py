"""Small games for the tests of the core: networks, states and minibatches of chosen sizes and dtype."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from gansearch.config import TrialConfig
from gansearch.core import losses, networks, updates
from gansearch.core.algorithm1 import Minibatch, Moves, Noise, Rules, State
from gansearch.core.dropout import Masks
from gansearch.core.networks import Networks, Params, Rate
from gansearch.core.updates import Adam, Momentum
from gansearch.seeds import Draws

# All sizes differ, so a wrong axis shows.
SMALL: dict[str, object] = {
    "noise.dim": 3,
    "generator.hidden": [11, 7],
    "generator.init_range": 0.6,
    "discriminator.hidden": [6, 4],
    "discriminator.pieces": 5,
    "discriminator.init_range": 0.7,
    "algorithm.batch_size": 13,
}
DATA_DIM = 8


def small(changes: dict[str, object] | None = None) -> TrialConfig:
    """Return a configuration of small networks with large initial weights, so that nothing is nearly linear."""
    return TrialConfig().replace(SMALL | (changes or {}))


def shapes(config: TrialConfig, data_dim: int = DATA_DIM) -> Networks:
    """Return the configuration's networks."""
    return Networks.of(config, data_dim)


def draws(seed: int) -> Draws:
    """Return draws on the CPU."""
    return Draws(seed, torch.device("cpu"))


def start(config: TrialConfig, seed: int, dtype: torch.dtype = torch.float64, data_dim: int = DATA_DIM) -> State:
    """Return an untrained state; biases are random too."""
    nets, source = shapes(config, data_dim), draws(seed)
    g = networks.init_generator(nets, torch.full((data_dim,), 0.3), source)
    d = networks.init_discriminator(nets, source)
    for network, params in (("g", g), ("d", d)):
        for name, p in params.items():
            if name.endswith("bias"):
                p.add_(source.uniform(f"bias/{network}/{name}", 0, tuple(p.shape), -0.3, 0.3))
    return state_of(converted(g, dtype), converted(d, dtype), config)


def converted(params: Params, dtype: torch.dtype) -> Params:
    """Return copies of another type."""
    return {name: p.clone().to(dtype) for name, p in params.items()}


def state_of(g: Params, d: Params, config: TrialConfig, trials: tuple[int, ...] = ()) -> State:
    """Return the state of these parameters before the first update."""
    g_moments, d_moments = (updates.init_moments(p, config.update.rule) for p in (g, d))
    return State(g=g, d=d, g_moments=g_moments, d_moments=d_moments, alive=torch.ones(trials, dtype=torch.bool))


def masks(
    config: TrialConfig, seed: int, step: int, purpose: str, rows: int, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    """Return D's dropout masks of so many images, one an activation."""
    widths = shapes(config).dropout_widths
    rates = torch.tensor([config.dropout_rates], dtype=dtype)
    made = Masks(rates.repeat_interleave(torch.tensor(widths), 1), 1, rows)
    draws(seed).bits_(made.bits(1)[0], f"dropout/{purpose}", step)
    return list(made.from_bits(1)[0, 0].split(widths, -1))


def noise(config: TrialConfig, seed: int, step: int, purpose: str, dtype: torch.dtype = torch.float64) -> Noise:
    """Return noise and masks."""
    m = config.algorithm.batch_size
    return Noise(
        z=networks.draw_noise(config.noise, draws(seed), f"noise/{purpose}", step, m).to(dtype),
        masks=masks(config, seed, step, purpose, m, dtype),
    )


def minibatch(config: TrialConfig, seed: int, step: int, dtype: torch.dtype = torch.float64) -> Minibatch:
    """Return examples uniform on [0,1), noise and masks."""
    m = config.algorithm.batch_size
    return Minibatch(
        x=draws(seed).uniform("examples", step, (m, DATA_DIM), 0, 1).to(dtype),
        z=noise(config, seed, step, "fake", dtype).z,
        masks=masks(config, seed, step, "both", 2 * m, dtype),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How far a step moves, whatever the rule: rates, and the numbers of the updates from 1."""

    lr_g: Rate
    lr_d: Rate
    momentum: Rate
    g_update: int
    d_update: int


def rates(config: TrialConfig, t: int, **changes: float) -> Rates:
    """Return rates that differ between the networks and from step to step."""
    base = Rates(
        lr_g=0.2 / (1 + t),
        lr_d=0.3 / (1 + t),
        momentum=0.5 + 0.05 * t,
        g_update=t // config.algorithm.k + 1,
        d_update=t + 1,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # the tests name fields of Rates


def moves(config: TrialConfig, rate: Rates, g_moves: torch.Tensor | None = None) -> Moves:
    """Return these rates as the configured rule takes them."""
    g, d = (_rule(config, rate, lr, n) for lr, n in ((rate.lr_g, rate.g_update), (rate.lr_d, rate.d_update)))
    return Moves(g=g, d=d, g_moves=g_moves)


def _rule(config: TrialConfig, rate: Rates, lr: Rate, n: int) -> Momentum | Adam:
    if config.update.rule == "momentum":
        return Momentum(lr=lr, momentum=rate.momentum)
    return adam(lr, n, beta1=config.adam.beta1, beta2=config.adam.beta2, eps=config.adam.eps)


def adam(lr: Rate, n: int, *, beta1: float, beta2: float, eps: float) -> Adam:
    """Return Adam's update number n, from 1."""
    return Adam(lr=lr, fresh1=1 - beta1, fresh2=1 - beta2, gathered1=1 - beta1**n, gathered2=1 - beta2**n, eps=eps)


def rules(config: TrialConfig) -> Rules:
    """Return what the players of a configuration play for."""
    return Rules(
        objective=losses.OBJECTIVES[config.algorithm.objective],
        loss_scale=config.algorithm.loss_scale,
        g_max_norm=config.generator.max_col_norm,
        d_max_norm=config.discriminator.max_col_norm,
    )


def tensors(state: State) -> dict[str, torch.Tensor]:
    """Return copies of everything that a step moves."""
    groups = {"g": state.g, "d": state.d, "g_moments": state.g_moments, "d_moments": state.d_moments}
    return {f"{group}/{name}": p.clone() for group, params in groups.items() for name, p in params.items()}


def stacked(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return tensors of many trials on a leading axis."""
    return torch.stack(list(parts))


def stack_states(states: Sequence[State], config: TrialConfig) -> State:
    """Return untrained states of trials side by side."""
    g, d = (
        {name: stacked([getattr(s, net)[name] for s in states]) for name in getattr(states[0], net)}
        for net in ("g", "d")
    )
    return state_of(g, d, config, (len(states),))
