"""An epoch of one trial, or of many side by side: which examples, noise, dropout masks and rates each step gets.

`algorithm1` says what a step does. What a trial's steps get follows from its seed, its configuration and the
number of its epoch, and from nothing else: not from who trains beside it. Draws are made for a block of steps at
a time, with block boundaries that are the same in every epoch, for a generator costs as much to set as to read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gansearch.config import TrialConfig
from gansearch.core import algorithm1, losses, networks, updates
from gansearch.core.algorithm1 import Minibatch, Moves, Noise, Rules, State, Step
from gansearch.core.datasets import to_unit
from gansearch.core.distances import full_precision
from gansearch.core.dropout import Masks
from gansearch.core.generator import NOTHING, Given
from gansearch.core.networks import Networks, Rate
from gansearch.core.shapes import Float, Int64, Real, Tensor
from gansearch.core.updates import Adam, Momentum
from gansearch.seeds import Draws

STEPS_A_BLOCK = 10
"""Steps whose draws are made at once. A part of what a seed means: another number gives every trial other draws."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A trial at the beginning of an epoch.

    Attributes:
        config: its configuration, as it is in this epoch.
        draws: its draws.
        epochs: epochs before this one.
        beta1: Adam's beta1 where a schedule changed it: (epochs before it began to act, value), the first at 0.
    """

    config: TrialConfig
    draws: Draws
    epochs: int
    beta1: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an epoch.

    Attributes:
        measures: mean over the steps of each of `algorithm1.MEASURES`, [measures, *trials].
        d_updates: updates of D that were made; a trial that froze makes none.
        g_updates: updates of G that were made.
    """

    measures: Float[Tensor, "measures *trials"]
    d_updates: Int64[Tensor, "*trials"]
    g_updates: Int64[Tensor, "*trials"]


@torch.inference_mode()  # spares every operation the bookkeeping of autograd, which nothing here uses
def train_epoch(
    state: State,
    members: Sequence[Member],
    nets: Networks,
    train: Real[Tensor, "n d"],
    levels: int,
    *,
    labels: Int64[Tensor, " n"] | None = None,
    side_by_side: bool,
) -> Outcome:
    """Train trials for an epoch of whole minibatches.

    Args:
        state: what training moves; with a leading axis of trials where they are side by side.
        members: the trials, in the order of that axis; alike in network sizes, minibatch, order and rule.
        nets: the shapes of their networks.
        train: training images as bytes, on the device to train on.
        levels: the byte that stands for a pixel value of 1.
        labels: classes of the training images, where the networks are given them.
        side_by_side: whether the tensors have an axis of trials; without it there is one member.
    """
    with full_precision(train.device):  # whatever the user's settings: TF32 would train other networks
        return _played(_Epoch(state, members, nets, train, levels, labels, side_by_side), state)


def _played(epoch: _Epoch, state: State) -> Outcome:
    """Play an epoch's steps, block by block."""
    measures = []
    d_updates = g_updates = torch.zeros_like(state.alive, dtype=torch.int64)
    for start in range(0, epoch.length, STEPS_A_BLOCK):
        count = min(STEPS_A_BLOCK, epoch.length - start)
        seen = algorithm1.train(state, epoch.steps(start, count), epoch.nets, epoch.rules)
        logits = algorithm1.Logits(*(torch.stack(said) for said in zip(*(one.logits for one in seen), strict=True)))
        measures.append(algorithm1.measure(logits, epoch.rules).sum(1))
        alive = torch.stack([one.alive for one in seen])
        d_updates = d_updates + torch.stack([one.d_moved for one in seen]).sum(0)
        g_updates = g_updates + (alive & epoch.g_moves(start, count)).sum(0)
    return Outcome(measures=torch.stack(measures).sum(0) / epoch.length, d_updates=d_updates, g_updates=g_updates)


