"""The paper's figures of a trained model, compared pixel by pixel with its samples and with its training images."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gansearch import figures, pictures
from gansearch.core.adversarial import SAMPLE_BLOCK
from gansearch.core.datasets import Dataset, as_tensor, load, to_unit
from gansearch.errors import DataError, ResultsError
from gansearch.figures import (
    along_lines,
    check_data,
    find_model,
    interpolations,
    samples_with_nearest,
    sampling_noise,
)
from gansearch.kept_models import KeptModel, draw
from gansearch.paths import RunPaths
from tests.trials import digits, run_trial, spec

GAP = pictures.SHOWN_GAP
# Images computed in batches of other sizes differ in the last bits of float32, and so may bytes by one.
BATCH_TOLERANCE = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of one configuration trained from three seeds, and of another with Gaussian noise."""
    out = tmp_path_factory.mktemp("figures") / "run"
    for seed, stage in ((3, "train"), (5, "confirm"), (4, "confirm")):
        run_trial(spec(stage, seed, replicate=9 - seed), out)
    run_trial(spec("train", 6, {"noise.distribution": "gaussian"}), out)
    return out


@pytest.fixture(scope="module")
def model(folder: Path) -> KeptModel:
    return find_model(folder, spec().config.config_id)


def tiles(picture: np.ndarray, rows: int, columns: int, zoom: int) -> np.ndarray:
    """Return a figure's images, [rows, columns, 8, 8], not enlarged; those of a coloured one must be grey."""
    found = pictures.take_apart(picture, rows, columns, gap=GAP)
    if found.ndim == 4:
        assert (found == found[..., :1]).all()
        found = found[..., 0]
    small = found[:, ::zoom, ::zoom]
    np.testing.assert_array_equal(np.kron(small, np.ones((1, zoom, zoom), np.uint8)), found)
    images: np.ndarray = small.reshape(rows, columns, 8, 8)
    return images


def as_bytes(images: torch.Tensor) -> np.ndarray:
    pixels: np.ndarray = np.rint(255 * images.numpy()).astype(np.uint8)
    return pixels.reshape(-1, 8, 8)


def test_figure_2_shows_the_first_samples_and_what_is_nearest_to_the_last_of_a_row(model: KeptModel) -> None:
    found = samples_with_nearest(model, digits(), rows=3, columns=5, zoom=2)
    images = tiles(found.picture, 3, 5, 2)
    np.testing.assert_array_equal(images[:, :4].reshape(-1, 8, 8), as_bytes(draw(model, 12)))
    neighbours = draw(model, 12).double().numpy()[[3, 7, 11]]
    train = digits().train
    nearest = cdist(neighbours, train / 16).argmin(1)
    np.testing.assert_array_equal(images[:, 4], np.rint(train[nearest] * (255 / 16)).astype(np.uint8).reshape(3, 8, 8))
    yellow = (found.picture == pictures.YELLOW).all(-1)
    width = 8 * 2 + GAP
    assert yellow[:, 4 * width : 4 * width + GAP].all()
    assert not yellow[:, : 4 * width].any()
    assert found.caption.startswith(f"The first 12 samples of {model.describe()}, not picked. ")


