"""Sheets and strips: made of the very images that the table holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.strips import Strip, configuration_of, sheets, strip
from gansearch import parts, pictures, schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from tests.analysis.rows import config, confirm_rows, trial_row, write_run

PAPER, OTHER = config(), config(algorithm__k=3)
HEIGHT, WIDTH = 5, 4
GAP = pictures.SHOWN_GAP

Tiles = NDArray[np.uint8]


def tiles(n: int, seed: int, channels: int = 1) -> Tiles:
    """Return n images of random bytes below white."""
    size = (n, HEIGHT, WIDTH) if channels == 1 else (n, HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)


def sample_row(key: TrialKey, epoch: int, images: Tiles, columns: int, kind: str = "report") -> dict[str, Any]:
    identity = {"config_id": key.config_id, "seed": key.seed, "stage": key.stage, "fold": key.fold}
    png = pictures.png(pictures.lay_out(images, columns))
    return {
        **identity,
        "kind": kind,
        "epoch": epoch,
        "rows": -(-len(images) // columns),
        "columns": columns,
        "png": png,
    }


def write_samples(run: Path, key: TrialKey, rows: Iterable[dict[str, Any]]) -> None:
    parts.write_part(RunPaths(run).part("samples", key), schema.SAMPLES, list(rows))


def key(seed: int, stage: str = "confirm", config_id: str = PAPER.config_id) -> TrialKey:
    return TrialKey(config_id, seed, stage)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run: a search trial of each configuration, two confirm trials of the paper's."""
    rows = [trial_row(PAPER, 11, score=90.0), trial_row(OTHER, 12, score=80.0)]
    rows += [*confirm_rows(PAPER, 21, 91.0, 90.0, replicate=1), *confirm_rows(PAPER, 29, 92.0, 90.5, replicate=0)]
    write_run(tmp_path / "run", rows)
    for own, reports in ((key(11, "search"), 2), (key(21), 5), (key(29), 3), (key(12, "search", OTHER.config_id), 4)):
        shown = [sample_row(own, 10 * (i + 1), tiles(6, 100 * own.seed + i), 3) for i in range(reports)]
        if own.stage == "confirm":
            shown.append(sample_row(own, 20, tiles(8, own.seed), 4, "sheet"))
        write_samples(tmp_path / "run", own, reversed(shown))
    return tmp_path / "run"


def shown_images(made: Strip) -> Tiles:
    """Return the images of a strip as they are enlarged in it, its labels cut off."""
    picture = pictures.decode(made.png)
    width = made.columns * (made.zoom * WIDTH + GAP) + GAP
    return pictures.take_apart(picture[:, picture.shape[1] - width :], len(made.epochs), made.columns, gap=GAP)


def expected(seed: int, reports: Iterable[int], columns: int, zoom: int) -> Tiles:
    images = np.concatenate([tiles(6, 100 * seed + i)[:columns] for i in reports])
    return np.kron(images, np.ones((1, zoom, zoom), np.uint8))


def test_a_strip_is_made_of_the_stored_images(run: Path) -> None:
    made = strip(run, PAPER.config_id, 21, zoom=3)
    assert (made.key, made.epochs, made.columns) == (key(21), (10, 20, 30, 40, 50), 6)
    np.testing.assert_array_equal(shown_images(made), expected(21, range(5), 6, 3))
    assert made.caption == (
        f"6 samples of configuration {PAPER.config_id}, confirm seed 21, from epoch 10 to 50: "
        "a row a report, a column a noise vector."
    )


def test_each_row_has_a_label_of_its_own(run: Path) -> None:
    made = strip(run, PAPER.config_id, 21, zoom=9)
    picture = pictures.decode(made.png)
    margin = picture.shape[1] - (made.columns * (made.zoom * WIDTH + GAP) + GAP)
    assert 0 < margin < 120
    labels = np.array_split(picture[:, :margin], len(made.epochs))
    assert all((label < 128).any() for label in labels)
    assert len({label[: min(map(len, labels))].tobytes() for label in labels}) == len(labels)


