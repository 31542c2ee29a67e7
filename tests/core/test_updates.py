"""Schedules, update rules against PyTorch's own, and the check that comes before a step."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from gansearch.config import AdamConfig, MomentumConfig
from gansearch.core import updates
from gansearch.core.networks import Params

# A few float64 operations on values of size 1.
TOLERANCE = 1e-12

SHAPES = {"0.weight": (4, 3), "0.bias": (3,)}


def random_tensors(seed: int, trials: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> Params:
    source = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*trials, *shape, generator=source, dtype=dtype) for name, shape in SHAPES.items()}


# --- Schedules ------------------------------------------------------------------------------------------------


@given(st.floats(1e-9, 10), st.floats(1, 2), st.floats(0, 1), st.integers(0, 10**7))
def test_learning_rate_falls_to_its_floor(initial: float, decay: float, floor: float, n: int) -> None:
    config = MomentumConfig(lr_decay=decay, lr_floor=floor)
    rate, later = updates.learning_rate(initial, config, n), updates.learning_rate(initial, config, n + 1)
    assert updates.learning_rate(initial, config, 0) == initial
    assert min(initial, floor) <= later <= rate <= initial
    if initial <= floor:
        assert rate == initial
    elif rate > max(floor, sys.float_info.min):  # numbers below have fewer digits
        # Each update divides by the decay, so its logarithm falls by a constant; n of them lose n / 2^53.
        assert math.log(initial) - math.log(rate) == pytest.approx(n * math.log(decay), rel=1e-6, abs=1e-9)


def test_learning_rate_of_the_published_recipe() -> None:
    """.1, divided by 1.000004 after each of 500 batches an epoch: 10 epochs by repeated division."""
    rate = 0.1
    for _ in range(5000):
        rate /= 1.000004
    assert updates.learning_rate(0.1, MomentumConfig(), 5000) == pytest.approx(rate, rel=1e-9)


def published_momentum(epochs: int) -> list[float]:
    """Return the published code's momentum of each epoch: its counter is 1 in the first one."""
    return [0.5 * (1 - alpha) + 0.7 * alpha for alpha in (min((count - 1) / 249, 1) for count in range(1, epochs + 1))]


def test_momentum_of_the_published_recipe() -> None:
    config = MomentumConfig(ramp_unit="epochs")
    ours = [updates.momentum_at(config, epoch, 260) for epoch in range(260)]
    assert ours == pytest.approx(published_momentum(260), abs=TOLERANCE)
    assert ours[0] == 0.5
    assert ours[249] == 0.7


ramps = st.tuples(st.floats(0, 50), st.floats(1e-3, 300)).map(lambda ends: (ends[0], ends[0] + ends[1]))
rates_below_1 = st.floats(0, 0.999)


@given(ramps, rates_below_1, rates_below_1, st.integers(1, 400), st.sampled_from(["epochs", "fraction", "auto"]))
def test_momentum_moves_one_way_within_its_ends(
    ramp: tuple[float, float], initial: float, final: float, budget: int, unit: str
) -> None:
    config = MomentumConfig(initial=initial, final=final, ramp_start=ramp[0], ramp_end=ramp[1], ramp_unit=unit)
    values = [updates.momentum_at(config, epoch, budget) for epoch in range(budget)]
    low, high = sorted((initial, final))
    slack = 1e-15  # (1 - alpha) a + alpha b is not monotone in its last bit
    assert all(low - slack <= v <= high + slack for v in values)
    sign = 1 if final >= initial else -1
    assert all(sign * (b - a) >= -slack for a, b in itertools.pairwise(values))
    if unit == "fraction" or (unit == "auto" and budget < ramp[1]):
        assert values[-1] == final  # exactly: else the best value of `momentum.final` is never tried


def test_auto_ramp_is_squeezed_only_where_the_budget_is_too_short() -> None:
    auto = MomentumConfig()
    for budget, unit in ((30, "fraction"), (249, "fraction"), (250, "epochs"), (400, "epochs")):
        meant = dataclasses.replace(auto, ramp_unit=unit)
        for epoch in (0, 1, 7, 29):
            assert updates.momentum_at(auto, epoch, budget) == updates.momentum_at(meant, epoch, budget)
    # A budget of the ramp's own length is the ramp itself, so the two units meet there.
    squeezed = dataclasses.replace(auto, ramp_unit="fraction")
    values = [updates.momentum_at(squeezed, epoch, 250) for epoch in range(250)]
    assert values == pytest.approx(published_momentum(250), abs=TOLERANCE)


