"""Samples as pictures: a sheet of images, encoded as PNG."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sheet(images: torch.Tensor, shape: tuple[int, int, int], columns: int, *, gap: int = 1) -> NDArray[np.uint8]:
    """Return images laid out in rows, with white lines between them.

    Args:
        images: values in [0,1] (others are clipped), [n, d].
        shape: channels (1 or 3), height, width of an image.
        columns: images a row; the last row may be shorter.
        gap: pixels between images.

    Returns:
        The picture, uint8 [height, width] for one channel, else [height, width, 3].
    """
    channels, height, width = shape
    pixels = images.detach().cpu().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    tiles = pixels.reshape(len(pixels), channels, height, width).transpose(0, 2, 3, 1)
    rows = math.ceil(len(tiles) / columns)
    picture = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        picture[top : top + height, left : left + width] = tile
    return picture[..., 0] if channels == 1 else picture


def png(picture: NDArray[np.uint8], *, zoom: int = 1) -> bytes:
    """Return a picture as PNG bytes, each pixel drawn as a `zoom` x `zoom` square."""
    image = Image.fromarray(picture)
    if zoom > 1:
        image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