@pytest.mark.parametrize(("reports", "kept"), [(1, (10,)), (2, (10, 50)), (3, (10, 30, 50)), (4, (10, 20, 40, 50))])
def test_of_many_reports_those_at_even_distances_are_shown(run: Path, reports: int, kept: tuple[int, ...]) -> None:
    made = strip(run, PAPER.config_id, 21, reports=reports, columns=4, zoom=2)
    assert made.epochs == kept
    np.testing.assert_array_equal(shown_images(made), expected(21, [epoch // 10 - 1 for epoch in kept], 4, 2))


def test_a_small_image_is_enlarged(run: Path) -> None:
    assert strip(run, PAPER.config_id, 21).zoom == 11  # 5 pixels to about 56


def test_a_configuration_stands_by_its_first_confirm_trial(run: Path) -> None:
    assert strip(run, PAPER.config_id).key == key(29)
    assert strip(run, OTHER.config_id).key == key(12, "search", OTHER.config_id)
    assert strip(run, PAPER.config_id, 11).key == key(11, "search")


def test_pictures_in_colour(run: Path) -> None:
    own = key(33, "train", "0123456789ab")
    images = tiles(4, 1, channels=3)
    write_samples(run, own, [sample_row(own, 7, images, 2)])
    made = strip(run, own.config_id, zoom=1)
    np.testing.assert_array_equal(shown_images(made), images)
    assert made.caption.endswith("train seed 33, at epoch 7: a row a report, a column a noise vector.")


def test_the_sheets_are_those_of_the_table(run: Path) -> None:
    found = sheets(run)
    assert [(one.config_id, one.seed, one.epoch, one.rows, one.columns) for one in found] == [
        (PAPER.config_id, 21, 20, 2, 4),
        (PAPER.config_id, 29, 20, 2, 4),
    ]
    for one in found:
        images = pictures.take_apart(pictures.decode(one.png), one.rows, one.columns)
        np.testing.assert_array_equal(images, tiles(8, one.seed))
    assert sheets(run, config_id=OTHER.config_id) == ()


def test_a_run_stands_for_its_leader(run: Path, tmp_path: Path) -> None:
    assert configuration_of(run) == PAPER.config_id
    alone = write_run(tmp_path / "alone", [trial_row(OTHER, 5, "train", 3.0)])
    assert configuration_of(alone) == OTHER.config_id
    several = write_run(alone, [trial_row(PAPER, 6, "train", 3.0)])
    with pytest.raises(ResultsError, match="several configurations were trained there") as caught:
        configuration_of(several)
    assert caught.value.hint == "add --config-id"


def test_what_is_not_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="holds no samples of configuration abc"):
        strip(run, "abc")
    with pytest.raises(ResultsError, match="with seed 5") as caught:
        strip(run, PAPER.config_id, 5)
    assert caught.value.hint == "its seeds are 11, 21, 29"
    bare = write_run(tmp_path / "bare", [trial_row(PAPER, 1, score=3.0)])
    for read in (lambda: strip(bare, PAPER.config_id), lambda: sheets(bare)):
        with pytest.raises(ResultsError, match="lacks a table: it has no samples folder"):
            read()
    with pytest.raises(ResultsError, match="is not a run directory"):
        sheets(tmp_path / "nowhere")


def test_damaged_pictures_and_parts(run: Path) -> None:
    own = key(44, "train", "0123456789ab")
    good = sample_row(own, 10, tiles(6, 1), 3)
    for spoilt, problem in (
        ({"png": good["png"][:60]}, "cannot be decoded"),
        ({"png": b"GIF89a"}, "cannot be decoded"),
        ({"columns": 4}, "does not hold 2 x 4 images"),
        ({"rows": 1, "columns": 6, "png": sample_row(own, 10, tiles(6, 1)[:, :3], 6)["png"]}, "different sizes"),
    ):
        write_samples(run, own, [good, {**good, "epoch": 20, **spoilt}])
        with pytest.raises(ResultsError, match=problem):
            strip(run, own.config_id)
    RunPaths(run).part("samples", key(21)).write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match="is damaged"):
        sheets(run)
    assert [one.seed for one in sheets(run, skip_damaged=True)] == [29]
    assert strip(run, PAPER.config_id, skip_damaged=True).key == key(29)
