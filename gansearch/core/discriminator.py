"""The discriminator as a function of its parameters: its logits, and the gradients of a loss in them and in images.

Sources: Goodfellow et al. 2014, section 5; Goodfellow et al. 2013, "Maxout networks".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gansearch.core.layers import Convolution, Gradient, Layer
from gansearch.core.networks import Networks, Params
from gansearch.core.shapes import Float, Tensor
from gansearch.core.tape import Tape, activate_, through_activation_


def discriminate(
    networks: Networks,
    params: Params,
    x: Float[Tensor, "*trials m d"],
    masks: Sequence[Tensor] | None,
    tape: Tape | None = None,
    *,
    labels: Float[Tensor, "*trials m classes"] | None = None,
) -> Float[Tensor, "*trials m"]:
    """Return the logit of D(x).

    Args:
        networks: the shapes.
        params: D's parameters.
        x: images.
        masks: what multiplies each activation of `dropout_widths`: 0 or 1 / (1 - rate); None turns
            dropout off.
        tape: is given what `discriminator_deltas` needs.
        labels: the images' classes, where D is given them.
    """
    config = networks.config.discriminator
    h = x if config.inputs == "unit" else 2 * x - 1
    inputs = [] if tape is None else tape.inputs
    depth = len(networks.discriminator) - 1
    for i, layer in enumerate(networks.discriminator[:depth]):
        h = h if masks is None else h * masks[i]
        if labels is not None and i == networks.first_dense:
            h = torch.cat([h, labels], -1)
        inputs.append(h)
        a = layer.forward(params[f"{i}.weight"], params[f"{i}.bias"], h)
        kept: tuple[Tensor, ...]
        if config.activation == "maxout" or isinstance(layer, Convolution):
            h, kept = _maxout(a, _pieces(networks, layer), tape is not None)
        else:
            h = activate_(config.activation, config.leaky_slope, a)
            kept = (h,)
        if isinstance(layer, Convolution):
            h, where = layer.pool_units(h)
            kept = (*kept, where)
        if tape is not None:
            tape.kept.append(kept)
    h = h if masks is None else h * masks[depth]
    if labels is not None and depth == networks.first_dense:
        h = torch.cat([h, labels], -1)
    inputs.append(h)
    logit = networks.discriminator[depth]
    return logit.forward(params[f"{depth}.weight"], params[f"{depth}.bias"], h).squeeze(-1)


def _pieces(networks: Networks, layer: Layer) -> int:
    return layer.pieces if isinstance(layer, Convolution) else networks.config.discriminator.pieces


def _maxout(a: Tensor, pieces: int, taped: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return maxout units, each the maximum of its linear pieces; and which won, and how many share it."""
    a = a.view(*a.shape[:-1], pieces, a.shape[-1] // pieces)
    unit = a.amax(-2, keepdim=True)
    if not taped:
        return unit.squeeze(-2), ()
    won = a.eq_(unit)
    return unit.squeeze(-2), (won, won.sum(-2, keepdim=True))


def discriminator_deltas(
    networks: Networks,
    params: Params,
    tape: Tape,
    masks: Sequence[Tensor] | None,
    slope: Float[Tensor, "*trials m"],
    *,
    use_up: bool = False,
) -> list[Tensor]:
    """Return the gradient of a loss in each layer's products.

    Args:
        networks: the shapes.
        params: D's parameters.
        tape: of the pass forward.
        masks: its dropout masks.
        slope: gradient of the loss in the logits.
        use_up: whether the tape's memory may be written to, for it is read for the last time.
    """
    config = networks.config.discriminator
    delta = slope.unsqueeze(-1)
    deltas = [delta]
    for i in range(len(networks.discriminator) - 1, 0, -1):
        back = _input_slope(networks, params, i, delta, masks)
        below, kept = networks.discriminator[i - 1], tape.kept[i - 1]
        if isinstance(below, Convolution):
            *kept_maxout, where = kept
            back, kept = below.unpool(back, where), tuple(kept_maxout)
        if config.activation == "maxout" or isinstance(below, Convolution):
            won, shared = kept
            share = back.unsqueeze(-2) / shared  # to the piece that won; equal pieces share it
            delta = (won.mul_(share) if use_up else won * share).flatten(-2)
        else:
            through_activation_(config.activation, config.leaky_slope, kept[0], back)
            delta = back
        deltas.append(delta)
    return deltas[::-1]


def discriminator_gradients(networks: Networks, tape: Tape, deltas: Sequence[Tensor]) -> list[Gradient]:
    """Return the gradients of a loss in D's parameters, layer by layer, given those of `discriminator_deltas`."""
    layers = zip(networks.discriminator, tape.inputs, deltas, strict=True)
    return [layer.gradient(x, delta) for layer, x, delta in layers]


def _input_slope(networks: Networks, params: Params, i: int, delta: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
    """Return the gradient in what a layer of D saw before dropout, labels left out."""
    back = networks.discriminator[i].back(params[f"{i}.weight"], delta)
    if networks.classes and i == networks.first_dense:
        back = back[..., : -networks.classes]
    return back if masks is None else back.mul_(masks[i])


def image_slope(networks: Networks, params: Params, masks: Sequence[Tensor] | None, deltas: Sequence[Tensor]) -> Tensor:
    """Return the gradient of a loss in the images that D saw, given those of `discriminator_deltas`."""
    slope = _input_slope(networks, params, 0, deltas[0], masks)
    if networks.config.discriminator.inputs == "symmetric":
        slope = slope.mul_(2)
    return slope.contiguous()
