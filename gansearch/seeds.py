"""Randomness as a function of (seed, purpose, step).

A draw is named by the trial's seed, a purpose (`init/...`, `order`, `noise`, `dropout/...`,
`evaluation/...`) and a step, and by nothing else. So a checkpoint needs no generator state, and a trial
gets the same draws whether it runs alone, resumed, or beside others. The global generator is never used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MASK32 = 0xFFFFFFFF


def stream(seed: int, purpose: str, step: int) -> int:
    """Return the 64-bit generator seed of one draw.

    PyTorch's CPU generator reads only the low 32 bits of its seed, so these are a bijection of `step`
    for a fixed (seed, purpose): no two steps of one purpose share a stream before 2**32 steps. The high
    bits, which CUDA's generator reads too, depend on (seed, purpose).

    Args:
        seed: the trial's seed.
        purpose: what the draw is for.
        step: which draw of that purpose, 0 or more.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=12).digest()
    high, offset, mask = (int.from_bytes(digest[i : i + 4], "little") for i in (0, 4, 8))
    return (high & 0x7FFFFFFF) << 32 | (_mix32((step + offset) & _MASK32) ^ mask)


def _mix32(x: int) -> int:
    """Scramble 32 bits one-to-one (the finalizer of MurmurHash3)."""
    x ^= x >> 16
    x = x * 0x85EBCA6B & _MASK32
    x ^= x >> 13
    x = x * 0xC2B2AE35 & _MASK32
    return x ^ x >> 16


class Draws:
    """The draws of one trial on one device.

    Args:
        seed: the trial's seed.
        device: where the drawn tensors live.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        import torch

        self.seed = seed
        self.device = device
        self._generator = torch.Generator(device)

    def at(self, purpose: str, step: int = 0) -> torch.Generator:
        """Return the generator set to the start of the draw (purpose, step).

        It is one object, set anew by every call: draw from it before asking for the next.
        """
        self._generator.manual_seed(stream(self.seed, purpose, step))
        return self._generator

    def uniform(self, purpose: str, step: int, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        """Return float32 draws from the uniform distribution on [low, high)."""
        import torch

        out = torch.empty(shape, device=self.device)
        return out.uniform_(low, high, generator=self.at(purpose, step))

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Return float32 draws from the standard normal distribution."""
        import torch

        return torch.empty(shape, device=self.device).normal_(generator=self.at(purpose, step))

    def bits_(self, out: torch.Tensor, purpose: str, step: int) -> None:
        """Fill an int64 tensor with random bits, 64 an entry: the cheapest of draws."""
        out.random_(-(2**63), None, generator=self.at(purpose, step))

    def permutation(self, purpose: str, step: int, n: int) -> torch.Tensor:
        """Return a random order of 0..n-1, int64."""
        import torch

        return torch.randperm(n, generator=self.at(purpose, step), device=self.device)


def digest(value: Mapping[str, Any] | list[Any], size: int = 6) -> str:
    """Return the hex digest of a JSON-able value in its canonical form (`2 * size` characters)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def trial_seed(sweep_seed: int, stage: str, config_id: str, replicate: int) -> int:
    """Return a trial's seed, 48 bits: a function of its arguments, never of its place in the queue."""
    text = f"{sweep_seed}/{stage}/{config_id}/{replicate}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "little")
