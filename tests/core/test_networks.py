"""The networks: where they start, what they compute, their draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gansearch.core import networks
from gansearch.core.discriminator import discriminate
from gansearch.core.generator import generate
from gansearch.model_sections import NoiseConfig
from tests.core import games, reference_step
from tests.core.games import draws, shapes, small

# A few float64 products of a dozen terms.
TOLERANCE = 1e-12
# A sample mean is this many standard errors from the mean about once in two million tests.
STANDARD_ERRORS = 5


def numpy_of(params: networks.Params) -> reference_step.Arrays:
    return {name: p.numpy() for name, p in params.items()}


# --- The start ------------------------------------------------------------------------------------------------


def test_initial_weights_fill_their_range() -> None:
    config = small({"generator.init_range": 0.05, "discriminator.init_range": 0.005, "generator.hidden": [300, 200]})
    config = config.replace({"discriminator.hidden": [110, 90], "generator.output_bias": "zero"})
    nets = shapes(config)
    g = networks.init_generator(nets, torch.zeros(games.DATA_DIM), draws(1))
    d = networks.init_discriminator(nets, draws(1))
    assert {name: tuple(p.shape) for name, p in g.items()} == {
        "0.weight": (3, 300),
        "0.bias": (300,),
        "1.weight": (300, 200),
        "1.bias": (200,),
        "2.weight": (200, 8),
        "2.bias": (8,),
    }
    assert {name: tuple(p.shape) for name, p in d.items()} == {
        "0.weight": (8, 550),
        "0.bias": (550,),
        "1.weight": (110, 450),
        "1.bias": (450,),
        "2.weight": (90, 1),
        "2.bias": (1,),
    }
    for params, bound in ((g, 0.05), (d, 0.005)):
        for name, p in params.items():
            if name.endswith("bias"):
                assert not p.any()
                continue
            n = p.numel()
            assert p.abs().max() <= bound
            # The largest of n uniform draws falls short of its bound by more than 20 / n once in e^20 times.
            assert p.abs().max() > bound * (1 - 20 / n)
            assert p.mean().abs() < STANDARD_ERRORS * bound / math.sqrt(3 * n)
    assert not torch.equal(g["0.weight"], networks.init_generator(nets, torch.zeros(8), draws(2))["0.weight"])


@pytest.mark.parametrize(("output", "steepest"), [("sigmoid", 0.25), ("tanh", 0.5), ("linear", 1.0)])
def test_samples_start_at_the_pixel_marginals(output: str, steepest: float) -> None:
    bound = 0.01
    config = small({"generator.output": output, "generator.init_range": bound, "noise.distribution": "uniform"})
    marginals = torch.tensor([0.0, 0.02, 0.3, 0.5, 0.77, 0.9, 0.999, 1.0])
    nets = shapes(config)
    g = networks.init_generator(nets, marginals, draws(1))
    z = networks.draw_noise(config.noise, draws(1), "noise", 0, 500)
    images = generate(nets, g, z)
    # Every layer's input is bounded by range * fan_in * the bound of the layer before; so is the logit's move
    # away from the bias, and the image's by the output's steepest slope.
    moved = math.sqrt(3)
    for fan_in in (3, 11, 7):
        moved *= bound * fan_in
    assert (images - marginals).abs().max() <= steepest * moved + networks.MARGINAL_CLIP * 2
    assert images.std(0).min() > 0 or output != "linear"


def test_pixels_that_never_vary_have_finite_biases() -> None:
    for output in ("sigmoid", "tanh", "linear"):
        nets = shapes(small({"generator.output": output}))
        g = networks.init_generator(nets, torch.tensor([0.0, 1.0] * 4), draws(1))
        assert g["2.bias"].isfinite().all()


def test_a_zero_output_bias_ignores_the_marginals() -> None:
    nets = shapes(small({"generator.output_bias": "zero"}))
    assert not networks.init_generator(nets, torch.full((8,), 0.9), draws(1))["2.bias"].any()


# --- What they compute ----------------------------------------------------------------------------------------


def test_forward_passes_agree_with_numpy() -> None:
    config = small()
    nets, state = shapes(config), games.start(config, seed=6)
    passing = games.noise(config, 7, 0, "fake")
    images = generate(nets, state.g, passing.z)
    expected, _ = reference_step.generate(numpy_of(state.g), passing.z.numpy(), "sigmoid")
    np.testing.assert_allclose(images.numpy(), expected, atol=TOLERANCE)
    masks = [mask.numpy() for mask in passing.masks or ()]
    logits, _, _ = reference_step.discriminate(numpy_of(state.d), expected, masks, 5)
    got = discriminate(nets, state.d, images, passing.masks)
    np.testing.assert_allclose(got.numpy(), logits, atol=TOLERANCE)


def test_maxout_of_one_piece_is_linear() -> None:
    config = small({"discriminator.pieces": 1})
    nets, d = shapes(config), games.start(config, seed=6).d
    x = games.minibatch(config, 7, 0).x
    h = x
    for i in range(3):
        h = h @ d[f"{i}.weight"] + d[f"{i}.bias"]
    torch.testing.assert_close(discriminate(nets, d, x, None), h[:, 0], rtol=TOLERANCE, atol=TOLERANCE)


def test_maxout_units_are_convex() -> None:
    """The maximum of linear pieces lies under its chords: what makes D's hidden units maxout units."""
    config = small({"discriminator.hidden": [1]})
    nets, d = shapes(config), games.start(config, seed=6).d
    d["1.weight"].fill_(1)
    d["1.bias"].fill_(0)
    a, b = games.minibatch(config, 7, 0).x * 20 - 10, games.minibatch(config, 7, 1).x * 20 - 10
    at = [discriminate(nets, d, x, None) for x in (a, b, (a + b) / 2)]
    chord = (at[0] + at[1]) / 2
    assert (at[2] <= chord + TOLERANCE).all()
    assert (at[2] < chord - 0.01).any()


