"""Training whose values change on the way."""

from __future__ import annotations

import pytest
import torch

from gansearch.config import TrialConfig
from gansearch.core.adversarial import Adversarial
from tests.core.games import small

LEVELS = 16
SETTINGS: dict[str, object] = {
    "momentum.lr_g": 0.05,
    "momentum.lr_d": 0.04,
    "momentum.lr_decay": 1.02,
    "adam.lr_g": 0.003,
    "adam.lr_d": 0.002,
    "algorithm.epochs": 7,
}
CHANGES = [
    ("momentum", {"momentum.lr_g": 0.02, "momentum.lr_d": 0.09}),
    ("momentum", {"momentum.initial": 0.1, "momentum.final": 0.3}),
    ("momentum", {"discriminator.dropout_input": 0.35, "discriminator.dropout_hidden": 0.15}),
    ("adam", {"adam.lr_g": 0.01, "adam.lr_d": 0.02}),
    ("adam", {"adam.beta1": 0.8}),
    ("adam", {"discriminator.dropout_hidden": 0.25}),
]
WITHOUT_MEMORY = [(rule, values) for rule, values in CHANGES if "adam.beta1" not in values]
"""Those of which nothing later depends on how long they acted: Adam's moments are corrected by all earlier betas."""


def learner(config: TrialConfig) -> Adversarial:
    images = torch.randint(0, LEVELS + 1, (55, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(8))
    return Adversarial(config, images, LEVELS, seed=4)


def trained(model: Adversarial, epochs: int) -> dict[str, torch.Tensor]:
    for _ in range(epochs):
        model.train_epoch()
    return {name: tensor.clone() for name, tensor in model.save().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("order", ["simultaneous", "alternating"])
@pytest.mark.parametrize(("rule", "values"), WITHOUT_MEMORY)
def test_a_schedule_is_training_that_goes_on_with_other_values(order: str, rule: str, values: dict[str, float]) -> None:
    first = small(SETTINGS | {"update.rule": rule, "algorithm.order": order, "algorithm.k": 2})
    then = first.replace(values)
    whole = trained(learner(first.changed(3, values)), 7)
    before, after = learner(first), learner(then)
    after.load(trained(before, 3), epochs=3)
    assert same(whole, trained(after, 4))
    assert not same(whole, trained(learner(first), 7))
    assert not same(whole, trained(learner(then), 7))


@pytest.mark.parametrize(("rule", "values"), CHANGES)
def test_a_schedule_that_changes_nothing_trains_the_same_bits(rule: str, values: dict[str, float]) -> None:
    config = small(SETTINGS | {"update.rule": rule}).replace(values)
    assert same(trained(learner(config), 5), trained(learner(config.changed(2, values)), 5))


@pytest.mark.parametrize(("rule", "values"), CHANGES)
def test_a_checkpoint_after_a_change_goes_on_with_the_changed_values(rule: str, values: dict[str, float]) -> None:
    config = small(SETTINGS | {"update.rule": rule}).changed(2, values)
    whole = trained(learner(config), 7)
    resumed = learner(config)
    resumed.load(trained(learner(config), 4), epochs=4)
    assert same(whole, trained(resumed, 3))
