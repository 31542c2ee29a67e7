"""The two networks as functions of their parameters.

A network's parameters are a mapping of names to tensors; the functions keep no state. Weights are
[*trials, fan_in, fan_out] and activations [*trials, m, units], so the same code runs one trial or many
stacked ones.

Gradients are written out instead of left to autograd, for three reasons: small networks spend half their time in
its bookkeeping; a gradient can go into the velocity as the product that it is (`Factor`), without being written
down; and whether a step is finite is known from its factors, which are a tenth of the weights' size.

Sources: Goodfellow et al. 2014, section 5 (rectifiers and sigmoids in G, maxout and dropout in D); Goodfellow et al.
2013, "Maxout networks"; the initial ranges of the published configuration.
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

aten = torch.ops.aten

Params = dict[str, torch.Tensor]
Rate = float | torch.Tensor
"""A number, or one a trial for parameters of trials side by side."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """A layer's gradient as the product that it is: of the weights x^T delta, of the biases the sum of delta's rows.

    Attributes:
        x: the layer's input, [*trials, m, fan_in].
        delta: gradient of the loss in the layer's output before its nonlinearity, [*trials, m, fan_out].
    """

    x: Tensor
    delta: Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Tape:
    """What a pass forward leaves for the passes back.

    Attributes:
        inputs: each layer's input, dropout applied.
        wins: of each maxout layer 1 for the piece that is the maximum, else 0, [*trials, m, pieces, units]; and how
            many pieces share it, [*trials, m, 1, units].
    """

    inputs: list[Tensor] = dataclasses.field(default_factory=list)
    wins: list[tuple[Tensor, Tensor]] = dataclasses.field(default_factory=list)

    def rows(self, start: int) -> Tape:
        """Return the tape of the minibatch's rows from one on."""
        return Tape(
            [x[..., start:, :] for x in self.inputs],
            [(won[..., start:, :, :], shared[..., start:, :, :]) for won, shared in self.wins],
        )


def _affine(params: Params, i: int, x: Tensor) -> Tensor:
    weight, bias = params[f"{i}.weight"], params[f"{i}.bias"]
    if weight.dim() == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight)


def _back(params: Params, i: int, delta: Tensor) -> Tensor:
    """Return the gradient in a layer's input."""
    weight = params[f"{i}.weight"]
    return torch.matmul(delta, weight.mT)


def generate(
    networks: Networks, params: Params, z: Float[Tensor, "*trials m z"], tape: Tape | None = None
) -> Float[Tensor, "*trials m d"]:
    """Return G(z), images in [0,1] (unbounded for a linear output).

    Args:
        networks: the shapes.
        params: G's parameters.
        z: noise.
        tape: is given what `generator_factors` needs.
    """
    h = z
    depth = len(networks.generator.hidden)
    inputs = [] if tape is None else tape.inputs
    for i in range(depth):
        inputs.append(h)
        h = _affine(params, i, h).relu_()
    inputs.append(h)
    a = _affine(params, depth, h)
    output = networks.generator.output
    if output == "sigmoid":
        return a.sigmoid_()
    return a.tanh_().add_(1).div_(2) if output == "tanh" else a


def generator_factors(networks: Networks, params: Params, tape: Tape, images: Tensor, slope: Tensor) -> list[Factor]:
    """Return the gradients of a loss in G's parameters, layer by layer.

    Args:
        networks: the shapes.
        params: G's parameters.
        tape: of the pass forward.
        images: what it returned.
        slope: gradient of the loss in the images, used up.
    """
    output, depth = networks.generator.output, len(networks.generator.hidden)
    delta = slope
    if output != "linear":  # y = sigmoid(a) has dy/da = y (1 - y); y = (1 + tanh a) / 2 twice that
        aten.sigmoid_backward.grad_input(delta, images, grad_input=delta)
        if output == "tanh":
            delta.mul_(2)
    factors = []
    for i in range(depth, -1, -1):
        x = tape.inputs[i]
        factors.append(Factor(x, delta))
        if i:
            delta = _back(params, i, delta)
            aten.threshold_backward.grad_input(delta, x, 0, grad_input=delta)
    return factors[::-1]


