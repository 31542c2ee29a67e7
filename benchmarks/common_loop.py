"""The peer of the training benchmark: adversarial nets as most public PyTorch repositories train them.

A Dataset in a DataLoader, a generator and a discriminator as `nn.Module`s, `torch.optim`, a loss from `torch.nn`, and
`zero_grad`, `backward`, `step`, eagerly; losses are read with `.item()` at every step. Where such loops differ, this
one takes the faster way: images lie in memory as floats (a TensorDataset, instead of pictures that are decoded and
converted one by one), there are no labels to collate, loading needs no processes of its own, and maxout finds maxima
without their places.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gansearch.config import TrialConfig
from gansearch.model_sections import DiscriminatorConfig


class Maxout(nn.Module):
    """A layer of units that are the maximum of linear pieces.

    Args:
        inputs: what comes in.
        units: what goes out.
        pieces: linear pieces a unit.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima, [m, units], of inputs [m, inputs]."""
        pieces: Tensor = self.linear(x)
        return pieces.view(-1, self.pieces, self.units).amax(1)


class Generator(nn.Module):
    """Images from noise: rectifiers, then a sigmoid.

    Args:
        config: the configuration whose generator this is; its output a sigmoid.
        dim: pixels of an image.
    """

    def __init__(self, config: TrialConfig, dim: int) -> None:
        super().__init__()
        if config.generator.output != "sigmoid":
            raise ValueError(f"the output must be a sigmoid, got {config.generator.output}")
        widths = (config.noise.dim, *config.generator.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Linear(widths[-1], dim), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        """Return images, [m, dim], of noise [m, z]."""
        return cast(Tensor, self.model(z))


class Discriminator(nn.Module):
    """Logits of images: maxout with dropout.

    Args:
        config: the discriminator's configuration.
        dim: pixels of an image.
    """

    def __init__(self, config: DiscriminatorConfig, dim: int) -> None:
        super().__init__()
        widths = (dim, *config.hidden)
        layers: list[nn.Module] = [nn.Dropout(config.dropout_input)]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [Maxout(inputs, outputs, config.pieces), nn.Dropout(config.dropout_hidden)]
        self.model = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [m, 1], of images [m, dim]."""
        return cast(Tensor, self.model(x))


@dataclasses.dataclass(frozen=True, slots=True)
class Losses:
    """What the loop logs of a step: the two losses, in nats."""

    d: float
    g: float


class CommonLoop:
    """The loop, for one configuration.

    Every minibatch moves D on real images, then on samples detached from G; then G moves through the new D, by the
    non-saturating objective. That is the alternating order with k = 1. Rates are constant.

    Args:
        config: the networks, the minibatch, the rates and the loss scale; k is 1 and the rule momentum.
        images: training images in [0,1], [n, d].
        seed: of the global generator, which such loops use.
        reuse: whether G moves on the samples that D saw, as many repositories do, instead of fresh ones (Algorithm 1,
            line 8): one pass through G less.
    """

    def __init__(self, config: TrialConfig, images: Tensor, seed: int, *, reuse: bool = False) -> None:
        if config.algorithm.k != 1 or config.update.rule != "momentum" or config.noise.distribution != "uniform":
            raise ValueError("the common loop has k = 1, momentum and uniform noise")
        torch.manual_seed(seed)
        self.generator = Generator(config, images.shape[1])
        self.discriminator = Discriminator(config.discriminator, images.shape[1])
        self._config, self._reuse = config, reuse
        self._loader = DataLoader(
            TensorDataset(images), batch_size=config.algorithm.batch_size, shuffle=True, drop_last=True
        )
        rates = config.momentum
        self._optimizer_g = torch.optim.SGD(self.generator.parameters(), lr=rates.lr_g, momentum=rates.initial)
        self._optimizer_d = torch.optim.SGD(self.discriminator.parameters(), lr=rates.lr_d, momentum=rates.initial)
        self._criterion = nn.BCEWithLogitsLoss()

    def train_epoch(self) -> list[Losses]:
        """Train one epoch; return what it logged."""
        generator, discriminator, criterion = self.generator, self.discriminator, self._criterion
        log = []
        for (real,) in self._loader:
            valid, fake = torch.ones(len(real), 1), torch.zeros(len(real), 1)

            self._optimizer_d.zero_grad()
            samples = generator(self._noise(len(real)))
            real_loss = criterion(discriminator(real), valid)
            fake_loss = criterion(discriminator(samples.detach()), fake)
            d_loss = (real_loss + fake_loss) * self._config.algorithm.loss_scale
            d_loss.backward()
            self._optimizer_d.step()

            self._optimizer_g.zero_grad()
            if not self._reuse:
                samples = generator(self._noise(len(real)))
            g_loss = criterion(discriminator(samples), valid)
            g_loss.backward()
            self._optimizer_g.step()

            log.append(Losses(d_loss.item(), g_loss.item()))
        return log

    def _noise(self, n: int) -> Tensor:
        """Return noise of unit variance a component, [n, z]."""
        return (torch.rand(n, self._config.noise.dim) * 2 - 1) * math.sqrt(3)
