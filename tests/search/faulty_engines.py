"""Engines that meet the fault of their sweep, as `faulty_workers` has it for processes of single trials."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from gansearch.core.datasets import Dataset
from gansearch.core.pack import Pack
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.search.engines import Advance, EngineActor
from gansearch.search.searchers import SPEC
from tests.search.faulty_workers import fault_at, met_at, note_met


class FaultyEngine(EngineActor):
    """Meets the sweep's fault once a trial of its has done some epochs, or with a trial that joins.

    The kinds are those of `FaultyWorker`, but for `reset`, which is a kill when a trial joins; `allocation` is a device
    that holds so many trials as `fault["fits"]` says, and none of `fault["numbers"]` even alone.
    """

    def __init__(self, data: Dataset, recorder: Recorder, given: Placement, slots: int) -> None:
        super().__init__(data, recorder, given, slots)
        self._place, self._numbers = Path(str(recorder.run)), dict[str, int]()

    def advance(self, leave: list[str], join: list[tuple[str, dict[str, Any]]]) -> Advance:
        """Train an epoch, or meet the fault."""
        fault = fault_at(self._place)
        self._numbers |= {name: config[SPEC]["number"] for name, config in join}
        if any(self._due("reset", config[SPEC]["number"], 0) for _, config in join):
            os.kill(os.getpid(), signal.SIGKILL)
        with self._small(fault):
            said = super().advance(leave, join)
        for name, result in said.reports:
            number, epoch = self._numbers[name], result["epoch"]
            line = {"number": number, "epoch": epoch, "pid": os.getpid(), "at": time.time()}
            with (self._place.parent / "steps.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            if self._due("hang", number, epoch):
                time.sleep(100_000)
            elif self._due("stop", number, epoch):
                os.kill(os.getpid(), signal.SIGSTOP)
            elif self._due("kill", number, epoch):
                os.kill(os.getpid(), signal.SIGKILL)
            elif self._due("device", number, epoch):
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return said

    def _small(self, fault: dict[str, Any]) -> Any:
        """Return a context in which a pack does not fit into memory, where that is the fault."""
        if fault["kind"] != "allocation":
            return mock.patch.object(self, "_unused", None, create=True)
        train, engine = Pack.train_epoch, self._engine

        def train_epoch(pack: Pack) -> None:
            names = list(engine._running)
            large = [name for name in names if self._numbers[name] in fault["numbers"]]
            if len(names) > fault["fits"] or large:
                note_met(self._place, {"trials": len(names), "pid": os.getpid(), "at": time.time()})
                raise torch.OutOfMemoryError("CUDA is full")
            train(pack)

        return mock.patch.object(Pack, "train_epoch", train_epoch)

    def _due(self, kind: str, number: int, epoch: int) -> bool:
        """Return whether the fault is due, and count it."""
        fault = fault_at(self._place)
        if fault["kind"] != kind or number not in fault["numbers"] or epoch < fault["epoch"]:
            return False
        if len(met_at(self._place)) == fault["times"]:
            return False
        note_met(self._place, {"epoch": epoch, "pid": os.getpid(), "at": time.time(), "number": number})
        return True
