"""The losses against SciPy, their stability, and what the two objectives have in common."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.special import log_expit

from gansearch.core.losses import (
    NON_SATURATING,
    OBJECTIVES,
    SATURATING,
    discriminator_loss,
    discriminator_slope,
    generator_loss,
    generator_slope,
)

# A mean of a few dozen float64 terms of size up to 30.
TOLERANCE = 1e-12
# Slopes below this are of the size of rounding errors in autograd's.
TINY = 1e-15

logits = arrays(np.float64, 17, elements=st.floats(-30, 30))


@given(logits, logits)
def test_losses_are_the_papers_expressions(real: np.ndarray, fake: np.ndarray) -> None:
    # log D = log_expit(a), log(1 - D) = log_expit(-a): equation 1 with its expectations as means.
    value = log_expit(real).mean() + log_expit(-fake).mean()
    a, b = torch.from_numpy(real), torch.from_numpy(fake)
    assert discriminator_loss(a, b).item() == pytest.approx(-value, abs=TOLERANCE)
    assert generator_loss(b, SATURATING).item() == pytest.approx(log_expit(-fake).mean(), abs=TOLERANCE)
    assert generator_loss(b, NON_SATURATING).item() == pytest.approx(-log_expit(fake).mean(), abs=TOLERANCE)


def test_value_where_d_cannot_tell_is_minus_log_4() -> None:
    zeros = torch.zeros(9, dtype=torch.float64)
    assert -discriminator_loss(zeros, zeros).item() == pytest.approx(-math.log(4), abs=TOLERANCE)


@pytest.mark.parametrize("logit", [-1e4, -104.0, 104.0, 1e4])
@pytest.mark.parametrize("objective", [SATURATING, NON_SATURATING])
def test_losses_and_gradients_stay_finite_where_sigmoids_do_not(logit: float, objective: float) -> None:
    real = torch.full((5,), -logit, requires_grad=True)
    fake = torch.full((5,), logit, requires_grad=True)
    for loss, inputs in ((discriminator_loss(real, fake), [real, fake]), (generator_loss(fake, objective), [fake])):
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, inputs))
    assert discriminator_slope(torch.cat([real, fake]).detach()).isfinite().all()
    assert generator_slope(fake.detach(), objective).isfinite().all()
    # A loss grows like the logit, where log(sigmoid) would be infinite.
    assert discriminator_loss(real, fake).item() == pytest.approx(2 * max(logit, 0), rel=1e-6)


@given(st.floats(-30, 30))
def test_objectives_point_the_same_way_with_different_strength(logit: float) -> None:
    a = torch.tensor([logit], dtype=torch.float64)
    slopes = [generator_slope(a, kind).item() for kind in (SATURATING, NON_SATURATING)]
    d = 1 / (1 + math.exp(-logit))
    assert max(slopes) < 0  # G descends: both push the logit up
    assert slopes == pytest.approx([-d, d - 1], abs=TOLERANCE)
    # Section 3: early on, where D rejects samples with confidence, the non-saturating one is stronger.
    if abs(logit) > 1e-9:  # nearer to 0 the two round to the same -1/2
        assert (slopes[1] < slopes[0]) == (logit < 0)


def test_leading_axes_are_trials() -> None:
    source = torch.Generator().manual_seed(4)
    real, fake = torch.randn(3, 7, generator=source), torch.randn(3, 7, generator=source)
    assert discriminator_loss(real, fake).shape == (3,)
    assert torch.equal(discriminator_loss(real, fake)[1], discriminator_loss(real[1], fake[1]))
    assert torch.equal(generator_loss(fake, SATURATING)[2], generator_loss(fake[2], SATURATING))
    both = torch.cat([real, fake], -1)
    assert torch.equal(discriminator_slope(both)[1], discriminator_slope(both[1]))
    assert torch.equal(generator_slope(fake, SATURATING)[2], generator_slope(fake[2], SATURATING))


def test_every_trial_has_its_own_objective() -> None:
    fake = torch.randn(3, 7, generator=torch.Generator().manual_seed(4))
    signs = [SATURATING, NON_SATURATING, SATURATING]
    objective = torch.tensor(signs)
    for i, sign in enumerate(signs):
        assert torch.equal(generator_loss(fake, objective)[i], generator_loss(fake[i], sign))
        assert torch.equal(generator_slope(fake, objective)[i], generator_slope(fake[i], sign))


def test_objectives_have_the_names_of_the_configuration() -> None:
    assert OBJECTIVES == {"saturating": SATURATING, "non-saturating": NON_SATURATING}


# --- Slopes ---------------------------------------------------------------------------------------------------

extreme = arrays(np.float64, 17, elements=st.floats(-800, 800))


@settings(deadline=None)  # the first call of autograd starts its threads
@given(extreme, extreme)
def test_slopes_are_what_autograd_finds(real: np.ndarray, fake: np.ndarray) -> None:
    m = len(real)
    both = torch.from_numpy(np.concatenate([real, fake])).requires_grad_(True)
    (expected,) = torch.autograd.grad(discriminator_loss(both[:m], both[m:]) * m, both)
    torch.testing.assert_close(discriminator_slope(both.detach()), expected, rtol=TOLERANCE, atol=TINY)
    samples = torch.from_numpy(fake).requires_grad_(True)
    for objective in OBJECTIVES.values():
        (expected,) = torch.autograd.grad(generator_loss(samples, objective) * m, samples)
        torch.testing.assert_close(generator_slope(samples.detach(), objective), expected, rtol=TOLERANCE, atol=TINY)


@pytest.mark.parametrize("logit", [0.5, 30.0, 80.0])
def test_small_slopes_keep_their_digits_in_float32(logit: float) -> None:
    """1 - D of a confident D is e^-a, which 1 - sigmoid(a) would round to 0 from a = 17 on."""
    small = 1 / (1 + math.exp(logit))
    relative = 2.0**-20  # a few roundings, and e^a at a = 80 with an argument exact in float32
    d = discriminator_slope(torch.tensor([logit, -logit])).tolist()
    assert d == pytest.approx([-small, small], rel=relative)
    assert generator_slope(torch.tensor([logit]), NON_SATURATING).item() == pytest.approx(-small, rel=relative)
    assert generator_slope(torch.tensor([-logit]), SATURATING).item() == pytest.approx(-small, rel=relative)


def test_slopes_leave_the_logits_alone() -> None:
    a = torch.tensor([0.5, -2.0, 3.0, 1.0])
    before = a.clone()
    discriminator_slope(a)
    generator_slope(a, SATURATING)
    assert torch.equal(a, before)
