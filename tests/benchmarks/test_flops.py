"""What an iteration costs: held against the trainer's own count and against PyTorch's."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import Product, cost, products
from gansearch.config import TrialConfig
from gansearch.core.adversarial import Adversarial

SMALL = TrialConfig.from_dict(
    {
        "noise": {"dim": 7},
        "generator": {"hidden": [13, 11]},
        "discriminator": {"hidden": [5, 3], "pieces": 4, "dropout_input": 0.2, "dropout_hidden": 0.5},
        "algorithm": {"batch_size": 6},
    }
)
DIM = 17
IMAGES = torch.randint(0, 256, (6 * 10, DIM), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
ARRANGEMENTS = [
    *({"algorithm.order": order, "algorithm.k": k} for order in ("alternating", "simultaneous") for k in (1, 2, 5)),
    {"algorithm.order": "alternating", "discriminator.pieces": 1},
    {"algorithm.order": "simultaneous", "discriminator.hidden": [], "generator.hidden": []},
]


@pytest.mark.parametrize("values", ARRANGEMENTS)
def test_operations_are_those_that_the_trainer_and_pytorch_count(values: dict[str, object]) -> None:
    config = SMALL.replace(values)
    trainer = Adversarial(config, IMAGES, 255, seed=2)
    iterations = trainer.steps_per_epoch // config.algorithm.k
    with FlopCounterMode(display=False) as counted:
        trainer.train_epoch()
    assert not trainer.diverged()
    expected = iterations * cost(config, DIM).flops
    assert trainer.counters()["flops"] == expected
    assert counted.get_total_flops() == expected


@pytest.mark.parametrize("values", ARRANGEMENTS)
@pytest.mark.parametrize("together", [False, True])
def test_products_are_an_iteration_however_d_sees_its_images(values: dict[str, object], together: bool) -> None:
    config = SMALL.replace(values)
    assert sum(product.flops for product in products(config, DIM, together=together)) == cost(config, DIM).flops


def test_one_pass_of_all_images_makes_fewer_products() -> None:
    apart, together = (products(SMALL, DIM, together=together) for together in (False, True))
    # D has 3 layers: forward, weight gradients, and input gradients but for the first.
    assert len(apart) - len(together) == 3 + 3 + 2
    assert Product(12, DIM, 20) in together
    assert Product(12, DIM, 20) not in apart


def test_published_networks_take_3_57_gigaflop_an_alternating_iteration() -> None:
    config = TrialConfig().replace({"algorithm.order": "alternating"})
    assert cost(config, 784).flops == pytest.approx(3.57e9, rel=0.002)  # to the digits given


def test_product_counts_its_operations_and_bytes() -> None:
    product = Product(3, 5, 7)
    assert product.flops == 2 * 3 * 5 * 7
    assert product.bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7)


def test_bytes_of_one_layer_nets_by_hand() -> None:
    m, z, d, pieces, w = 2, 3, 5, 4, 7
    config = TrialConfig.from_dict(
        {
            "noise": {"dim": z},
            "generator": {"hidden": []},
            "discriminator": {"hidden": [w], "pieces": pieces},
            "algorithm": {"batch_size": m, "order": "simultaneous"},
        }
    )
    found = cost(config, d)
    g_pass, maxout = 2 * m * d, (pieces + 1) * m * w
    d_pass = 3 * m * (d + w) + maxout
    d_back = 3 * m * w + (2 * pieces + 2) * m * w
    assert found.activation_bytes == 4 * (g_pass + 2 * (d_pass + d_back) + d_back + 3 * m * d + 3 * m * d)
    assert found.draw_bytes == 4 * (m * z + 2 * m * (d + w) + m * d) + m * d
    d_params, g_params = d * pieces * w + pieces * w + w + 1, z * d + d
    assert found.update_bytes == 4 * 6 * (d_params + g_params)
    assert found.bytes == found.product_bytes + found.activation_bytes + found.draw_bytes + found.update_bytes


def test_what_is_not_done_moves_nothing() -> None:
    full = cost(SMALL, DIM)
    without = cost(SMALL.replace({"discriminator.dropout_input": 0.0, "discriminator.dropout_hidden": 0.0}), DIM)
    assert without.draw_bytes == full.draw_bytes - 4 * 2 * 6 * (DIM + 5 + 3)
    assert without.activation_bytes < full.activation_bytes
    assert (without.flops, without.product_bytes) == (full.flops, full.product_bytes)
    one_piece = cost(SMALL.replace({"discriminator.pieces": 1}), DIM)
    assert one_piece.activation_bytes == full.activation_bytes - 4 * 6 * (5 + 3) * (2 * (5 + 10) + 10)


def test_adam_and_clipped_columns_move_more() -> None:
    plain = cost(SMALL, DIM).update_bytes
    weights = sum(a * b for a, b in itertools.pairwise((7, 13, 11, DIM)))
    clipped = cost(SMALL.replace({"generator.max_col_norm": 1.5}), DIM)
    assert clipped.update_bytes - plain == 4 * 3 * weights
    assert cost(SMALL.replace({"update.rule": "adam"}), DIM).update_bytes == plain * 8 // 6