def test_a_model_that_copies_is_shown_beside_its_copies(model: KeptModel, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = to_unit(as_tensor(digits().train[200:500]), 16)
    monkeypatch.setattr(figures, "draw", lambda _model, n: copies[:n])
    images = tiles(samples_with_nearest(model, digits(), rows=4, columns=3, zoom=1).picture, 4, 3, 1)
    np.testing.assert_array_equal(images[:, 2], images[:, 1])


def test_figure_3_goes_from_sample_to_sample(model: KeptModel) -> None:
    found = interpolations(model, rows=4, columns=7, zoom=3)
    images = tiles(found.picture, 4, 7, 3).astype(int)
    samples = as_bytes(draw(model, 8)).astype(int)
    assert abs(images[:, 0] - samples[::2]).max() <= BATCH_TOLERANCE
    assert abs(images[:, -1] - samples[1::2]).max() <= BATCH_TOLERANCE
    # The middle is G of the mean of both ends' noise: computed here layer by layer.
    noise = sampling_noise(model, 8).double().numpy()
    h = (noise[::2] + noise[1::2]) / 2
    w = {name: tensor.double().numpy() for name, tensor in model.weights.items()}
    for i in (0, 1):
        h = np.maximum(h @ w[f"{i}.weight"] + w[f"{i}.bias"], 0)
    middle = 255 / (1 + np.exp(-(h @ w["2.weight"] + w["2.bias"])))
    assert abs(images[:, 3] - middle.reshape(4, 8, 8)).max() <= 0.5 + BATCH_TOLERANCE
    assert (found.picture.ndim, found.title) == (2, "Interpolation between samples in noise space")


def test_lines_between_ends_on_a_sphere_go_along_it() -> None:
    ends = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ends = 4 * ends / ends.norm(dim=-1, keepdim=True)
    found = along_lines(ends, 9, spherical=True)
    torch.testing.assert_close(found[:, [0, -1]], ends)
    torch.testing.assert_close(found.norm(dim=-1), torch.full((3, 9), 4.0, dtype=torch.float64))
    steps = (found[:, 1:] - found[:, :-1]).norm(dim=-1)
    torch.testing.assert_close(steps, steps[:, :1].expand(-1, 8))
    # The middle of an arc lies over the middle of its chord.
    middle = ends.mean(1)
    torch.testing.assert_close(found[:, 4], 4 * middle / middle.norm(dim=-1, keepdim=True))
    straight = along_lines(ends, 9, spherical=False)
    torch.testing.assert_close(straight[:, 4], middle)


def test_the_figure_of_spherical_noise_says_so(tmp_path: Path) -> None:
    trial = spec("train", 6, {"noise.distribution": "spherical", "algorithm.epochs": 1})
    run_trial(trial, tmp_path)
    found = interpolations(find_model(tmp_path), rows=2, columns=5, zoom=1)
    assert "along great circles in noise space" in found.caption
    ends = tiles(found.picture, 2, 5, 1)[:, [0, -1]].reshape(4, 8, 8).astype(int)
    assert abs(ends - as_bytes(draw(find_model(tmp_path), 4)).astype(int)).max() <= BATCH_TOLERANCE


def test_noise_is_the_samples_own(folder: Path, model: KeptModel) -> None:
    gaussian = find_model(folder, spec(values={"noise.distribution": "gaussian"}).config.config_id)
    box = sampling_noise(model, SAMPLE_BLOCK)
    assert box.shape == (SAMPLE_BLOCK, 6)
    assert 1.7 < box.abs().max() <= math.sqrt(3)
    assert sampling_noise(gaussian, SAMPLE_BLOCK).abs().max() > math.sqrt(3)
    for own in (model, gaussian):
        np.testing.assert_array_equal(sampling_noise(own, 5), sampling_noise(own, 9)[:5])
        images = tiles(interpolations(own, rows=1, columns=2, zoom=1).picture, 1, 2, 1)[0].astype(int)
        assert abs(images - as_bytes(draw(own, 2)).astype(int)).max() <= BATCH_TOLERANCE


@pytest.mark.parametrize("n", [0, SAMPLE_BLOCK + 1])
def test_noise_is_of_one_block(model: KeptModel, n: int) -> None:
    with pytest.raises(ValueError, match="drawn in blocks of 1000"):
        sampling_noise(model, n)


def test_a_row_needs_two_images(model: KeptModel) -> None:
    with pytest.raises(ValueError, match="2 columns or more, got 3 x 1"):
        samples_with_nearest(model, digits(), rows=3, columns=1)
    with pytest.raises(ValueError, match="two ends, got 1 columns"):
        interpolations(model, columns=1)


def test_which_model_is_meant(folder: Path, model: KeptModel) -> None:
    config_id = spec().config.config_id
    assert (model.spec.stage, model.spec.seed) == ("confirm", 5)  # the earlier replicate of the confirm trials
    assert find_model(folder).spec.key == model.spec.key
    for seed, stage in ((5, "confirm"), (4, "confirm"), (3, "train")):
        chosen = find_model(folder, config_id, seed).spec
        assert (chosen.config.config_id, chosen.seed, chosen.stage) == (config_id, seed, stage)
    with pytest.raises(ResultsError, match=f"keeps no weights of configuration {config_id} with seed 8") as caught:
        find_model(folder, None, 8)
    assert caught.value.hint == "weights are kept of the seeds 5, 4, 3"
    path = RunPaths(folder).weights(spec("train", 3).key)
    assert find_model(path).digest == find_model(folder, config_id, 3).digest
    with pytest.raises(ResultsError, match="holds one model"):
        find_model(path, config_id)


def test_other_images_than_the_models_are_refused(folder: Path, model: KeptModel, tmp_path: Path) -> None:
    check_data(folder, model, digits())
    own = digits()
    other = Dataset(
        name=own.name,
        shape=own.shape,
        levels=own.levels,
        train=own.train,
        valid=own.valid,
        test=None,
        digests={**own.digests, "train": "ffffffff"},
    )
    with pytest.raises(DataError, match=r"here has the digest ffffffff, in the run it is [0-9a-f]+: other images"):
        check_data(folder, model, other)
    shutil.copytree(folder, tmp_path / "run")
    for part in (tmp_path / "run" / "trials").glob("*.parquet"):
        part.unlink()
    check_data(tmp_path / "run", model, other)  # nothing is known of it


def test_rows_of_a_conditional_model_are_of_one_class_each(tmp_path: Path) -> None:
    changes = {"condition.on": "labels", "algorithm.epochs": 1, "noise.hidden": 0.2, "generator.batch_norm": True}
    run_trial(spec("train", 6, changes), tmp_path, data=load("digits", data_dir=None, labels=True))
    found = find_model(tmp_path)
    figure = interpolations(found, rows=2, columns=5, zoom=1)
    assert "row i is of class i modulo 10" in figure.caption
    images = tiles(figure.picture, 2, 5, 1).astype(int)
    # Sample 0 is of class 0 with its own hidden noise, and so is the left end of row 0; that of row 1 is of class 1.
    samples = as_bytes(draw(found, 3)).astype(int)
    assert abs(images[0, 0] - samples[0]).max() <= BATCH_TOLERANCE
    assert abs(images[1, 0] - samples[2]).max() > BATCH_TOLERANCE
