"""Update rules: momentum SGD with the recipe's schedules, and Adam.

Each rule moves parameters in place. Rates are floats, or tensors of one value a trial for stacked
parameters. A trial whose gradients or parameters are not finite is frozen where it is: nothing that was
not finite ever reaches its parameters.
"""

from __future__ import annotations

import torch

from gansearch.config import AdamConfig, MomentumConfig
from gansearch.core.networks import Params
from gansearch.core.shapes import Bool, Tensor

Rate = float | torch.Tensor


def learning_rate(initial: float, config: MomentumConfig, updates: int) -> float:
    """Return the rate after `updates` updates of D: divided by `lr_decay` each time, down to `lr_floor`.

    A rate that starts below the floor stays where it is.
    """
    return max(initial / config.lr_decay**updates, min(initial, config.lr_floor))


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
    # The published ramp is at its end in epoch 250 of 1..250; a squeezed one in the last epoch of the budget.
    place = epoch if unit == "epochs" else epoch * config.ramp_end / max(budget - 1, 1)
    alpha = min(max((place - config.ramp_start) / (config.ramp_end - config.ramp_start), 0.0), 1.0)
    return (1 - alpha) * config.initial + alpha * config.final


def init_moments(params: Params, rule: str) -> Params:
    """Return the rule's zeroed memory: a velocity a parameter, or Adam's two moments."""
    kinds = ("velocity",) if rule == "momentum" else ("first", "second")
    return {f"{kind}.{name}": torch.zeros_like(p) for kind in kinds for name, p in params.items()}


def finite(params: Params, trials: tuple[int, ...]) -> Bool[Tensor, "*trials"]:
    """Return whether every value of a trial's tensors is finite, without asking the device to wait."""
    # A sum is finite unless a term is not (or it overflows, which is divergence too).
    sums = [p.flatten(len(trials)).sum(-1) for p in params.values()]
    return torch.stack(sums).isfinite().all(0)


def momentum_update_(
    params: Params, grads: Params, moments: Params, *, lr: Rate, momentum: Rate, alive: Bool[Tensor, "*trials"]
) -> None:
    """Move by v <- momentum v - lr g, p <- p + v, in place; frozen trials keep p and v.

    The gradients' memory is used up: at the paper's sizes a fresh tensor costs more than the arithmetic.
    """
    for name, p in params.items():
        v, live = moments[f"velocity.{name}"], _expand(alive, p)
        step = grads[name].mul_(_rate(lr, p)).neg_().add_(v * _rate(momentum, p))
        torch.where(live, step, v, out=v)
        p.addcmul_(v, live)  # v is finite, so a frozen trial adds 0


def adam_update_(
    params: Params,
    grads: Params,
    moments: Params,
    config: AdamConfig,
    *,
    lr: Rate,
    t: int,
    alive: Bool[Tensor, "*trials"],
) -> None:
    """Move by Adam's update number t (from 1), in place; frozen trials keep everything.

    Source: Kingma and Ba 2015, Algorithm 1.
    """
    for name, p in params.items():
        m, v, g, live = moments[f"first.{name}"], moments[f"second.{name}"], grads[name], _expand(alive, p)
        torch.where(live, m.lerp(g, 1 - config.beta1), m, out=m)
        torch.where(live, v.lerp(g * g, 1 - config.beta2), v, out=v)
        m_hat, v_hat = m / (1 - config.beta1**t), v / (1 - config.beta2**t)
        torch.where(live, p - _rate(lr, p) * m_hat / (v_hat.sqrt() + config.eps), p, out=p)


def _expand(value: Tensor, p: Tensor) -> Tensor:
    """Return one value a trial, shaped to act on that trial's parameters."""
    return value.reshape(value.shape + (1,) * (p.dim() - value.dim()))


def _rate(rate: Rate, p: Tensor) -> Rate:
    return _expand(rate, p) if isinstance(rate, torch.Tensor) else rate
