"""The generator as a function of its parameters: its images, and the gradients of a loss in them.

Sources: Goodfellow et al. 2014, section 5; Ioffe and Szegedy 2015, "Batch normalization".
"""

from __future__ import annotations

import dataclasses

import torch

from gansearch.core.layers import Factor, Gradient
from gansearch.core.networks import Networks, Params
from gansearch.core.shapes import Float, Tensor
from gansearch.core.tape import Tape, activate_, through_activation_

BATCH_NORM_EPS = 1e-5
"""Added to a variance before its root (Ioffe and Szegedy 2015, Algorithm 1)."""
Moments = list[tuple[Tensor, Tensor]]
"""Mean and variance of each hidden layer's products, [*trials, 1, units] each, that batch normalisation takes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What G is given beside z, and D beside the image.

    Attributes:
        hidden: what is added to G's hidden layers, one beside the other, [*trials, m, units]; None for nothing.
        labels: classes, 1 for an image's own and else 0, [*trials, m, classes]; None for none.
    """

    hidden: Float[Tensor, "*trials m units"] | None = None
    labels: Float[Tensor, "*trials m classes"] | None = None


NOTHING = Given()


def generate(
    networks: Networks,
    params: Params,
    z: Float[Tensor, "*trials m z"],
    tape: Tape | None = None,
    *,
    given: Given = NOTHING,
    moments: Moments | None = None,
) -> Float[Tensor, "*trials m d"]:
    """Return G(z), images in [0,1] (unbounded for a linear output).

    Args:
        networks: the shapes.
        params: G's parameters.
        z: noise.
        tape: is given what `generator_gradients` needs.
        given: what G is given beside z.
        moments: what batch normalisation takes, instead of this minibatch's own.
    """
    config = networks.config.generator
    h = z if given.labels is None else torch.cat([z, given.labels], -1)
    depth = len(config.hidden)
    noise = None if given.hidden is None else given.hidden.split(networks.hidden_units, -1)
    inputs = [] if tape is None else tape.inputs
    for i in range(depth):
        inputs.append(h)
        kept: tuple[Tensor, ...] = ()
        if config.batch_norm:
            a, *kept_norm = _normalised(params, i, h, None if moments is None else moments[i])
            kept = tuple(kept_norm)
        else:
            a = networks.generator[i].forward(params[f"{i}.weight"], params[f"{i}.bias"], h)
        h = activate_(config.layer_activations[i], config.leaky_slope, a)
        if tape is not None:
            tape.kept.append((h, *kept))
        if noise is not None:
            h = h + noise[i]
    inputs.append(h)
    a = networks.generator[depth].forward(params[f"{depth}.weight"], params[f"{depth}.bias"], h)
    if config.output == "sigmoid":
        return a.sigmoid_()
    return a.tanh_().add_(1).div_(2) if config.output == "tanh" else a


def _normalised(params: Params, i: int, x: Tensor, moments: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    """Return a layer's normalised products, scaled and shifted; the products normalised; and what divided them.

    Source: Ioffe and Szegedy 2015, "Batch normalization", Algorithm 1.
    """
    a = torch.matmul(x, params[f"{i}.weight"])
    mean, variance = (a.mean(-2, keepdim=True), a.var(-2, keepdim=True, correction=0)) if moments is None else moments
    root = (variance + BATCH_NORM_EPS).sqrt()
    unit = (a - mean) / root
    y = unit * params[f"{i}.scale"].unsqueeze(-2) + params[f"{i}.bias"].unsqueeze(-2)
    return [y, unit, root]


def batch_moments(networks: Networks, params: Params, z: Tensor, given: Given = NOTHING) -> Moments:
    """Return the moments of each hidden layer's products over noise vectors."""
    tape = Tape()
    generate(networks, params, z, tape, given=given)
    products = [torch.matmul(tape.inputs[i], params[f"{i}.weight"]) for i in range(len(tape.kept))]
    return [(a.mean(-2, keepdim=True), a.var(-2, keepdim=True, correction=0)) for a in products]


def generator_gradients(
    networks: Networks, params: Params, tape: Tape, images: Tensor, slope: Tensor
) -> list[Gradient]:
    """Return the gradients of a loss in G's parameters, layer by layer.

    Args:
        networks: the shapes.
        params: G's parameters.
        tape: of the pass forward.
        images: what it returned.
        slope: gradient of the loss in the images, used up.
    """
    config = networks.config.generator
    depth = len(config.hidden)
    delta = slope
    if config.output != "linear":  # y = (1 + tanh a) / 2 has dy/da = 2 y (1 - y), twice a sigmoid's
        through_activation_("sigmoid", config.leaky_slope, images, delta)
        if config.output == "tanh":
            delta.mul_(2)
    gradients: list[Gradient] = [networks.generator[depth].gradient(tape.inputs[depth], delta)]
    for i in range(depth - 1, -1, -1):
        delta = networks.generator[i + 1].back(params[f"{i + 1}.weight"], delta)
        h, *normal = tape.kept[i]
        through_activation_(config.layer_activations[i], config.leaky_slope, h, delta)
        if normal:
            unit, root = normal
            shifts, scales = delta, delta * unit
            delta = _through_normalisation(params[f"{i}.scale"], unit, root, shifts, scales)
            gradients.append(Factor(tape.inputs[i], delta, shifts, scales))
        else:
            gradients.append(networks.generator[i].gradient(tape.inputs[i], delta))
    return gradients[::-1]


def _through_normalisation(scale: Tensor, unit: Tensor, root: Tensor, delta: Tensor, of_scales: Tensor) -> Tensor:
    """Return the gradient in the products that were normalised over the minibatch."""
    centred = delta - delta.mean(-2, keepdim=True) - unit * of_scales.mean(-2, keepdim=True)
    return centred * (scale.unsqueeze(-2) / root)
