"""The paper's Figures 2 and 3 of a kept model: fair samples beside training images, and lines through noise space.

Images are of the first noise vectors of the trial's own sampling noise, in their order: those of `gansearch sample`
and of its sheet. Nothing is picked. Source: Goodfellow et al. 2014, Figures 2 and 3.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import torch

from gansearch import pictures, results, schema
from gansearch.core import networks
from gansearch.core.adversarial import SAMPLE_BLOCK, latent_block, moments_of
from gansearch.core.datasets import Dataset, DatasetInfo, as_tensor, describe, to_unit
from gansearch.core.diagnostics import nearest_index
from gansearch.core.generator import Given, generate
from gansearch.core.networks import Networks
from gansearch.core.shapes import Float, Tensor
from gansearch.errors import DataError, ResultsError
from gansearch.kept_models import KeptModel, draw, find_weights, load_model
from gansearch.paths import RunPaths, TrialKey
from gansearch.seeds import Draws
from gansearch.storage import Location

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Training images compared at a time.
_STAGES = ("confirm", "train", "reproduce")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """A picture and what it shows.

    Attributes:
        title: what it is, in a few words.
        caption: what is where in it, in a sentence or two.
        picture: uint8 [height, width] or [height, width, 3], its images `pictures.SHOWN_GAP` pixels apart.
    """

    title: str
    caption: str
    picture: NDArray[np.uint8]


def find_model(
    source: Location, config_id: str | None = None, seed: int | None = None, *, skip_damaged: bool = False
) -> KeptModel:
    """Return the model that a run or a weights' file stands for.

    Args:
        source: a run directory, or a weights' file.
        config_id: of a run, another configuration than the leader.
        seed: of a run, another of the configuration's trials than its first.
        skip_damaged: choose among the other rows where a part is damaged, instead of refusing.

    Raises:
        ResultsError: when no such weights are kept, or it is not clear which are meant.
    """
    if source.is_file():
        if config_id is not None or seed is not None:
            raise ResultsError(f"{source} holds one model", hint="give the run directory to choose another of it")
        return load_model(source)
    first = load_model(find_weights(source, config_id, skip_damaged=skip_damaged))
    if seed is None or seed == first.spec.seed:
        return first
    kept = _kept_trials(source, first.spec.config.config_id, skip_damaged)
    for key in kept:
        if key.seed == seed:
            return load_model(RunPaths(source).weights(key))
    seeds = ", ".join(str(key.seed) for key in kept)
    raise ResultsError(
        f"{source} keeps no weights of configuration {first.spec.config.config_id} with seed {seed}",
        hint=f"weights are kept of the seeds {seeds}",
    )


def _kept_trials(run: Location, config_id: str, skip_damaged: bool) -> list[TrialKey]:
    """Return a configuration's trials with weights, confirm trials first, earlier replicates first."""
    columns = ["config_id", "seed", "stage", "fold", "replicate"]
    rows, _ = results.read_arrow(
        run, schema.TRIALS, columns=columns, where=pc.field("config_id") == config_id, skip_damaged=skip_damaged
    )
    found: list[dict[str, Any]] = [row for row in rows.to_pylist() if row["stage"] in _STAGES]
    found.sort(key=lambda row: (_STAGES.index(row["stage"]), row["replicate"], row["seed"], row["fold"]))
    keys = dict.fromkeys(TrialKey(config_id, row["seed"], row["stage"], row["fold"]) for row in found)
    return [key for key in keys if RunPaths(run).weights(key).is_file()]


def check_data(run: Location, model: KeptModel, data: Dataset, *, skip_damaged: bool = False) -> None:
    """Raise DataError where a run's trial was trained on other images than these."""
    where = (pc.field("config_id") == model.spec.config.config_id) & (pc.field("seed") == model.spec.seed)
    rows, _ = results.read_arrow(
        run, schema.TRIALS, columns=["data_train_digest"], where=where, skip_damaged=skip_damaged
    )
    told = {digest for digest in rows["data_train_digest"].to_pylist() if digest is not None}
    here = data.digests["train"]
    if told and here not in told:
        raise DataError(
            f"the train split of '{data.name}' here has the digest {here}, in the run it is {', '.join(sorted(told))}: "
            "other images than the model was trained on",
            hint="give their folder with --data-dir",
        )


def samples_with_nearest(
    model: KeptModel, data: Dataset, *, rows: int = 6, columns: int = 8, zoom: int | None = None
) -> Figure:
    """Return the paper's Figure 2: samples, and in the last column the training image nearest to its neighbour.

    The samples are the first of the trial's own, row by row. The nearest image is that of the least Euclidean
    distance in pixels to the sample left of it, among all training images.

    Args:
        model: whose samples.
        data: what it was trained on.
        rows: rows of images, 1 or more.
        columns: images a row, the training image included, 2 or more.
        zoom: how much images are enlarged; by default to about 56 pixels.

    Raises:
        ValueError: when there are too few rows or columns.
    """
    if rows < 1 or columns < 2:
        raise ValueError(f"a row of samples and a training image needs 2 columns or more, got {rows} x {columns}")
    samples = draw(model, rows * (columns - 1)).unflatten(0, (rows, columns - 1))
    train = as_tensor(data.train)
    nearest = to_unit(train[nearest_index(samples[:, -1], train, data.levels)], data.levels)
    images = torch.cat([samples, nearest[:, None]], dim=1).flatten(0, 1)
    picture = pictures.frame_last_column(_laid_out(images, data, columns, zoom), rows, columns, gap=pictures.SHOWN_GAP)
    return Figure(
        title="Samples, with the nearest training image in the last column",
        caption=f"The first {rows * (columns - 1)} samples of {model.describe()}, not picked. The framed last column "
        f"is the training image of '{data.name}' nearest to the sample left of it (Euclidean distance in pixels).",
        picture=picture,
    )


