"""One step of any recipe in NumPy, float64, by hand: convolutions by loops over places, and every way back.

Written from the formulas and sharing no code with the package. `reference_step` has the losses' and update rules'
arithmetic; here are the layers that the MNIST recipe does not have. Images are [m, channels * height * width].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansearch.config import TrialConfig
from tests.core.reference_step import Array, Arrays, Player, move, recipe_of, sigmoid

Back = Callable[[Array], Array]


@dataclasses.dataclass
class Pass:
    """A pass forward: its output, and what turns the gradient in it into that in the input, noting the parameters'."""

    out: Array
    back: Back


def affine(p: Arrays, i: int, x: Array, grads: Arrays) -> Pass:
    """Return x W + b."""

    def back(delta: Array) -> Array:
        grads[f"{i}.weight"], grads[f"{i}.bias"] = x.T @ delta, delta.sum(0)
        back_x: Array = delta @ p[f"{i}.weight"].T
        return back_x

    return Pass(x @ p[f"{i}.weight"] + p[f"{i}.bias"], back)


def normalised(p: Arrays, i: int, x: Array, grads: Arrays) -> Pass:
    """Return scale (a - mean) / sqrt(var + 1e-5) + bias with a = x W, its way back through each term in turn."""
    a = x @ p[f"{i}.weight"]
    m, mean = len(a), a.mean(0)
    variance = ((a - mean) ** 2).mean(0)
    root = np.sqrt(variance + 1e-5)

    def back(delta: Array) -> Array:
        grads[f"{i}.bias"] = delta.sum(0)
        grads[f"{i}.scale"] = (delta * (a - mean) / root).sum(0)
        d_unit = delta * p[f"{i}.scale"]
        d_variance = (d_unit * (a - mean)).sum(0) * -0.5 / root**3
        d_mean = -(d_unit / root).sum(0) + d_variance * -2 * (a - mean).mean(0)
        d_a = d_unit / root + d_variance * 2 * (a - mean) / m + d_mean / m
        grads[f"{i}.weight"] = x.T @ d_a
        back_x: Array = d_a @ p[f"{i}.weight"].T
        return back_x

    return Pass((a - mean) / root * p[f"{i}.scale"] + p[f"{i}.bias"], back)


def nonlinear(name: str, leak: float, a: Array) -> Pass:
    """Return a nonlinearity of a."""
    y = {
        "relu": np.maximum(a, 0),
        "leaky_relu": np.where(a > 0, a, leak * a),
        "sigmoid": sigmoid(a),
        "tanh": np.tanh(a),
        "unit tanh": 0.5 + 0.5 * np.tanh(a),
        "linear": a,
    }[name]
    slope = {
        "relu": (a > 0).astype(float),
        "leaky_relu": np.where(a > 0, 1.0, leak),
        "sigmoid": y * (1 - y),
        "tanh": 1 - y**2,
        "unit tanh": 0.5 * (1 - np.tanh(a) ** 2),
        "linear": np.ones_like(a),
    }[name]
    return Pass(y, lambda delta: delta * slope)


def maxout(a: Array, pieces: int) -> Pass:
    """Return the maxima over pieces, which are the first part of each row's units."""
    parts = a.reshape(len(a), pieces, -1)
    winner = parts.argmax(1)

    def back(delta: Array) -> Array:
        out = np.zeros_like(parts)
        np.put_along_axis(out, winner[:, None], delta[:, None], 1)
        return out.reshape(a.shape)

    return Pass(parts.max(1), back)


