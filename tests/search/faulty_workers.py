"""Workers that meet a fault, and sweeps that run on them; engines that do are in `faulty_engines`.

The fault of a sweep stands in `fault.json` beside its run directory.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from gansearch.search.worker import TrialWorker
from gansearch.training import Training
from tests.search.small_studies import Sweeping

# The driver's own code, but for the class of its workers.
_FAULTY = """
import functools
import gansearch.search.sweep
from tests.search.faulty_workers import FaultyWorker
gansearch.search.sweep.Driver = functools.partial(gansearch.search.sweep.Driver, worker=FaultyWorker)
import gansearch.search.packed
from tests.search.faulty_engines import FaultyEngine
gansearch.search.packed.EngineActor = FaultyEngine
"""
ARRAY = 12_500_000
"""Numbers of 8 bytes that a worker without measure takes at a time."""
DEVICE = "CUDA error: an illegal memory access was encountered"


class FaultyWorker(TrialWorker):
    """Meets the sweep's fault once a trial has done some epochs, or at the start of each life of its process."""

    def step(self) -> dict[str, Any]:
        """Train to the next report, or meet the fault."""
        with self._simulated(fault_at(self._place)):
            result = super().step()
        self._epoch = result["epoch"]
        line = {"number": self._spec.number, "epoch": self._epoch, "pid": os.getpid(), "at": time.time()}
        with (self._place.parent / "steps.jsonl").open("a") as log:  # whole lines, whoever writes
            log.write(json.dumps(line) + "\n")
        if self._due("hang"):
            time.sleep(100_000)
        elif self._due("stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self._due("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._due("memory"):
            hog = []
            while True:  # until it is killed
                hog.append(np.ones(ARRAY))
                time.sleep(0.02)
        return result

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the next trial, or die of it."""
        self._epoch = 0
        done = super().reset_config(new_config)
        if self._iteration and self._due("reset"):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    @property
    def _place(self) -> Path:
        return Path(str(self._recorder.run))

    def _simulated(self, fault: dict[str, Any]) -> Any:
        """Return a context in which training raises what PyTorch raises when a GPU fails, where that is the fault."""
        if fault.get("kind") not in ("device", "allocation") or not self._due(fault["kind"]):
            return mock.patch.object(self, "_unused", None, create=True)
        error = torch.AcceleratorError(DEVICE) if fault["kind"] == "device" else torch.OutOfMemoryError("CUDA is full")
        return mock.patch.object(Training, "to_next_report", side_effect=error)

    def _due(self, kind: str) -> bool:
        """Return whether the fault is due, and count it."""
        fault = fault_at(self._place)
        if fault.get("kind") != kind or self._spec.stage != "search" or self._spec.number not in fault["numbers"]:
            return False
        if self._epoch < fault["epoch"]:
            return False
        if len(met_at(self._place)) == fault["times"]:
            return False
        where = {"epoch": self._epoch, "pid": os.getpid(), "at": time.time(), "number": self._spec.number}
        note_met(self._place, where)
        return True


def fault_at(run: Path) -> dict[str, Any]:
    """Return the fault of a run's sweep."""
    found: dict[str, Any] = json.loads((run.parent / "fault.json").read_text())
    return found


def note_met(run: Path, where: dict[str, Any]) -> None:
    """Note that the fault was met."""
    (run.parent / f"met-{len(met_at(run))}.json").write_text(json.dumps(where))


def met_at(run: Path) -> list[dict[str, Any]]:
    """Return where and when the fault was met, each time."""
    return [json.loads(path.read_text()) for path in sorted(run.parent.glob("met-*.json"))]


def steps(run: Path) -> list[dict[str, Any]]:
    """Return each report that a worker made: of which trial and epoch, in which process, and when."""
    path = run.parent / "steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def lost_seconds(run: Path, number: int, died: float | None = None) -> list[float]:
    """Return how much work each death of a trial's worker cost: from its last checkpoint to the death, in seconds.

    The first epoch that the next worker reports tells which checkpoint it went on from.

    Args:
        run: the run directory.
        number: the trial's number.
        died: when its worker died; by default at its last report.
    """
    own = [one for one in steps(run) if one["number"] == number]
    lost = []
    for before, after in itertools.pairwise(own):
        if before["pid"] != after["pid"]:
            # Where it went on from; the start of a trial without a checkpoint is not on record.
            kept = [one["at"] for one in own if one["pid"] == before["pid"] and one["epoch"] == after["epoch"] - 1]
            started = min(one["at"] for one in own if one["pid"] == before["pid"])
            lost.append((died or before["at"]) - (kept[0] if kept else started))
    return lost


class FaultySweeping(Sweeping):
    """A sweep whose workers meet a fault.

    Args:
        folder: where the study's file and the run directory go.
        given: the study.
        kind: the fault.
        numbers: trials that meet it.
        epoch: epochs that they have done then, at least.
        times: how often in all.
        fits: trials that the device of an engine holds, where `kind` is `allocation`.
        options: those of `Sweeping`.
    """

    def __init__(
        self,
        folder: Path,
        given: dict[str, Any],
        kind: str,
        *,
        numbers: tuple[int, ...] = (1,),
        epoch: int = 0,
        times: int = 1,
        fits: int = 1,
        **options: Any,
    ) -> None:
        fault = {"kind": kind, "numbers": numbers, "epoch": epoch, "times": times, "fits": fits}
        (folder / "fault.json").write_text(json.dumps(fault))
        super().__init__(folder, given, before=_FAULTY, **options)
