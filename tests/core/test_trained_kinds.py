"""Every kind of network in training: alone and side by side, diverging, sampled, in two stages."""

from __future__ import annotations

import pytest
import torch

from gansearch.config import TrialConfig
from gansearch.core import networks
from gansearch.core.adversarial import SAMPLE_BLOCK, Adversarial, latent_block, moments_of
from gansearch.core.generator import Given, generate
from gansearch.core.networks import Networks
from gansearch.core.pack import Pack
from tests.core import plain_networks
from tests.core.games import draws
from tests.core.test_network_kinds import DIM, KINDS, config_of

LEVELS, N = 16, 5 * 13 + 4
# Batched products may differ from single ones in their last bits, which a few dozen steps make larger.
SIDE_BY_SIDE = 1e-3
RULES = ("momentum", "adam")


def images() -> torch.Tensor:
    return torch.randint(0, LEVELS + 1, (N, DIM), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def labels() -> torch.Tensor:
    return torch.arange(N) * 7 % 10


def nets_of(config: TrialConfig, seed: int = 4) -> Adversarial:
    return Adversarial(config, images(), LEVELS, seed, labels())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("order", ["simultaneous", "alternating"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_moves_alone_as_beside_others(kind: str, order: str, rule: str) -> None:
    rates = {"momentum__lr_g": 0.02, "momentum__lr_d": 0.02, "adam__lr_g": 1e-3, "adam__lr_d": 1e-3}
    configs = [
        config_of(kind, algorithm__order=order, update__rule=rule, **rates, **own)
        for own in ({"algorithm__k": 1}, {"algorithm__k": 2})
    ]
    alone = [nets_of(config, seed) for seed, config in enumerate(configs)]
    before = [own.save() for own in alone]
    before = [{name: t.clone() for name, t in tensors.items()} for tensors in before]
    pack = Pack(images(), LEVELS, labels())
    slots = [pack.join(config, seed) for seed, config in enumerate(configs)]
    for _ in range(2):
        pack.train_epoch()
        for own in alone:
            own.train_epoch()
    for own, slot, start in zip(alone, slots, before, strict=True):
        together = slot.save()
        for name, tensor in own.save().items():
            torch.testing.assert_close(tensor, together[name], rtol=SIDE_BY_SIDE, atol=SIDE_BY_SIDE, msg=name)
            if name.startswith(("g/", "d/")):
                assert not torch.equal(tensor, start[name]), f"{name} has not moved"
        assert not own.diverged()
        assert own.sample(own.weights(), 30, "report").isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_who_diverges_keeps_its_last_finite_parameters(kind: str) -> None:
    config = config_of(kind, momentum__lr_g=1e38, momentum__lr_d=1e38)
    own = nets_of(config)
    own.train_epoch()
    assert own.diverged()
    assert all(p.isfinite().all() for name, p in own.save().items() if name.startswith(("g", "d")))


def test_a_checkpoint_of_every_kind_goes_on_with_the_same_bits() -> None:
    for kind in KINDS:
        whole, cut = nets_of(config_of(kind)), nets_of(config_of(kind))
        whole.train_epoch()
        whole.train_epoch()
        cut.train_epoch()
        resumed = nets_of(config_of(kind))
        resumed.load(cut.save(), 1)
        resumed.train_epoch()
        assert all(torch.equal(t, resumed.save()[name]) for name, t in whole.save().items()), kind


def test_samples_are_normalised_by_the_moments_of_a_fixed_block() -> None:
    config = config_of("normalised")
    own = nets_of(config)
    own.train_epoch()
    source = draws(4)
    nets, g = Networks.of(config, DIM), own.weights()
    z, _ = latent_block(nets, source, "moments", 0)
    h, expected = z, []
    for i in range(2):
        a = h @ g[f"{i}.weight"]
        mean, variance = a.mean(0), a.var(0, correction=0)
        expected.append((mean, variance))
        y = (a - mean) / (variance + 1e-5).sqrt() * g[f"{i}.scale"] + g[f"{i}.bias"]
        h = plain_networks.activation("leaky_relu", config.generator.leaky_slope, y)
    found = moments_of(nets, g, source)
    assert found is not None
    for (mean, variance), own_moments in zip(expected, found, strict=True):
        torch.testing.assert_close(own_moments[0][0], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own_moments[1][0], variance, rtol=1e-4, atol=1e-5)
    # What a sample is does not depend on how many are drawn with it.
    assert torch.equal(own.sample(g, 3, "score"), own.sample(g, 40, "score")[:3])


def test_labels_of_samples_take_turns() -> None:
    config = config_of("conditional")
    nets = Networks.of(config, DIM)
    for block in (0, 1):
        z, given = latent_block(nets, draws(1), "score", block)
        assert given.labels is not None
        first = block * SAMPLE_BLOCK
        assert given.labels.argmax(1).tolist() == [i % 10 for i in range(first, first + SAMPLE_BLOCK)]
        assert z.shape == (SAMPLE_BLOCK, config.noise.dim)
    own = nets_of(config)
    own.train_epoch()
    drawn = own.sample(own.weights(), 20, "report")
    one = generate(nets, own.weights(), z[:1].repeat(10, 1), given=Given(labels=torch.eye(10)))
    assert one.unique(dim=0).shape[0] == 10  # the same noise, ten classes, ten images
    assert drawn.shape == (20, DIM)


def test_a_conditional_model_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="'digits' came without"):
        Adversarial(config_of("conditional"), images(), LEVELS, 1).train_epoch()


def test_hidden_noise_makes_many_images_of_one_input() -> None:
    config = config_of("hidden noise")
    nets, own = Networks.of(config, DIM), nets_of(config)
    z = torch.ones(500, config.noise.dim)
    hidden = networks.draw_hidden_noise(nets, draws(2), "a", 0, 500)
    assert hidden is not None
    assert hidden.shape == (500, sum(config.generator.hidden))
    assert hidden.std().item() == pytest.approx(0.7, rel=5 / (2 * hidden.numel()) ** 0.5)
    drawn = generate(nets, own.weights(), z, given=Given(hidden=hidden))
    assert drawn.unique(dim=0).shape[0] == 500
    assert networks.draw_hidden_noise(Networks.of(config_of("leaky"), DIM), draws(2), "a", 0, 500) is None


@pytest.mark.parametrize("rule", RULES)
def test_a_second_stage_begins_with_new_top_layers_on_the_kept_ones(rule: str) -> None:
    two_stages = {"pretraining__epochs": 1, "pretraining__generator_layers": 2, "update__rule": rule}
    own = nets_of(config_of("rectifiers", **two_stages))
    plain = nets_of(config_of("rectifiers", update__rule=rule))
    fresh = nets_of(config_of("rectifiers"), seed=4)
    for each in (own, plain):
        each.train_epoch()
    for mine, others, start, kept in (
        (own.state.g, plain.state.g, fresh.state.g, {"0", "1"}),
        (own.state.d, plain.state.d, fresh.state.d, {"0"}),
    ):
        for name, p in mine.items():
            same = name.split(".")[0] in kept
            assert torch.equal(p, others[name]) == same, name
            if not same and name.endswith("weight"):
                assert not torch.equal(p, start[name])  # other draws than the first stage's
    assert not any(m.any() for moments in (own.state.g_moments, own.state.d_moments) for m in moments.values())
    own.train_epoch()
    assert any(m.any() for m in own.state.g_moments.values())


def test_a_second_stage_begins_in_a_pack_too() -> None:
    config = config_of("rectifiers", pretraining__epochs=1)
    pack, alone = Pack(images(), LEVELS), nets_of(config)
    slot = pack.join(config, 4)
    pack.join(config_of("rectifiers"), 5)
    for _ in range(2):
        pack.train_epoch()
        alone.train_epoch()
    for name, tensor in alone.save().items():
        torch.testing.assert_close(slot.save()[name], tensor, rtol=SIDE_BY_SIDE, atol=SIDE_BY_SIDE, msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator.hidden": [11, 17], "deconvolution.channels": 2}, "17 units, which are not 2 square images"),
        ({"generator.hidden": [11, 18], "deconvolution.channels": 2}, "the generator's images have 11 x 11 pixels"),
        (
            dict(KINDS["convolution"].items()) | {"convolution.kernels": [4, 9]},
            "layer 1 of convolution sees 4 x 4 places",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    config = config_of("rectifiers").replace(changes)
    with pytest.raises(ValueError, match=message):
        Networks.of(config, DIM)


def test_places_three_pixels_apart_fit_with_patches_of_five() -> None:
    config = config_of("rectifiers").replace({"generator.hidden": [11, 8], "deconvolution.channels": 2})
    assert Networks.of(config, DIM).generator[-1].biases == DIM


def test_convolutions_need_square_images() -> None:
    with pytest.raises(ValueError, match="square images"):
        Networks.of(config_of("convolution", dataset__name="gaussian_mixture"), 2)
