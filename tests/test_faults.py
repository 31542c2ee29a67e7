"""Which errors are the process's, and not the trial's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from gansearch import schema
from gansearch.faults import DeviceFaultError, FaultError, MemoryFaultError, fault_of
from gansearch.recorder import Recorder
from gansearch.training import Training
from gansearch.trial import Trial
from tests.trials import EVERY_REPORT, digits, run_trial, spec

CUDA = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later"
TOO_MANY = 10**13
"""Numbers that no machine has memory for."""


@pytest.mark.parametrize("by", [lambda: torch.empty(TOO_MANY), lambda: np.empty(TOO_MANY)], ids=["torch", "numpy"])
def test_memory_that_is_not_there(by: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        by()
    fault = fault_of(raised.value)
    assert isinstance(fault, MemoryFaultError)
    assert str(fault).startswith("out of memory: ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryFaultError),
        (MemoryError(), MemoryFaultError),
        (torch.AcceleratorError("CUDA error: out of memory"), MemoryFaultError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), MemoryFaultError),
        (torch.AcceleratorError(CUDA), DeviceFaultError),
        (RuntimeError(CUDA), DeviceFaultError),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceFaultError),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("CUDA error: said by no GPU"), None),
        (OSError("out of memory"), None),
    ],
)
def test_what_an_error_stands_for(error: BaseException, kind: type[FaultError] | None) -> None:
    found = fault_of(error)
    assert (None if found is None else type(found)) is kind


def test_a_fault_leaves_the_trial_unfinished_for_another_process(tmp_path: Path) -> None:
    """Simulated: training raises what PyTorch raises when a GPU fails."""
    asked = spec(values={"algorithm.epochs": 4})
    trial = Trial(asked, digits(), Recorder(tmp_path / "run"), EVERY_REPORT)
    trial.advance()
    with (
        mock.patch.object(Training, "to_next_report", side_effect=torch.AcceleratorError(CUDA)),
        pytest.raises(DeviceFaultError, match="the GPU failed: CUDA error: an illegal memory access"),
    ):
        trial.advance()
    assert trial.outcome() is None
    other = Trial(asked, digits(), Recorder(tmp_path / "run"), EVERY_REPORT)
    assert other.advance().epoch == 2, "it goes on from the checkpoint of its first report"


def test_a_trial_that_runs_alone_ends_with_the_fault(tmp_path: Path) -> None:
    """Simulated, as above."""
    with mock.patch.object(Training, "to_next_report", side_effect=torch.AcceleratorError(CUDA)):
        (row,) = run_trial(spec(), tmp_path / "run")
    assert row["status"] == schema.FAILED
    assert row["error"].startswith("the GPU failed: CUDA error: an illegal memory access was encountered")
