"""Update rules: momentum SGD with the recipe's schedules, and Adam.

A rule proposes a step; `apply_` takes it. Between the two the caller looks whether the step can be taken
(`finite`), and a trial that fails is frozen where it is: nothing that was not finite ever reaches its
parameters. Rates are floats, or tensors of one value a trial for stacked parameters.
"""

from __future__ import annotations

import dataclasses

import torch

from gansearch.config import AdamConfig, MomentumConfig
from gansearch.core.networks import Params
from gansearch.core.shapes import Bool, Tensor

Rate = float | torch.Tensor

_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A step that has not been taken.

    Attributes:
        steps: what is to be added to each parameter.
        moments: what the rule's memory becomes, by the names of `init_moments`.
    """

    steps: Params
    moments: Params

    def tensors(self) -> list[Tensor]:
        """Return every tensor once: a velocity is a step and a moment."""
        return list({id(x): x for x in (*self.steps.values(), *self.moments.values())}.values())


def learning_rate(initial: float, config: MomentumConfig, updates: int) -> float:
    """Return the rate after `updates` updates of D: divided by `lr_decay` each time, down to `lr_floor`.

    A rate that starts below the floor stays where it is.
    """
    # A negative power vanishes where a positive one would overflow.
    return max(initial * config.lr_decay**-updates, min(initial, config.lr_floor))


def momentum_at(config: MomentumConfig, epoch: int, budget: int) -> float:
    """Return the momentum of an epoch (from 0), which rises linearly over the ramp.

    Args:
        config: the schedule.
        epoch: epochs done before this one.
        budget: epochs of the whole trial, for a ramp in fractions of the budget.
    """
    unit = config.ramp_unit
    if unit == "auto":
        unit = "fraction" if budget < config.ramp_end else "epochs"
    # The published ramp counts epochs from 1; a squeezed one is at its end in the last epoch of the budget.
    place = epoch + 1 if unit == "epochs" else (epoch + 1) / budget * config.ramp_end
    alpha = min(max((place - config.ramp_start) / (config.ramp_end - config.ramp_start), 0.0), 1.0)
    return (1 - alpha) * config.initial + alpha * config.final


def init_moments(params: Params, rule: str) -> Params:
    """Return the rule's zeroed memory: a velocity a parameter, or Adam's two moments."""
    kinds = ("velocity",) if rule == "momentum" else ("first", "second")
    return {f"{kind}.{name}": torch.zeros_like(p) for kind in kinds for name, p in params.items()}


def propose_momentum(grads: Params, moments: Params, *, lr: Rate, momentum: Rate) -> Proposal:
    """Return v <- momentum v - lr g, which is also the step.

    The gradients' memory is used up: at the paper's sizes a fresh tensor costs more than the arithmetic.
    """
    steps = {}
    for name, g in grads.items():
        v = moments[f"velocity.{name}"]
        g.mul_(-_rate(lr, g))
        steps[name] = (
            g.addcmul_(v, _expand(momentum, g)) if isinstance(momentum, torch.Tensor) else g.add_(v, alpha=momentum)
        )
    return Proposal(steps=steps, moments={f"velocity.{name}": step for name, step in steps.items()})


def propose_adam(grads: Params, moments: Params, config: AdamConfig, *, lr: Rate, t: int) -> Proposal:
    """Return Adam's update number t (from 1), using up the gradients' memory.

    Source: Kingma and Ba 2015, Algorithm 1.
    """
    steps: Params = {}
    new: Params = {}
    for name, g in grads.items():
        m = moments[f"first.{name}"].lerp(g, 1 - config.beta1)
        v = moments[f"second.{name}"].lerp(g.square_(), 1 - config.beta2)
        deviation = torch.div(v, 1 - config.beta2**t, out=g).sqrt_().add_(config.eps)
        steps[name] = torch.div(m, deviation, out=deviation).mul_(-_rate(lr, g) / (1 - config.beta1**t))
        new |= {f"first.{name}": m, f"second.{name}": v}
    return Proposal(steps=steps, moments=new)


def finite(proposal: Proposal, trials: tuple[int, ...]) -> Bool[Tensor, "*trials"]:
    """Return whether a trial can take its step, without asking the device to wait.

    The squared norm of every step and new moment must be finite: not the norm alone, which may be computed
    in a wider type. So no value of a step is above 1.9e19 in float32, and finite parameters stay finite for
    1e19 steps.
    """
    norms = [torch.linalg.vector_norm(x.flatten(len(trials)), dim=-1) for x in proposal.tensors()]
    return torch.stack(norms).square().isfinite().all(0)


def apply_(params: Params, moments: Params, proposal: Proposal, live: Bool[Tensor, "*trials"]) -> None:
    """Take the step, in place, in the trials that are live; the others keep parameters and moments."""
    dtype = next(iter(params.values())).dtype
    # A frozen trial's values are set to 0 by their bits: 0 * NaN is NaN, and `where` is 10 times slower.
    bits_dtype = _BITS[dtype]
    bits = -live.to(bits_dtype)
    for x in proposal.tensors():
        x.view(bits_dtype).bitwise_and_(_expand(bits, x))
    for name, p in params.items():
        p.add_(proposal.steps[name])
    # A frozen trial keeps its moment and adds 0; a live one forgets it for the new.
    kept = (~live).to(dtype)
    for name, moment in moments.items():
        moment.mul_(_expand(kept, moment)).add_(proposal.moments[name])


def _expand(value: Tensor, p: Tensor) -> Tensor:
    """Return one value a trial, shaped to act on that trial's parameters."""
    return value.reshape(value.shape + (1,) * (p.dim() - value.dim()))


def _rate(rate: Rate, p: Tensor) -> Rate:
    return _expand(rate, p) if isinstance(rate, torch.Tensor) else rate
