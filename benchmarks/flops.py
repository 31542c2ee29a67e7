"""What an iteration of Algorithm 1 costs: its matrix products, their floating-point operations, the bytes it moves.

An iteration is k steps of D and one of G. Notation: m examples a minibatch; a generator of widths z = g0, g1, ..., d
(d: pixels of an image); a discriminator of hidden widths w1, w2, ... with p linear pieces a unit, so that its layers
map d -> p w1, w1 -> p w2, ..., and the last hidden width -> 1.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from gansearch.config import TrialConfig

FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Product:
    """A matrix product [rows, inner] @ [inner, columns].

    Attributes:
        rows: of the left matrix and of the result.
        inner: columns of the left matrix, rows of the right one.
        columns: of the right matrix and of the result.
        transposed: which of the two lies transposed in memory: `left`, `right` or neither, an empty text.
    """

    rows: int
    inner: int
    columns: int
    transposed: str = ""

    @property
    def flops(self) -> int:
        """Twice its multiply-adds."""
        return 2 * self.rows * self.inner * self.columns

    @property
    def bytes(self) -> int:
        """Both matrices read once, the result written once."""
        return FLOAT_BYTES * (self.rows * self.inner + self.inner * self.columns + self.rows * self.columns)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one iteration costs.

    Attributes:
        flops: floating-point operations of its matrix products.
        product_bytes: moved by the products.
        activation_bytes: moved by what stands between the products.
        draw_bytes: moved to draw noise and dropout masks and to fetch examples.
        update_bytes: moved by the update rule.
    """

    flops: int
    product_bytes: int
    activation_bytes: int
    draw_bytes: int
    update_bytes: int

    @property
    def bytes(self) -> int:
        """All bytes moved."""
        return self.product_bytes + self.activation_bytes + self.draw_bytes + self.update_bytes


@dataclasses.dataclass(frozen=True, slots=True)
class _Layer:
    """An affine layer of `fan_in` inputs and `fan_out` outputs; its input gradient is not always wanted."""

    fan_in: int
    fan_out: int

    @property
    def weights(self) -> int:
        return self.fan_in * self.fan_out

    def forward(self, m: int) -> Product:
        """Return x W."""
        return Product(m, self.fan_in, self.fan_out)

    def weight_gradient(self, m: int) -> Product:
        """Return x^T dy."""
        return Product(self.fan_in, m, self.fan_out, "left")

    def input_gradient(self, m: int) -> Product:
        """Return dy W^T."""
        return Product(m, self.fan_out, self.fan_in, "right")


def _generator(config: TrialConfig, dim: int) -> list[_Layer]:
    return [_Layer(a, b) for a, b in itertools.pairwise((config.noise.dim, *config.generator.hidden, dim))]


def _discriminator(config: TrialConfig, dim: int) -> list[_Layer]:
    hidden, pieces = config.discriminator.hidden, config.discriminator.pieces
    widths = (dim, *hidden)
    return [*(_Layer(a, b * pieces) for a, b in itertools.pairwise(widths)), _Layer(widths[-1], 1)]


def products(config: TrialConfig, dim: int, *, together: bool = False) -> list[Product]:
    """Return the matrix products of one iteration, in their order; their `flops` add up to `Cost.flops`.

    With G and D for the operations of one forward pass of m images through each network, G = 2 m (g0 g1 + g1 g2 + ...)
    and D = 2 m (d p w1 + w1 p w2 + ... + w_last), and with G1, D1 for their first layers:

    - each of the k steps of D:
        G               samples from noise (no gradient goes back)
        2 D             logits of the examples and of the samples
        2 D             gradients of D's weights
        2 (D - D1)      gradients of the inputs of D's layers; nobody asks for those of the images
    - the step of G:
        G + D           alternating only: fresh samples and their logits; a joint step shares the pass above
        D               gradients of the inputs of D's layers, those of the images too; of D's weights none
        G               gradients of G's weights
        G - G1          gradients of the inputs of G's layers; nobody asks for those of the noise

    Args:
        config: the networks, their order of updates and k.
        dim: pixels d of an image.
        together: whether examples and samples go through D as one minibatch of 2 m: the same operations in fewer and
            larger products.
    """
    m, k = config.algorithm.batch_size, config.algorithm.k
    g, d = _generator(config, dim), _discriminator(config, dim)
    passes = [2 * m] if together else [m, m]

    def discriminator_step() -> Iterator[Product]:
        yield from (layer.forward(m) for layer in g)
        yield from (layer.forward(rows) for rows in passes for layer in d)
        for rows, layer in itertools.product(passes, reversed(d)):
            yield layer.weight_gradient(rows)
            if layer is not d[0]:
                yield layer.input_gradient(rows)

    def generator_step() -> Iterator[Product]:
        if config.algorithm.order == "alternating":
            yield from (layer.forward(m) for layer in (*g, *d))
        yield from (layer.input_gradient(m) for layer in reversed(d))
        for layer in reversed(g):
            yield layer.weight_gradient(m)
            if layer is not g[0]:
                yield layer.input_gradient(m)

    return [*(product for _ in range(k) for product in discriminator_step()), *generator_step()]


