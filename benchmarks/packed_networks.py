"""What the benchmarks of packs train: networks of several sizes, and images for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gansearch.config import TrialConfig
from gansearch.core.datasets import Dataset, as_tensor, describe, load
from gansearch.errors import DataError

SEED = 2014
MNIST_DIM, MNIST_LEVELS, DIGITS_DIM, DIGITS_LEVELS = 784, 255, 64, 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is trained.

    Attributes:
        name: of the networks.
        config: the networks and the algorithm.
        images: training images as bytes, [n, d].
        levels: the byte that stands for a pixel value of 1.
        epochs: of these images, in a row, for one time.
    """

    name: str
    config: TrialConfig
    images: Tensor
    levels: int
    epochs: int

    @property
    def steps(self) -> int:
        """Steps of one time."""
        return self.epochs * (len(self.images) // self.config.algorithm.batch_size)


def paper(order: str = "simultaneous") -> TrialConfig:
    """Return the paper's MNIST networks with the published recipe; it says what `paper/mnist` says, without YAML."""
    return TrialConfig().replace({"dataset.name": "mnist", "momentum.ramp_unit": "epochs", "algorithm.order": order})


def sizes() -> list[Problem]:
    """Return networks from tiny ones to the paper's, with random bytes to train on: these take as long."""
    digits = {"noise.dim": 20, "algorithm.batch_size": 50, "generator.init_range": 0.2, "discriminator.init_range": 0.1}
    tiny = {"noise.dim": 8, "algorithm.batch_size": 20, "generator.init_range": 0.2, "discriminator.init_range": 0.1}
    return [
        _problem("16 units, 8 pixels", 8, 400, 5, tiny | _widths(16, 8, 2)),
        _problem("64 units, 64 pixels", DIGITS_DIM, 1_000, 5, digits | _widths(64, 32, 3)),
        _problem("digits quickstart: 128 units", DIGITS_DIM, 1_000, 5, digits | _widths(128, 64, 3)),
        _problem("256 units, 64 pixels", DIGITS_DIM, 1_000, 2, {"noise.dim": 50} | _widths(256, 120, 5)),
        _problem("a third of the paper's MNIST: 400 units", MNIST_DIM, 500, 1, _widths(400, 80, 5)),
        _problem("the paper's MNIST: 1,200 units", MNIST_DIM, 300, 1, {}),
    ]


def _widths(generator: int, discriminator: int, pieces: int) -> dict[str, Any]:
    return {
        "generator.hidden": (generator, generator),
        "discriminator.hidden": (discriminator, discriminator),
        "discriminator.pieces": pieces,
    }


def _problem(name: str, dim: int, images: int, epochs: int, values: dict[str, Any]) -> Problem:
    levels = MNIST_LEVELS if dim == MNIST_DIM else DIGITS_LEVELS
    config = TrialConfig().replace(values | {"algorithm.order": "alternating"})
    return Problem(name=name, config=config, images=noise(images, dim, levels, SEED), levels=levels, epochs=epochs)


def noise(images: int, dim: int, levels: int, seed: int) -> Tensor:
    """Return random bytes in the place of images, [images, dim]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, levels + 1, (images, dim), dtype=torch.uint8, generator=generator)


def mnist() -> tuple[str, Dataset]:
    """Return MNIST and its name; where it is not there, random bytes of its shape."""
    try:
        return "MNIST", load("mnist", data_dir=None, download=False)
    except DataError:
        info = describe("mnist")
        counts = {"train": info.n_train, "valid": info.n_valid, "test": info.n_test}
        splits: dict[str, Any] = {
            name: noise(count, info.dim, info.levels, SEED + i).numpy()
            for i, (name, count) in enumerate(counts.items())
        }
        digests = dict.fromkeys(splits, "random bytes")
        found = Dataset(name=info.name, shape=info.shape, levels=info.levels, digests=digests, **splits)
        return "random bytes in the place of MNIST", found


def on_device(split: Any, device: torch.device, most: int | None = None) -> Tensor:
    """Return images of a split on a device, all or the first so many."""
    return as_tensor(split)[:most].to(device)
