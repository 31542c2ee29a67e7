"""What a pass forward leaves for the passes back, and the steps that both networks share.

Gradients are written out instead of left to autograd, for three reasons: small networks spend half their time in
its bookkeeping; a gradient can go into the velocity as the product that it is (`Factor`), without being written
down; and whether a step is finite is known from its factors, which are a tenth of the weights' size.
"""

from __future__ import annotations

import dataclasses

import torch

from gansearch.core.networks import Params
from gansearch.core.shapes import Tensor

aten = torch.ops.aten


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """A layer's gradient as the product that it is: of the weights x^T delta, of what is added to each row a sum.

    Attributes:
        x: the rows that the layer multiplied, [*trials, rows, fan_in].
        delta: gradient of the loss in the products, [*trials, rows, fan_out].
        biases: gradient of the loss where the biases are added, summed over its rows; `delta` where it is that.
        scales: the same of batch normalisation's scales; None where there are none.
    """

    x: Tensor
    delta: Tensor
    biases: Tensor | None = None
    scales: Tensor | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Tape:
    """What a pass forward leaves for the passes back.

    Attributes:
        inputs: the rows that each layer multiplied, dropout applied.
        kept: of each hidden layer what its way back needs. Of maxout 1 for the piece that is the maximum, else 0,
            [*trials, rows, pieces, units], and how many pieces share it, [*trials, rows, 1, units]; of pooling where
            the maxima were; of another nonlinearity its output; of batch normalisation what it gave, and the root
            that it divided by.
    """

    inputs: list[Tensor] = dataclasses.field(default_factory=list)
    kept: list[tuple[Tensor, ...]] = dataclasses.field(default_factory=list)

    def second_half(self) -> Tape:
        """Return the tape of D's second half of images: of samples, which stand behind as many examples."""
        axis = self.inputs[0].dim() - 2

        def half(t: Tensor) -> Tensor:
            return t.narrow(axis, t.shape[axis] // 2, t.shape[axis] // 2)

        return Tape([half(x) for x in self.inputs], [tuple(half(t) for t in kept) for kept in self.kept])


def product(params: Params, i: int, x: Tensor) -> Tensor:
    """Return the products of rows with a layer's weights, its biases added."""
    weight, bias = params[f"{i}.weight"], params[f"{i}.bias"]
    if weight.dim() == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight)


def back_through(params: Params, i: int, delta: Tensor) -> Tensor:
    """Return the gradient in the rows that a layer multiplied."""
    weight = params[f"{i}.weight"]
    return torch.matmul(delta, weight.mT)


def activate_(name: str, leaky_slope: float, a: Tensor) -> Tensor:
    """Apply a nonlinearity, in place."""
    if name == "relu":
        return a.relu_()
    if name == "leaky_relu":
        return torch.nn.functional.leaky_relu_(a, leaky_slope)
    return a.sigmoid_() if name == "sigmoid" else a.tanh_()


def through_activation_(name: str, leaky_slope: float, h: Tensor, delta: Tensor) -> None:
    """Turn the gradient in a nonlinearity's output h into that in its input, in place."""
    if name == "relu":
        aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)
    elif name == "leaky_relu":
        aten.leaky_relu_backward.grad_input(delta, h, leaky_slope, True, grad_input=delta)
    elif name == "sigmoid":  # y = sigmoid(a) has dy/da = y (1 - y)
        aten.sigmoid_backward.grad_input(delta, h, grad_input=delta)
    else:
        aten.tanh_backward.grad_input(delta, h, grad_input=delta)
