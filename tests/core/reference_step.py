"""One step of the recipe in NumPy, float64, by hand: forward, backward, update, max column norm.

Written from the formulas and sharing no code with the package but the configuration. Parameters are dictionaries like
the package's (`0.weight` [fan_in, fan_out], `0.bias`); a maxout layer's outputs are ordered piece by piece.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from gansearch.config import TrialConfig

Array = NDArray[np.float64]
Arrays = dict[str, Array]


@dataclasses.dataclass(kw_only=True)
class Recipe:
    """What the step depends on besides parameters and draws; the names are the configuration's."""

    pieces: int
    output: str
    objective: str
    loss_scale: float
    rule: str
    g_max_norm: float | None
    d_max_norm: float | None
    beta1: float = 0.5
    beta2: float = 0.999
    eps: float = 1e-8


def recipe_of(config: TrialConfig) -> Recipe:
    """Return what the step depends on of a configuration."""
    return Recipe(
        pieces=config.discriminator.pieces,
        output=config.generator.output,
        objective=config.algorithm.objective,
        loss_scale=config.algorithm.loss_scale,
        rule=config.update.rule,
        g_max_norm=config.generator.max_col_norm,
        d_max_norm=config.discriminator.max_col_norm,
        beta1=config.adam.beta1,
        beta2=config.adam.beta2,
        eps=config.adam.eps,
    )


@dataclasses.dataclass(kw_only=True)
class Player:
    """A network with its rule's memory: the velocity, or Adam's two moments."""

    params: Arrays
    first: Arrays
    second: Arrays
    updates: int = 0


def player(params: Arrays) -> Player:
    """Return an untrained network."""
    zeros = {name: np.zeros_like(p) for name, p in params.items()}
    return Player(params=dict(params), first=dict(zeros), second=dict(zeros))


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a))."""
    return 0.5 * (1 + np.tanh(a / 2))


def depth(params: Arrays) -> int:
    """Return the number of layers."""
    return len(params) // 2


def generate(g: Arrays, z: Array, output: str) -> tuple[Array, list[Array]]:
    """Return the images and every layer's input."""
    inputs = [z]
    for i in range(depth(g) - 1):
        inputs.append(np.maximum(inputs[-1] @ g[f"{i}.weight"] + g[f"{i}.bias"], 0))
    a = inputs[-1] @ g[f"{depth(g) - 1}.weight"] + g[f"{depth(g) - 1}.bias"]
    return {"sigmoid": sigmoid(a), "tanh": 0.5 + 0.5 * np.tanh(a), "linear": a}[output], inputs


def generator_gradient(g: Arrays, inputs: list[Array], images: Array, d_images: Array, output: str) -> Arrays:
    """Return the parameters' gradient from that of the images."""
    # (1 + tanh a) / 2 = y has dy/da = (1 - tanh(a)^2) / 2 = 2 y (1 - y).
    slope = {"sigmoid": images * (1 - images), "tanh": 2 * images * (1 - images), "linear": np.ones_like(images)}
    delta, grads = d_images * slope[output], Arrays()
    for i in reversed(range(depth(g))):
        grads |= {f"{i}.weight": inputs[i].T @ delta, f"{i}.bias": delta.sum(0)}
        delta = (delta @ g[f"{i}.weight"].T) * (inputs[i] > 0)
    return grads


def discriminate(d: Arrays, x: Array, masks: list[Array], pieces: int) -> tuple[Array, list[Array], list[Array]]:
    """Return the logits, every layer's (masked) input, and every hidden unit's winning piece."""
    inputs, winners = [x * masks[0]], []
    for i in range(depth(d) - 1):
        a = inputs[-1] @ d[f"{i}.weight"] + d[f"{i}.bias"]
        a = a.reshape(len(x), pieces, -1)
        winners.append(a.argmax(1))
        inputs.append(a.max(1) * masks[i + 1])
    last = depth(d) - 1
    return (inputs[-1] @ d[f"{last}.weight"] + d[f"{last}.bias"])[:, 0], inputs, winners


def discriminator_gradient(
    d: Arrays, inputs: list[Array], winners: list[Array], masks: list[Array], d_logits: Array, pieces: int
) -> tuple[Arrays, Array]:
    """Return the gradients of the parameters and of the images from that of the logits."""
    delta, grads = d_logits[:, None], Arrays()
    for i in reversed(range(depth(d))):
        grads |= {f"{i}.weight": inputs[i].T @ delta, f"{i}.bias": delta.sum(0)}
        back = (delta @ d[f"{i}.weight"].T) * masks[i]
        if i:
            won = np.arange(pieces)[None, :, None] == winners[i - 1][:, None, :]
            delta = (won * back[:, None, :]).reshape(len(back), -1)
    return grads, back


