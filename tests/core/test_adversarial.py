"""A trial's nets in training: k, counters, checkpoints, draws, and what a diverged trial leaves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gansearch.config import TrialConfig
from gansearch.core import algorithm1
from gansearch.core.adversarial import SAMPLE_BLOCK, Adversarial
from gansearch.core.algorithm1 import MEASURES, Logits, Minibatch, Moves, Noise
from gansearch.core.datasets import to_unit
from gansearch.core.updates import Adam, Momentum
from tests.core.games import small

LEVELS = 16
ORDERS = ("simultaneous", "alternating")


def images(n: int, dim: int = 9) -> torch.Tensor:
    source = torch.Generator().manual_seed(8)
    return torch.randint(0, LEVELS + 1, (n, dim), dtype=torch.uint8, generator=source)


def learner(changes: dict[str, object] | None = None, *, n: int = 55, seed: int = 4) -> Adversarial:
    """Return an untrained model; 55 images are 4 minibatches of 13 and 3 left over."""
    config = small({"momentum.lr_g": 0.05, "momentum.lr_d": 0.04, "algorithm.epochs": 10} | (changes or {}))
    return Adversarial(config, images(n), LEVELS, seed)


def copy(model: Adversarial) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.save().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- k --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("order", ORDERS)
def test_k_is_discriminator_updates_a_generator_update(order: str, k: int) -> None:
    """With one minibatch an epoch, every epoch is one discriminator step; every k-th moves G too."""
    model = learner({"algorithm.order": order, "algorithm.k": k}, n=13)
    for t in range(1, 12):
        before = copy(model)
        model.train_epoch()
        after = copy(model)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert all(name in moved for name in before if name.startswith("d/"))
        assert all((name in moved) == (t % k == 0) for name in before if name.startswith("g/"))
        counters = model.counters()
        assert (counters["d_updates"], counters["g_updates"]) == (t, t // k)


@pytest.mark.parametrize("order", ORDERS)
def test_generator_updates_do_not_start_anew_with_an_epoch(order: str) -> None:
    """k = 3 over epochs of 4 steps: the 9th discriminator step, in epoch 3, brings the 3rd update of G."""
    model = learner({"algorithm.order": order, "algorithm.k": 3})
    assert model.steps_per_epoch == 4
    counts = []
    for _ in range(3):
        model.train_epoch()
        counts.append(model.counters()["g_updates"])
    assert counts == [1, 2, 4]


# --- What a step is given -------------------------------------------------------------------------------------


def test_steps_see_every_image_once_an_epoch_with_the_schedules_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Tensor, Momentum, Momentum]] = []
    step = algorithm1.joint_step

    def watched(state: Any, batch: Minibatch, moves: Moves, *rest: Any) -> Logits:
        assert isinstance(moves.g, Momentum)
        assert isinstance(moves.d, Momentum)
        seen.append((batch.x.clone(), moves.g, moves.d))
        return step(state, batch, moves, *rest)

    monkeypatch.setattr(algorithm1, "joint_step", watched)
    model = learner({"momentum.lr_decay": 1.5, "momentum.lr_floor": 0.004}, n=52)
    model.train_epoch()
    model.train_epoch()
    rows = to_unit(images(52), LEVELS)
    epochs = [torch.cat([x for x, _, _ in seen[i : i + 4]]) for i in (0, 4)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == sorted(rows.tolist())
    assert not torch.equal(*epochs)
    assert len(seen) == 8
    for t, (_, g, d) in enumerate(seen):
        assert g.lr == pytest.approx(max(0.05 / 1.5**t, 0.004))
        assert d.lr == pytest.approx(max(0.04 / 1.5**t, 0.004))
        # A budget of 10 epochs squeezes the ramp of 1-250 to .04-10.
        assert g.momentum == d.momentum == pytest.approx(0.5 + 0.2 * ((t // 4 + 1) * 25 - 1) / 249)


@pytest.mark.parametrize("order", ORDERS)
def test_updates_are_numbered_by_network(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam corrects the n-th update of a network by n, so G's numbers go on by one where D's go on by k."""
    seen: list[tuple[Adam, Adam]] = []
    name = "joint_step" if order == "simultaneous" else "generator_step"
    step = getattr(algorithm1, name)

    def watched(state: Any, draws: Any, moves: Moves, *rest: Any) -> Any:
        assert isinstance(moves.g, Adam)
        assert isinstance(moves.d, Adam)
        seen.append((moves.g, moves.d))
        return step(state, draws, moves, *rest)

    monkeypatch.setattr(algorithm1, name, watched)
    model = learner({"algorithm.order": order, "algorithm.k": 3, "update.rule": "adam"})
    for _ in range(3):
        model.train_epoch()
    beta1, beta2 = model.config.adam.beta1, model.config.adam.beta2
    gathered = [[(rule.gathered1, rule.gathered2) for rule in both] for both in seen]
    # Update n has gathered 1 - beta^n: exactly, for both are computed in double precision.
    numbers = [(1, 3), (2, 6), (3, 9), (4, 12)]
    assert gathered == [[(1 - beta1**n, 1 - beta2**n) for n in both] for both in numbers]
    assert all(rule.fresh1 == 1 - beta1 and rule.fresh2 == 1 - beta2 for both in seen for rule in both)


