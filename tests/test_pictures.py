"""Sheets of samples: where each image lands, what is drawn around it, and that the PNG is one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gansearch.errors import ResultsError
from gansearch.pictures import (
    YELLOW,
    decode,
    enlarge,
    frame_last_column,
    label_rows,
    lay_out,
    png,
    sheet,
    take_apart,
    to_tiles,
    zoom_for,
)

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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gap", [1, 4])
def test_a_picture_is_taken_apart_into_its_images(channels: int, gap: int) -> None:
    tiles = to_tiles(images(8, channels, 5, 3), (channels, 5, 3))
    found = take_apart(lay_out(tiles, 3, gap=gap), 3, 3, gap=gap)
    np.testing.assert_array_equal(found[:8], tiles)
    assert (found[8] == WHITE).all()


@pytest.mark.parametrize(("rows", "columns"), [(4, 3), (3, 5), (18, 3), (3, 24)])
def test_a_picture_of_another_size_is_not_taken_apart(rows: int, columns: int) -> None:
    picture = lay_out(to_tiles(images(9, 1, 5, 7), (1, 5, 7)), 3)
    with pytest.raises(ResultsError, match=rf"25 x 19 pixels does not hold {rows} x {columns} images"):
        take_apart(picture, rows, columns)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gap", [1, 3])
def test_the_frame_is_the_lines_around_the_last_column(channels: int, gap: int) -> None:
    tiles = to_tiles(images(6, channels, 4, 5), (channels, 4, 5))
    picture = lay_out(tiles, 3, gap=gap)
    before = picture.copy()
    framed = frame_last_column(picture, 2, 3, gap=gap)
    np.testing.assert_array_equal(picture, before)
    inside = take_apart(framed, 2, 3, gap=gap)
    np.testing.assert_array_equal(inside, tiles if channels == 3 else np.stack([tiles] * 3, axis=-1))
    yellow = (framed == YELLOW).all(-1)
    last = 2 * (5 + gap)
    assert not yellow[:, :last].any()
    assert yellow[:, last:].sum() == framed.shape[0] * (5 + 2 * gap) - 2 * 4 * 5
    colours = {tuple(pixel) for pixel in framed[:, :last][(framed[:, :last] == WHITE).all(-1)].tolist()}
    assert colours == {(WHITE, WHITE, WHITE)}


def test_images_are_enlarged_pixel_by_pixel() -> None:
    for shape in ((1, 3, 2), (3, 3, 2)):
        tiles = to_tiles(images(4, *shape), shape)
        large = enlarge(tiles, 5)
        assert large.shape == (4, 15, 10, *tiles.shape[3:])
        for y, x in np.ndindex(15, 10):
            np.testing.assert_array_equal(large[:, y, x], tiles[:, y // 5, x // 5])
    assert [zoom_for((1, size, size)) for size in (8, 28, 32, 48, 200)] == [7, 2, 2, 1, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_labels_stand_left_of_their_rows(channels: int) -> None:
    picture = lay_out(enlarge(to_tiles(images(6, channels, 4, 5), (channels, 4, 5)), 8), 2, gap=2)
    labelled = label_rows(picture, ["one", "", "three"])
    margin = labelled.shape[1] - picture.shape[1]
    np.testing.assert_array_equal(labelled[:, margin:], picture)
    dark = np.asarray((labelled[:, :margin] < 128).reshape(len(labelled), -1).any(1))
    third = len(labelled) / 3
    assert dark[: int(third)].any()
    assert not dark[int(third) : int(2 * third)].any()
    assert dark[int(2 * third) :].any()
    # Clear of the images and of the edge.
    columns = np.asarray((labelled[:, :margin] < 128).reshape(len(labelled), margin, -1).any((0, 2)))
    assert not columns[:4].any()
    assert not columns[-4:].any()


def test_a_png_says_what_it_shows() -> None:
    picture = sheet(images(5, 1, 3, 4), (1, 3, 4), 2)
    said = {"Title": "Samples", "Description": "Five of them: \u00e9", "epoch": "12"}
    content = png(picture, text=said)
    assert Image.open(io.BytesIO(content)).info == said
    np.testing.assert_array_equal(decode(content), picture)
    assert Image.open(io.BytesIO(png(picture))).info == {}


@pytest.mark.parametrize("content", [b"", b"GIF89a", png(sheet(images(1, 1, 9, 9), (1, 9, 9), 1))[:80]])
def test_what_is_no_png_is_not_decoded(content: bytes) -> None:
    with pytest.raises(ResultsError, match="a stored picture cannot be decoded"):
        decode(content)


def test_pixels_that_are_no_bytes_are_refused() -> None:
    buffer = io.BytesIO()
    Image.new("1", (3, 3)).save(buffer, format="PNG")
    with pytest.raises(ResultsError, match="has pixels of type bool, not bytes"):
        decode(buffer.getvalue())


def test_images_of_normalised_contrast_are_shown_around_middle_grey() -> None:
    values = torch.tensor([[0.0, 2.0, -1.0, 1.0], [0.0, 0.0, 0.0, -8.0], [0.0] * 4])
    tiles = to_tiles(values, (1, 2, 2), "contrast").reshape(3, 4).tolist()
    assert tiles == [[128, 255, 64, 191], [128, 128, 128, 0], [128] * 4]
