"""One trial's adversarial nets in training: the state, what moves it, and what is known of it.

All draws follow from (seed, purpose, step), so the tensors of `save` and the count of epochs are the whole state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import torch

from gansearch.config import TrialConfig
from gansearch.core import algorithm1, cost, epochs, networks, updates
from gansearch.core.algorithm1 import MEASURES
from gansearch.core.epochs import Member
from gansearch.core.generator import Given, Moments, batch_moments, generate
from gansearch.core.networks import Networks, Params
from gansearch.core.shapes import Float, Int64, Real, Tensor
from gansearch.seeds import Draws

SAMPLE_BLOCK = 1000
"""Samples generated at a time; a fixed block, so the draws do not depend on the memory at hand."""


def latent_block(
    nets: Networks, draws: Draws, purpose: str, block: int, step: int = 0
) -> tuple[Float[Tensor, "n z"], Given]:
    """Return what a block of samples is made of: noise, and labels of all classes in turn.

    Sample i is of class i modulo the number of classes, so that classes have equal shares, and a sheet of as many
    columns has a class a column.

    Args:
        nets: the networks.
        draws: the trial's draws.
        purpose: what the samples are for.
        block: which block, from 0.
        step: which draw of that purpose.
    """
    named = f"evaluation/{purpose}/{block}"
    z = networks.draw_noise(nets.noise, draws, named, step, SAMPLE_BLOCK)
    labels = None
    if nets.classes:
        first = block * SAMPLE_BLOCK
        classes = torch.arange(first, first + SAMPLE_BLOCK, device=draws.device) % nets.classes
        labels = torch.nn.functional.one_hot(classes, nets.classes).to(z.dtype)
    return z, Given(hidden=networks.draw_hidden_noise(nets, draws, named, step, SAMPLE_BLOCK), labels=labels)


def moments_of(nets: Networks, params: Params, draws: Draws) -> Moments | None:
    """Return what batch normalisation takes where samples are drawn: the moments of a fixed block of them."""
    if not nets.config.generator.batch_norm:
        return None
    z, given = latent_block(nets, draws, "moments", 0)
    return batch_moments(nets, params, z, given)


class Epoch(NamedTuple):
    """An epoch of a trial's training.

    Attributes:
        measures: mean of each of `MEASURES` over its steps.
        seconds: what it took; where several trials were trained at once, this one's share.
        elsewhere: whether it was trained before it was asked for, together with others.
    """

    measures: dict[str, float]
    seconds: float
    elsewhere: bool = False


class Adversarial:
    """Adversarial nets that train epoch by epoch.

    Args:
        config: what to train.
        train: training images as bytes, [n, d], on the device to train on.
        levels: the byte that stands for a pixel value of 1.
        seed: the trial's seed.
        labels: classes of the training images, int64 [n], where the configuration is conditional; without them it
            can be sampled and not trained.

    Attributes:
        config: what is trained.
        epochs: epochs done.
        nets: the shapes of both networks.
        state: what training moves.

    Raises:
        ValueError: when there are fewer training images than a minibatch holds, or networks do not fit the images.
    """

    def __init__(
        self,
        config: TrialConfig,
        train: Real[Tensor, "n d"],
        levels: int,
        seed: int,
        labels: Int64[Tensor, " n"] | None = None,
    ) -> None:
        m = config.algorithm.batch_size
        if len(train) < m:
            raise ValueError(f"a minibatch of {m} examples is larger than the training set of {len(train)}")
        self.config = config
        self.epochs = 0
        self.steps_per_epoch = len(train) // m
        self._train, self._levels, self._labels = train, levels, labels
        self._draws = Draws(seed, train.device)
        self.nets = Networks.of(config, train.shape[1])
        exact = torch.float64 if train.is_floating_point() else torch.int64
        marginals = train.sum(0, dtype=exact).to(torch.float64).div_(len(train) * levels).float()
        self._marginals = marginals
        g = networks.init_generator(self.nets, marginals, self._draws)
        d = networks.init_discriminator(self.nets, self._draws)
        self.state = algorithm1.State(
            g=g,
            d=d,
            g_moments=updates.init_moments(g, config.update.rule),
            d_moments=updates.init_moments(d, config.update.rule),
            alive=torch.tensor(True, device=train.device),
        )
        # Updates of G and D that moved something, counted on the device: a frozen trial stops counting.
        self._counts = torch.zeros(2, dtype=torch.int64, device=train.device)

    def train_epoch(self) -> Epoch:
        """Train one epoch of real data."""
        started = time.perf_counter()
        outcome = epochs.train_epoch(
            self.state, [self.member], self.nets, self._train, self._levels, labels=self._labels, side_by_side=False
        )
        measures = outcome.measures.tolist()  # waits for the device, so the clock is honest
        self.note_epoch(outcome.g_updates, outcome.d_updates)
        return Epoch(dict(zip(MEASURES, measures, strict=True)), time.perf_counter() - started)

    def note_epoch(self, g_updates: Tensor, d_updates: Tensor) -> None:
        """Count an epoch, whoever trained it, with the updates that moved something."""
        self._counts += torch.stack([g_updates, d_updates])
        self.epochs += 1
        if self.epochs == self.config.pretraining.epochs:
            self._begin_second_stage()

    @torch.inference_mode()
    def _begin_second_stage(self) -> None:
        """Draw the top layers of both networks anew, and forget what the update rule remembers, in place."""
        state, kept, draws = self.state, self.config.pretraining, self._draws
        for params, fresh, below in (
            (state.g, networks.init_generator(self.nets, self._marginals, draws, stage=1), kept.generator_layers),
            (state.d, networks.init_discriminator(self.nets, draws, stage=1), kept.discriminator_layers),
        ):
            for name, p in params.items():
                if int(name.partition(".")[0]) >= below:
                    p.copy_(fresh[name])
        for moments in (state.g_moments, state.d_moments):
            for moment in moments.values():
                moment.zero_()

    @property
    def member(self) -> Member:
        """The trial at the beginning of its next epoch."""
        return Member(
            config=self.config.at_epoch(self.epochs),
            draws=self._draws,
            epochs=self.epochs,
            beta1=self.config.history("adam.beta1", self.epochs),
        )

    def sample(self, weights: Mapping[str, Tensor], n: int, purpose: str, step: int = 0) -> Float[Tensor, "n d"]:
        """Return n samples of the generator with these weights, images in [0,1].

        Args:
            weights: a generator's parameters, such as `weights()`.
            n: how many samples.
            purpose: what they are for; decides the noise with `step`.
            step: which draw of that purpose.
        """
        params = dict(weights)
        moments = moments_of(self.nets, params, self._draws)
        blocks = []
        for i, start in enumerate(range(0, n, SAMPLE_BLOCK)):
            z, given = latent_block(self.nets, self._draws, purpose, i, step)
            blocks.append(generate(self.nets, params, z, given=given, moments=moments)[: n - start])
        return torch.cat(blocks)

    def weights(self) -> Params:
        """Return a copy of the generator's parameters: all that a sample needs."""
        return {name: p.clone() for name, p in self.state.g.items()}

    def diverged(self) -> bool:
        """Return whether the trial froze. Waits for the device: ask once a report."""
        return not bool(self.state.alive)

    def counters(self) -> dict[str, int | float]:
        """Return generator updates, discriminator updates and floating-point operations so far."""
        g_updates, d_updates = self._counts.tolist()
        spent = cost.flops(self.config, self._train.shape[1], g_updates=g_updates, d_updates=d_updates)
        return {"g_updates": g_updates, "d_updates": d_updates, "flops": spent}

    def save(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on, by name."""
        state = self.state
        groups = {"g": state.g, "d": state.d, "g_moments": state.g_moments, "d_moments": state.d_moments}
        tensors = {f"{group}/{name}": p for group, params in groups.items() for name, p in params.items()}
        return tensors | {"alive": state.alive, "counts": self._counts}

    @torch.inference_mode()  # as in training: what was made there is changed in place nowhere else
    def load(self, tensors: Mapping[str, Tensor], epochs: int) -> None:
        """Continue from what `save` returned after so many epochs.

        Raises:
            ValueError: when the tensors are not those of this configuration.
        """
        own = self.save()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in tensors.items()}:
            raise ValueError("the checkpoint's tensors are not those of this configuration")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.epochs = epochs