def test_adams_moments_are_corrected_for_what_went_into_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the betas that acted, and from the second stage's start on, where the moments are zero again."""
    betas: dict[str, list[tuple[float, float]]] = {"g": [], "d": []}  # that acted in each update so far
    seen: list[tuple[Adam, Adam]] = []
    step = algorithm1.generator_step
    d_step = algorithm1.discriminator_step

    def watched(state: Any, draws: Any, moves: Moves, *rest: Any) -> Any:
        assert isinstance(moves.g, Adam)
        assert isinstance(moves.d, Adam)
        adam = model.config.at_epoch(model.epochs).adam
        betas["g"].append((adam.beta1, adam.beta2))
        seen.append((moves.g, moves.d))
        for rule, past in ((moves.g, betas["g"]), (moves.d, betas["d"])):
            first, second = (math.prod(column) for column in zip(*past, strict=True))
            assert rule.gathered1 == pytest.approx(1 - first, rel=1e-12)
            assert rule.gathered2 == pytest.approx(1 - second, rel=1e-12)
        return step(state, draws, moves, *rest)

    def watched_d(*given: Any) -> Any:
        adam = model.config.at_epoch(model.epochs).adam
        betas["d"].append((adam.beta1, adam.beta2))
        return d_step(*given)

    monkeypatch.setattr(algorithm1, "generator_step", watched)
    monkeypatch.setattr(algorithm1, "discriminator_step", watched_d)
    changes: dict[str, object] = {"algorithm.order": "alternating", "algorithm.k": 2, "update.rule": "adam"}
    model = learner(changes | {"pretraining.epochs": 4})
    model.config = model.config.changed(2, {"adam.beta1": 0.9}).changed(5, {"adam.beta1": 0.3})
    for epoch in range(7):
        if epoch == 4:
            betas = {"g": [], "d": []}
        model.train_epoch()
    assert len(seen) == 14


def test_minibatches_draw_fresh_noise_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []
    discriminator_step, generator_step = algorithm1.discriminator_step, algorithm1.generator_step

    def watched_d(state: Any, batch: Minibatch, *rest: Any) -> Logits:
        halves = [half for mask in batch.masks or () for half in mask.chunk(2, -2)]
        drawn.extend(tensor.clone() for tensor in (batch.z, *halves))
        return discriminator_step(state, batch, *rest)

    def watched_g(state: Any, noise: Noise, *rest: Any) -> None:
        drawn.extend(tensor.clone() for tensor in (noise.z, *(noise.masks or ())))
        generator_step(state, noise, *rest)

    monkeypatch.setattr(algorithm1, "discriminator_step", watched_d)
    monkeypatch.setattr(algorithm1, "generator_step", watched_g)
    model = learner({"algorithm.order": "alternating", "algorithm.k": 2, "discriminator.dropout_input": 0.5})
    model.train_epoch()
    # 4 steps of D with z and 2 * 3 masks, 2 of G with z and 3 masks.
    assert len(drawn) == 4 * 7 + 2 * 4
    assert len({tensor.numpy().tobytes() for tensor in drawn}) == len(drawn)


def test_epoch_measures_are_means_over_its_steps() -> None:
    model = learner({"algorithm.loss_scale": 0.3})
    measures = model.train_epoch().measures
    assert set(measures) == set(MEASURES)
    assert measures["loss_d"] == pytest.approx(-0.3 * measures["game_value"], rel=1e-5)
    assert 0 < measures["d_real"] < 1
    assert 0 < measures["d_fake"] < 1


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="minibatch of 13 examples"):
        learner(n=12)


