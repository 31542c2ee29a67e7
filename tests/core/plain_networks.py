"""Every kind of network as PyTorch's own layers would write it: what forward passes and gradients are held against.

It shares no code with the package but the configuration. Weights lie as the package's do: [fan_in, fan_out], a
convolution's patches ordered channel, row, column, and a maxout layer's outputs piece by piece.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gansearch.config import TrialConfig

Params = dict[str, torch.Tensor]


def activation(name: str, slope: float, a: torch.Tensor) -> torch.Tensor:
    """Return a nonlinearity of a."""
    leaky = torch.where(a > 0, a, slope * a)
    return {"relu": a.clamp(min=0), "leaky_relu": leaky, "sigmoid": a.sigmoid(), "tanh": a.tanh()}[name]


def generate(
    config: TrialConfig,
    g: Params,
    z: torch.Tensor,
    hidden: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    image_channels: int = 1,
) -> torch.Tensor:
    """Return the generator's images, normalised over the minibatch where it is."""
    net, deconvolution = config.generator, config.deconvolution
    h = z if labels is None else torch.cat([z, labels], 1)
    names = net.activations * (len(net.hidden) if len(net.activations) == 1 else 1)
    start = 0
    for i, units in enumerate(net.hidden):
        a = h @ g[f"{i}.weight"]
        if net.batch_norm:
            a = F.batch_norm(a, None, None, g[f"{i}.scale"], g[f"{i}.bias"], training=True, eps=1e-5)
        else:
            a = a + g[f"{i}.bias"]
        h = activation(names[i], net.leaky_slope, a)
        if hidden is not None:
            h = h + hidden[:, start : start + units]
            start += units
    last, channels = len(net.hidden), deconvolution.channels
    if channels:
        side = round((h.shape[1] / channels) ** 0.5)
        kernel = g[f"{last}.weight"].view(channels, image_channels, deconvolution.kernel, deconvolution.kernel)
        a = F.conv_transpose2d(h.view(len(h), channels, side, side), kernel, stride=deconvolution.stride)
        a = a.flatten(1) + g[f"{last}.bias"]
    else:
        a = h @ g[f"{last}.weight"] + g[f"{last}.bias"]
    return {"sigmoid": a.sigmoid(), "tanh": 0.5 + 0.5 * a.tanh(), "linear": a}[net.output]


def discriminate(
    config: TrialConfig,
    d: Params,
    x: torch.Tensor,
    masks: list[torch.Tensor],
    labels: torch.Tensor | None = None,
    shape: tuple[int, int, int] = (1, 8, 8),
) -> torch.Tensor:
    """Return the discriminator's logits."""
    net, c = config.discriminator, config.convolution
    h = x if net.inputs == "unit" else 2 * x - 1
    channels, side, _ = shape
    for i, out in enumerate(c.channels):
        images = (h * masks[i]).view(len(h), channels, side, side)
        kernel = d[f"{i}.weight"].T.view(-1, channels, c.kernels[i], c.kernels[i])
        a = F.conv2d(images, kernel, d[f"{i}.bias"], padding=c.pads[i])
        units = a.unflatten(1, (c.pieces, out)).amax(1)
        pooled = F.max_pool2d(units, c.pools[i], c.pool_strides[i], ceil_mode=True)
        channels, side, h = out, pooled.shape[-1], pooled.flatten(1)
    first = len(c.channels)
    for i, units in enumerate(net.hidden, start=first):
        h = h * masks[i]
        if labels is not None and i == first:
            h = torch.cat([h, labels], 1)
        a = h @ d[f"{i}.weight"] + d[f"{i}.bias"]
        if net.activation == "maxout":
            h = a.view(len(a), net.pieces, units).amax(1)
        else:
            h = activation(net.activation, net.leaky_slope, a)
    last = first + len(net.hidden)
    h = h * masks[last]
    if labels is not None and last == first:
        h = torch.cat([h, labels], 1)
    return (h @ d[f"{last}.weight"] + d[f"{last}.bias"])[:, 0]
