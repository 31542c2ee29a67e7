"""Dropout masks: the share they drop, their mean, and whose draws they are."""

from __future__ import annotations

import math

import pytest
import torch

from gansearch.core.dropout import Masks
from tests.core import games
from tests.core.games import draws, small

# A sample mean is this many standard errors from the mean about once in two million tests.
STANDARD_ERRORS = 5
VALUES = 2**16


def filled(made: Masks, steps: int, seeds: list[int], step: int = 0) -> torch.Tensor:
    """Return masks of so many steps, [trials, steps, rows, units], each trial's from its own seed."""
    for own, seed in zip(made.bits(steps), seeds, strict=True):
        draws(seed).bits_(own, "dropout", step)
    return made.from_bits(steps).clone()


def rounded(rate: float) -> float:
    """Return the rate as 16 bits have it."""
    return min(round(rate * VALUES), VALUES - 1) / VALUES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("dropout_input", "dropout_hidden"), [(0.2, 0.5), (0.0, 0.9), (0.37, 0.0)])
def test_masks_drop_their_share_and_have_mean_1(
    dropout_input: float, dropout_hidden: float, dtype: torch.dtype
) -> None:
    config = small(
        {
            "discriminator.dropout_input": dropout_input,
            "discriminator.dropout_hidden": dropout_hidden,
            "discriminator.hidden": [60, 40],
        }
    )
    m = 3000
    masks = games.masks(config, 1, 0, "real", m, dtype)
    assert [tuple(mask.shape) for mask in masks] == [(m, games.DATA_DIM), (m, 60), (m, 40)]
    for mask, rate in zip(masks, (dropout_input, dropout_hidden, dropout_hidden), strict=True):
        n = mask.numel()
        assert mask.dtype == dtype
        # Mean 1 exactly, for the rate that 16 bits have: a share 1 - rate of this value.
        scale = torch.tensor(1 / (1 - rounded(rate)), dtype=dtype).item()
        assert set(mask.unique().tolist()) == {0.0, scale} - ({0.0} if rate == 0 else set())
        dropped = (mask == 0).double().mean().item()
        assert abs(dropped - rate) <= STANDARD_ERRORS * math.sqrt(rate * (1 - rate) / n) + 0.5 / VALUES
        assert abs(mask.double().mean().item() - 1) <= STANDARD_ERRORS * math.sqrt(rate / (1 - rate) / n) + 1e-6


@pytest.mark.parametrize("rate", [0.0, 1 / 3, 0.5, 0.2, 0.9, 1e-5, 1e-6, 0.9999999])
def test_over_all_words_the_mean_is_1(rate: float) -> None:
    """Each of the 65,536 words once: the share that is dropped is the rate rounded, and the mean 1 exactly."""
    made = Masks(torch.tensor([[rate]], dtype=torch.float64), 1, VALUES)
    words = torch.arange(VALUES).to(torch.int16)
    made.bits(1).view(torch.int16).copy_(words[torch.randperm(VALUES, generator=draws(1).at("words"))])
    mask = made.from_bits(1)
    kept = int(mask.count_nonzero())
    assert kept == VALUES - round(rounded(rate) * VALUES)
    assert abs(kept - (1 - rate) * VALUES) <= 0.5 or kept == 1
    assert mask.sum().item() == pytest.approx(VALUES, rel=1e-12)


def test_a_rate_of_0_keeps_every_unit() -> None:
    made = Masks(torch.zeros(1, 5), 2, VALUES)
    assert (filled(made, 2, [3]) == 1).all()


def test_a_rate_next_to_1_still_keeps_one_unit_in_65536() -> None:
    made = Masks(torch.full((1, 40), 0.9999999), 1, VALUES)
    mask = filled(made, 1, [3])
    assert set(mask.unique().tolist()) == {0.0, float(VALUES)}
    # 40 are expected.
    assert 40 - STANDARD_ERRORS * math.sqrt(40) < mask.count_nonzero() < 40 + STANDARD_ERRORS * math.sqrt(40)


def test_masks_differ_by_unit_row_step_purpose_and_seed() -> None:
    config = small({"discriminator.hidden": [games.DATA_DIM, games.DATA_DIM], "discriminator.dropout_input": 0.5})
    masks = [
        *games.masks(config, 1, 0, "real", 50),
        *games.masks(config, 1, 0, "fake", 50),
        *games.masks(config, 1, 1, "real", 50),
        *games.masks(config, 2, 0, "real", 50),
    ]
    assert len({mask.numpy().tobytes() for mask in masks}) == len(masks)
    made = filled(Masks(torch.full((1, 64), 0.5), 3, 50), 3, [1])
    assert len(made.flatten(0, 2).unique(dim=0)) == 3 * 50
    assert len(made.transpose(1, 3).flatten(0, 1).flatten(1).unique(dim=0)) == 64


# 3 * 5 * 7 = 105 entries a trial are no multiple of the 4 entries of a draw.
STEPS, ROWS, UNITS = 3, 5, 7


def test_a_trials_masks_do_not_depend_on_how_many_are_beside_it() -> None:
    rates = torch.rand(4, UNITS, generator=torch.Generator().manual_seed(2))
    seeds = [11, 12, 13, 14]
    together = filled(Masks(rates, STEPS, ROWS), STEPS, seeds)
    assert together.shape == (4, STEPS, ROWS, UNITS)
    assert len({mask.numpy().tobytes() for mask in together}) == 4
    for i, seed in enumerate(seeds):
        assert torch.equal(together[i], filled(Masks(rates[i : i + 1], STEPS, ROWS), STEPS, [seed])[0])
    fewer = filled(Masks(rates[1:3], STEPS, ROWS), STEPS, seeds[1:3])
    assert torch.equal(together[1:3], fewer)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_shorter_block_begins_like_a_whole_one(steps: int) -> None:
    rates = torch.full((2, UNITS), 0.4)
    made = Masks(rates, STEPS, ROWS)
    whole = filled(made, STEPS, [11, 12])
    short = filled(made, steps, [11, 12])  # in the memory of the one before
    assert torch.equal(short, whole[:, :steps])
    assert torch.equal(filled(Masks(rates, steps, ROWS), steps, [11, 12]), short)
    assert torch.equal(filled(made, STEPS, [11, 12]), whole)
    assert not torch.equal(filled(made, STEPS, [11, 12], step=1), whole)
