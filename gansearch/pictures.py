"""Samples as pictures: images laid out in rows, marked, labelled and encoded as PNG; and such PNGs taken apart."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from gansearch.errors import ResultsError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

GAP = 1
"""Pixels between the images of a sheet, before it is enlarged."""
SHOWN_GAP = 6
"""Pixels between images that are enlarged before they are laid out."""
WHITE = 255
YELLOW = (255, 200, 0)
"""The frame of images that are no samples: the colour of the paper's Figure 2, darker for white paper."""
_SHOWN_HEIGHT = 56
_TEXT_HEIGHT = 15
_TEXT_MARGIN = 8
_TEXT_GREY = 60


def zoom_for(shape: tuple[int, int, int]) -> int:
    """Return the zoom that shows an image with about 56 pixels.

    Args:
        shape: channels, height, width of an image.
    """
    return max(1, round(_SHOWN_HEIGHT / max(shape[1:])))


def sheet(
    images: torch.Tensor, shape: tuple[int, int, int], columns: int, *, gap: int = GAP, space: str = "unit"
) -> NDArray[np.uint8]:
    """Return images laid out in rows, with white lines between them.

    Args:
        images: values in [0,1] (others are clipped), or of another space, [n, d].
        shape: channels (1 or 3), height, width of an image.
        columns: images a row; the last row may be shorter.
        gap: pixels between images.
        space: what the values are, as in `to_tiles`.

    Returns:
        The picture, uint8 [height, width] for one channel, else [height, width, 3].
    """
    return lay_out(to_tiles(images, shape, space), columns, gap=gap)


def to_tiles(images: torch.Tensor, shape: tuple[int, int, int], space: str = "unit") -> NDArray[np.uint8]:
    """Return images as bytes, uint8 [n, height, width] for one channel, else [n, height, width, 3].

    Args:
        images: values in [0,1] (others are clipped), or of another space, [n, d].
        shape: channels (1 or 3), height, width of an image.
        space: `unit`, or `contrast`: of normalised contrast 0 is shown as middle grey, and each image's largest value,
            up or down, as white or black, for what its own contrast was is lost.
    """
    values = images.detach().cpu()
    if space == "contrast":
        values = 0.5 + values / (2 * values.abs().amax(-1, keepdim=True).clamp(min=1e-12))
    pixels = values.clamp(0, 1).mul(255).round().byte().numpy()
    tiles: NDArray[np.uint8] = pixels.reshape(len(pixels), *shape).transpose(0, 2, 3, 1)
    return tiles[..., 0] if shape[0] == 1 else tiles


def enlarge(tiles: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
    """Return images with each pixel drawn as a `zoom` x `zoom` square.

    Args:
        tiles: uint8 [n, height, width] or [n, height, width, 3].
        zoom: how much larger, 1 or more.
    """
    return tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)