def interpolations(model: KeptModel, *, rows: int = 6, columns: int = 10, zoom: int | None = None) -> Figure:
    """Return the paper's Figure 3: images along straight lines between pairs of noise vectors.

    Row i goes from the trial's sample 2i to its sample 2i + 1, both ends included. What else the generator is given,
    classes and noise at hidden layers, is that of sample i all along the row. A line between two points of a
    uniform distribution's box stays in it. Between two Gaussian vectors, whose length hardly varies, it passes
    nearer to the origin than noise ever lies: what is in the middle there is no sample. Of noise on a sphere the
    line is the shorter arc of a great circle.

    Args:
        model: whose images.
        rows: pairs, 1 or more.
        columns: images a row, both ends included, 2 or more.
        zoom: how much images are enlarged; by default to about 56 pixels.

    Raises:
        ValueError: when there are too few rows or columns, or more pairs than a block of noise has.
    """
    if columns < 2:
        raise ValueError(f"a line has two ends, got {columns} columns")
    config, info = model.spec.config, describe(model.spec.config.dataset.name)
    ends = sampling_noise(model, 2 * rows).unflatten(0, (rows, 2))
    spherical = config.noise.distribution == "spherical"
    z = along_lines(ends, columns, spherical=spherical)
    nets = Networks.of(config, info.dim)
    draws = Draws(model.spec.seed, torch.device("cpu"))
    _, given = latent_block(nets, draws, "sheet", 0)
    with torch.no_grad():
        images = generate(
            nets,
            model.weights,
            z.flatten(0, 1),
            given=Given(*(_a_row_each(own, rows, columns) for own in (given.hidden, given.labels))),
            moments=moments_of(nets, model.weights, draws),
        )
    ends_are = f"the ends are the noise of the first {2 * rows} samples, not picked"
    if config.condition.on == "labels":
        ends_are += f"; row i is of class i modulo {nets.classes}, from 0"
    return Figure(
        title="Interpolation between samples in noise space",
        caption=f"Images of {model.describe()} along {'great circles' if spherical else 'straight lines'} in noise "
        f"space. Each row goes from one sample to another; {ends_are}.",
        picture=_laid_out(images, info, columns, zoom),
    )


def _a_row_each(given: Tensor | None, rows: int, columns: int) -> Tensor | None:
    """Return the first rows of what samples are given, each as often as its row has images."""
    return None if given is None else given[:rows].repeat_interleave(columns, 0)


def along_lines(ends: Float[Tensor, "rows 2 z"], columns: int, *, spherical: bool) -> Float[Tensor, "rows columns z"]:
    """Return noise vectors in equal steps from one end to the other, both included.

    Args:
        ends: pairs of noise vectors.
        columns: steps, 2 or more.
        spherical: whether they lie on a sphere, and the way goes along it (Shoemake 1985, "Animating rotation with
            quaternion curves", section 3.3), instead of straight.
    """
    along = torch.linspace(0, 1, columns)[:, None]
    first, last = ends[:, :1], ends[:, 1:]
    if not spherical:
        return (1 - along) * first + along * last
    angle = torch.nn.functional.cosine_similarity(first, last, dim=-1).clamp(-1, 1).acos()[..., None]
    return (((1 - along) * angle).sin() * first + (along * angle).sin() * last) / angle.sin()


def _laid_out(images: Tensor, of: Dataset | DatasetInfo, columns: int, zoom: int | None) -> NDArray[np.uint8]:
    tiles = pictures.enlarge(pictures.to_tiles(images, of.shape, of.space), zoom or pictures.zoom_for(of.shape))
    return pictures.lay_out(tiles, columns, gap=pictures.SHOWN_GAP)


def sampling_noise(model: KeptModel, n: int) -> Float[Tensor, "n z"]:
    """Return the noise vectors of a model's first samples, those that `kept_models.draw` returns.

    Args:
        model: whose noise.
        n: how many, at most `SAMPLE_BLOCK`.

    Raises:
        ValueError: when n is out of range.
    """
    if not 1 <= n <= SAMPLE_BLOCK:
        raise ValueError(f"noise is drawn in blocks of {SAMPLE_BLOCK}, and {n} vectors were asked of the first")
    draws = Draws(model.spec.seed, torch.device("cpu"))
    return networks.draw_noise(model.spec.config.noise, draws, "evaluation/sheet/0", 0, SAMPLE_BLOCK)[:n]
