"""One trial's adversarial nets in training: the data on the device, the state, the schedules, the draws.

`algorithm1` says what a step does; this module says which examples, noise and rates step t gets. All of
them follow from (seed, purpose, t), so the tensors of `save` and the count of epochs are the whole state.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import torch

from gansearch.config import TrialConfig
from gansearch.core import algorithm1, networks, updates
from gansearch.core.algorithm1 import MEASURES, Minibatch, Noise, Rates
from gansearch.core.datasets import to_unit
from gansearch.core.networks import Networks, Params
from gansearch.core.shapes import Float, Tensor, UInt8
from gansearch.seeds import Draws

SAMPLE_BLOCK = 1000
"""Samples generated at a time; a fixed block, so the draws do not depend on the memory at hand."""


class Adversarial:
    """Adversarial nets that train epoch by epoch.

    Args:
        config: what to train.
        train: training images as bytes, [n, d], on the device to train on.
        levels: the byte that stands for a pixel value of 1.
        seed: the trial's seed.

    Raises:
        ValueError: when there are fewer training images than a minibatch holds.
    """

    def __init__(self, config: TrialConfig, train: UInt8[Tensor, "n d"], levels: int, seed: int) -> None:
        m = config.algorithm.batch_size
        if len(train) < m:
            raise ValueError(f"a minibatch of {m} examples is larger than the training set of {len(train)}")
        self.config = config
        self.epochs = 0
        self.steps_per_epoch = len(train) // m
        self._train, self._levels = train, levels
        self._draws = Draws(seed, train.device)
        self._nets = Networks(
            generator=config.generator,
            discriminator=config.discriminator,
            noise=config.noise,
            data_dim=train.shape[1],
        )
        marginals = train.sum(0, dtype=torch.int64).to(torch.float64).div_(len(train) * levels).float()
        g = networks.init_generator(self._nets, marginals, self._draws)
        d = networks.init_discriminator(self._nets, self._draws)
        for p in (*g.values(), *d.values()):
            p.requires_grad_(True)
        self._state = algorithm1.State(
            g=g,
            d=d,
            g_moments=updates.init_moments(g, config.update.rule),
            d_moments=updates.init_moments(d, config.update.rule),
            alive=torch.tensor(True, device=train.device),
        )
        # Updates of G and D that moved something, counted on the device: a frozen trial stops counting.
        self._counts = torch.zeros(2, dtype=torch.int64, device=train.device)

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch of real data; return the mean of each of `MEASURES` over its steps."""
        config, state = self.config.at_epoch(self.epochs), self._state
        nets = dataclasses.replace(self._nets, discriminator=config.discriminator)  # its dropout may have changed
        m, k = config.algorithm.batch_size, config.algorithm.k
        order = self._draws.permutation("order", self.epochs, len(self._train))
        totals = torch.zeros(len(MEASURES), device=self._train.device)
        for i in range(self.steps_per_epoch):
            t = self.epochs * self.steps_per_epoch + i  # discriminator steps before this one
            update_g = (t + 1) % k == 0
            rates = self._rates(t, config)
            batch = self._minibatch(t, to_unit(self._train[order[i * m : (i + 1) * m]], self._levels), nets)
            if update_g and config.algorithm.order == "simultaneous":
                totals += algorithm1.joint_step(state, batch, rates, nets, config)
            else:
                totals += algorithm1.discriminator_step(state, batch, rates, nets, config)
            self._counts[1] += state.alive
            if update_g:
                if config.algorithm.order == "alternating":
                    # The listing draws fresh noise for G's own step.
                    algorithm1.generator_step(state, self._noise("generator", t, nets), rates, nets, config)
                self._counts[0] += state.alive
        self.epochs += 1
        return dict(zip(MEASURES, (totals / self.steps_per_epoch).tolist(), strict=True))

    def _rates(self, t: int, config: TrialConfig) -> Rates:
        momentum = config.momentum
        if config.update.rule == "adam":
            lr_g, lr_d = config.adam.lr_g, config.adam.lr_d
        else:
            lr_g = updates.learning_rate(momentum.lr_g, momentum, t)
            lr_d = updates.learning_rate(momentum.lr_d, momentum, t)
        return Rates(
            lr_g=lr_g,
            lr_d=lr_d,
            momentum=updates.momentum_at(momentum, self.epochs, config.algorithm.epochs),
            g_update=t // config.algorithm.k + 1,
            d_update=t + 1,
        )

    def _minibatch(self, t: int, x: Tensor, nets: Networks) -> Minibatch:
        m = self.config.algorithm.batch_size
        return Minibatch(
            x=x,
            masks=networks.draw_masks(nets, self._draws, "real", t, m),
            noise=self._noise("fake", t, nets),
        )

    def _noise(self, purpose: str, t: int, nets: Networks) -> Noise:
        m = self.config.algorithm.batch_size
        return Noise(
            z=networks.draw_noise(nets.noise, self._draws, f"noise/{purpose}", t, m),
            masks=networks.draw_masks(nets, self._draws, purpose, t, m),
        )

    @torch.no_grad()
    def sample(self, weights: Mapping[str, Tensor], n: int, purpose: str, step: int = 0) -> Float[Tensor, "n d"]:
        """Return n samples of the generator with these weights, images in [0,1].

        Args:
            weights: a generator's parameters, such as `weights()`.
            n: how many samples.
            purpose: what they are for; decides the noise with `step`.
            step: which draw of that purpose.
        """
        blocks = []
        for i, start in enumerate(range(0, n, SAMPLE_BLOCK)):
            block = f"evaluation/{purpose}/{i}"
            z = networks.draw_noise(self.config.noise, self._draws, block, step, SAMPLE_BLOCK)
            blocks.append(networks.generate(self._nets, dict(weights), z)[: n - start])
        return torch.cat(blocks)

    def weights(self) -> Params:
        """Return a copy of the generator's parameters: all that a sample needs."""
        return {name: p.detach().clone() for name, p in self._state.g.items()}

    def diverged(self) -> bool:
        """Return whether the trial froze. Waits for the device: ask once a report."""
        return not bool(self._state.alive)

    def counters(self) -> dict[str, int | float]:
        """Return generator updates, discriminator updates and floating-point operations so far."""
        g_updates, d_updates = self._counts.tolist()
        return {"g_updates": g_updates, "d_updates": d_updates, "flops": self._flops(g_updates, d_updates)}

    def _flops(self, g_updates: int, d_updates: int) -> float:
        """Return twice the multiply-adds of all matrix products of so many updates."""
        m, pieces = self.config.algorithm.batch_size, self.config.discriminator.pieces
        g_widths, d_widths = self._nets.generator_widths, self._nets.dropout_widths
        g_layers = [2.0 * m * a * b for a, b in itertools.pairwise(g_widths)]
        d_layers = [2.0 * m * a * b * pieces for a, b in itertools.pairwise(d_widths)]
        d_layers.append(2.0 * m * d_widths[-1])
        g, d = sum(g_layers), sum(d_layers)
        # D: forward and weight gradients on 2m images, input gradients but for the first layer's; G forward.
        d_step = g + 2 * (d + d + d - d_layers[0])
        # G: back through D to its input, then G's own gradients; its forward pass is shared or its own.
        g_step = d + 2 * g - g_layers[0] + (g + d if self.config.algorithm.order == "alternating" else 0)
        return d_updates * d_step + g_updates * g_step

    def save(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on, by name."""
        state = self._state
        groups = {"g": state.g, "d": state.d, "g_moments": state.g_moments, "d_moments": state.d_moments}
        tensors = {f"{group}/{name}": p.detach() for group, params in groups.items() for name, p in params.items()}
        return tensors | {"alive": state.alive, "counts": self._counts}

    @torch.no_grad()
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
