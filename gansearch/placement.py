"""What a trial runs on: a device and its share of it."""

from __future__ import annotations

import dataclasses

import torch

from gansearch.errors import ResourceError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a trial runs on.

    Attributes:
        device: `cpu` or `cuda`.
        threads: CPU threads, 1 or more.
        gpu_share: share of a GPU, for the record.
        checkpoint_seconds: least time between two checkpoints, in seconds.
    """

    device: str = "cpu"
    threads: int = 1
    gpu_share: float = 0.0
    checkpoint_seconds: float = 30.0

    def claim(self) -> torch.device:
        """Set this process's threads and return the device.

        Raises:
            ResourceError: when a GPU is asked for and there is none.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ResourceError(
                "a GPU is asked for, but PyTorch sees none here", hint="set resources.gpu to 0, or run where a GPU is"
            )
        torch.set_num_threads(self.threads)
        return torch.device(self.device)