# --- The same seed, and checkpoints ---------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["momentum", "adam"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_checkpoint_continues_bit_for_bit(order: str, rule: str) -> None:
    changes: dict[str, object] = {"algorithm.order": order, "update.rule": rule, "algorithm.k": 3}
    whole, again, other = learner(changes), learner(changes), learner(changes, seed=5)
    half = learner(changes)
    for _ in range(5):
        for model in (whole, again, other):
            model.train_epoch()
    assert same(whole.save(), again.save())
    assert not any(torch.equal(whole.weights()[name], w) for name, w in other.weights().items())
    for _ in range(2):
        half.train_epoch()
    # As a file would give it back: copies, through NumPy.
    stored = {name: torch.from_numpy(tensor.numpy().copy()) for name, tensor in half.save().items()}
    half.train_epoch()  # what went on after the checkpoint does not matter
    resumed = learner(changes, seed=4)
    resumed.load(stored, epochs=2)
    for _ in range(3):
        resumed.train_epoch()
    assert same(whole.save(), resumed.save())
    assert whole.counters() == resumed.counters()


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    learner().train_epoch()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_of_another_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="not those of this configuration"):
        learner({"generator.hidden": [10, 7]}).load(learner().save(), epochs=1)
    with pytest.raises(ValueError, match="not those of this configuration"):
        learner({"update.rule": "adam"}).load(learner().save(), epochs=1)


def test_samples_are_a_function_of_weights_purpose_and_step() -> None:
    model = learner()
    weights = model.weights()
    a = model.sample(weights, 17, "report", 1)
    model.train_epoch()
    assert torch.equal(a, model.sample(weights, 17, "report", 1))
    assert not torch.equal(a, model.sample(model.weights(), 17, "report", 1))
    assert not torch.equal(a, model.sample(weights, 17, "report", 2))
    assert not torch.equal(a, model.sample(weights, 17, "sheet", 1))
    # More samples begin with the fewer: blocks are drawn whole.
    more = model.sample(weights, SAMPLE_BLOCK + 5, "report", 1)
    assert more.shape == (SAMPLE_BLOCK + 5, 9)
    assert torch.equal(more[:17], a)
    assert len(more.unique(dim=0)) == SAMPLE_BLOCK + 5
    assert 0 <= more.min() < more.max() <= 1


def test_weights_are_a_copy() -> None:
    model = learner()
    weights = model.weights()
    before = {name: w.clone() for name, w in weights.items()}
    model.train_epoch()
    assert same(weights, before)


# --- Divergence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["momentum", "adam"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rate", ["lr_g", "lr_d"])
def test_a_diverged_trial_is_frozen_and_counts_no_more(order: str, rule: str, rate: str) -> None:
    model = learner({"algorithm.order": order, "update.rule": rule, f"{rule}.{rate}": 1e30})
    assert not model.diverged()
    model.train_epoch()
    assert model.diverged()
    at, counters = copy(model), model.counters()
    assert all(tensor.isfinite().all() for tensor in at.values())
    assert counters["d_updates"] < model.steps_per_epoch
    model.train_epoch()
    assert model.diverged()
    assert same(copy(model), at)
    assert model.counters() == counters
    # What never moved anything is not counted: a joint step is refused whole, an alternating one by its half.
    d_moved = not torch.equal(at["d/0.weight"], copy(learner())["d/0.weight"])
    assert (counters["d_updates"] > 0) == d_moved
    resumed = learner({"algorithm.order": order, "update.rule": rule, f"{rule}.{rate}": 1e30})
    resumed.load(at, epochs=2)
    assert resumed.diverged()


# --- Floating-point operations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "depths",
    [{}, {"generator.hidden": [], "discriminator.hidden": []}, {"generator.hidden": [12], "discriminator.pieces": 1}],
    ids=["deep", "no hidden layer", "linear"],
)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("order", ORDERS)
def test_operations_are_those_that_pytorch_counts(order: str, k: int, depths: dict[str, object]) -> None:
    model = learner({"algorithm.order": order, "algorithm.k": k} | depths)
    with FlopCounterMode(display=False) as counter:
        model.train_epoch()
    assert counter.get_total_flops() == model.counters()["flops"]


def test_marginals_are_exact_for_many_images() -> None:
    """A mean of bytes over thousands of images must not saturate a byte or lose its last digits."""
    train = images(5000)
    config: TrialConfig = small({"generator.hidden": [], "generator.init_range": 1e-12, "generator.output": "linear"})
    model = Adversarial(config, train, LEVELS, 1)
    sample = model.sample(model.weights(), 3, "report")
    # Rounding of the mean to float32, and weights of 1e-12 on noise of size 2.
    expected = train.double().mean(0) / LEVELS
    assert (sample.double() - expected).abs().max() < 2.0**-23
    assert math.isfinite(model.train_epoch().measures["loss_d"])
