"""The shapes of the two networks, where their parameters start, and their noise.

A network's parameters are a mapping of names to tensors; `generator` and `discriminator` compute with them and keep no
state. Weights are [*trials, fan_in, fan_out] and activations [*trials, m, units], so the same code runs one trial or
many stacked ones.

Sources: Goodfellow et al. 2014, section 5 (rectifiers and sigmoids in G, maxout and dropout in D); the initial ranges
and layers of the published configurations.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import torch

from gansearch.config import TrialConfig
from gansearch.core.datasets import describe
from gansearch.core.layers import Convolution, Deconvolution, Dense, Layer
from gansearch.core.shapes import Bool, Float, Tensor
from gansearch.model_sections import NoiseConfig
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
        config: the configuration.
        generator: G's layers, the output layer last.
        discriminator: D's layers, that of the logit last.
        data_dim: pixels d of an image.
        classes: components of the labels that both are given; 0 for none.
    """

    config: TrialConfig
    generator: tuple[Layer, ...]
    discriminator: tuple[Layer, ...]
    data_dim: int
    classes: int = 0

    @classmethod
    def of(cls, config: TrialConfig, data_dim: int) -> Networks:
        """Return the networks of a configuration for images of so many pixels.

        Raises:
            ValueError: when layers do not fit on each other, or the generator's images are of another size.
        """
        classes = describe(config.dataset.name).classes if config.condition.on == "labels" else 0
        g_widths = (config.noise.dim + classes, *config.generator.hidden, data_dim)
        generator: list[Layer] = [Dense(*ends) for ends in itertools.pairwise(g_widths)]
        discriminator: list[Layer] = []
        fan_in = data_dim
        if config.deconvolution.channels or config.convolution.channels:
            channels, side, _ = shape = describe(config.dataset.name).shape
            if math.prod(shape) != data_dim or shape[1] != shape[2]:
                raise ValueError(f"convolutions take square images, and {shape} is the shape of the data set's")
            if config.deconvolution.channels:
                generator[-1] = _deconvolution(config, g_widths[-2], channels, side)
            if config.convolution.channels:
                convolutions = _convolutions(config, channels, side)
                discriminator += convolutions
                fan_in = convolutions[-1].out_units
        inputs = config.generator.output_inputs
        if inputs is not None and inputs > generator[-1].fan_in:
            raise ValueError(
                f"generator.output_inputs is {inputs:,}, and the output layer sees {generator[-1].fan_in:,} units"
            )
        pieces = config.discriminator.pieces if config.discriminator.activation == "maxout" else 1
        fan_in += classes
        for units in config.discriminator.hidden:
            discriminator.append(Dense(fan_in, units * pieces))
            fan_in = units
        discriminator.append(Dense(fan_in, 1))
        return cls(
            config=config,
            generator=tuple(generator),
            discriminator=tuple(discriminator),
            data_dim=data_dim,
            classes=classes,
        )

    @property
    def noise(self) -> NoiseConfig:
        """The noise's configuration."""
        return self.config.noise

    @property
    def first_dense(self) -> int:
        """D's first dense layer: it is given the labels."""
        return len(self.config.convolution.channels)

    @property
    def dropout_widths(self) -> tuple[int, ...]:
        """Components that dropout acts on of what each of D's layers sees; labels are not dropped."""
        convolutions = [layer for layer in self.discriminator if isinstance(layer, Convolution)]
        pooled = [layer.out_units for layer in convolutions]
        return (self.data_dim, *pooled, *self.config.discriminator.hidden)

    @property
    def hidden_units(self) -> tuple[int, ...]:
        """Units of G's hidden layers, each of which may be given noise."""
        return self.config.generator.hidden


