"""Update rules: momentum SGD with the recipe's schedules, and Adam.

The caller looks whether a step can be taken (`finite`) before `descend` takes it, and a trial that fails is frozen
where it is: nothing that was not finite ever reaches its parameters or moments. Rates are floats, or tensors of one
value a trial for stacked parameters.

At the paper's sizes a pass over the parameters takes a hundredth of a step, so passes are counted: under momentum
a gradient is added to the velocity by the very product that it is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import torch

from gansearch.config import MomentumConfig
from gansearch.core.layers import Factor, Gradient, Whole
from gansearch.core.networks import Params, Rate
from gansearch.core.shapes import Bool, Tensor

_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Momentum:
    """What momentum does with a gradient in one update, as numbers or one a trial.

    Attributes:
        lr: learning rate.
        momentum: momentum.
    """

    lr: Rate
    momentum: Rate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """What Adam does with a gradient in one update, as numbers or one a trial.

    Attributes:
        lr: learning rate.
        fresh1: share of a gradient in the first moment, 1 - beta1.
        fresh2: share of its square in the second, 1 - beta2.
        gathered1: what all shares of the first moment add up to, 1 - beta1^t, at update number t from 1.
        gathered2: the same of the second, 1 - beta2^t.
        eps: added to the root of the second moment.
    """

    lr: Rate
    fresh1: Rate
    fresh2: Rate
    gathered1: Rate
    gathered2: Rate
    eps: Rate


def _parts(gradient: Gradient) -> list[Tensor]:
    """Return the tensors that a gradient consists of."""
    if isinstance(gradient, Whole):
        return [gradient.weights, gradient.biases]
    more = (gradient.biases, gradient.scales)
    return [gradient.x, gradient.delta, *(t for t in more if t is not None)]


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(t, dim=(-2, -1)) for t in tensors])


def finite(gradients: Sequence[Gradient], rule: Momentum | Adam, *others: Tensor) -> Bool[Tensor, "*trials"]:
    """Return whether a trial can take the step of these gradients, without asking a GPU to wait.

    No entry of x^T delta is above |x| |delta|, and none of delta's sum above sqrt(m) |delta|: the square of the sum
    of both must be finite, so no gradient is above 1.9e19 in float32, its square does not overflow, and finite
    parameters stay finite for 1e19 steps. Adam's step is at most lr / eps times a mean of gradients, so the same is
    asked of that.

    Args:
        gradients: of a network's layers, one of them at least a product; under momentum times -lr.
        rule: the update rule.
        others: what must be finite too, [*trials, n].
    """
    products = [g for g in gradients if isinstance(g, Factor)]
    xs, deltas = (_norms(part) for part in ([f.x for f in products], [f.delta for f in products]))
    bounds = (xs + math.sqrt(max(f.x.shape[-2] for f in products))) * deltas
    written = [g.weights for g in gradients if isinstance(g, Whole)]
    sums = [t for g in gradients for t in _parts(g)[2:]] + [g.biases for g in gradients if isinstance(g, Whole)]
    if sums:
        bounds = torch.cat([bounds, _norms(sums) * math.sqrt(max(t.shape[-2] for t in sums))])
    if written:
        bounds = torch.cat([bounds, _norms(written)])
    if isinstance(rule, Adam):
        bounds = torch.cat([bounds, bounds * (rule.lr / rule.eps)])
    if others:
        bounds = torch.cat([bounds, torch.stack([torch.linalg.vector_norm(other, dim=-1) for other in others])])
    norm: Tensor = torch.linalg.vector_norm(bounds, dim=0)  # infinite where a square overflows
    return norm < math.inf  # which NaN is not


def descend(
    params: Params,
    moments: Params,
    gradients: Sequence[Gradient],
    rule: Momentum | Adam,
    live: Bool[Tensor, "*trials"],
) -> None:
    """Take a step in the trials that are live, in place; the others keep parameters and moments.

    Args:
        params: a network's parameters.
        moments: its update rule's memory.
        gradients: of its layers, `gradients[i]` of layer i, all finite in the trials that are live; under
            momentum times -lr, which is best multiplied in where the backward pass begins. Used up.
        rule: the update rule.
        live: who moves.
    """
    on_cpu = live.device.type == "cpu"  # where to look makes nobody wait
    everyone = on_cpu and bool(live.all() if live.dim() else live)
    if not everyone:
        if on_cpu and not live.any():
            return
        for tensor in {id(t): t for g in gradients for t in _parts(g)}.values():
            _blank_(tensor, live)
        rule = _keeping(rule, live, next(iter(params.values())).dtype)
    for i, gradient in enumerate(gradients):
        summed = {"bias": gradient.biases if gradient.biases is not None else gradient.delta}
        if isinstance(gradient, Factor) and gradient.scales is not None:
            summed["scale"] = gradient.scales
        of_names: dict[str, Gradient | Tensor] = {f"{i}.weight": gradient}
        of_names |= {f"{i}.{kind}": rows for kind, rows in summed.items()}
        for name, own in of_names.items():
            if isinstance(rule, Momentum):
                step = _momentum_step(moments[f"velocity.{name}"], own, rule.momentum)
            else:
                step = _adam_step(name, moments, own, rule)
            if everyone:
                params[name].add_(step)
            else:
                if isinstance(rule, Adam):  # the rate of whoever is frozen may be infinite
                    _blank_(step, live)
                params[name].addcmul_(step, _expand(live.to(step.dtype), step))


def _blank_(tensor: Tensor, live: Tensor) -> None:
    """Set a tensor to 0 in the trials that are not live, by its bits: 0 * NaN is NaN, and `where` is slow."""
    bits_dtype = _BITS[tensor.dtype]
    tensor.view(bits_dtype).bitwise_and_(_expand(-live.to(bits_dtype), tensor))


def _keeping(rule: Momentum | Adam, live: Tensor, dtype: torch.dtype) -> Momentum | Adam:
    """Return the rule by which whoever does not move keeps its memory, given that its gradients are 0."""
    if isinstance(rule, Momentum):
        momentum = rule.momentum
        if not isinstance(momentum, Tensor):
            momentum = live.new_full((), momentum, dtype=dtype)
        return dataclasses.replace(rule, momentum=torch.where(live, momentum, 1))
    moving = live.to(dtype)
    return dataclasses.replace(rule, fresh1=moving * rule.fresh1, fresh2=moving * rule.fresh2)


def _momentum_step(v: Tensor, gradient: Gradient | Tensor, momentum: Rate) -> Tensor:
    """Return v <- momentum v - lr g, which is also the step."""
    if isinstance(gradient, Whole):
        return v.mul_(_rate(momentum, v)).add_(gradient.weights)
    alone = v.dim() == (2 if isinstance(gradient, Factor) else 1)
    if isinstance(momentum, Tensor) or not alone:  # no product takes one factor a trial
        v.mul_(_rate(momentum, v))
        momentum = 1.0
    if isinstance(gradient, Factor):
        add = torch.addmm if alone else torch.baddbmm
        return add(v, gradient.x.mT, gradient.delta, beta=momentum, out=v)
    if alone:
        return torch.addmv(v, gradient.mT, _ones(len(gradient), v.dtype, v.device), beta=momentum, out=v)
    return v.add_(gradient.sum(-2))


@functools.lru_cache
def _ones(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(n, dtype=dtype, device=device)


def _adam_step(name: str, moments: Params, gradient: Gradient | Tensor, rule: Adam) -> Tensor:
    """Return Adam's step. Source: Kingma and Ba 2015, Algorithm 1."""
    if isinstance(gradient, Whole):
        g = gradient.weights
    else:
        g = torch.matmul(gradient.x.mT, gradient.delta) if isinstance(gradient, Factor) else gradient.sum(-2)
    m = moments[f"first.{name}"].lerp_(g, _rate(rule.fresh1, g))
    v = moments[f"second.{name}"].lerp_(g.square_(), _rate(rule.fresh2, g))
    deviation = torch.div(v, _rate(rule.gathered2, g), out=g).sqrt_().add_(_rate(rule.eps, g))
    return torch.div(m, deviation, out=deviation).mul_(-_rate(rule.lr, g) / _rate(rule.gathered1, g))


def _expand(value: Tensor, p: Tensor) -> Tensor:
    """Return one value a trial, shaped to act on that trial's parameters."""
    return value.reshape(value.shape + (1,) * (p.dim() - value.dim()))


def _rate(rate: Rate, p: Tensor) -> Rate:
    return _expand(rate, p) if isinstance(rate, torch.Tensor) else rate
