"""Algorithm 1 of Goodfellow et al. 2014: minibatch stochastic gradient training of adversarial nets.

    for number of training iterations do
        for k steps do
            sample m noise samples z and m examples x
            update D by ascending  mean(log D(x) + log(1 - D(G(z))))              (line 6)
        sample m noise samples z
        update G by descending     mean(log(1 - D(G(z))))                         (line 9)

`train` counts discriminator steps t = 0, 1, ...: each sees m fresh examples, and every k-th is
followed (`alternating`) or joined (`simultaneous`) by a generator step.

Deviations from the listing, each a field of the configuration: the non-saturating objective (section 3);
the simultaneous order and the halved loss of the published code; dropout in D, which the listing leaves
out and section 5 uses.

The steps are pure in everything but the parameters they move: a minibatch holds all the randomness of a
step, rates come as numbers or as one number a trial, and every tensor may carry leading axes of trials.
Nothing here waits for a GPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from gansearch.core import losses, networks, updates
from gansearch.core.discriminator import discriminate, discriminator_deltas, discriminator_gradients, image_slope
from gansearch.core.generator import NOTHING, Given, generate, generator_gradients
from gansearch.core.layers import Gradient
from gansearch.core.networks import Networks, Params, Rate
from gansearch.core.shapes import Bool, Float, Tensor
from gansearch.core.tape import Tape
from gansearch.core.updates import Adam, Momentum


@dataclasses.dataclass(slots=True, kw_only=True)
class State:
    """What training moves.

    Attributes:
        g: the generator's parameters.
        d: the discriminator's parameters.
        g_moments: the update rule's memory for g.
        d_moments: the update rule's memory for d.
        alive: False once a loss or a step was not finite; the trial is then frozen.
    """

    g: Params
    d: Params
    g_moments: Params
    d_moments: Params
    alive: Bool[Tensor, "*trials"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The randomness of a generator step.

    Attributes:
        z: noise samples, [*trials, m, z].
        masks: D's dropout masks for G(z), one an activation, [*trials, m, units]; None for no dropout.
        given: what both networks are given beside.
    """

    z: Float[Tensor, "*trials m z"]
    masks: Sequence[Tensor] | None
    given: Given = NOTHING


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Minibatch:
    """What one discriminator step sees.

    Attributes:
        x: examples, [*trials, m, d].
        z: noise samples, [*trials, m, z].
        masks: D's dropout masks for the m examples and then the m samples, one an activation,
            [*trials, 2m, units]; None for no dropout.
        given: what both networks are given beside. The labels are those of the examples, and samples are of the same.
    """

    x: Float[Tensor, "*trials m d"]
    z: Float[Tensor, "*trials m z"]
    masks: Sequence[Tensor] | None
    given: Given = NOTHING


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the players play for, which does not change from step to step.

    Attributes:
        objective: `losses.NON_SATURATING` or `losses.SATURATING`.
        loss_scale: factor on D's loss.
        g_max_norm: bound on the norm of each unit's incoming weights in G; None for none.
        d_max_norm: the same in D.
    """

    objective: Rate
    loss_scale: Rate
    g_max_norm: Rate | None
    d_max_norm: Rate | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """How far a step moves, and whom.

    Attributes:
        g: how G is updated.
        d: how D is updated.
        g_moves: the trials whose G moves in this step, [*trials]; None for all. (k differs from trial to trial.)
    """

    g: Momentum | Adam
    d: Momentum | Adam
    g_moves: Bool[Tensor, "*trials"] | None = None


class Step(NamedTuple):
    """What is given to step t, counted from the trial's first.

    Attributes:
        batch: the minibatch.
        fresh: noise of G's own step; None where G has none of its own.
        moves: the rates.
        joint: whether G moves together with D.
    """

    batch: Minibatch
    fresh: Noise | None
    moves: Moves
    joint: bool


class Logits(NamedTuple):
    """What D said in a step, [*trials, m] each, before it moved.

    Attributes:
        real: of the examples.
        fake: of the samples.
    """

    real: Tensor
    fake: Tensor


class Played(NamedTuple):
    """What came of a step.

    Attributes:
        logits: what D said.
        d_moved: trials whose D moved, [*trials].
        alive: trials still alive after it, [*trials]: where G was to move, those whose G moved.
    """

    logits: Logits
    d_moved: Tensor
    alive: Tensor


def train(state: State, steps: Iterable[Step], nets: Networks, rules: Rules) -> list[Played]:
    """Play a few steps; return what came of each."""
    seen = []
    for step in steps:
        if step.joint:
            logits = joint_step(state, step.batch, step.moves, nets, rules)
        else:
            logits = discriminator_step(state, step.batch, step.moves, nets, rules)
        d_moved = state.alive
        if step.fresh is not None:
            generator_step(state, step.fresh, step.moves, nets, rules)
        seen.append(Played(logits, d_moved, state.alive))
    return seen


def discriminator_step(state: State, batch: Minibatch, moves: Moves, nets: Networks, rules: Rules) -> Logits:
    """Move D once by ascending its stochastic gradient (line 6)."""
    fake_images = generate(nets, state.g, batch.z, given=batch.given)
    tape = Tape()
    logits = _judge(state, batch, fake_images, nets, tape)
    factors = _discriminator_gradient(state, batch, logits, tape, moves, nets, rules)
    _descend(state, {"d": factors}, logits, moves, rules)
    return _parted(logits)


def generator_step(state: State, noise: Noise, moves: Moves, nets: Networks, rules: Rules) -> None:
    """Move G once by descending its stochastic gradient (line 9) through the D of this moment."""
    g_tape, d_tape = Tape(), Tape()
    fake_images = generate(nets, state.g, noise.z, g_tape, given=noise.given)
    fake = discriminate(nets, state.d, fake_images, noise.masks, d_tape, labels=noise.given.labels)
    slope = _image_slope(state, fake, d_tape, noise.masks, moves, nets, rules, use_up=True)
    factors = generator_gradients(nets, state.g, g_tape, fake_images, slope)
    _descend(state, {"g": factors}, fake, moves, rules)


def joint_step(state: State, batch: Minibatch, moves: Moves, nets: Networks, rules: Rules) -> Logits:
    """Move D and G once, both from one forward pass (the published code)."""
    m, g_tape, d_tape = batch.x.shape[-2], Tape(), Tape()
    fake_images = generate(nets, state.g, batch.z, g_tape, given=batch.given)
    logits = _judge(state, batch, fake_images, nets, d_tape)
    # Both gradients are those of one moment: they are taken before anything moves.
    masks = None if batch.masks is None else [mask[..., m:, :] for mask in batch.masks]
    slope = _image_slope(state, logits[..., m:], d_tape.second_half(), masks, moves, nets, rules)
    for_g = generator_gradients(nets, state.g, g_tape, fake_images, slope)
    for_d = _discriminator_gradient(state, batch, logits, d_tape, moves, nets, rules)
    _descend(state, {"d": for_d, "g": for_g}, logits, moves, rules)
    return _parted(logits)


def _judge(state: State, batch: Minibatch, fake_images: Tensor, nets: Networks, tape: Tape) -> Tensor:
    """Return D's logits on examples and then on samples: in one pass, so that D's weights are read once."""
    labels = batch.given.labels
    both = None if labels is None else torch.cat([labels, labels], -2)
    return discriminate(nets, state.d, torch.cat([batch.x, fake_images], -2), batch.masks, tape, labels=both)


def _parted(logits: Tensor) -> Logits:
    return Logits(*logits.chunk(2, -1))


def _discriminator_gradient(
    state: State, batch: Minibatch, logits: Tensor, tape: Tape, moves: Moves, nets: Networks, rules: Rules
) -> list[Gradient]:
    """Return the gradient of D's scaled loss, times -lr under momentum."""
    slope = _scaled(losses.discriminator_slope(logits), moves.d, rules.loss_scale, batch.x.shape[-2])
    deltas = discriminator_deltas(nets, state.d, tape, batch.masks, slope, use_up=True)
    return discriminator_gradients(nets, tape, deltas)


