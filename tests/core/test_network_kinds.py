"""Every kind of network: what it computes and its gradients, against PyTorch's own layers and differentiation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch.nn.functional import logsigmoid

from gansearch.config import TrialConfig
from gansearch.core import losses, networks
from gansearch.core.discriminator import discriminate, discriminator_deltas, discriminator_gradients, image_slope
from gansearch.core.generator import Given, generate, generator_gradients
from gansearch.core.layers import Gradient, Whole
from gansearch.core.networks import Networks, Params
from gansearch.core.tape import Tape
from tests.core import games, plain_networks
from tests.core.games import draws, small

# Sums of a few hundred terms in float64, multiplied by the networks' slopes on their way back.
TOLERANCE = 1e-9
M, DIM = 13, 64
CONVOLUTION: dict[str, object] = {
    "convolution.channels": [3, 4],
    "convolution.kernels": [4, 2],
    "convolution.pads": [2, 1],  # 8 -> 9 -> 4 with a window over the edge, -> 5 -> 3
    "convolution.pieces": 2,
    "convolution.pools": [3, 2],
    "convolution.pool_strides": [2, 2],
}
DECONVOLUTION: dict[str, object] = {
    "generator.hidden": [11, 18],
    "deconvolution.channels": 2,  # 3 x 3 places
    "deconvolution.kernel": 4,
    "deconvolution.stride": 2,
}
KINDS: dict[str, dict[str, object]] = {
    "rectifiers": {},
    "leaky": {
        "generator.activations": ["leaky_relu", "relu"],
        "generator.leaky_slope": 0.3,
        "discriminator.activation": "leaky_relu",
        "discriminator.leaky_slope": 0.1,
    },
    "sigmoids": {"generator.activations": ["relu", "sigmoid"], "discriminator.activation": "relu"},
    "tanh": {"generator.activations": ["tanh"], "generator.output": "tanh", "discriminator.inputs": "symmetric"},
    "normalised": {"generator.batch_norm": True, "generator.activations": ["leaky_relu"]},
    "hidden noise": {"noise.hidden": 0.7, "noise.distribution": "gaussian"},
    "normalised, hidden noise": {"generator.batch_norm": True, "noise.hidden": 0.7},
    "deconvolution": {**DECONVOLUTION, "generator.output": "linear"},
    "deconvolution, normalised": {**DECONVOLUTION, "generator.batch_norm": True},
    "convolution": CONVOLUTION,
    "convolution alone": {**CONVOLUTION, "discriminator.hidden": []},
    "convolution, leaky above": {**CONVOLUTION, "discriminator.activation": "leaky_relu"},
    "conditional": {"condition.on": "labels"},
    "conditional, convolutional": {"condition.on": "labels", **CONVOLUTION, **DECONVOLUTION},
    "conditional, convolution alone": {"condition.on": "labels", **CONVOLUTION, "discriminator.hidden": []},
    "conditional, no hidden layer": {"condition.on": "labels", "discriminator.hidden": []},
}


def config_of(kind: str, **changes: object) -> TrialConfig:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return small({"dataset.name": "digits", **KINDS[kind], **dotted})


class Game:
    """A configuration's networks in float64, with a minibatch for them."""

    def __init__(self, config: TrialConfig, seed: int = 5) -> None:
        self.config, self.nets = config, Networks.of(config, DIM)
        self.state = games.start(config, seed, data_dim=DIM)
        for name, p in self.state.g.items():  # scales of 1 would hide an exchange with the normalised products
            if name.endswith("scale"):
                p.add_(draws(seed).uniform(f"scale/{name}", 0, tuple(p.shape), -0.4, 0.4))
        source = draws(seed + 1)
        self.x = source.uniform("examples", 0, (M, DIM), 0, 1).double()
        self.z = networks.draw_noise(config.noise, source, "noise", 0, M).double()
        hidden = networks.draw_hidden_noise(self.nets, source, "noise", 0, M)
        labels = None
        if self.nets.classes:
            labels = torch.eye(self.nets.classes, dtype=torch.float64)[torch.arange(M) * 7 % self.nets.classes]
        self.given = Given(hidden=None if hidden is None else hidden.double(), labels=labels)
        widths = self.nets.dropout_widths
        kept = source.uniform("masks", 0, (2 * M, sum(widths)), 0, 1) < 0.7
        self.masks = list((kept / 0.7).double().split(widths, -1))

    @property
    def both_labels(self) -> torch.Tensor | None:
        return None if self.given.labels is None else self.given.labels.repeat(2, 1)