def discriminate(
    networks: Networks,
    params: Params,
    x: Float[Tensor, "*trials m d"],
    masks: Sequence[Tensor] | None,
    tape: Tape | None = None,
) -> Float[Tensor, "*trials m"]:
    """Return the logit of D(x).

    Args:
        networks: the shapes.
        params: D's parameters.
        x: images.
        masks: what multiplies each activation of `dropout_widths`: 0 or 1 / (1 - rate); None turns
            dropout off.
        tape: is given what `discriminator_deltas` needs.
    """
    pieces, h = networks.discriminator.pieces, x
    inputs = [] if tape is None else tape.inputs
    depth = len(networks.discriminator.hidden)
    for i, units in enumerate(networks.discriminator.hidden):
        h = h if masks is None else h * masks[i]
        inputs.append(h)
        # A maxout unit is the maximum of its linear pieces.
        a = _affine(params, i, h)
        a = a.view(*a.shape[:-1], pieces, units)
        unit = a.amax(-2, keepdim=True)
        if tape is not None:
            won = a.eq_(unit)
            tape.wins.append((won, won.sum(-2, keepdim=True)))
        h = unit.squeeze(-2)
    h = h if masks is None else h * masks[depth]
    inputs.append(h)
    return _affine(params, depth, h).squeeze(-1)


def discriminator_deltas(
    networks: Networks,
    params: Params,
    tape: Tape,
    masks: Sequence[Tensor] | None,
    slope: Float[Tensor, "*trials m"],
    *,
    use_up: bool = False,
) -> list[Tensor]:
    """Return the gradient of a loss in each layer's output before its nonlinearity.

    Args:
        networks: the shapes.
        params: D's parameters.
        tape: of the pass forward.
        masks: its dropout masks.
        slope: gradient of the loss in the logits.
        use_up: whether the tape's memory may be written to, for it is read for the last time.
    """
    delta = slope.unsqueeze(-1)
    deltas = [delta]
    for i in range(len(networks.discriminator.hidden), 0, -1):
        back = _back(params, i, delta)
        if masks is not None:
            back.mul_(masks[i])
        won, shared = tape.wins[i - 1]
        share = back.unsqueeze(-2) / shared  # to the piece that won; equal pieces share it
        delta = (won.mul_(share) if use_up else won * share).flatten(-2)
        deltas.append(delta)
    return deltas[::-1]


def image_slope(params: Params, masks: Sequence[Tensor] | None, deltas: Sequence[Tensor]) -> Tensor:
    """Return the gradient of a loss in the images that D saw, given those of `discriminator_deltas`."""
    slope = _back(params, 0, deltas[0])
    return slope if masks is None else slope.mul_(masks[0])


def draw_noise(noise: NoiseConfig, draws: Draws, purpose: str, step: int, n: int) -> Float[Tensor, "n z"]:
    """Return n noise vectors of unit variance a component."""
    out = torch.empty((n, noise.dim), device=draws.device)
    draw_noise_(out, noise, draws, purpose, step)
    return out


def draw_noise_(out: Tensor, noise: NoiseConfig, draws: Draws, purpose: str, step: int) -> None:
    """Fill a contiguous float32 tensor, [..., z], with noise of unit variance an entry."""
    generator = draws.at(purpose, step)
    if noise.distribution == "uniform":
        out.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator)
        return
    out.normal_(generator=generator)
    if noise.distribution == "spherical":  # a Gaussian vector's direction is uniform
        out.mul_(math.sqrt(noise.dim) / out.norm(dim=-1, keepdim=True))


def clip_columns_(params: Params, max_norm: Rate | None, live: Bool[Tensor, "*trials"]) -> None:
    """Scale every unit's incoming weights down to `max_norm`, in place, where their norm is above it.

    Trials that are not live keep their weights.

    Args:
        params: a network's parameters.
        max_norm: the bound, above 0; a tensor has one a trial, infinite for none.
        live: which trials may move.
    """
    if max_norm is None:
        return
    bound = max_norm[..., None, None] if isinstance(max_norm, Tensor) else max_norm
    for name, weight in params.items():
        if name.endswith(".weight"):
            norms = weight.norm(dim=-2, keepdim=True)
            factor = bound / norms
            # Without a bound a norm that overflows gives NaN, which is not below 1 either.
            weight.mul_(factor.where(live[..., None, None] & (factor < 1), 1))
