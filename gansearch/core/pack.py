"""Many trials trained side by side on one device, by one batched computation.

Networks this small leave a GPU almost idle, and a CPU busy with everything but arithmetic. A pack holds the
parameters of trials of one `Shape` stacked, and trains all of them for an epoch at a time. Learning rates, momentum,
dropout, k, objective and everything else that is no shape differ from trial to trial. What a trial gets does not
depend on its neighbours: its draws follow from its own seed (`epochs`), no operation mixes trials, and one whose
loss is not finite is frozen by itself (`updates`). Only the last bits of a batched product may differ from those of
a single one.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from gansearch.config import TrialConfig, parameters
from gansearch.core import epochs
from gansearch.core.adversarial import Adversarial, Epoch
from gansearch.core.algorithm1 import MEASURES, State
from gansearch.core.shapes import Float, Int64, Real, Tensor


class Shape(NamedTuple):
    """What trials must have in common to be computed together.

    Attributes:
        noise: components of z.
        generator: units of G's hidden layers.
        output: G's output.
        discriminator: units of D's hidden layers.
        pieces: linear pieces of a maxout unit.
        batch_size: examples in a minibatch.
        order: `alternating` or `simultaneous`.
        rule: the update rule.
        others: values of `SHAPES`: what else says how networks are computed.
    """

    noise: int
    generator: tuple[int, ...]
    output: str
    discriminator: tuple[int, ...]
    pieces: int
    batch_size: int
    order: str
    rule: str
    others: tuple[object, ...] = ()


SHAPES = (
    "dataset.name",
    "generator.activations",
    "generator.leaky_slope",
    "generator.batch_norm",
    "discriminator.activation",
    "discriminator.leaky_slope",
    "discriminator.inputs",
    "condition.on",
    *(name for name, _ in parameters() if name.startswith(("deconvolution.", "convolution."))),
)
"""Parameters that say how networks are computed, beside those that have a name in `Shape`."""


def shape_of(config: TrialConfig) -> Shape:
    """Return the shape of a configuration: those of one shape share a pack."""
    return Shape(
        noise=config.noise.dim,
        generator=config.generator.hidden,
        output=config.generator.output,
        discriminator=config.discriminator.hidden,
        pieces=config.discriminator.pieces,
        batch_size=config.algorithm.batch_size,
        order=config.algorithm.order,
        rule=config.update.rule,
        others=(bool(config.noise.hidden), *(config.get(name) for name in SHAPES)),
    )


class Slot:
    """A trial's place in a pack: trains with the others, and is a model of its own in everything else.

    Made by `Pack.join`.

    Args:
        own: the trial's nets. In the pack their tensors are its rows of the stacked ones.
    """

    def __init__(self, own: Adversarial) -> None:
        self.own = own
        self._trained: collections.deque[Epoch] = collections.deque()

    def trained(self, epoch: Epoch) -> None:
        """Take an epoch that the pack has trained."""
        self._trained.append(epoch)

    def train_epoch(self) -> Epoch:
        """Return the next epoch that the pack has trained.

        Raises:
            RuntimeError: when the pack has not trained it yet.
        """
        if not self._trained:
            raise RuntimeError("a slot's epochs are trained by its pack, which has trained none that was not taken")
        return self._trained.popleft()

    @property
    def untaken_seconds(self) -> float:
        """What the epochs took that were trained and not taken yet."""
        return sum((epoch.seconds for epoch in self._trained), 0.0)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the generator's parameters."""
        return self.own.weights()

    def sample(self, weights: Mapping[str, Tensor], n: int, purpose: str, step: int = 0) -> Float[Tensor, "n d"]:
        """Return n samples of these weights, as `Adversarial.sample` does."""
        return self.own.sample(weights, n, purpose, step)

    def diverged(self) -> bool:
        """Return whether the trial froze."""
        return self.own.diverged()

    def counters(self) -> dict[str, int | float]:
        """Return generator updates, discriminator updates and floating-point operations so far."""
        return self.own.counters()

    def save(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on, by name."""
        return self.own.save()

    def load(self, tensors: Mapping[str, Tensor], epochs: int) -> None:
        """Continue from what `save` returned after so many epochs."""
        self.own.load(tensors, epochs)


class Pack:
    """Trials of one shape side by side; they join and leave between two epochs.

    Args:
        train: training images as bytes, [n, d], on the device to train on.
        levels: the byte that stands for a pixel value of 1.
        labels: classes of the training images, for conditional trials.
    """

    def __init__(self, train: Real[Tensor, "n d"], levels: int, labels: Int64[Tensor, " n"] | None = None) -> None:
        self._train, self._levels, self._labels = train, levels, labels
        self._slots: list[Slot] = []
        self._stacked: State | None = None  # of the slots as they were in the last epoch

    def __len__(self) -> int:
        """Return how many trials there are."""
        return len(self._slots)

    def join(self, config: TrialConfig, seed: int) -> Slot:
        """Take a trial in, untrained.

        Args:
            config: what to train, of the shape of the others.
            seed: the trial's seed.

        Raises:
            ValueError: when its shape is another one, or there are fewer training images than a minibatch holds.
        """
        if self._slots and (found := shape_of(config)) != (shape := shape_of(self._slots[0].own.config)):
            raise ValueError(f"a trial of {found} cannot share a pack with {shape}")
        slot = Slot(Adversarial(config, self._train, self._levels, seed, self._labels))
        self._slots.append(slot)
        self._stacked = None
        return slot

    def leave(self, slot: Slot) -> None:
        """Let a trial go; it keeps its tensors."""
        self._slots.remove(slot)
        self._stacked = None

    def train_epoch(self) -> None:
        """Train every trial for an epoch; each is charged an equal share of the time."""
        started = time.perf_counter()
        members = [slot.own for slot in self._slots]
        if self._stacked is None:
            self._stacked = _stack(members)
        outcome = epochs.train_epoch(
            self._stacked,
            [own.member for own in members],
            members[0].nets,
            self._train,
            self._levels,
            labels=self._labels,
            side_by_side=True,
        )
        measures = outcome.measures.T.tolist()  # waits for the device, so the clock is honest
        seconds = (time.perf_counter() - started) / len(members)
        for i, (slot, values) in enumerate(zip(self._slots, measures, strict=True)):
            slot.own.state = _row(self._stacked, i)
            slot.own.note_epoch(outcome.g_updates[i], outcome.d_updates[i])
            slot.trained(Epoch(dict(zip(MEASURES, values, strict=True)), seconds, elsewhere=True))


def _stack(members: Sequence[Adversarial]) -> State:
    """Return the members' states with a leading axis of trials; the members' own become rows of it."""
    groups = {
        field.name: {
            name: torch.stack([getattr(own.state, field.name)[name] for own in members])
            for name in getattr(members[0].state, field.name)
        }
        for field in dataclasses.fields(State)
        if field.name != "alive"
    }
    stacked = State(**groups, alive=torch.stack([own.state.alive for own in members]))
    for i, own in enumerate(members):
        own.state = _row(stacked, i)
    return stacked


def _row(stacked: State, i: int) -> State:
    """Return a trial's part of a stacked state, sharing its memory."""
    return State(
        g={name: p[i] for name, p in stacked.g.items()},
        d={name: p[i] for name, p in stacked.d.items()},
        g_moments={name: p[i] for name, p in stacked.g_moments.items()},
        d_moments={name: p[i] for name, p in stacked.d_moments.items()},
        alive=stacked.alive[i],
    )
