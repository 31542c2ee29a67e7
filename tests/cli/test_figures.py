"""`figure` on a real run: its pictures, what the files say of themselves, and what it says when there are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.strips import sheets, strip
from gansearch import __version__, parts, pictures
from gansearch.core.datasets import load
from gansearch.figures import find_model, interpolations, samples_with_nearest
from gansearch.kept_models import find_weights
from gansearch.paths import RunPaths, TrialKey
from gansearch.schema import SAMPLES
from tests.cli.conftest import CONFIG, OTHER, SEEDS, Gansearch, Place


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def _said(path: str | Path) -> dict[str, str]:
    with Image.open(path) as image:
        return {str(name): str(text) for name, text in image.info.items()}


def test_figure_2(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("figure", place.run, "--no-download")
    model = find_model(place.run)
    expected = samples_with_nearest(model, load("digits", data_dir=None))
    assert (code, out, err) == (0, "figure2.png\n", f"{expected.caption}\n")
    np.testing.assert_array_equal(_pixels("figure2.png"), expected.picture)
    assert _said("figure2.png") == {
        "Title": "Samples, with the nearest training image in the last column",
        "Description": expected.caption,
        "Software": f"gansearch {__version__}",
        "config_id": CONFIG.config_id,
        "stage": "confirm",
        "seed": str(SEEDS[0]),
        "epoch": str(model.scored_epoch),
    }


def test_figure_3(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("figure", place.run, "--kind", "interpolation")
    expected = interpolations(find_model(place.run))
    assert (code, out, err) == (0, "figure3.png\n", f"{expected.caption}\n")
    np.testing.assert_array_equal(_pixels("figure3.png"), expected.picture)
    assert _said("figure3.png")["Description"] == expected.caption


def test_a_strip(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("figure", place.run, "--kind", "strip")
    expected = strip(place.run, CONFIG.config_id, SEEDS[0])
    assert (code, out, err) == (0, "strip.png\n", f"{expected.caption}\n")
    np.testing.assert_array_equal(_pixels("strip.png"), pictures.decode(expected.png))
    assert (expected.epochs, _said("strip.png")["epoch"]) == ((2, 4), "2, 4")
    gansearch("figure", place.run, "--kind", "strip", "--config-id", OTHER.config_id, "--rows", "1", "-o", "other.png")
    assert (_said("other.png")["stage"], _said("other.png")["epoch"]) == ("search", "2")


def test_sheets(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("figure", place.run, "--kind", "sheets", "--zoom", "2", "-o", "all")
    names = [f"{CONFIG.config_id}-{seed}.png" for seed in SEEDS]
    assert (code, out.split()) == (0, [f"all/{name}" for name in names])
    assert len(err.splitlines()) == len(names)
    for name, sheet in zip(names, sheets(place.run), strict=True):
        stored = pictures.decode(sheet.png)
        np.testing.assert_array_equal(_pixels(Path("all") / name), stored.repeat(2, 0).repeat(2, 1))
        assert _said(Path("all") / name)["seed"] == str(sheet.seed)
    assert gansearch("figure", place.run, "--kind", "sheets", "--seed", str(SEEDS[1]))[1] == f"sheets/{names[1]}\n"


def test_a_sheet_of_each_fold(tmp_path: Path, gansearch: Gansearch) -> None:
    png = pictures.png(np.zeros((3, 3, 3), np.uint8))
    for fold in (0, 3):
        identity = {"config_id": CONFIG.config_id, "seed": 7, "stage": "confirm", "fold": fold}
        key = TrialKey(CONFIG.config_id, 7, "confirm", fold)
        picture = {"kind": "sheet", "epoch": 4, "rows": 1, "columns": 1, "png": png}
        parts.write_part(RunPaths(tmp_path / "run").part("samples", key), SAMPLES, [identity | picture])
    code, out, err = gansearch("figure", tmp_path / "run", "--kind", "sheets")
    stem = f"sheets/{CONFIG.config_id}-7"
    assert (code, out.split()) == (0, [f"{stem}.png", f"{stem}-fold3.png"])
    assert Path(f"{stem}-fold3.png").is_file()
    assert "confirm seed 7, epoch 4" in err.splitlines()[0]
    assert "confirm seed 7, fold 3, epoch 4" in err.splitlines()[1]


@pytest.mark.parametrize(("kind", "columns"), [("samples", 4), ("interpolation", 5)])
def test_the_size_and_the_seed_of_a_figure(place: Place, gansearch: Gansearch, kind: str, columns: int) -> None:
    options = ("--rows", "2", "--columns", str(columns), "--zoom", "3", "--seed", str(SEEDS[2]))
    code, _, err = gansearch("figure", place.run, "--kind", kind, *options, "-o", "a.png")
    assert (code, f"confirm seed {SEEDS[2]}" in err) == (0, True)
    gap = pictures.SHOWN_GAP
    assert _pixels("a.png").shape[:2] == (2 * (24 + gap) + gap, columns * (24 + gap) + gap)
    path = RunPaths(place.run).weights(find_model(place.run, None, SEEDS[2]).spec.key)
    assert gansearch("figure", path, "--kind", kind, *options[:-2], "-o", "b.png")[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def _error(gansearch: Gansearch, *arguments: str | Path) -> str:
    """Return what is said of a command that fails, which is one sentence and a hint, and leaves no file."""
    before = set(Path().iterdir())
    code, out, err = gansearch("figure", *arguments)
    assert (code, out) == (2, "")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "hint"]
    assert set(Path().iterdir()) == before
    return err


@pytest.mark.parametrize("kind", ["samples", "interpolation"])
def test_without_weights(place: Place, gansearch: Gansearch, kind: str) -> None:
    err = _error(gansearch, place.run, "--kind", kind, "--config-id", OTHER.config_id)
    assert f"keeps no weights of configuration {OTHER.config_id}" in err
    assert "gansearch train best.yaml" in err
    err = _error(gansearch, place.run, "--kind", kind, "--seed", "999")
    assert f"keeps no weights of configuration {CONFIG.config_id} with seed 999" in err
    assert f"hint: weights are kept of the seeds {', '.join(map(str, SEEDS))}" in err


@pytest.mark.parametrize("kind", ["strip", "sheets"])
def test_without_stored_samples(place: Place, gansearch: Gansearch, kind: str) -> None:
    assert "holds no s" in _error(gansearch, place.run, "--kind", kind, "--config-id", "abc")
    assert "with seed 999" in _error(gansearch, place.run, "--kind", kind, "--seed", "999")
    assert "is one model" in _error(gansearch, str(find_weights(place.run)), "--kind", kind)
    shutil.copytree(place.run, "run")
    shutil.rmtree("run/samples")
    assert "run lacks a table: it has no samples folder" in _error(gansearch, "run", "--kind", kind)


def test_sheets_have_their_own_size(place: Place, gansearch: Gansearch) -> None:
    assert "sheets are as the run keeps them" in _error(gansearch, place.run, "--kind", "sheets", "--rows", "3")


def test_a_data_set_that_is_not_there(
    place: Place, gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import gansearch.figures as module

    # A model of MNIST as far as the command looks at it before it loads the images.
    model = find_model(place.run)
    config = model.spec.config.replace({"dataset.name": "mnist"})
    mnist = type(model)(
        path=model.path,
        spec=type(model.spec)(config=config, seed=1, stage="confirm"),
        weights=model.weights,
        scored_epoch=4,
        digest=model.digest,
    )
    monkeypatch.setattr(module, "find_model", lambda *_, **__: mnist)
    err = _error(gansearch, place.run, "--data-dir", tmp_path / "none", "--no-download")
    assert "mnist" in err.lower()


@pytest.mark.parametrize("arguments", [("nowhere",), ("nowhere", "--kind", "strip"), ("nowhere", "--kind", "sheets")])
def test_no_run_at_all(gansearch: Gansearch, arguments: tuple[str, ...]) -> None:
    assert "nowhere is not a run directory" in _error(gansearch, *arguments)


def test_a_kind_that_is_not_known(place: Place, gansearch: Gansearch) -> None:
    assert "--kind 'samplse' is not known" in _error(gansearch, place.run, "--kind", "samplse")


def test_damaged_tables_may_be_skipped(place: Place, gansearch: Gansearch) -> None:
    shutil.copytree(place.run, "run")
    (part,) = Path("run/samples").glob(f"{CONFIG.config_id}-{SEEDS[1]}-*")
    part.write_bytes(b"PAR1")
    for kind in ("strip", "sheets"):
        assert "--skip-damaged" in _error(gansearch, "run", "--kind", kind)
        assert gansearch("figure", "run", "--kind", kind, "--skip-damaged")[0] == 0
    assert len(list(Path("sheets").iterdir())) == len(SEEDS) - 1
