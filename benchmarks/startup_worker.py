"""A trial's worker that says when it begins: what `benchmarks.startup` measures in the place of the toolkit's own."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gansearch.core.adversarial import Adversarial
from gansearch.search.replacing import replaced
from gansearch.search.worker import TrialWorker

FOLDER = "gansearch-startup"
"""Name, beside the run directory, of the folder that holds what workers say."""


class StampingWorker(TrialWorker):
    """Does what it is a subclass of, and writes down when its first trial begins its first epoch."""

    def step(self) -> dict[str, Any]:
        """Train to the next report."""
        with _stamped(Path(str(self._recorder.run)).parent / FOLDER):
            return super().step()


@contextlib.contextmanager
def _stamped(folder: Path) -> Iterator[None]:
    """Write the time of the first call of `train_epoch` in this process."""
    mark = folder / f"{os.getpid()}.json"
    if mark.exists():
        yield
        return

    def make(method: Any) -> Any:
        def train_epoch(learner: Adversarial) -> Any:
            if not mark.exists():
                beside = mark.with_suffix(".part")
                beside.write_text(json.dumps({"pid": os.getpid(), "at": time.time()}), encoding="utf-8")
                beside.rename(mark)
            return method(learner)

        return train_epoch

    with replaced(Adversarial, "train_epoch", make):
        yield