def _deconvolution(config: TrialConfig, units: int, out: int, image_side: int) -> Deconvolution:
    channels = config.deconvolution.channels
    side = math.isqrt(units // channels)
    if channels * side**2 != units or not side:
        raise ValueError(
            f"generator.hidden ends with {units:,} units, which are not {channels} square images "
            f"(deconvolution.channels)"
        )
    layer = Deconvolution(channels, side, out, config.deconvolution.kernel, config.deconvolution.stride)
    if layer.image_side != image_side:
        raise ValueError(
            f"the generator's images have {layer.image_side} x {layer.image_side} pixels, those of the data set "
            f"{image_side} x {image_side} (generator.hidden and deconvolution decide)"
        )
    return layer


def _convolutions(config: TrialConfig, channels: int, side: int) -> list[Convolution]:
    layers: list[Convolution] = []
    c = config.convolution
    for i, out in enumerate(c.channels):
        layer = Convolution(channels, side, out, c.pieces, c.kernels[i], c.pads[i], c.pools[i], c.pool_strides[i])
        if layer.convolved < 1 or layer.pooled < 1:
            raise ValueError(f"layer {i} of convolution sees {side} x {side} places, fewer than its kernel or pool")
        layers.append(layer)
        channels, side = out, layer.pooled
    return layers


def init_generator(networks: Networks, marginals: Float[Tensor, " d"], draws: Draws, *, stage: int = 0) -> Params:
    """Return G's initial parameters: weights uniform in its range, biases and the output's as configured.

    Args:
        networks: the shapes.
        marginals: mean of each pixel over the training images.
        draws: the trial's draws.
        stage: which start this is: the first, or 1 for that of a second stage.
    """
    config = networks.config.generator
    params: Params = {}
    for i, layer in enumerate(networks.generator):
        hidden = i < len(config.hidden)
        bound = config.init_range if hidden else config.output_init_range or config.init_range
        params |= _uniform_layer("generator", i, layer, bound, draws, stage)
        if hidden:
            params[f"{i}.bias"] += config.layer_biases[i]
            if config.batch_norm:
                params[f"{i}.scale"] = torch.ones_like(params[f"{i}.bias"])
        elif config.output_inputs is not None:
            params[f"{i}.weight"] = _sparse(f"init/generator/{i}", layer, config.output_inputs, draws, stage)
    if config.output_bias == "marginals":
        p = marginals.clamp(MARGINAL_CLIP, 1 - MARGINAL_CLIP)
        # tanh(a) is mapped to (1 + tanh(a)) / 2 = sigmoid(2a), hence half the logit.
        bias = {"sigmoid": p.logit(), "tanh": p.logit() / 2, "linear": marginals}[config.output]
        params[f"{len(config.hidden)}.bias"] = bias.clone()
    return params


def init_discriminator(networks: Networks, draws: Draws, *, stage: int = 0) -> Params:
    """Return D's initial parameters: weights uniform in its range, biases 0; of another stage other draws."""
    bound = networks.config.discriminator.init_range
    params: Params = {}
    for i, layer in enumerate(networks.discriminator):
        params |= _uniform_layer("discriminator", i, layer, bound, draws, stage)
    return params


def _uniform_layer(network: str, i: int, layer: Layer, init_range: float, draws: Draws, stage: int) -> Params:
    shape = (layer.fan_in, layer.fan_out)
    weight = draws.uniform(f"init/{network}/{i}", stage, shape, -init_range, init_range)
    return {f"{i}.weight": weight, f"{i}.bias": torch.zeros(layer.biases, device=weight.device)}


def _sparse(purpose: str, layer: Layer, inputs: int, draws: Draws, stage: int) -> Tensor:
    """Return weights of which so many into each unit are standard normal, and the others 0."""
    shape = (layer.fan_in, layer.fan_out)
    normal = draws.normal(f"{purpose}/values", stage, shape)
    places = draws.uniform(f"{purpose}/places", stage, shape, 0, 1).topk(inputs, dim=0).indices
    return torch.zeros_like(normal).scatter_(0, places, normal.gather(0, places))


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
        out.mul_(math.sqrt(out.shape[-1]) / out.norm(dim=-1, keepdim=True))


def draw_hidden_noise(networks: Networks, draws: Draws, purpose: str, step: int, n: int) -> Tensor | None:
    """Return what is added to G's hidden layers, [n, units of all]; None for nothing."""
    if not networks.noise.hidden:
        return None
    out = torch.empty((n, sum(networks.hidden_units)), device=draws.device)
    draw_noise_(out, networks.noise, draws, f"hidden/{purpose}", step)
    return out.mul_(networks.noise.hidden)


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
