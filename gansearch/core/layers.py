"""The layers of both networks: products of rows with a weight matrix, whatever the rows are.

Every layer's weights are [*trials, fan_in, fan_out], so initial ranges, bounds on norms and update rules know one kind
of weight. A dense layer multiplies images; a convolution multiplies patches of images, `places` of them an image; a
deconvolution multiplies the places of its input and lays the patches that come of it over each other.

Images are [*trials, m, channels * height * width], and rows [*trials, m * places, fan].
Sources: Goodfellow et al. 2013, "Maxout networks" (convolutions of maxout units, pooled); the released configuration of
Goodfellow et al. 2014 for CIFAR-10 (the deconvolution and its untied biases).
"""

from __future__ import annotations

import dataclasses

import torch
from torch.nn.functional import fold, max_pool2d, unfold

from gansearch.core.shapes import Tensor

aten = torch.ops.aten


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

    def rows(self, x: Tensor) -> Tensor:
        """Return what is multiplied: the images."""
        return x

    def images_of(self, rows: Tensor) -> Tensor:
        """Return the gradient in the images, given that in the rows."""
        return rows


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

    def rows(self, x: Tensor) -> Tensor:
        """Return the patches of images."""
        images = x.reshape(-1, self.channels, self.side, self.side)
        return _places_as_rows(unfold(images, self.kernel, padding=self.pad), x)

    def images_of(self, rows: Tensor) -> Tensor:
        """Return the gradient in the images, given that in the patches."""
        patches = rows.reshape(-1, self.places, self.fan_in).mT
        images = fold(patches, self.side, self.kernel, padding=self.pad)
        return images.reshape(*rows.shape[:-2], -1, self.units)

    def pool_units(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest unit of each window, [*trials, m, out_units], and where in its image it was."""
        images = units.reshape(-1, self.places, self.out).mT
        images = images.reshape(-1, self.out, self.convolved, self.convolved)
        largest, where = max_pool2d(images, self.pool, self.pool_stride, ceil_mode=True, return_indices=True)
        shape = (*units.shape[:-2], -1, self.out_units)
        return largest.reshape(shape), where.reshape(shape)

    def unpool(self, slope: Tensor, where: Tensor) -> Tensor:
        """Return the gradient in the units, [*trials, m * places, out], given that in the output."""
        small, large = ((-1, self.out, side, side) for side in (self.pooled, self.convolved))
        of_windows = slope.reshape(small)
        like = slope.new_empty(of_windows.shape[0], *large[1:])  # its sizes are all that is read of it
        window, stride = [self.pool] * 2, [self.pool_stride] * 2
        back = aten.max_pool2d_with_indices_backward(
            of_windows, like, window, stride, [0, 0], [1, 1], True, where.reshape(small)
        )
        return _places_as_rows(back.flatten(2), slope)


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

    def rows(self, x: Tensor) -> Tensor:
        """Return the places of the input."""
        return _places_as_rows(x.reshape(-1, self.channels, self.places), x)

    def images_of(self, rows: Tensor) -> Tensor:
        """Return the gradient in the input, given that in its places."""
        return rows.reshape(-1, self.places, self.channels).mT.reshape(*rows.shape[:-2], -1, self.units)

    def laid_over(self, patches: Tensor) -> Tensor:
        """Return the images that patches add up to."""
        columns = patches.reshape(-1, self.places, self.fan_out).mT
        images = fold(columns, self.image_side, self.kernel, stride=self.stride)
        return images.reshape(*patches.shape[:-2], -1, self.biases)

    def patches_of(self, slope: Tensor) -> Tensor:
        """Return the gradient in the patches, given that in the images."""
        images = slope.reshape(-1, self.out, self.image_side, self.image_side)
        return _places_as_rows(unfold(images, self.kernel, stride=self.stride), slope)


def _places_as_rows(columns: Tensor, like: Tensor) -> Tensor:
    """Return [images, fan, places] as rows with the leading axes of `like`: [*trials, m * places, fan]."""
    return columns.mT.reshape(*like.shape[:-2], -1, columns.shape[1])


Layer = Dense | Convolution | Deconvolution