# --- Rules ----------------------------------------------------------------------------------------------------


def test_adam_is_pytorchs_adam() -> None:
    config = AdamConfig(lr_g=0.03, beta1=0.6, beta2=0.9, eps=1e-4)
    params = random_tensors(1)
    peers = [torch.nn.Parameter(p.clone()) for p in params.values()]
    peer = torch.optim.Adam(peers, lr=0.03, betas=(0.6, 0.9), eps=1e-4)
    moments = updates.init_moments(params, "adam")
    for t in range(1, 6):
        grads = random_tensors(10 + t)
        for peer_p, g in zip(peers, grads.values(), strict=True):
            peer_p.grad = g.clone()
        peer.step()
        proposal = updates.propose_adam(grads, moments, config, lr=0.03, t=t)
        updates.apply_(params, moments, proposal, torch.tensor(True))
    for p, peer_p in zip(params.values(), peers, strict=True):
        torch.testing.assert_close(p, peer_p.data, rtol=TOLERANCE, atol=TOLERANCE)


def test_momentum_is_pytorchs_at_a_constant_rate() -> None:
    params = random_tensors(1)
    peers = [torch.nn.Parameter(p.clone()) for p in params.values()]
    peer = torch.optim.SGD(peers, lr=0.03, momentum=0.7)
    moments = updates.init_moments(params, "momentum")
    for t in range(5):
        grads = random_tensors(10 + t)
        for peer_p, g in zip(peers, grads.values(), strict=True):
            peer_p.grad = g.clone()
        peer.step()
        updates.apply_(
            params, moments, updates.propose_momentum(grads, moments, lr=0.03, momentum=0.7), torch.tensor(True)
        )
    for p, peer_p in zip(params.values(), peers, strict=True):
        torch.testing.assert_close(p, peer_p.data, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e20])
@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_what_cannot_be_taken_is_seen_and_kept_out(rule: str, bad: float) -> None:
    """1e20 is finite, but its square is not in float32: Adam would square it."""
    params, trials = random_tensors(1, (3,), torch.float32), (3,)
    moments = updates.init_moments(params, rule)
    grads = random_tensors(2, (3,), torch.float32)
    grads["0.weight"][1, 2, 0] = bad
    before = {name: x.clone() for name, x in (params | moments).items()}
    if rule == "adam":
        proposal = updates.propose_adam(grads, moments, AdamConfig(), lr=0.1, t=1)
    else:
        proposal = updates.propose_momentum(grads, moments, lr=1.0, momentum=0.5)
    live = updates.finite(proposal, trials)
    assert live.tolist() == [True, False, True]
    updates.apply_(params, moments, proposal, live)
    for name, x in (params | moments).items():
        assert torch.equal(x[1], before[name][1])
        assert not torch.equal(x[0], before[name][0])
        assert x.isfinite().all()


def test_frozen_momentum_trials_keep_their_velocity() -> None:
    params = random_tensors(1, (2,))
    moments = {f"velocity.{name}": v for name, v in random_tensors(5, (2,)).items()}
    before = {name: v.clone() for name, v in moments.items()}
    proposal = updates.propose_momentum(random_tensors(2, (2,)), moments, lr=0.1, momentum=0.5)
    updates.apply_(params, moments, proposal, torch.tensor([False, True]))
    for name, v in moments.items():
        assert torch.equal(v[0], before[name][0])
        assert not torch.equal(v[1], before[name][1])


def test_rates_are_one_a_trial_or_one_for_all() -> None:
    lr, momentum = torch.tensor([0.1, 0.02], dtype=torch.float64), torch.tensor([0.3, 0.9], dtype=torch.float64)
    velocity = random_tensors(5, (2,))
    moments = {f"velocity.{name}": v for name, v in velocity.items()}
    together = updates.propose_momentum(random_tensors(2, (2,)), moments, lr=lr, momentum=momentum)
    for i in range(2):
        grads = {name: g[i] for name, g in random_tensors(2, (2,)).items()}
        own = {name: m[i] for name, m in moments.items()}
        alone = updates.propose_momentum(grads, own, lr=lr[i].item(), momentum=momentum[i].item())
        for name, step in alone.steps.items():
            torch.testing.assert_close(together.steps[name][i], step, rtol=TOLERANCE, atol=TOLERANCE)