def cost(config: TrialConfig, dim: int) -> Cost:
    """Return the floating-point operations and the bytes moved of one iteration.

    The bytes are those of an implementation in which every operation reads its operands once from memory and writes
    its result once, with all the elementwise work on one tensor fused into one pass: less than this takes a cache that
    keeps something from one operation to the next. Floats have 4 bytes. Biases and logits are left out, and so are the
    operations outside the matrix products: each is under 1% at the paper's sizes.

    - products: both matrices read, the result written.
    - activations, for a layer of n outputs and m images:
        G, forward            2 m n         the affine output read, the activation written
        G, backward           3 m n         the gradient and the activation read, a gradient written
        D's dropout, forward  3 m n         the activation and the mask read, the product written; n: units it acts on
        D's dropout, backward 3 m n         the gradient and the mask read, a gradient written; not for the images,
                                            but in a step of G, whose gradient passes through them
        D's maxout, forward   (p + 1) m w   p pieces read, their maximum written; nothing where p = 1
        D's maxout, backward  (2 p + 2) m w the pieces, their maximum and its gradient read, p gradients written
    - draws:
        noise                 m z           written, once a pass of G
        masks                 m (d + w1 + w2 + ...) written, once a pass of D; none where nothing is dropped
        examples              m d (1 + 1/4) a byte read, a float written, a pixel and step of D
    - update, for P parameters of a network:
        momentum              6 P           gradient read to see that the step is finite; then gradient, velocity and
                                            parameter read, velocity and parameter written
        Adam                  8 P           likewise with two moments
        column norms          3 W           where they are clipped: weights read; read and written

    Args:
        config: the networks, their order of updates, k and the update rule.
        dim: pixels d of an image.
    """
    m, k = config.algorithm.batch_size, config.algorithm.k
    alternating = config.algorithm.order == "alternating"
    bare = products(config, dim)
    g, d = _generator(config, dim), _discriminator(config, dim)
    p, hidden = config.discriminator.pieces, config.discriminator.hidden
    drops = config.discriminator.dropout_input > 0 or config.discriminator.dropout_hidden > 0

    g_forward = 2 * m * sum(layer.fan_out for layer in g)
    g_backward = 3 * m * sum(layer.fan_out for layer in g)
    dropout_hidden, dropout_images = (3 * m * sum(hidden), 3 * m * dim) if drops else (0, 0)
    maxout_forward, maxout_backward = ((p + 1) * m * sum(hidden), (2 * p + 2) * m * sum(hidden)) if p > 1 else (0, 0)
    d_forward = dropout_images + dropout_hidden + maxout_forward
    d_backward = dropout_hidden + maxout_backward
    activations = k * (g_forward + 2 * (d_forward + d_backward)) + d_backward + dropout_images + g_backward
    activations += g_forward + d_forward if alternating else 0

    masks = m * (dim + sum(hidden)) if drops else 0
    passes_g, passes_d = (k + 1, 2 * k + 1) if alternating else (k, 2 * k)
    draws = passes_g * m * config.noise.dim + passes_d * masks
    examples = k * m * dim * (1 + FLOAT_BYTES)

    touched = {"momentum": 6, "adam": 8}[config.update.rule]
    update = 0
    for steps, layers, clipped in (
        (k, d, config.discriminator.max_col_norm is not None),
        (1, g, config.generator.max_col_norm is not None),
    ):
        weights, biases = sum(layer.weights for layer in layers), sum(layer.fan_out for layer in layers)
        update += steps * (touched * (weights + biases) + (3 * weights if clipped else 0))
    return Cost(
        flops=sum(product.flops for product in bare),
        product_bytes=sum(product.bytes for product in bare),
        activation_bytes=FLOAT_BYTES * activations,
        draw_bytes=FLOAT_BYTES * draws + examples,
        update_bytes=FLOAT_BYTES * update,
    )
