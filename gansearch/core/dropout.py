"""Dropout masks from random bits: a unit is kept where 16 bits, read as an integer, are at or above a threshold.

Drawing bits takes a quarter of the time of uniform floats, and the threshold is applied to all masks of many steps
at once. A rate is rounded to a multiple of 2^-16; masks have mean 1 exactly for the rate that they have.
Source: Srivastava et al. 2014, "Dropout", section 4, with activations scaled while training instead of weights after.
"""

from __future__ import annotations

import torch

from gansearch.core.shapes import Float, Int64, Tensor

_VALUES = 2**16
_LOWEST = -(2**15)
"""The smallest integer of 16 bits."""
_PER_DRAW = 4
"""Entries of masks from one draw of 64 bits."""


class Masks:
    """The dropout masks of blocks of steps of some trials: made in the same memory again and again.

    Args:
        rates: probability of dropping each unit, in [0,1), of all activations one after the other: [trials, units].
        steps: steps of a block, at most.
        rows: images a mask is for.
    """

    def __init__(self, rates: Float[Tensor, "trials units"], steps: int, rows: int) -> None:
        # A rate next to 1 still keeps one unit in 65,536: a mask of nothing but zeros has no mean to scale.
        dropped = (rates.double() * _VALUES).round().clamp(max=_VALUES - 1)[:, None, None]
        self._threshold = (dropped + _LOWEST).to(torch.int16)
        self._scale = (_VALUES / (_VALUES - dropped)).to(rates.dtype)
        trials, units = rates.shape
        self._entries = rows * units
        self._bits = torch.empty(
            (trials, -(-steps * self._entries // _PER_DRAW)), dtype=torch.int64, device=rates.device
        )
        self._out = torch.empty((trials, steps, rows, units), dtype=rates.dtype, device=rates.device)

    def bits(self, steps: int) -> Int64[Tensor, "trials draws"]:
        """Return the memory to be filled with random bits, row by row, for so many steps."""
        return self._bits[:, : -(-steps * self._entries // _PER_DRAW)]

    def from_bits(self, steps: int) -> Float[Tensor, "trials steps rows units"]:
        """Return the masks that the bits give, which are used up: 0, or 1 / (1 - rate) so that they have mean 1."""
        out = self._out[:, :steps]
        words = self._bits.view(torch.int16)[:, : steps * self._entries].unflatten(-1, out.shape[1:])
        return out.copy_(words.ge_(self._threshold)).mul_(self._scale)  # a product of two types takes another copy