def lay_out(tiles: NDArray[np.uint8], columns: int, *, gap: int = GAP) -> NDArray[np.uint8]:
    """Return images laid out in rows, with white lines between and around them.

    Args:
        tiles: the images, uint8 [n, height, width] or [n, height, width, 3].
        columns: images a row; the last row may be shorter.
        gap: pixels between images.

    Returns:
        The picture, uint8 [height, width] or [height, width, 3].
    """
    n, height, width = tiles.shape[:3]
    rows = math.ceil(n / columns)
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap)
    picture = np.full((*size, *tiles.shape[3:]), WHITE, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        picture[top : top + height, left : left + width] = tile
    return picture


def take_apart(picture: NDArray[np.uint8], rows: int, columns: int, *, gap: int = GAP) -> NDArray[np.uint8]:
    """Return the images that `lay_out` put into a picture, row by row; white ones where the last row was shorter.

    Args:
        picture: uint8 [height, width] or [height, width, 3].
        rows: rows of images.
        columns: images a row.
        gap: pixels between images.

    Returns:
        The images, uint8 [rows * columns, height, width] or [rows * columns, height, width, 3].

    Raises:
        ResultsError: when the picture's size is not that of so many rows and columns.
    """
    height, width = _steps(picture, rows, columns, gap)
    inner = picture[gap:, gap:].reshape(rows, height, columns, width, *picture.shape[2:])
    images: NDArray[np.uint8] = inner.swapaxes(1, 2).reshape(rows * columns, height, width, *picture.shape[2:])
    return images[:, : height - gap, : width - gap]


def frame_last_column(
    picture: NDArray[np.uint8],
    rows: int,
    columns: int,
    *,
    gap: int = GAP,
    colour: tuple[int, int, int] = YELLOW,
) -> NDArray[np.uint8]:
    """Return a picture in colour, with the lines around each image of its last column drawn in one colour.

    Args:
        picture: what `lay_out` returned.
        rows: rows of images.
        columns: images a row.
        gap: pixels between images.
        colour: red, green and blue, 0 to 255.

    Returns:
        The picture, uint8 [height, width, 3].

    Raises:
        ResultsError: when the picture's size is not that of so many rows and columns.
    """
    height, width = _steps(picture, rows, columns, gap)
    framed = picture.copy() if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=-1)
    left = (columns - 1) * width
    framed[:, left : left + gap] = colour
    framed[:, -gap:] = colour
    framed[np.arange(len(framed)) % height < gap, left:] = colour
    return framed


def _steps(picture: NDArray[np.uint8], rows: int, columns: int, gap: int) -> tuple[int, int]:
    """Return how far it is from one image to the one below it and to the one right of it, in pixels."""
    height, width = ((size - gap) / n for size, n in zip(picture.shape, (rows, columns), strict=False))
    if not (height.is_integer() and width.is_integer() and min(height, width) > gap):
        size = f"{picture.shape[1]} x {picture.shape[0]}"
        raise ResultsError(f"a picture of {size} pixels does not hold {rows} x {columns} images")
    return int(height), int(width)


def label_rows(picture: NDArray[np.uint8], labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return a picture with a white margin at its left, in which each of its equally high rows has a label.

    Args:
        picture: uint8 [height, width] or [height, width, 3].
        labels: one a row, from above.
    """
    font = ImageFont.load_default(_TEXT_HEIGHT)
    margin = 2 * _TEXT_MARGIN + math.ceil(max(font.getlength(label) for label in labels))
    side = Image.new("L", (margin, len(picture)), WHITE)
    draw = ImageDraw.Draw(side)
    step = len(picture) / len(labels)
    for i, label in enumerate(labels):
        draw.text((margin - _TEXT_MARGIN, (i + 0.5) * step), label, fill=_TEXT_GREY, font=font, anchor="rm")
    text = np.asarray(side)
    return np.concatenate([text if picture.ndim == 2 else np.repeat(text[..., None], 3, axis=-1), picture], axis=1)


def png(picture: NDArray[np.uint8], *, zoom: int = 1, text: Mapping[str, str] | None = None) -> bytes:
    """Return a picture as PNG bytes, each pixel drawn as a `zoom` x `zoom` square.

    Args:
        picture: uint8 [height, width] or [height, width, 3].
        zoom: how much larger, 1 or more.
        text: what the file says of itself, by keyword (`Title`, `Description` ...; Latin letters).
    """
    image = Image.fromarray(picture)
    if zoom > 1:
        image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    info = PngImagePlugin.PngInfo()
    for keyword, value in (text or {}).items():
        info.add_text(keyword, value)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()


def decode(content: bytes) -> NDArray[np.uint8]:
    """Return the picture of PNG bytes that `png` made.

    Raises:
        ResultsError: when they are not those of a picture.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            picture = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise ResultsError(f"a stored picture cannot be decoded: {error}") from error
    if picture.dtype != np.uint8:
        raise ResultsError(f"a stored picture has pixels of type {picture.dtype}, not bytes")
    return picture