def test_no_masks_and_masks_of_ones_are_the_same() -> None:
    config = small({"discriminator.dropout_input": 0.0, "discriminator.dropout_hidden": 0.0})
    nets, d = shapes(config), games.start(config, seed=6).d
    x, masks = games.minibatch(config, 7, 0).x, games.masks(config, 7, 0, "real", 13)
    assert all((mask == 1).all() for mask in masks)
    assert torch.equal(discriminate(nets, d, x, masks), discriminate(nets, d, x, None))


def test_stacked_parameters_are_separate_networks() -> None:
    config = small()
    nets, states = shapes(config), [games.start(config, seed=i) for i in range(3)]
    g = {name: games.stacked([s.g[name] for s in states]) for name in states[0].g}
    z = games.stacked([games.noise(config, i, 0, "fake").z for i in range(3)])
    together = generate(nets, g, z)
    for i in range(3):
        alone = generate(nets, states[i].g, z[i])
        torch.testing.assert_close(together[i], alone, rtol=TOLERANCE, atol=TOLERANCE)


# --- Their draws ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "fourth_moment"), [("uniform", 9 / 5), ("gaussian", 3.0), ("spherical", 21 / 9)]
)
def test_noise_has_unit_variance(distribution: str, fourth_moment: float) -> None:
    z = networks.draw_noise(NoiseConfig(dim=7, distribution=distribution), draws(1), "noise", 0, 20_000)
    assert z.shape == (20_000, 7)
    n = z.numel()
    assert z.mean().abs() < STANDARD_ERRORS / math.sqrt(n)
    assert (z.square().mean() - 1).abs() < STANDARD_ERRORS * math.sqrt((fourth_moment - 1) / n)
    assert (z.pow(4).mean() - fourth_moment).abs() < 0.1
    assert (z.abs().max() <= math.sqrt(3)) == (distribution == "uniform")
    lengths = z.double().norm(dim=1)
    assert torch.allclose(lengths, lengths.new_tensor(math.sqrt(7)), rtol=1e-6) == (distribution == "spherical")


# --- Max column norm ------------------------------------------------------------------------------------------


def test_columns_above_the_bound_are_scaled_down_and_no_others() -> None:
    source = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 40, generator=source, dtype=torch.float64)
    bias = torch.full((40,), 9.0, dtype=torch.float64)
    params = {"0.weight": weight.clone(), "0.bias": bias.clone()}
    bound = weight.norm(dim=0).median().item()
    networks.clip_columns_(params, bound, torch.tensor(True))
    norms = weight.norm(dim=0)
    over = norms > bound
    assert 0 < over.sum() < 40
    torch.testing.assert_close(params["0.weight"].norm(dim=0), norms.clamp(max=bound), rtol=TOLERANCE, atol=0)
    assert torch.equal(params["0.weight"][:, ~over], weight[:, ~over])
    directions = torch.nn.functional.cosine_similarity(params["0.weight"], weight, dim=0)
    torch.testing.assert_close(directions, torch.ones(40, dtype=torch.float64), rtol=TOLERANCE, atol=0)
    assert torch.equal(params["0.bias"], bias)


def test_clipping_spares_frozen_trials_and_absent_bounds() -> None:
    weight = torch.full((2, 3, 5), 4.0)
    params = {"0.weight": weight.clone()}
    networks.clip_columns_(params, None, torch.tensor([True, True]))
    assert torch.equal(params["0.weight"], weight)
    networks.clip_columns_(params, 1.0, torch.tensor([True, False]))
    assert params["0.weight"][0].norm(dim=0).max() < 1 + 1e-6
    assert torch.equal(params["0.weight"][1], weight[1])
    zeros = {"0.weight": torch.zeros(3, 4)}
    networks.clip_columns_(zeros, 1.0, torch.tensor(True))
    assert not zeros["0.weight"].any()


def test_every_trial_has_its_own_bound_or_none() -> None:
    source = torch.Generator().manual_seed(1)
    weight = torch.randn(4, 6, 10, generator=source)
    weight[2] *= 1e30  # the norm of its columns overflows
    bounds = torch.tensor([1.5, 0.5, math.inf, math.inf])
    params = {"0.weight": weight.clone()}
    networks.clip_columns_(params, bounds, torch.ones(4, dtype=torch.bool))
    assert torch.equal(params["0.weight"][2:], weight[2:])
    for i in (0, 1):
        alone = {"0.weight": weight[i].clone()}
        networks.clip_columns_(alone, bounds[i].item(), torch.tensor(True))
        # A norm's last bits depend on how its sum is split.
        torch.testing.assert_close(params["0.weight"][i], alone["0.weight"], rtol=2.0**-20, atol=0)
        assert not torch.equal(alone["0.weight"], weight[i])
