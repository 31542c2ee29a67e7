"""Faults that are no trial's own: its process must go, and another may go on from the trial's checkpoint."""

from __future__ import annotations

import torch

_CUDA = ("CUDA error", "CUDA driver error", "CUBLAS_STATUS_", "CUDNN_STATUS_", "cuDNN error", "NCCL error")
"""What a RuntimeError says that PyTorch raises for the device."""
_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What one says that stands for memory which is not there."""


class FaultError(Exception):
    """What makes the process of a trial useless, or its neighbours too many: the trial itself may be as good as any."""


class MemoryFaultError(FaultError):
    """The memory of the machine, or of its GPU, does not suffice for the trials there."""


class DeviceFaultError(FaultError):
    """The GPU, or this process's use of it, has failed: every later call would fail too."""


def fault_of(error: BaseException) -> FaultError | None:
    """Return the fault that an error stands for, or None for any other error."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return MemoryFaultError(f"out of memory: {text or 'no more could be had'}")
    if not isinstance(error, RuntimeError):
        return None
    device = isinstance(error, torch.AcceleratorError) or any(sign in text for sign in _CUDA)
    # The allocators of the CPU and of CUDA's libraries raise a plain RuntimeError.
    if any(sign in text for sign in _MEMORY) and (device or "DefaultCPUAllocator" in text):
        return MemoryFaultError(f"out of memory: {text}")
    return DeviceFaultError(f"the GPU failed: {text}") if device else None
