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

from gansearch.config import MomentumConfig
from gansearch.core import updates
from gansearch.core.layers import Factor
from gansearch.core.networks import Params
from gansearch.core.updates import Adam, Momentum
from tests.core import games

# A few float64 operations on values of size 1.
TOLERANCE = 1e-12

SHAPES = {"0.weight": (4, 3), "0.bias": (3,), "1.weight": (3, 2), "1.bias": (2,)}
ROWS = 5


def random_tensors(seed: int, trials: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> Params:
    source = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*trials, *shape, generator=source, dtype=dtype) for name, shape in SHAPES.items()}


def random_factors(seed: int, trials: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> list[Factor]:
    source = torch.Generator().manual_seed(seed)
    widths = ((4, 3), (3, 2))
    drawn = ([torch.randn(*trials, ROWS, n, generator=source, dtype=dtype) for n in ends] for ends in widths)
    return [Factor(*both) for both in drawn]


def gradients(factors: list[Factor]) -> Params:
    """Return what the factors stand for, by the names of `SHAPES`."""
    grads = {}
    for i, factor in enumerate(factors):
        grads[f"{i}.weight"] = torch.einsum("...mi,...mo->...io", factor.x, factor.delta)
        grads[f"{i}.bias"] = factor.delta.sum(-2)
    return grads


def scaled(factors: list[Factor], by: float) -> list[Factor]:
    """Return the factors of a multiple, as momentum takes them times -lr."""
    return [Factor(factor.x, factor.delta * by) for factor in factors]


def of_trial(factors: list[Factor], i: int) -> list[Factor]:
    return [Factor(factor.x[i].clone(), factor.delta[i].clone()) for factor in factors]


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
    params = random_tensors(1)
    peers = [torch.nn.Parameter(p.clone()) for p in params.values()]
    peer = torch.optim.Adam(peers, lr=0.03, betas=(0.6, 0.9), eps=1e-4)
    moments = updates.init_moments(params, "adam")
    for t in range(1, 6):
        factors = random_factors(10 + t)
        for peer_p, g in zip(peers, gradients(factors).values(), strict=True):
            peer_p.grad = g
        peer.step()
        rule = games.adam(0.03, t, beta1=0.6, beta2=0.9, eps=1e-4)
        updates.descend(params, moments, factors, rule, torch.tensor(True))
    for p, peer_p in zip(params.values(), peers, strict=True):
        torch.testing.assert_close(p, peer_p.data, rtol=TOLERANCE, atol=TOLERANCE)


def test_momentum_is_pytorchs_at_a_constant_rate() -> None:
    params = random_tensors(1)
    peers = [torch.nn.Parameter(p.clone()) for p in params.values()]
    peer = torch.optim.SGD(peers, lr=0.03, momentum=0.7)
    moments = updates.init_moments(params, "momentum")
    for t in range(5):
        factors = random_factors(10 + t)
        for peer_p, g in zip(peers, gradients(factors).values(), strict=True):
            peer_p.grad = g
        peer.step()
        rule = Momentum(lr=0.03, momentum=0.7)
        updates.descend(params, moments, scaled(factors, -0.03), rule, torch.tensor(True))
    for p, peer_p in zip(params.values(), peers, strict=True):
        torch.testing.assert_close(p, peer_p.data, rtol=TOLERANCE, atol=TOLERANCE)


def rule_of(name: str, lr: torch.Tensor | float = 0.1) -> Momentum | Adam:
    return games.adam(lr, 1, beta1=0.5, beta2=0.999, eps=1e-8) if name == "adam" else Momentum(lr=lr, momentum=0.5)


@pytest.mark.parametrize("part", ["x", "delta"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e20])
@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_what_cannot_be_taken_is_seen_and_kept_out(rule: str, bad: float, part: str) -> None:
    """1e20 is finite, but its square is not in float32: Adam would square it."""
    params = random_tensors(1, (3,), torch.float32)
    moments = updates.init_moments(params, rule)
    factors = random_factors(2, (3,), torch.float32)
    getattr(factors[1], part)[1, 2, 0] = bad
    before = {name: x.clone() for name, x in (params | moments).items()}
    live = updates.finite(factors, rule_of(rule))
    assert live.tolist() == [True, False, True]
    updates.descend(params, moments, factors, rule_of(rule), live)
    for name, x in (params | moments).items():
        assert torch.equal(x[1], before[name][1])
        assert not torch.equal(x[0], before[name][0])
        assert x.isfinite().all()


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_finite_factors_whose_product_overflows_are_seen(rule: str) -> None:
    factors = random_factors(2, (2,), torch.float32)
    factors[0].x[0] *= 1e7  # which Adam's rate over its eps may multiply by 1e7 more
    assert updates.finite(factors, rule_of(rule)).tolist() == [True, True]
    factors[0].delta[0] *= 1e13
    assert updates.finite(factors, rule_of(rule)).tolist() == [False, True]


@pytest.mark.parametrize("lr", [1e20, 1e300, math.inf])
def test_a_rate_that_no_step_of_adam_can_have_is_seen_and_kept_out(lr: float) -> None:
    rates = torch.tensor([0.1, lr, 0.2])
    assert updates.finite(random_factors(2, (3,), torch.float32), rule_of("adam", rates)).tolist() == [
        True,
        False,
        True,
    ]
    assert not updates.finite(random_factors(2, (), torch.float32), rule_of("adam", lr))
    params = random_tensors(1, (3,), torch.float32)
    moments = updates.init_moments(params, "adam")
    before = {name: x.clone() for name, x in (params | moments).items()}
    live = torch.tensor([True, False, True])
    updates.descend(params, moments, random_factors(2, (3,), torch.float32), rule_of("adam", rates), live)
    for name, x in (params | moments).items():
        assert torch.equal(x[1], before[name][1])
        assert not torch.equal(x[0], before[name][0])
        assert x.isfinite().all()


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_frozen_trials_keep_their_moments(rule: str) -> None:
    params, factors = random_tensors(1, (2,)), random_factors(2, (2,))
    kinds = ("velocity",) if rule == "momentum" else ("first", "second")
    moments = {f"{kind}.{name}": v.square() for kind in kinds for name, v in random_tensors(5, (2,)).items()}
    before = {name: v.clone() for name, v in (params | moments).items()}
    updates.descend(params, moments, factors, rule_of(rule), torch.tensor([False, True]))
    for name, v in (params | moments).items():
        assert torch.equal(v[0], before[name][0])
        assert not torch.equal(v[1], before[name][1])


@pytest.mark.parametrize("rule", ["momentum", "adam"])
@pytest.mark.parametrize("trials", [(), (2,)], ids=["alone", "side by side"])
def test_nothing_moves_where_nobody_is_live(rule: str, trials: tuple[int, ...]) -> None:
    params, factors = random_tensors(1, trials), random_factors(2, trials)
    moments = updates.init_moments(params, rule)
    before = {name: v.clone() for name, v in (params | moments).items()}
    updates.descend(params, moments, factors, rule_of(rule), torch.zeros(trials, dtype=torch.bool))
    assert all(torch.equal(v, before[name]) for name, v in (params | moments).items())


@pytest.mark.parametrize("everyone", [True, False])
@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_rates_are_one_a_trial_or_one_for_all(rule: str, everyone: bool) -> None:
    own: list[Momentum | Adam] = [
        Momentum(lr=0.1, momentum=momentum)
        if rule == "momentum"
        else games.adam(lr, n, beta1=beta1, beta2=beta2, eps=eps)
        for momentum, lr, n, beta1, beta2, eps in ((0.3, 0.1, 4, 0.5, 0.9, 1e-3), (0.9, 0.02, 1, 0.7, 0.8, 1e-2))
    ]
    names = [field.name for field in dataclasses.fields(own[0])]
    columns = {name: torch.tensor([getattr(one, name) for one in own], dtype=torch.float64) for name in names}
    kinds = ("velocity",) if rule == "momentum" else ("first", "second")
    moments = {f"{kind}.{name}": v.square() for kind in kinds for name, v in random_tensors(5, (2,)).items()}
    params, factors = random_tensors(1, (2,)), random_factors(2, (2,))
    copies = {name: v.clone() for name, v in (params | moments).items()}
    parts = [of_trial(factors, i) for i in range(2)]
    live = torch.tensor([True, everyone])
    updates.descend(params, moments, factors, type(own[0])(**columns), live)
    for i in range(2):
        alone = [{name: copies[name][i].clone() for name in group} for group in (params, moments)]
        updates.descend(alone[0], alone[1], parts[i], own[i], live[i])
        for name, value in (alone[0] | alone[1]).items():
            torch.testing.assert_close((params | moments)[name][i], value, rtol=TOLERANCE, atol=TOLERANCE)
