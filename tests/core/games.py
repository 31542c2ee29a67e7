"""Small games for the tests of the core: networks, states and minibatches of chosen sizes and dtype."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from gansearch.config import TrialConfig
from gansearch.core import networks, updates
from gansearch.core.algorithm1 import Minibatch, Noise, Rates, State
from gansearch.core.networks import Networks, Params
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
    return Networks(
        generator=config.generator, discriminator=config.discriminator, noise=config.noise, data_dim=data_dim
    )


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
    return state_of(leaves(g, dtype), leaves(d, dtype), config)


def leaves(params: Params, dtype: torch.dtype) -> Params:
    """Return copies that gradients are taken at."""
    return {name: p.detach().clone().to(dtype).requires_grad_(True) for name, p in params.items()}


def state_of(g: Params, d: Params, config: TrialConfig, trials: tuple[int, ...] = ()) -> State:
    """Return the state of these parameters before the first update."""
    rule = config.update.rule
    moments = [{n: m.detach() for n, m in updates.init_moments(p, rule).items()} for p in (g, d)]
    return State(g=g, d=d, g_moments=moments[0], d_moments=moments[1], alive=torch.ones(trials, dtype=torch.bool))


def noise(config: TrialConfig, seed: int, step: int, purpose: str, dtype: torch.dtype = torch.float64) -> Noise:
    """Return noise and masks."""
    nets, m, source = shapes(config), config.algorithm.batch_size, draws(seed)
    return Noise(
        z=networks.draw_noise(config.noise, source, f"noise/{purpose}", step, m).to(dtype),
        masks=[mask.to(dtype) for mask in networks.draw_masks(nets, source, purpose, step, m)],
    )


def minibatch(config: TrialConfig, seed: int, step: int, dtype: torch.dtype = torch.float64) -> Minibatch:
    """Return examples uniform on [0,1), noise and masks."""
    m = config.algorithm.batch_size
    return Minibatch(
        x=draws(seed).uniform("examples", step, (m, DATA_DIM), 0, 1).to(dtype),
        masks=noise(config, seed, step, "real", dtype).masks,
        noise=noise(config, seed, step, "fake", dtype),
    )


def rates(config: TrialConfig, t: int, **changes: object) -> Rates:
    """Return rates that differ between the networks and from step to step."""
    base = Rates(
        lr_g=0.2 / (1 + t),
        lr_d=0.3 / (1 + t),
        momentum=0.5 + 0.05 * t,
        g_update=t // config.algorithm.k + 1,
        d_update=t + 1,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # the tests name fields of Rates


def tensors(state: State) -> dict[str, torch.Tensor]:
    """Return copies of everything that a step moves."""
    groups = {"g": state.g, "d": state.d, "g_moments": state.g_moments, "d_moments": state.d_moments}
    return {f"{group}/{name}": p.detach().clone() for group, params in groups.items() for name, p in params.items()}


def stacked(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return tensors of many trials on a leading axis."""
    return torch.stack([part.detach() for part in parts])
