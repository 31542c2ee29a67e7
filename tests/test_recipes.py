"""The paper's recipes: their sizes, where they start, one step of each against NumPy, and that they can be trained."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file
from gansearch.core import algorithm1, networks
from gansearch.core.adversarial import Adversarial
from gansearch.core.algorithm1 import Minibatch, Noise
from gansearch.core.datasets import describe
from gansearch.core.generator import generate
from gansearch.core.networks import Networks
from gansearch.fits import check_fits
from tests.core import games, reference_recipes
from tests.core.games import draws
from tests.core.reference_step import Arrays, player

RECIPES = ("mnist", "tfd", "cifar10_fully_connected", "cifar10_convolutional", "textbook_gan")
# Hundreds of float64 terms; divided by Adam's root of a small second moment.
TOLERANCE = 1e-9


def config_of(recipe: str) -> TrialConfig:
    return load_config_file(f"paper/{recipe}").config


def nets_of(config: TrialConfig) -> Networks:
    return Networks.of(config, describe(config.dataset.name).dim)


def mlp(*widths: int) -> int:
    """Return the parameters of dense layers."""
    return sum(a * b + b for a, b in itertools.pairwise(widths))


# Counted from the table of published values: weights and biases of each network.
PARAMETERS = {
    "mnist": (mlp(100, 1200, 1200, 784), 784 * 1200 + 1200 + 240 * 1200 + 1200 + 241),
    "tfd": (mlp(100, 8000, 8000, 2304), 2304 * 6000 + 6000 + 1200 * 6000 + 6000 + 1201),
    "cifar10_fully_connected": (mlp(100, 8000, 8000, 3072), 3072 * 8000 + 8000 + 1600 * 8000 + 8000 + 1601),
    "cifar10_convolutional": (
        mlp(100, 8000, 8000) + 80 * 3 * 5 * 5 + 3 * 32 * 32,
        (3 * 8 * 8 + 1) * 64 + (32 * 8 * 8 + 1) * 64 + (32 * 5 * 5 + 1) * 384 + (192 * 5 * 5 + 1) * 2500 + 501,
    ),
    "textbook_gan": (mlp(100, 256, 512, 1024, 784) + 256 + 512 + 1024, mlp(784, 512, 256, 1)),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_networks_have_the_published_sizes_and_start_in_their_ranges(recipe: str) -> None:
    config = config_of(recipe)
    nets, source = nets_of(config), draws(3)
    marginals = torch.full((nets.data_dim,), 0.3)
    for params, count, own, layers in (
        (networks.init_generator(nets, marginals, source), PARAMETERS[recipe][0], config.generator, nets.generator),
        (networks.init_discriminator(nets, source), PARAMETERS[recipe][1], config.discriminator, nets.discriminator),
    ):
        assert sum(p.numel() for p in params.values()) == count
        last = len(layers) - 1
        for name, p in params.items():
            i, kind = name.split(".")
            output = int(i) == last and own is config.generator
            if kind == "weight" and not (output and config.generator.output_inputs):
                bound = config.generator.output_init_range if output else None
                bound = bound or own.init_range
                # The largest of n uniform draws falls short of its bound by more than 20 / n once in e^20 times.
                assert bound * (1 - 20 / p.numel()) < p.abs().max() <= bound
            elif kind == "scale":
                assert (p == 1).all()
    d = networks.init_discriminator(nets, source)
    assert not any(p.any() for name, p in d.items() if name.endswith("bias"))


def test_the_faces_recipe_starts_with_sparse_outputs_and_sigmoids_nearly_off() -> None:
    config = config_of("tfd")
    nets = nets_of(config)
    g = networks.init_generator(nets, torch.full((2304,), 0.3), draws(3))
    weights = g["2.weight"]
    assert (weights.count_nonzero(0) == 100).all()
    drawn = weights[weights != 0]
    assert drawn.mean().abs() < 5 / math.sqrt(len(drawn))
    assert drawn.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * len(drawn)))
    # No two units see the same inputs, and every hidden unit is seen about as often.
    seen = (weights != 0).sum(1).double()
    assert seen.mean().item() == pytest.approx(2304 * 100 / 8000)
    assert (weights[:, 0] != 0).ne(weights[:, 1] != 0).any()
    assert (g["1.bias"] == -2).all()
    assert (g["0.bias"] == 0).all()
    assert g["2.bias"].sigmoid().mean().item() == pytest.approx(0.3, rel=1e-5)


def test_the_fully_connected_recipe_starts_far_wider_than_its_images() -> None:
    """docs/recipes.md says so: images of norm 55 vary by 55 / sqrt(3072), about 1."""
    config = config_of("cifar10_fully_connected")
    nets, source = nets_of(config), draws(0)
    g = networks.init_generator(nets, torch.zeros(nets.data_dim), source)
    images = generate(nets, g, networks.draw_noise(config.noise, source, "noise", 0, 200))
    assert images.std().item() == pytest.approx(13, abs=0.7)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits_its_data_and_protocols(recipe: str) -> None:
    file = load_config_file(f"paper/{recipe}")
    assert file.protocol is not None
    assert file.report_protocol is not None
    check_fits(file.config, describe(file.config.dataset.name), (file.protocol, file.report_protocol))


# The same recipes with few units, so that NumPy has them in memory; what layers they have is unchanged.
NARROW: dict[str, dict[str, object]] = {
    "mnist": {"generator.hidden": [11, 7], "discriminator.hidden": [6, 5]},
    "tfd": {"generator.hidden": [11, 9], "discriminator.hidden": [6, 5], "generator.output_inputs": 4},
    "cifar10_fully_connected": {"generator.hidden": [11, 7], "discriminator.hidden": [6, 5]},
    "cifar10_convolutional": {
        "generator.hidden": [11, 300],
        "deconvolution.channels": 3,
        "convolution.channels": [3, 4, 5],
        "discriminator.hidden": [6],
    },
    "textbook_gan": {"generator.hidden": [11, 7, 9], "discriminator.hidden": [6, 5]},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_step_is_that_of_numpy(recipe: str) -> None:
    m = 5
    config = config_of(recipe).replace(NARROW[recipe] | {"algorithm.batch_size": m, "noise.dim": 6})
    info, source = describe(config.dataset.name), draws(8)
    nets = nets_of(config)
    state = games.start(config, 7, data_dim=info.dim)
    for params in (state.g, state.d):  # from where the recipes start there is little to see in float64's digits
        for name, p in params.items():
            p.mul_(20 if name.endswith("weight") and p.abs().max() < 0.1 else 1)
    x = source.uniform("examples", 0, (m, info.dim), -1 if info.space == "contrast" else 0, 1).double()
    zs = [networks.draw_noise(config.noise, source, "noise", i, m).double() for i in range(2)]
    kept = 1 - config.discriminator.dropout_hidden
    masks, fresh_masks = (
        list(
            ((source.uniform(f"masks/{rows}", 0, (rows, sum(nets.dropout_widths)), 0, 1) < kept) / kept)
            .double()
            .split(nets.dropout_widths, -1)
        )
        for rows in (2 * m, m)
    )
    g, d = (player({name: p.numpy().copy() for name, p in params.items()}) for params in (state.g, state.d))
    rate = games.rates(config, 0, lr_g=0.2, lr_d=0.3)
    alternating = config.algorithm.order == "alternating"
    for _ in range(2):  # the second sees moments that are not 0
        moves, rules = games.moves(config, rate), games.rules(config)
        batch = Minibatch(x=x, z=zs[0], masks=masks)
        if alternating:
            algorithm1.discriminator_step(state, batch, moves, nets, rules)
            algorithm1.generator_step(state, Noise(z=zs[1], masks=fresh_masks), moves, nets, rules)
        else:
            algorithm1.joint_step(state, batch, moves, nets, rules)
        numpy_masks, numpy_fresh = ([mask.numpy() for mask in own] for own in (masks, fresh_masks))
        reference_recipes.step(
            config,
            g,
            d,
            x.numpy(),
            zs[0].numpy(),
            numpy_masks,
            (zs[1].numpy(), numpy_fresh) if alternating else None,
            (0.2, 0.3, float(rate.momentum)),
            info.shape[1],
        )
        rate = games.rates(config, 0, lr_g=0.2, lr_d=0.3, g_update=2, d_update=2)
    assert bool(state.alive)
    for params, moved in ((state.g, g), (state.d, d)):
        expected: Arrays = moved.params
        assert set(expected) == set(params)
        for name, p in params.items():
            assert np.abs(moved.first[name]).max() > 1e-7, f"{name} has not moved"
            np.testing.assert_allclose(p.numpy(), expected[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


@pytest.mark.slow
def test_every_layer_of_the_convolutional_pair_has_a_gradient_from_the_first_step_on() -> None:
    config = config_of("cifar10_convolutional")
    images = torch.randn((config.algorithm.batch_size, 3072), generator=torch.Generator().manual_seed(4))
    own = Adversarial(config, images, 1, seed=0)
    own.train_epoch()
    assert not own.diverged()
    for moments in (own.state.g_moments, own.state.d_moments):
        for name, velocity in moments.items():
            assert velocity.count_nonzero() > velocity.numel() // 1000, name