def _image_slope(
    state: State,
    fake: Tensor,
    tape: Tape,
    masks: Sequence[Tensor] | None,
    moves: Moves,
    nets: Networks,
    rules: Rules,
    *,
    use_up: bool = False,
) -> Tensor:
    """Return the gradient of G's loss in its images, back through D, times -lr under momentum."""
    slope = _scaled(losses.generator_slope(fake, rules.objective), moves.g, 1.0, fake.shape[-1])
    deltas = discriminator_deltas(nets, state.d, tape, masks, slope, use_up=use_up)
    return image_slope(nets, state.d, masks, deltas)


def _scaled(slope: Tensor, move: Momentum | Adam, scale: Rate, m: int) -> Tensor:
    """Return the slope of a mean over m, times a scale, and under momentum times -lr: here that costs nothing."""
    factor = scale * -move.lr if isinstance(move, Momentum) else scale
    return slope.mul_(factor.unsqueeze(-1) / m if isinstance(factor, Tensor) else factor / m)


def _descend(
    state: State, gradient_of: Mapping[str, Sequence[Gradient]], logits: Tensor, moves: Moves, rules: Rules
) -> None:
    """Move the named networks; where one of a trial's cannot move, none does: it is frozen."""
    fit = {  # a loss is infinite only where a logit is
        name: updates.finite(factors, moves.g if name == "g" else moves.d, logits)
        for name, factors in gradient_of.items()
    }
    if moves.g_moves is not None and "g" in fit:  # nobody fails at a step that it does not take
        fit["g"] |= ~moves.g_moves
    for ready in fit.values():
        state.alive = state.alive & ready
    live = state.alive
    for name, factors in gradient_of.items():
        params, moments = (state.g, state.g_moments) if name == "g" else (state.d, state.d_moments)
        if name == "g" and moves.g_moves is not None:
            live = live & moves.g_moves
        updates.descend(params, moments, factors, moves.g if name == "g" else moves.d, live)
        networks.clip_columns_(params, rules.g_max_norm if name == "g" else rules.d_max_norm, live)


MEASURES = ("loss_d", "loss_g", "game_value", "d_real", "d_fake")
"""What a discriminator step is measured by: the two losses, the unscaled value of the game V(D, G)
(equation 1), and the means of D(x) and D(G(z)) under dropout."""


def measure(logits: Logits, rules: Rules) -> Float[Tensor, "measures *trials"]:
    """Return `MEASURES` of what D said; of many steps at once where a leading axis is theirs."""
    real, fake = logits
    value = -losses.discriminator_loss(real, fake)
    loss_g = losses.generator_loss(fake, rules.objective)
    return torch.stack([-rules.loss_scale * value, loss_g, value, real.sigmoid().mean(-1), fake.sigmoid().mean(-1)])