@dataclasses.dataclass(kw_only=True)
class Draw:
    """The randomness of a pass through both networks, and the examples where there are some."""

    z: Array
    masks_fake: list[Array]
    x: Array | None = None
    masks_real: list[Array] | None = None


@dataclasses.dataclass(kw_only=True)
class Rates:
    """How far a step moves."""

    lr_g: float
    lr_d: float
    momentum: float


def d_gradient(g: Player, d: Player, draw: Draw, recipe: Recipe) -> Arrays:
    """Return the gradient of D's scaled loss."""
    assert draw.x is not None
    assert draw.masks_real is not None
    m = len(draw.z)
    images, _ = generate(g.params, draw.z, recipe.output)
    total = {name: np.zeros_like(p) for name, p in d.params.items()}
    for x, masks, label in ((draw.x, draw.masks_real, 1.0), (images, draw.masks_fake, 0.0)):
        logits, inputs, winners = discriminate(d.params, x, masks, recipe.pieces)
        # The cross-entropy of sigmoid(a) against a label has the derivative sigmoid(a) - label.
        d_logits = recipe.loss_scale * (sigmoid(logits) - label) / m
        grads, _ = discriminator_gradient(d.params, inputs, winners, masks, d_logits, recipe.pieces)
        total = {name: total[name] + grads[name] for name in total}
    return total


def g_gradient(g: Player, d: Player, draw: Draw, recipe: Recipe) -> Arrays:
    """Return the gradient of G's loss."""
    images, g_inputs = generate(g.params, draw.z, recipe.output)
    logits, inputs, winners = discriminate(d.params, images, draw.masks_fake, recipe.pieces)
    D = sigmoid(logits)
    # d log(1 - D) / da = -D;  d(-log D) / da = D - 1.
    d_logits = (-D if recipe.objective == "saturating" else D - 1) / len(draw.z)
    _, d_images = discriminator_gradient(d.params, inputs, winners, draw.masks_fake, d_logits, recipe.pieces)
    return generator_gradient(g.params, g_inputs, images, d_images, recipe.output)


def move(net: Player, grads: Arrays, lr: float, momentum: float, max_norm: float | None, recipe: Recipe) -> None:
    """Move a network against its gradient and bound its columns."""
    net.updates += 1
    for name, gradient in grads.items():
        if recipe.rule == "momentum":
            net.first[name] = momentum * net.first[name] - lr * gradient
            net.params[name] = net.params[name] + net.first[name]
        else:
            net.first[name] = recipe.beta1 * net.first[name] + (1 - recipe.beta1) * gradient
            net.second[name] = recipe.beta2 * net.second[name] + (1 - recipe.beta2) * gradient**2
            m_hat = net.first[name] / (1 - recipe.beta1**net.updates)
            v_hat = net.second[name] / (1 - recipe.beta2**net.updates)
            net.params[name] = net.params[name] - lr * m_hat / (np.sqrt(v_hat) + recipe.eps)
        if max_norm is not None and name.endswith("weight"):
            norms = np.sqrt((net.params[name] ** 2).sum(0))
            net.params[name] = net.params[name] * np.minimum(1, max_norm / norms)


def discriminator_step(g: Player, d: Player, draw: Draw, rates: Rates, recipe: Recipe) -> None:
    """Move D."""
    move(d, d_gradient(g, d, draw, recipe), rates.lr_d, rates.momentum, recipe.d_max_norm, recipe)


def generator_step(g: Player, d: Player, draw: Draw, rates: Rates, recipe: Recipe) -> None:
    """Move G."""
    move(g, g_gradient(g, d, draw, recipe), rates.lr_g, rates.momentum, recipe.g_max_norm, recipe)


def joint_step(g: Player, d: Player, draw: Draw, rates: Rates, recipe: Recipe) -> None:
    """Move both, from the gradients of one moment."""
    for_d, for_g = d_gradient(g, d, draw, recipe), g_gradient(g, d, draw, recipe)
    move(d, for_d, rates.lr_d, rates.momentum, recipe.d_max_norm, recipe)
    move(g, for_g, rates.lr_g, rates.momentum, recipe.g_max_norm, recipe)
