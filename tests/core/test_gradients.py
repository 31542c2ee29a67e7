"""The gradients that are written out: against automatic differentiation of forward passes written anew."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch.nn.functional import logsigmoid

from gansearch.config import TrialConfig
from gansearch.core import losses
from gansearch.core.discriminator import discriminate, discriminator_deltas, image_slope
from gansearch.core.generator import generate, generator_gradients
from gansearch.core.layers import Factor, Gradient
from gansearch.core.networks import Params
from gansearch.core.tape import Tape
from tests.core import games
from tests.core.games import shapes, small, start

# Sums of a few dozen terms in float64 lose about 1e-14; backward passes multiply that by the networks' slopes.
TOLERANCE = 1e-10
OUTPUTS = ("sigmoid", "tanh", "linear")
PIECES = (1, 3)


def plain_generate(g: Params, z: torch.Tensor, output: str) -> torch.Tensor:
    """Return G(z), without a word of the package."""
    h, last = z, len(g) // 2 - 1
    for i in range(last):
        h = torch.relu(h @ g[f"{i}.weight"] + g[f"{i}.bias"])
    a = h @ g[f"{last}.weight"] + g[f"{last}.bias"]
    return {"sigmoid": torch.sigmoid(a), "tanh": (torch.tanh(a) + 1) / 2, "linear": a}[output]


def plain_discriminate(d: Params, x: torch.Tensor, masks: Sequence[torch.Tensor] | None, pieces: int) -> torch.Tensor:
    """Return the logits, without a word of the package."""
    h, last = x, len(d) // 2 - 1
    for i in range(last + 1):
        h = h if masks is None else h * masks[i]
        h = h @ d[f"{i}.weight"] + d[f"{i}.bias"]
        h = h.reshape(len(x), pieces, -1).max(1).values if i < last else h
    return h[:, 0]


def leaves(params: Params) -> Params:
    return {name: p.clone().requires_grad_(True) for name, p in params.items()}


def autograd(loss: torch.Tensor, params: Params) -> Params:
    return dict(zip(params, torch.autograd.grad(loss, list(params.values()), retain_graph=True), strict=True))


def products(gradients: Sequence[Gradient]) -> Params:
    """Return the gradients that the factors stand for."""
    factors = [g for g in gradients if isinstance(g, Factor)]
    assert len(factors) == len(gradients)
    weights = {f"{i}.weight": factor.x.mT @ factor.delta for i, factor in enumerate(factors)}
    return weights | {f"{i}.bias": factor.delta.sum(-2) for i, factor in enumerate(factors)}


def assert_same(got: Params, expected: Params) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=TOLERANCE, atol=TOLERANCE)
        assert value.abs().max() > 1e-4  # what is compared is there


def game(output: str, pieces: int, changes: dict[str, object] | None = None) -> TrialConfig:
    return small({"generator.output": output, "discriminator.pieces": pieces} | (changes or {}))


@pytest.mark.parametrize("masked", [True, False], ids=["dropout", "none"])
@pytest.mark.parametrize("depths", [(2, 2), (0, 0), (1, 3)])
@pytest.mark.parametrize(("output", "pieces"), list(itertools.product(OUTPUTS, PIECES)))
def test_both_networks_gradients_are_those_of_autograd(
    output: str, pieces: int, depths: tuple[int, int], masked: bool
) -> None:
    hidden: dict[str, object] = {
        "generator.hidden": [11, 7][: depths[0]],
        "discriminator.hidden": [6, 4, 5][: depths[1]],
    }
    config = game(output, pieces, hidden)
    nets, state, batch = shapes(config), start(config, seed=6), games.minibatch(config, 7, 0)
    masks, m = batch.masks if masked else None, len(batch.x)

    g, d = leaves(state.g), leaves(state.d)
    images = plain_generate(g, batch.z, output)
    fake_masks = None if masks is None else [mask[m:] for mask in masks]
    real = plain_discriminate(d, batch.x, None if masks is None else [mask[:m] for mask in masks], pieces)
    fake = plain_discriminate(d, images, fake_masks, pieces)
    loss_d = -(logsigmoid(real) + logsigmoid(-fake)).mean()

    g_tape, tape = Tape(), Tape()
    own_images = generate(nets, state.g, batch.z, g_tape)
    both = torch.cat([batch.x, own_images])
    logits = discriminate(nets, state.d, both, masks, tape)
    torch.testing.assert_close(logits, torch.cat([real, fake]).detach(), rtol=TOLERANCE, atol=TOLERANCE)

    slope = losses.discriminator_slope(logits) / m
    deltas = discriminator_deltas(nets, state.d, tape, masks, slope)
    factors: list[Gradient] = [Factor(x, delta) for x, delta in zip(tape.inputs, deltas, strict=True)]
    assert_same(products(factors), autograd(loss_d, d))

    for objective, loss_g in (
        (losses.NON_SATURATING, -logsigmoid(fake).mean()),
        (losses.SATURATING, logsigmoid(-fake).mean()),
    ):
        slope = losses.generator_slope(logits[m:], objective) / m
        deltas = discriminator_deltas(nets, state.d, tape.second_half(), fake_masks, slope)
        in_images = image_slope(nets, state.d, fake_masks, deltas)
        (expected,) = torch.autograd.grad(loss_g, images, retain_graph=True)
        torch.testing.assert_close(in_images, expected, rtol=TOLERANCE, atol=TOLERANCE)
        factors = generator_gradients(nets, state.g, g_tape, own_images, in_images)
        assert_same(products(factors), autograd(loss_g, g))


@pytest.mark.parametrize("masked", [True, False], ids=["dropout", "none"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradients_agree_with_finite_differences(output: str, masked: bool) -> None:
    """Of a weighted sum of the logits, in every parameter of both networks."""
    config = game(output, 3)
    nets, state = shapes(config), start(config, seed=6)
    passing = games.noise(config, 7, 0, "fake")
    z, masks = passing.z[:4], [mask[:4] for mask in passing.masks or ()] if masked else None
    weights = torch.tensor([0.7, -1.1, 0.4, 1.6], dtype=torch.float64)

    def total(g: Params, d: Params) -> float:
        logits = discriminate(nets, d, generate(nets, g, z), masks)
        return (logits * weights).sum().item()

    g_tape, tape = Tape(), Tape()
    images = generate(nets, state.g, z, g_tape)
    discriminate(nets, state.d, images, masks, tape)
    deltas = discriminator_deltas(nets, state.d, tape, masks, weights)
    d_grads = products([Factor(x, delta) for x, delta in zip(tape.inputs, deltas, strict=True)])
    in_images = image_slope(nets, state.d, masks, deltas)
    g_grads = products(generator_gradients(nets, state.g, g_tape, images, in_images))

    step = 1e-6
    for params, grads in ((state.g, g_grads), (state.d, d_grads)):
        for name, p in params.items():
            flat, numeric = p.view(-1), torch.empty(p.numel(), dtype=torch.float64)
            for i in range(p.numel()):
                kept = flat[i].item()
                ends = []
                for moved in (kept + step, kept - step):
                    flat[i] = moved
                    ends.append(total(state.g, state.d))
                flat[i] = kept
                numeric[i] = (ends[0] - ends[1]) / (2 * step)
            # The third derivative times the step's square, and rounding over the step: gradcheck's own tolerances.
            torch.testing.assert_close(grads[name].reshape(-1), numeric, rtol=1e-3, atol=1e-5)


def test_equal_pieces_share_the_gradient() -> None:
    """As PyTorch's maximum over an axis does: pieces that are equal and largest get equal parts."""
    config = game("sigmoid", 3, {"discriminator.hidden": [4]})
    nets, state = shapes(config), start(config, seed=6)
    weight, bias = (state.d[f"0.{kind}"].unflatten(-1, (3, 4)) for kind in ("weight", "bias"))
    # Unit 0: all pieces equal; unit 1: the first two equal, the third below them; units 2 and 3 as they are.
    weight[:, :, 0], bias[:, 0] = weight[:, :1, 0].clone(), bias[0, 0].clone()
    weight[:, :, 1], bias[:, 1] = weight[:, :1, 1].clone(), bias[0, 1].clone()
    bias[2, 1] -= 1
    x = games.minibatch(config, 7, 0).x
    slope = torch.linspace(-1, 2, len(x), dtype=torch.float64)
    tape = Tape()
    discriminate(nets, state.d, x, None, tape)
    delta = discriminator_deltas(nets, state.d, tape, None, slope)[0].unflatten(-1, (3, 4))
    arriving = slope[:, None] * state.d["1.weight"][:, 0]
    torch.testing.assert_close(delta[:, :, 0], (arriving[:, :1] / 3).expand(-1, 3), rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(delta[:, :2, 1], (arriving[:, 1:2] / 2).expand(-1, 2), rtol=TOLERANCE, atol=TOLERANCE)
    assert not delta[:, 2, 1].any()
    assert (delta[:, :, 2:].count_nonzero(1) == (slope != 0)[:, None]).all()  # elsewhere one piece wins
    torch.testing.assert_close(delta.sum(1), arriving, rtol=TOLERANCE, atol=TOLERANCE)

    d = leaves(state.d)
    h = (x @ d["0.weight"] + d["0.bias"]).unflatten(-1, (3, 4)).amax(-2)
    expected = autograd(((h @ d["1.weight"] + d["1.bias"])[:, 0] * slope).sum(), d)
    deltas = discriminator_deltas(nets, state.d, tape, None, slope)
    assert_same(products([Factor(a, b) for a, b in zip(tape.inputs, deltas, strict=True)]), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_lost_on_the_way_back(bad: float) -> None:
    """A unit whose pieces are NaN has no piece that equals its maximum; its gradient must not become 0."""
    config = game("sigmoid", 3)
    nets, state = shapes(config), start(config, seed=6)
    x = games.minibatch(config, 7, 0).x
    x[5, 3] = bad
    tape = Tape()
    logits = discriminate(nets, state.d, x, None, tape)
    deltas = discriminator_deltas(nets, state.d, tape, None, torch.ones(len(x), dtype=torch.float64))
    assert not logits[5].isfinite()
    assert not all((a[5].isfinite().all() and b[5].isfinite().all()) for a, b in zip(tape.inputs, deltas, strict=True))


def test_stacked_gradients_are_each_networks_own() -> None:
    config = game("tanh", 3)
    nets, states = shapes(config), [start(config, seed=i) for i in range(3)]
    batches = [games.minibatch(config, i, 0) for i in range(3)]
    state = games.stack_states(states, config)
    masks = [games.stacked(layer) for layer in zip(*(batch.masks or () for batch in batches), strict=True)]
    z, x = (games.stacked([getattr(batch, name) for batch in batches]) for name in ("z", "x"))

    def both(g: Params, d: Params, z: torch.Tensor, x: torch.Tensor, masks: Sequence[torch.Tensor]) -> list[Params]:
        g_tape, tape, m = Tape(), Tape(), x.shape[-2]
        images = generate(nets, g, z, g_tape)
        logits = discriminate(nets, d, torch.cat([x, images], -2), masks, tape)
        deltas = discriminator_deltas(nets, d, tape, masks, losses.discriminator_slope(logits))
        for_d = products([Factor(a, b) for a, b in zip(tape.inputs, deltas, strict=True)])
        own, slope = [mask[..., m:, :] for mask in masks], losses.generator_slope(logits[..., m:], 1.0)
        back = image_slope(nets, d, own, discriminator_deltas(nets, d, tape.second_half(), own, slope))
        return [products(generator_gradients(nets, g, g_tape, images, back)), for_d]

    together = both(state.g, state.d, z, x, masks)
    for i, (own, batch) in enumerate(zip(states, batches, strict=True)):
        alone = both(own.g, own.d, batch.z, batch.x, batch.masks or ())
        for stacked, single in zip(together, alone, strict=True):
            assert_same({name: value[i] for name, value in stacked.items()}, single)
