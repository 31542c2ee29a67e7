"""What updates cost: the floating-point operations of Algorithm 1's matrix products, counted from the configuration."""

from __future__ import annotations

from gansearch.config import TrialConfig
from gansearch.core.networks import Networks


def flops(config: TrialConfig, data_dim: int, *, g_updates: int, d_updates: int) -> float:
    """Return twice the multiply-adds of all matrix products of so many updates.

    Args:
        config: the networks, the minibatch and the order.
        data_dim: pixels of an image.
        g_updates: updates of G.
        d_updates: updates of D.
    """
    nets, m = Networks.of(config, data_dim), config.algorithm.batch_size
    g_layers, d_layers = (
        [2.0 * m * layer.places * layer.fan_in * layer.fan_out for layer in network]
        for network in (nets.generator, nets.discriminator)
    )
    g, d = sum(g_layers), sum(d_layers)
    # D: forward and weight gradients on 2m images, input gradients but for the first layer's; G forward.
    d_step = g + 2 * (d + d + d - d_layers[0])
    # G: back through D to its input, then G's own gradients; its forward pass is shared or its own.
    g_step = d + 2 * g - g_layers[0] + (g + d if config.algorithm.order == "alternating" else 0)
    return d_updates * d_step + g_updates * g_step


def iteration_flops(config: TrialConfig, data_dim: int) -> float:
    """Return the operations of an iteration of Algorithm 1: k updates of D and one of G."""
    return flops(config, data_dim, g_updates=1, d_updates=config.algorithm.k)