def leaves(params: Params) -> Params:
    return {name: p.clone().requires_grad_() for name, p in params.items()}


def written_down(gradients: Sequence[Gradient]) -> Params:
    """Return the gradients of every parameter."""
    out: Params = {}
    for i, factor in enumerate(gradients):
        if isinstance(factor, Whole):
            out |= {f"{i}.weight": factor.weights, f"{i}.bias": factor.biases.sum(-2)}
            continue
        out[f"{i}.weight"] = factor.x.mT @ factor.delta
        out[f"{i}.bias"] = (factor.delta if factor.biases is None else factor.biases).sum(-2)
        if factor.scales is not None:
            out[f"{i}.scale"] = factor.scales.sum(-2)
    return out


def assert_same(found: Params, expected: Params) -> None:
    assert set(found) == set(expected)
    for name, p in expected.items():
        assert p.abs().max() > 100 * TOLERANCE, f"{name} has no gradient to compare"
        torch.testing.assert_close(found[name], p, rtol=TOLERANCE, atol=TOLERANCE, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_automatic_differentiation(kind: str) -> None:
    game = Game(config_of(kind))
    config, nets, state, given = game.config, game.nets, game.state, game.given
    g, d = leaves(state.g), leaves(state.d)
    images = plain_networks.generate(config, g, game.z, given.hidden, given.labels)
    halves = [[mask[rows] for mask in game.masks] for rows in (slice(M), slice(M, None))]
    real = plain_networks.discriminate(config, d, game.x, halves[0], given.labels)
    fake = plain_networks.discriminate(config, d, images, halves[1], given.labels)
    loss_d = -(logsigmoid(real) + logsigmoid(-fake)).mean()
    loss_g = -logsigmoid(fake).mean()

    g_tape, tape = Tape(), Tape()
    own_images = generate(nets, state.g, game.z, g_tape, given=given)
    torch.testing.assert_close(own_images, images.detach(), rtol=TOLERANCE, atol=TOLERANCE)
    both = torch.cat([game.x, own_images])
    logits = discriminate(nets, state.d, both, game.masks, tape, labels=game.both_labels)
    torch.testing.assert_close(logits, torch.cat([real, fake]).detach(), rtol=TOLERANCE, atol=TOLERANCE)

    slope = losses.generator_slope(logits[M:], losses.NON_SATURATING) / M
    deltas = discriminator_deltas(nets, state.d, tape.second_half(), halves[1], slope)
    back = image_slope(nets, state.d, halves[1], deltas)
    (expected_back,) = torch.autograd.grad(loss_g, images, retain_graph=True)
    torch.testing.assert_close(back, expected_back, rtol=TOLERANCE, atol=TOLERANCE)
    found_g = written_down(generator_gradients(nets, state.g, g_tape, own_images, back))
    deltas = discriminator_deltas(nets, state.d, tape, game.masks, losses.discriminator_slope(logits) / M, use_up=True)
    found_d = written_down(discriminator_gradients(nets, tape, deltas))
    assert_same(found_d, _gradients_of(loss_d, d))
    assert_same(found_g, _gradients_of(loss_g, g))


def _gradients_of(loss: torch.Tensor, params: Params) -> Params:
    grads = torch.autograd.grad(loss, list(params.values()), retain_graph=True)
    return dict(zip(params, grads, strict=True))
