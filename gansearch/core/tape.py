"""What a pass forward leaves for the passes back, and the steps that both networks share.

Gradients are written out instead of left to autograd, for three reasons: small networks spend half their time in
its bookkeeping; a gradient can go into the velocity as the product that it is (`Factor`), without being written
down; and whether a step is finite is known from its factors, which are a tenth of the weights' size.
"""

from __future__ import annotations

import dataclasses

import torch

from gansearch.core.shapes import Tensor

aten = torch.ops.aten


@dataclasses.dataclass(frozen=True, slots=True)
class Tape:
    """What a pass forward leaves for the passes back.

    Attributes:
        inputs: each layer's input, dropout applied.
        kept: of each hidden layer what its way back needs. Of maxout 1 for the piece that is the maximum, else 0,
            [*trials, m, pieces, units], and how many pieces share it, [*trials, m, 1, units]; of pooling where
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