def convolved(p: Arrays, i: int, x: Array, side: int, kernel: int, pad: int, grads: Arrays) -> Pass:
    """Return all linear pieces at all places, [m, pieces * places]: at each place a product with its patch."""
    weight, bias = p[f"{i}.weight"], p[f"{i}.bias"]
    channels = x.shape[1] // side**2
    padded = np.pad(x.reshape(-1, channels, side, side), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    across = side + 2 * pad - kernel + 1
    out = np.zeros((len(x), weight.shape[1], across, across))
    places = [(r, c) for r in range(across) for c in range(across)]
    for r, c in places:
        patch = padded[:, :, r : r + kernel, c : c + kernel].reshape(len(x), -1)
        out[:, :, r, c] = patch @ weight + bias

    def back(delta: Array) -> Array:
        slopes, d_padded = delta.reshape(out.shape), np.zeros_like(padded)
        d_weight = np.zeros_like(weight)
        for r, c in places:
            window = (slice(None), slice(None), slice(r, r + kernel), slice(c, c + kernel))
            d_weight += padded[window].reshape(len(x), -1).T @ slopes[:, :, r, c]
            d_padded[window] += (slopes[:, :, r, c] @ weight.T).reshape(padded[window].shape)
        grads[f"{i}.weight"], grads[f"{i}.bias"] = d_weight, slopes.sum((0, 2, 3))
        inner = slice(pad, pad + side)
        return d_padded[:, :, inner, inner].reshape(x.shape)

    return Pass(out.reshape(len(x), -1), back)


def pooled(x: Array, channels: int, pool: int, stride: int) -> Pass:
    """Return the maximum of each window; the last windows reach over the edge, so that every place is in one."""
    side = round((x.shape[1] / channels) ** 0.5)
    images = x.reshape(-1, channels, side, side)
    across = -(-(side - pool) // stride) + 1
    out = np.zeros((len(x), channels, across, across))
    chosen: dict[tuple[int, int], NDArray[Any]] = {}
    for r in range(across):
        for c in range(across):
            window = images[:, :, r * stride : r * stride + pool, c * stride : c * stride + pool]
            flat = window.reshape(len(x), channels, -1)
            chosen[r, c] = flat.argmax(-1)
            out[:, :, r, c] = flat.max(-1)

    def back(delta: Array) -> Array:
        slopes, d_images = delta.reshape(out.shape), np.zeros_like(images)
        for (r, c), winner in chosen.items():
            width = min(pool, side - c * stride)
            rows, columns = r * stride + winner // width, c * stride + winner % width
            for j in range(len(x)):
                for k in range(channels):
                    d_images[j, k, rows[j, k], columns[j, k]] += slopes[j, k, r, c]
        return d_images.reshape(x.shape)

    return Pass(out.reshape(len(x), -1), back)


def deconvolved(p: Arrays, i: int, x: Array, channels: int, kernel: int, stride: int, grads: Arrays) -> Pass:
    """Return images that every place of the input adds a patch to, and a bias for each pixel."""
    weight, bias = p[f"{i}.weight"], p[f"{i}.bias"]
    side = round((x.shape[1] / channels) ** 0.5)
    maps = x.reshape(-1, channels, side, side)
    across, out_channels = (side - 1) * stride + kernel, weight.shape[1] // kernel**2
    out = np.zeros((len(x), out_channels, across, across))
    places = [(r, c) for r in range(side) for c in range(side)]

    def window(r: int, c: int) -> tuple[slice, ...]:
        rows, columns = (slice(at * stride, at * stride + kernel) for at in (r, c))
        return slice(None), slice(None), rows, columns

    for r, c in places:
        out[window(r, c)] += (maps[:, :, r, c] @ weight).reshape(len(x), out_channels, kernel, kernel)

    def back(delta: Array) -> Array:
        slopes, d_maps, d_weight = delta.reshape(out.shape), np.zeros_like(maps), np.zeros_like(weight)
        for r, c in places:
            patch = slopes[window(r, c)].reshape(len(x), -1)
            d_weight += maps[:, :, r, c].T @ patch
            d_maps[:, :, r, c] = patch @ weight.T
        grads[f"{i}.weight"], grads[f"{i}.bias"] = d_weight, delta.sum(0)
        return d_maps.reshape(x.shape)

    return Pass(out.reshape(len(x), -1) + bias, back)


def generate(config: TrialConfig, g: Arrays, z: Array, grads: Arrays) -> Pass:
    """Return the generator's images."""
    net, ways = config.generator, list[Back]()
    h, depth = z, len(net.hidden)
    for i in range(depth):
        name = net.activations[i if len(net.activations) > 1 else 0]
        one = (normalised if net.batch_norm else affine)(g, i, h, grads)
        two = nonlinear(name, net.leaky_slope, one.out)
        ways += [one.back, two.back]
        h = two.out
    if config.deconvolution.channels:
        c = config.deconvolution
        one = deconvolved(g, depth, h, c.channels, c.kernel, c.stride, grads)
    else:
        one = affine(g, depth, h, grads)
    two = nonlinear("unit tanh" if net.output == "tanh" else net.output, 0, one.out)
    return Pass(two.out, _through([*ways, one.back, two.back]))


def discriminate(config: TrialConfig, d: Arrays, x: Array, masks: list[Array], side: int, grads: Arrays) -> Pass:
    """Return the discriminator's logits, [m, 1]."""
    net, c, ways = config.discriminator, config.convolution, list[Back]()
    if net.inputs == "symmetric":
        x = 2 * x - 1
        ways.append(lambda delta: 2 * delta)
    h = x

    def drop(h: Array, mask: Array) -> Array:
        ways.append(lambda delta: delta * mask)
        return h * mask

    for i, out in enumerate(c.channels):
        one = convolved(d, i, drop(h, masks[i]), side, c.kernels[i], c.pads[i], grads)
        two = maxout(one.out, c.pieces)
        three = pooled(two.out, out, c.pools[i], c.pool_strides[i])
        ways += [one.back, two.back, three.back]
        h, side = three.out, round((three.out.shape[1] / out) ** 0.5)
    first = len(c.channels)
    for i in range(first, first + len(net.hidden)):
        one = affine(d, i, drop(h, masks[i]), grads)
        if net.activation == "maxout":
            two = maxout(one.out, net.pieces)
        else:
            two = nonlinear(net.activation, net.leaky_slope, one.out)
        ways += [one.back, two.back]
        h = two.out
    last = first + len(net.hidden)
    one = affine(d, last, drop(h, masks[last]), grads)
    return Pass(one.out, _through([*ways, one.back]))


def _through(ways: list[Back]) -> Back:
    def back(delta: Array) -> Array:
        for way in reversed(ways):
            delta = way(delta)
        return delta

    return back


def discriminator_gradient(
    config: TrialConfig, g: Arrays, d: Arrays, x: Array, z: Array, masks: list[Array], side: int
) -> Arrays:
    """Return the gradient of D's scaled loss: the masks are those of the examples and then of the samples."""
    m, total = len(x), {name: np.zeros_like(p) for name, p in d.items()}
    images = generate(config, g, z, {}).out
    for batch, label, rows in ((x, 1.0, slice(m)), (images, 0.0, slice(m, None))):
        grads: Arrays = {}
        one = discriminate(config, d, batch, [mask[rows] for mask in masks], side, grads)
        one.back(config.algorithm.loss_scale * (sigmoid(one.out) - label) / m)
        total = {name: total[name] + grads[name] for name in total}
    return total


def generator_gradient(config: TrialConfig, g: Arrays, d: Arrays, z: Array, masks: list[Array], side: int) -> Arrays:
    """Return the gradient of G's loss, which is the non-saturating one in every recipe."""
    grads: Arrays = {}
    images = generate(config, g, z, grads)
    logits = discriminate(config, d, images.out, masks, side, {})
    images.back(logits.back((sigmoid(logits.out) - 1) / len(z)))
    return grads


def step(
    config: TrialConfig,
    g: Player,
    d: Player,
    x: Array,
    z: Array,
    masks: list[Array],
    fresh: tuple[Array, list[Array]] | None,
    rates: tuple[float, float, float],
    side: int,
) -> None:
    """Move both networks once, from the gradients of one moment; or G after D where it has fresh noise.

    Args:
        config: the recipe.
        g: the generator.
        d: the discriminator.
        x: examples.
        z: noise.
        masks: D's dropout masks for the examples and then the samples.
        fresh: noise and masks of G's own step.
        rates: of G, of D, and the momentum.
        side: height and width of an image.
    """
    lr_g, lr_d, momentum = rates
    recipe = recipe_of(config)
    for_d = discriminator_gradient(config, g.params, d.params, x, z, masks, side)
    if fresh is None:
        for_g = generator_gradient(config, g.params, d.params, z, [mask[len(x) :] for mask in masks], side)
        move(d, for_d, lr_d, momentum, recipe.d_max_norm, recipe)
    else:
        move(d, for_d, lr_d, momentum, recipe.d_max_norm, recipe)
        for_g = generator_gradient(config, g.params, d.params, *fresh, side)
    move(g, for_g, lr_g, momentum, recipe.g_max_norm, recipe)
