"""The losses against SciPy, their stability, and what the two objectives have in common."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.special import log_expit

from gansearch.core.losses import discriminator_loss, generator_loss

# A mean of a few dozen float64 terms of size up to 30.
TOLERANCE = 1e-12

logits = arrays(np.float64, 17, elements=st.floats(-30, 30))


@given(logits, logits)
def test_losses_are_the_papers_expressions(real: np.ndarray, fake: np.ndarray) -> None:
    # log D = log_expit(a), log(1 - D) = log_expit(-a): equation 1 with its expectations as means.
    value = log_expit(real).mean() + log_expit(-fake).mean()
    a, b = torch.from_numpy(real), torch.from_numpy(fake)
    assert discriminator_loss(a, b).item() == pytest.approx(-value, abs=TOLERANCE)
    assert generator_loss(b, "saturating").item() == pytest.approx(log_expit(-fake).mean(), abs=TOLERANCE)
    assert generator_loss(b, "non-saturating").item() == pytest.approx(-log_expit(fake).mean(), abs=TOLERANCE)


def test_value_where_d_cannot_tell_is_minus_log_4() -> None:
    zeros = torch.zeros(9, dtype=torch.float64)
    assert -discriminator_loss(zeros, zeros).item() == pytest.approx(-math.log(4), abs=TOLERANCE)


@pytest.mark.parametrize("logit", [-1e4, -104.0, 104.0, 1e4])
@pytest.mark.parametrize("objective", ["saturating", "non-saturating"])
def test_losses_and_gradients_stay_finite_where_sigmoids_do_not(logit: float, objective: str) -> None:
    real = torch.full((5,), -logit, requires_grad=True)
    fake = torch.full((5,), logit, requires_grad=True)
    for loss, inputs in ((discriminator_loss(real, fake), [real, fake]), (generator_loss(fake, objective), [fake])):
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, inputs))
    # A loss grows like the logit, where log(sigmoid) would be infinite.
    assert discriminator_loss(real, fake).item() == pytest.approx(2 * max(logit, 0), rel=1e-6)


@given(st.floats(-30, 30))
def test_objectives_point_the_same_way_with_different_strength(logit: float) -> None:
    a = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    slopes = [torch.autograd.grad(generator_loss(a, kind), a)[0].item() for kind in ("saturating", "non-saturating")]
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
    assert torch.equal(generator_loss(fake, "saturating")[2], generator_loss(fake[2], "saturating"))
