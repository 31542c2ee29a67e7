"""The layers of both networks: what is multiplied with their weights, and the way back.

Every layer's weights are [*trials, fan_in, fan_out], so initial ranges, bounds on norms and update rules know one kind
of weight: of a convolution a column is what one linear piece sees of a patch, channel by channel, row by row; of a
deconvolution a row is the patch that one channel becomes. Images are [*trials, m, channels * height * width].

Sources: Goodfellow et al. 2013, "Maxout networks" (convolutions of maxout units, pooled); the released configuration of
Goodfellow et al. 2014 for CIFAR-10 (the deconvolution and its untied biases).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch.nn.functional import conv2d, fold, max_pool2d, unfold

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
class Whole:
    """A layer's gradient written down, where weights are few and what they multiply is much.

    Attributes:
        weights: gradient of the loss in the weights, [*trials, fan_in, fan_out].
        biases: gradient of the loss where the biases are added, summed over its rows, [*trials, m, biases].
    """

    weights: Tensor
    biases: Tensor


Gradient = Factor | Whole


@dataclasses.dataclass(frozen=True, slots=True)
class Dense:
    """A layer that multiplies whole images.

    Attributes:
        fan_in: components of its input.
        fan_out: units, times the pieces of a maxout unit.
    """

    fan_in: int
    fan_out: int

    @property
    def places(self) -> int:
        """Rows an image."""
        return 1

    @property
    def biases(self) -> int:
        """Biases of the layer."""
        return self.fan_out

    def forward(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """Return the products of images with the weights, the biases added, [*trials, m, fan_out]."""
        if weight.dim() == 2:
            return torch.addmm(bias, x, weight)
        return torch.baddbmm(bias.unsqueeze(-2), x, weight)

    def back(self, weight: Tensor, delta: Tensor) -> Tensor:
        """Return the gradient in the input, given that in the output."""
        return torch.matmul(delta, weight.mT)

    def gradient(self, x: Tensor, delta: Tensor) -> Gradient:
        """Return the gradient in the parameters, given the input and the gradient in the output."""
        return Factor(x, delta)


@dataclasses.dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of maxout units, each place of which is the maximum of its pieces, pooled by maxima.

    Attributes:
        channels: channels of its input.
        side: height and width of its input.
        out: channels of maxout units.
        pieces: linear pieces a unit.
        kernel: height and width of a patch.
        pad: zeros on each side of the input.
        pool: height and width of a pooling window.
        pool_stride: from window to window; the last one may reach over the edge.
    """

    channels: int
    side: int
    out: int
    pieces: int
    kernel: int
    pad: int
    pool: int
    pool_stride: int

    @property
    def fan_in(self) -> int:
        """Components of a patch."""
        return self.channels * self.kernel**2

    @property
    def fan_out(self) -> int:
        """Linear pieces at a place."""
        return self.out * self.pieces

    @property
    def biases(self) -> int:
        """Biases of the layer: the same at every place."""
        return self.fan_out

    @property
    def convolved(self) -> int:
        """Height and width before pooling."""
        return self.side + 2 * self.pad - self.kernel + 1

    @property
    def pooled(self) -> int:
        """Height and width of the output."""
        return -(-(self.convolved - self.pool) // self.pool_stride) + 1

    @property
    def places(self) -> int:
        """Patches an image."""
        return self.convolved**2

    @property
    def units(self) -> int:
        """Components of the input."""
        return self.channels * self.side**2

    @property
    def out_units(self) -> int:
        """Components of the output."""
        return self.out * self.pooled**2

    def forward(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """Return every linear piece at every place, [*trials, m, fan_out * places]."""
        images, kernels = _channels(x, self.channels, self.side), self._kernels(weight)
        out = conv2d(images, kernels, bias.flatten(), padding=self.pad, groups=_trials(weight))
        return _unchannelled(out, weight)

    def back(self, weight: Tensor, delta: Tensor) -> Tensor:
        """Return the gradient in the input, given that in the output."""
        like = delta.new_empty(*delta.shape[:-1], self.units)  # its sizes are all that is read of it
        images = _channels(like, self.channels, self.side)
        return _unchannelled(self._backward(weight, images, delta, of_images=True), weight)

    def gradient(self, x: Tensor, delta: Tensor) -> Gradient:
        """Return the gradient in the parameters, given the input and the gradient in the output."""
        like = x.new_empty(*x.shape[:-2], self.fan_in, self.fan_out)  # its sizes are all that is read of it
        images = _channels(x, self.channels, self.side)
        kernels = self._backward(like, images, delta, of_images=False)
        weights = kernels.reshape(*x.shape[:-2], self.fan_out, self.fan_in).mT
        return Whole(weights, delta.unflatten(-1, (self.fan_out, self.places)).sum(-1))

    def _kernels(self, weight: Tensor) -> Tensor:
        return weight.mT.reshape(-1, self.channels, self.kernel, self.kernel)

    def _backward(self, weight: Tensor, images: Tensor, delta: Tensor, *, of_images: bool) -> Tensor:
        """Return the gradient in images, else that in kernels, of trials side by side as groups."""
        slope, one = _channels(delta, self.fan_out, self.convolved), [1, 1]
        found: Any = aten.convolution_backward(
            *(slope, images, self._kernels(weight), None, one, [self.pad] * 2, one),
            *(False, [0, 0], _trials(weight), [of_images, not of_images, False]),
        )
        gradient: Tensor = found[0 if of_images else 1]
        return gradient

    def pool_units(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest unit of each window, [*trials, m, out_units], and where in its image it was."""
        images = units.reshape(-1, self.out, self.convolved, self.convolved)
        largest, where = max_pool2d(images, self.pool, self.pool_stride, ceil_mode=True, return_indices=True)
        shape = (*units.shape[:-1], self.out_units)
        return largest.reshape(shape), where.reshape(shape)

    def unpool(self, slope: Tensor, where: Tensor) -> Tensor:
        """Return the gradient in the units, [*trials, m, out * places], given that in the output."""
        small = (-1, self.out, self.pooled, self.pooled)
        windows = slope.reshape(small)
        like = slope.new_empty(len(windows), self.out, self.convolved, self.convolved)  # its sizes are all that is read
        window, stride = [self.pool] * 2, [self.pool_stride] * 2
        back: Tensor = aten.max_pool2d_with_indices_backward(
            windows, like, window, stride, [0, 0], [1, 1], True, where.reshape(small)
        )
        return back.reshape(*slope.shape[:-1], -1)


@dataclasses.dataclass(frozen=True, slots=True)
class Deconvolution:
    """A transposed convolution: every place of the input becomes a patch of the image, and patches add up.

    Attributes:
        channels: channels of its input.
        side: height and width of its input.
        out: channels of the image.
        kernel: height and width of a patch.
        stride: pixels from patch to patch.
    """

    channels: int
    side: int
    out: int
    kernel: int
    stride: int

    @property
    def fan_in(self) -> int:
        """Components of a place of the input."""
        return self.channels

    @property
    def fan_out(self) -> int:
        """Components of a patch."""
        return self.out * self.kernel**2

    @property
    def places(self) -> int:
        """Patches an image."""
        return self.side**2

    @property
    def image_side(self) -> int:
        """Height and width of the image."""
        return (self.side - 1) * self.stride + self.kernel

    @property
    def biases(self) -> int:
        """Biases of the layer: one a pixel, not tied to others."""
        return self.out * self.image_side**2

    @property
    def units(self) -> int:
        """Components of the input."""
        return self.channels * self.places

    def forward(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """Return the images that the patches of all places add up to, the biases added, [*trials, m, biases]."""
        patches = torch.matmul(self._rows(x), weight).reshape(-1, self.places, self.fan_out).mT
        images = fold(patches, self.image_side, self.kernel, stride=self.stride)
        return images.reshape(*x.shape[:-1], -1) + bias.unsqueeze(-2)

    def back(self, weight: Tensor, delta: Tensor) -> Tensor:
        """Return the gradient in the input, given that in the images."""
        places = torch.matmul(self._patches(delta), weight.mT).reshape(-1, self.places, self.channels)
        return places.mT.reshape(*delta.shape[:-1], -1)

    def gradient(self, x: Tensor, delta: Tensor) -> Gradient:
        """Return the gradient in the parameters, given the input and the gradient in the images."""
        return Factor(self._rows(x), self._patches(delta), biases=delta)

    def _rows(self, x: Tensor) -> Tensor:
        """Return the places of the input as rows, [*trials, m * places, channels]."""
        return _places_as_rows(x.reshape(-1, self.channels, self.places), x)

    def _patches(self, slope: Tensor) -> Tensor:
        """Return the gradient in the patches, [*trials, m * places, fan_out]."""
        images = slope.reshape(-1, self.out, self.image_side, self.image_side)
        return _places_as_rows(unfold(images, self.kernel, stride=self.stride), slope)


def _places_as_rows(columns: Tensor, like: Tensor) -> Tensor:
    """Return [images, fan, places] as rows with the leading axes of `like`: [*trials, m * places, fan]."""
    return columns.mT.reshape(*like.shape[:-2], -1, columns.shape[1])


def _trials(weight: Tensor) -> int:
    return 1 if weight.dim() == 2 else len(weight)


def _channels(x: Tensor, channels: int, side: int) -> Tensor:
    """Return images as [m, trials * channels, side, side]: trials side by side are groups of channels."""
    images: Tensor = x.unflatten(-1, (channels, side, side))
    return images if x.dim() == 2 else images.transpose(0, 1).flatten(1, 2)


def _unchannelled(out: Tensor, weight: Tensor) -> Tensor:
    """Return [m, trials * channels, height, width] as [*trials, m, channels * height * width]."""
    if weight.dim() == 2:
        return out.flatten(1)
    apart: Tensor = out.unflatten(1, (len(weight), -1)).flatten(2)
    return apart.transpose(0, 1).contiguous()


Layer = Dense | Convolution | Deconvolution