class _Epoch:
    """The steps of an epoch, block by block."""

    def __init__(
        self,
        state: State,
        members: Sequence[Member],
        nets: Networks,
        train: Tensor,
        levels: int,
        labels: Tensor | None,
        side_by_side: bool,
    ) -> None:
        self._members, self.nets, self._train, self._levels, self._labels = members, nets, train, levels, labels
        self._side_by_side = side_by_side
        self._dtype = next(iter(state.g.values())).dtype
        first = members[0].config
        self._m, self._rule, self._joint = (
            first.algorithm.batch_size,
            first.update.rule,
            first.algorithm.order == "simultaneous",
        )
        if nets.classes and labels is None:
            raise ValueError(f"the model is given labels, and '{first.dataset.name}' came without")
        self.length = len(train) // self._m
        self._orders = torch.stack([one.draws.permutation("order", one.epochs, len(train)) for one in members])
        rates = torch.tensor([one.config.dropout_rates for one in members], dtype=self._dtype)
        self._dropout: dict[str, Masks] = {}
        if rates.any():
            units = rates.repeat_interleave(torch.tensor(nets.dropout_widths), 1).to(train.device)
            for purpose, rows in (("discriminator", 2 * self._m), *((("generator", self._m),) * (not self._joint))):
                self._dropout[purpose] = Masks(units, min(STEPS_A_BLOCK, self.length), rows)
        self.rules = self._rules()

    def _rules(self) -> Rules:
        configs = [one.config for one in self._members]
        bounds = [[net.max_col_norm for net in nets] for nets in ((c.generator, c.discriminator) for c in configs)]
        g_bounds, d_bounds = zip(*bounds, strict=True)
        return Rules(
            objective=self._rate([losses.OBJECTIVES[c.algorithm.objective] for c in configs]),
            loss_scale=self._rate([c.algorithm.loss_scale for c in configs]),
            g_max_norm=self._bound(g_bounds),
            d_max_norm=self._bound(d_bounds),
        )

    def _bound(self, bounds: Sequence[float | None]) -> Rate | None:
        if all(bound is None for bound in bounds):
            return None
        return self._rate([np.inf if bound is None else bound for bound in bounds])

    def _rate(self, values: Sequence[float]) -> Rate:
        """Return a number, or one a trial."""
        if not self._side_by_side:
            return values[0]
        return torch.tensor(values, dtype=self._dtype, device=self._train.device)

    def steps(self, start: int, count: int) -> Iterator[Step]:
        """Yield some steps, with what they draw.

        Args:
            start: the first; a multiple of `STEPS_A_BLOCK`.
            count: how many.
        """
        m, block = self._m, start // STEPS_A_BLOCK
        rows = self._orders[:, start * m : (start + count) * m]
        x = to_unit(self._train[rows], self._levels).to(self._dtype).unflatten(1, (count, m))
        z = self._noise("discriminator", block, count)
        masks = self._masks("discriminator", block, count)
        given = self._given("discriminator", block, count, rows)
        fresh_z = fresh_masks = None
        fresh_given = [NOTHING] * count
        if not self._joint:
            fresh_z = self._noise("generator", block, count)
            fresh_masks = self._masks("generator", block, count)
            fresh_given = self._given("generator", block, count, rows)
        moving = self._moving(start, count)
        everyone = [bool(row.all()) for row in moving]
        xs, zs, all_masks = self._by_step(x), self._by_step(z), self._split(masks)
        fresh_zs, all_fresh_masks = self._by_step(fresh_z), self._split(fresh_masks)
        for i, moves in enumerate(self._moves(start, count)):
            anyone = everyone[i] or bool(moving[i].any())
            fresh = None
            if anyone and fresh_z is not None:
                fresh = Noise(z=fresh_zs[i], masks=all_fresh_masks[i], given=fresh_given[i])
            yield Step(
                batch=Minibatch(x=xs[i], z=zs[i], masks=all_masks[i], given=given[i]),
                fresh=fresh,
                moves=moves if everyone[i] else dataclasses.replace(moves, g_moves=self._which(moving[i])),
                joint=anyone and self._joint,
            )

    def _by_step(self, block: Tensor | None) -> Sequence[Any]:
        """Return what each step has of a block, [trials, steps, ...]; None for each where there is none."""
        if block is None:
            return [None] * STEPS_A_BLOCK
        return block.unbind(1) if self._side_by_side else block[0].unbind(0)

    def _which(self, moving: NDArray[np.bool_]) -> Tensor:
        """Return which trials' G moves, on the device."""
        which = torch.from_numpy(moving).to(self._train.device)
        return which if self._side_by_side else which[0]

    def g_moves(self, start: int, count: int) -> Tensor:
        """Return in which of these steps which trial's G moves, [steps, *trials]."""
        moving = torch.from_numpy(self._moving(start, count)).to(self._train.device)
        return moving if self._side_by_side else moving[:, 0]

    def _moving(self, start: int, count: int) -> NDArray[np.bool_]:
        """Return in which of these steps which trial's G moves, [steps, trials]: after every k-th of D."""
        k = np.array([one.config.algorithm.k for one in self._members])
        moving: NDArray[np.bool_] = (self._numbers(start, count) + 1) % k == 0
        return moving

    def _numbers(self, start: int, count: int) -> NDArray[np.int64]:
        """Return each trial's discriminator steps before each of these, [steps, trials]."""
        before = np.array([one.epochs for one in self._members]) * self.length
        numbers: NDArray[np.int64] = np.arange(start, start + count)[:, None] + before
        return numbers

    def _noise(self, purpose: str, block: int, count: int) -> Tensor:
        """Return noise for these steps, [trials, steps, m, z]."""
        out = torch.empty((len(self._members), count, self._m, self.nets.noise.dim), device=self._train.device)
        for own, one in zip(out, self._members, strict=True):
            networks.draw_noise_(own, one.config.noise, one.draws, f"noise/{purpose}", self._block(one, block))
        return out.to(self._dtype)

    def _given(self, purpose: str, block: int, count: int, rows: Tensor) -> list[Given]:
        """Return what both networks are given in these steps beside noise and examples, [*trials, m, ...] a step.

        Args:
            purpose: whose step it is.
            block: the block's number in its epoch.
            count: its steps.
            rows: places of its examples in the training set, [trials, steps * m].
        """
        hidden = labels = None
        if any(one.config.noise.hidden for one in self._members):
            hidden = torch.empty(
                (len(self._members), count, self._m, sum(self.nets.hidden_units)), device=self._train.device
            )
            for own, one in zip(hidden, self._members, strict=True):
                networks.draw_noise_(own, one.config.noise, one.draws, f"hidden/{purpose}", self._block(one, block))
                own.mul_(one.config.noise.hidden)
        if self.nets.classes and self._labels is not None:
            one_hot = torch.nn.functional.one_hot(self._labels[rows], self.nets.classes)
            labels = one_hot.to(self._dtype).unflatten(1, (count, self._m))
        if hidden is None and labels is None:
            return [NOTHING] * count
        hidden = None if hidden is None else hidden.to(self._dtype)
        pairs = zip(self._by_step(hidden), self._by_step(labels), strict=False)
        return [Given(hidden=own, labels=c) for own, c in pairs]

    def _masks(self, purpose: str, block: int, count: int) -> Tensor | None:
        """Return D's dropout masks for these steps, [trials, steps, rows, units of all activations]."""
        if not self._dropout:
            return None
        masks = self._dropout[purpose]
        for own, one in zip(masks.bits(count), self._members, strict=True):
            one.draws.bits_(own, f"dropout/{purpose}", self._block(one, block))
        return masks.from_bits(count)

    def _split(self, masks: Tensor | None) -> Sequence[tuple[Tensor, ...] | None]:
        """Return each step's masks, one an activation; None for each where there are none."""
        if masks is None:
            return [None] * STEPS_A_BLOCK
        return list(zip(*map(self._by_step, masks.split(self.nets.dropout_widths, -1)), strict=True))

    def _block(self, member: Member, block: int) -> int:
        """Return the number of a trial's block, counted from its first epoch."""
        return member.epochs * -(-self.length // STEPS_A_BLOCK) + block

    def _moves(self, start: int, count: int) -> Iterator[Moves]:
        """Yield the rates of these steps."""
        table = np.array(
            [
                [_row(one, t, self.length) for one, t in zip(self._members, numbers, strict=True)]
                for numbers in self._numbers(start, count).tolist()
            ]
        )  # [steps, trials, rates]
        columns: Sequence[Sequence[Rate]]
        if self._side_by_side:
            device_table = torch.from_numpy(table).to(self._train.device, self._dtype)
            columns = [step.unbind(-1) for step in device_table]
        else:
            columns = table[:, 0].tolist()
        for lr_g, lr_d, *rest in columns:
            if self._rule == "momentum":
                (momentum,) = rest
                yield Moves(g=Momentum(lr=lr_g, momentum=momentum), d=Momentum(lr=lr_d, momentum=momentum))
            else:
                fresh1, fresh2, eps, *gathered = rest
                yield Moves(
                    g=_adam(lr_g, fresh1, fresh2, eps, *gathered[:2]), d=_adam(lr_d, fresh1, fresh2, eps, *gathered[2:])
                )


def _adam(lr: Rate, fresh1: Rate, fresh2: Rate, eps: Rate, gathered1: Rate, gathered2: Rate) -> Adam:
    return Adam(lr=lr, fresh1=fresh1, fresh2=fresh2, eps=eps, gathered1=gathered1, gathered2=gathered2)


def _row(member: Member, t: int, length: int) -> list[float]:
    """Return the rates of a trial's step t, in the order in which `_moves` reads them; an epoch has `length` steps."""
    config, momentum, adam = member.config, member.config.momentum, member.config.adam
    if config.update.rule == "momentum":
        ramp = updates.momentum_at(momentum, member.epochs, config.algorithm.epochs)
        return [
            updates.learning_rate(momentum.lr_g, momentum, t),
            updates.learning_rate(momentum.lr_d, momentum, t),
            ramp,
        ]
    # In double precision here: 1 - .999 in float32 has 5 digits.
    rates = [adam.lr_g, adam.lr_d, 1 - adam.beta1, 1 - adam.beta2, adam.eps]
    return [*rates, *_gathered(member, t, length, config.algorithm.k), *_gathered(member, t, length, 1)]


def _gathered(member: Member, t: int, length: int, every: int) -> tuple[float, float]:
    """Return what the shares of Adam's two moments add up to at step t, for updates that every so many steps make.

    That is 1 less the product of all betas since the moments were zero: at the trial's start, or that of its second
    stage. With one beta it is 1 - beta^n (Kingma and Ba 2015, Algorithm 1).
    """
    adam, stage = member.config.adam, member.config.pretraining.epochs
    begun = stage * length if member.epochs >= stage else 0
    end = t // every + 1
    history = member.beta1 or ((0, adam.beta1),)
    left1 = 1.0
    for i, (epochs, beta) in enumerate(history):
        until = history[i + 1][0] * length // every if i + 1 < len(history) else end
        left1 *= beta ** max(until - max(epochs * length, begun) // every, 0)
    return 1 - left1, 1 - adam.beta2 ** (end - begun // every)
