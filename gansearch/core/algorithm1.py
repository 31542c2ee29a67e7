"""Algorithm 1 of Goodfellow et al. 2014: minibatch stochastic gradient training of adversarial nets.

    for number of training iterations do
        for k steps do
            sample m noise samples z and m examples x
            update D by ascending  mean(log D(x) + log(1 - D(G(z))))              (line 6)
        sample m noise samples z
        update G by descending     mean(log(1 - D(G(z))))                         (line 9)

The loop here counts discriminator steps t = 0, 1, ...: each sees m fresh examples, and every k-th is
followed (`alternating`) or joined (`simultaneous`) by a generator step.

Deviations from the listing, each a field of the configuration: the non-saturating objective (section 3);
the simultaneous order and the halved loss of the published code; dropout in D, which the listing leaves
out and section 5 uses.

The three steps below are pure in everything but the parameters they move: a minibatch holds all the
randomness of a step, rates come as numbers or as one number a trial, and every tensor may carry leading
axes of trials. Nothing here waits for the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from gansearch.config import TrialConfig
from gansearch.core import losses, networks, updates
from gansearch.core.networks import Networks, Params
from gansearch.core.shapes import Bool, Float, Tensor
from gansearch.core.updates import Proposal, Rate


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
    """The randomness of a pass through both networks.

    Attributes:
        z: noise samples, [*trials, m, z].
        masks: D's dropout masks for G(z), one an activation; None for no dropout.
    """

    z: Float[Tensor, "*trials m z"]
    masks: Sequence[Tensor] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Minibatch:
    """What one discriminator step sees.

    Attributes:
        noise: noise samples.
        x: examples, [*trials, m, d].
        masks: D's dropout masks for x, one an activation; None for no dropout.
    """

    noise: Noise
    x: Float[Tensor, "*trials m d"]
    masks: Sequence[Tensor] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How far a step moves.

    Attributes:
        lr_g: generator's learning rate.
        lr_d: discriminator's learning rate.
        momentum: momentum of both; unused by Adam.
        g_update: number of the generator's next update, from 1.
        d_update: number of the discriminator's next update, from 1.
    """

    lr_g: Rate
    lr_d: Rate
    momentum: Rate
    g_update: int
    d_update: int


def discriminator_step(state: State, batch: Minibatch, rates: Rates, nets: Networks, config: TrialConfig) -> Tensor:
    """Move D once by ascending its stochastic gradient (line 6); return the measures of `MEASURES`."""
    with torch.no_grad():
        fake_images = networks.generate(nets, state.g, batch.noise.z)
    real, fake, loss_d = _play(state, batch, fake_images, nets, config)
    _descend(state, {"d": loss_d}, rates, nets, config)
    return _measure(real, fake, loss_d, losses.generator_loss(fake, config.algorithm.objective))


def generator_step(state: State, noise: Noise, rates: Rates, nets: Networks, config: TrialConfig) -> None:
    """Move G once by descending its stochastic gradient (line 9) through the D of this moment."""
    fake_images = networks.generate(nets, state.g, noise.z)
    fake = networks.discriminate(nets, state.d, fake_images, noise.masks)
    _descend(state, {"g": losses.generator_loss(fake, config.algorithm.objective)}, rates, nets, config)


def joint_step(state: State, batch: Minibatch, rates: Rates, nets: Networks, config: TrialConfig) -> Tensor:
    """Move D and G once, both from one forward pass (the published code); return the measures."""
    fake_images = networks.generate(nets, state.g, batch.noise.z)
    real, fake, loss_d = _play(state, batch, fake_images, nets, config)
    loss_g = losses.generator_loss(fake, config.algorithm.objective)
    _descend(state, {"d": loss_d, "g": loss_g}, rates, nets, config)
    return _measure(real, fake, loss_d, loss_g)


def _play(
    state: State, batch: Minibatch, fake_images: Tensor, nets: Networks, config: TrialConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return D's logits on examples and on samples, and D's scaled loss."""
    real = networks.discriminate(nets, state.d, batch.x, batch.masks)
    fake = networks.discriminate(nets, state.d, fake_images, batch.noise.masks)
    return real, fake, config.algorithm.loss_scale * losses.discriminator_loss(real, fake)


def _descend(state: State, loss_of: Mapping[str, Tensor], rates: Rates, nets: Networks, config: TrialConfig) -> None:
    """Move each named network down its loss; where one of a trial's cannot move, none does: it is frozen."""
    params, moments = {"g": state.g, "d": state.d}, {"g": state.g_moments, "d": state.d_moments}
    # All gradients are those of one moment: they are taken before anything moves.
    grads = {name: _gradient(loss, params[name]) for name, loss in loss_of.items()}
    with torch.no_grad():
        proposals = {name: _propose(name, grads[name], moments[name], rates, config) for name in loss_of}
        for name, loss in loss_of.items():
            state.alive = state.alive & loss.isfinite() & updates.finite(proposals[name], tuple(loss.shape))
        for name, proposal in proposals.items():
            updates.apply_(params[name], moments[name], proposal, state.alive)
            max_norm = (nets.generator if name == "g" else nets.discriminator).max_col_norm
            networks.clip_columns_(params[name], max_norm, state.alive)


def _gradient(loss: Tensor, params: Params) -> Params:
    # The sum over trials has each trial's own gradient in that trial's parameters. Where both networks move,
    # the second gradient needs what the first one passed through.
    grads = torch.autograd.grad(loss.sum(), list(params.values()), retain_graph=True)
    return dict(zip(params, grads, strict=True))


def _propose(network: str, grads: Params, moments: Params, rates: Rates, config: TrialConfig) -> Proposal:
    lr, t = (rates.lr_g, rates.g_update) if network == "g" else (rates.lr_d, rates.d_update)
    if config.update.rule == "adam":
        return updates.propose_adam(grads, moments, config.adam, lr=lr, t=t)
    return updates.propose_momentum(grads, moments, lr=lr, momentum=rates.momentum)


MEASURES = ("loss_d", "loss_g", "game_value", "d_real", "d_fake")
"""What a discriminator step is measured by: the two losses, the unscaled value of the game V(D, G)
(equation 1), and the means of D(x) and D(G(z)) under dropout."""


@torch.no_grad()
def _measure(real: Tensor, fake: Tensor, loss_d: Tensor, loss_g: Tensor) -> Float[Tensor, "measures *trials"]:
    value = -losses.discriminator_loss(real, fake)
    return torch.stack([loss_d, loss_g, value, real.sigmoid().mean(-1), fake.sigmoid().mean(-1)])
