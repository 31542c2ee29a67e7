"""The two networks as functions of their parameters.

A network's parameters are a mapping of names to tensors; the functions keep no state. Weights are
[*trials, fan_in, fan_out] and activations [*trials, m, units], so the same code runs one trial or many
stacked ones. Sources: Goodfellow et al. 2014, section 5 (rectifiers and sigmoids in G, maxout and dropout
in D); Goodfellow et al. 2013, "Maxout networks"; the initial ranges of the published configuration.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import torch

from gansearch.config import DiscriminatorConfig, GeneratorConfig, NoiseConfig
from gansearch.core.shapes import Bool, Float, Tensor
from gansearch.seeds import Draws

Params = dict[str, torch.Tensor]

MARGINAL_CLIP = 1e-7
"""Pixel marginals are clipped to [this, 1 - this] before the logit (the published configuration)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The shapes of both networks, as the functions below need them.

    Attributes:
        generator: the generator's configuration.
        discriminator: the discriminator's configuration.
        noise: the noise's configuration.
        data_dim: pixels d of an image.
    """

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    noise: NoiseConfig
    data_dim: int

    @property
    def generator_widths(self) -> tuple[int, ...]:
        """Units from z to the image, both ends included."""
        return (self.noise.dim, *self.generator.hidden, self.data_dim)

    @property
    def dropout_widths(self) -> tuple[int, ...]:
        """Units of each activation of D that dropout acts on: its input and its hidden layers."""
        return (self.data_dim, *self.discriminator.hidden)

    @property
    def dropout_rates(self) -> tuple[float, ...]:
        """Probability of dropping a unit, for each of `dropout_widths`."""
        hidden = self.discriminator.dropout_hidden
        return (self.discriminator.dropout_input, *(hidden for _ in self.discriminator.hidden))


def init_generator(networks: Networks, marginals: Float[Tensor, " d"], draws: Draws) -> Params:
    """Return G's initial parameters: weights uniform in its range, biases 0, the output bias as configured.

    Args:
        networks: the shapes.
        marginals: mean of each pixel over the training images, in [0,1].
        draws: the trial's draws.
    """
    config = networks.generator
    params = _uniform_layers("generator", networks.generator_widths, config.init_range, draws)
    if config.output_bias == "marginals":
        p = marginals.clamp(MARGINAL_CLIP, 1 - MARGINAL_CLIP)
        # tanh(a) is mapped to (1 + tanh(a)) / 2 = sigmoid(2a), hence half the logit.
        bias = {"sigmoid": p.logit(), "tanh": p.logit() / 2, "linear": marginals}[config.output]
        params[f"{len(config.hidden)}.bias"] = bias.clone()
    return params


def init_discriminator(networks: Networks, draws: Draws) -> Params:
    """Return D's initial parameters: weights uniform in its range, biases 0."""
    config = networks.discriminator
    fan_in = networks.data_dim
    params: Params = {}
    for i, units in enumerate(config.hidden):
        params |= _uniform_layer("discriminator", i, fan_in, units * config.pieces, config.init_range, draws)
        fan_in = units
    return params | _uniform_layer("discriminator", len(config.hidden), fan_in, 1, config.init_range, draws)


def _uniform_layers(network: str, widths: Sequence[int], init_range: float, draws: Draws) -> Params:
    params: Params = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        params |= _uniform_layer(network, i, fan_in, fan_out, init_range, draws)
    return params


def _uniform_layer(network: str, i: int, fan_in: int, fan_out: int, init_range: float, draws: Draws) -> Params:
    weight = draws.uniform(f"init/{network}/{i}", 0, (fan_in, fan_out), -init_range, init_range)
    return {f"{i}.weight": weight, f"{i}.bias": torch.zeros(fan_out, device=weight.device)}


def _affine(params: Params, i: int, x: Tensor) -> Tensor:
    weight, bias = params[f"{i}.weight"], params[f"{i}.bias"]
    if weight.dim() == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight)


def generate(networks: Networks, params: Params, z: Float[Tensor, "*trials m z"]) -> Float[Tensor, "*trials m d"]:
    """Return G(z), images in [0,1] (unbounded for a linear output)."""
    h = z
    depth = len(networks.generator.hidden)
    for i in range(depth):
        h = _affine(params, i, h).relu()
    a = _affine(params, depth, h)
    output = networks.generator.output
    if output == "sigmoid":
        return a.sigmoid()
    return (1 + a.tanh()) / 2 if output == "tanh" else a


def discriminate(
    networks: Networks,
    params: Params,
    x: Float[Tensor, "*trials m d"],
    masks: Sequence[Tensor] | None,
) -> Float[Tensor, "*trials m"]:
    """Return the logit of D(x).

    Args:
        networks: the shapes.
        params: D's parameters.
        x: images.
        masks: what multiplies each activation of `dropout_widths`: 0 or 1 / (1 - rate); None turns
            dropout off.
    """
    pieces, h = networks.discriminator.pieces, x
    for i, units in enumerate(networks.discriminator.hidden):
        h = h if masks is None else h * masks[i]
        # A maxout unit is the maximum of its linear pieces.
        h = _affine(params, i, h).unflatten(-1, (pieces, units)).amax(-2) if pieces > 1 else _affine(params, i, h)
    depth = len(networks.discriminator.hidden)
    h = h if masks is None else h * masks[depth]
    return _affine(params, depth, h).squeeze(-1)


def draw_noise(noise: NoiseConfig, draws: Draws, purpose: str, step: int, n: int) -> Float[Tensor, "n z"]:
    """Return n noise vectors of unit variance a component."""
    if noise.distribution == "gaussian":
        return draws.normal(purpose, step, (n, noise.dim))
    return draws.uniform(purpose, step, (n, noise.dim), -math.sqrt(3), math.sqrt(3))


def draw_masks(networks: Networks, draws: Draws, purpose: str, step: int, n: int) -> list[Tensor]:
    """Return the dropout masks of one pass of n images through D, each [n, units], scaled to mean 1."""
    masks = []
    for i, (units, rate) in enumerate(zip(networks.dropout_widths, networks.dropout_rates, strict=True)):
        mask = torch.empty((n, units), device=draws.device)
        # A uniform draw is kept at or above the rate: three times as fast as a Bernoulli draw on a CPU.
        mask.uniform_(generator=draws.at(f"dropout/{purpose}/{i}", step)).ge_(rate).div_(1 - rate)
        masks.append(mask)
    return masks


def clip_columns_(params: Params, max_norm: float | None, live: Bool[Tensor, "*trials"]) -> None:
    """Scale every unit's incoming weights down to `max_norm`, in place, where their norm is above it.

    Trials that are not live keep their weights.
    """
    if max_norm is None:
        return
    for name, weight in params.items():
        if name.endswith(".weight"):
            norms = weight.norm(dim=-2, keepdim=True)
            weight.mul_((max_norm / norms).clamp(max=1).where(live[..., None, None], 1))
