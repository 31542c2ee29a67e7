"""Sheets of samples: where each image lands, and that the PNG is one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gansearch.pictures import png, sheet

WHITE = 255


def images(n: int, channels: int, height: int, width: int) -> torch.Tensor:
    values = torch.rand(n, channels * height * width, generator=torch.Generator().manual_seed(5))
    return values.mul(254).round().div(255)  # bytes below white, so a line is told from an image


@pytest.mark.parametrize(
    ("n", "channels", "height", "width", "columns", "gap"), [(7, 1, 5, 4, 3, 1), (4, 3, 2, 6, 4, 2)]
)
def test_each_image_has_its_place_and_the_rest_is_white(
    n: int, channels: int, height: int, width: int, columns: int, gap: int
) -> None:
    tiles = images(n, channels, height, width)
    picture = sheet(tiles, (channels, height, width), columns, gap=gap)
    rows = -(-n // columns)
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap)
    assert picture.shape == (size if channels == 1 else (*size, channels))
    assert picture.dtype == np.uint8
    rest = np.ones(size, dtype=bool)
    for i in range(n):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        expected = np.rint(255 * tiles[i].numpy()).reshape(channels, height, width)
        for y in range(height):
            for x in range(width):
                found = np.atleast_1d(picture[top + y, left + x])
                np.testing.assert_array_equal(found, expected[:, y, x])
        rest[top : top + height, left : left + width] = False
    assert (picture[rest] == WHITE).all()


def test_values_outside_the_range_are_clipped() -> None:
    picture = sheet(torch.tensor([[-3.0, 0.0, 1.0, float("inf")]]), (1, 1, 4), 1)
    assert picture[1, 1:5].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_png_decodes_to_the_picture(channels: int, mode: str) -> None:
    picture = sheet(images(5, channels, 3, 4), (channels, 3, 4), 2)
    decoded = Image.open(io.BytesIO(png(picture)))
    assert (decoded.format, decoded.mode) == ("PNG", mode)
    np.testing.assert_array_equal(np.asarray(decoded), picture)
    zoomed = np.asarray(Image.open(io.BytesIO(png(picture, zoom=3))))
    np.testing.assert_array_equal(zoomed, picture.repeat(3, 0).repeat(3, 1))
