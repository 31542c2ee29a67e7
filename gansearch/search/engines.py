"""The engines of the packed executor as Ray actors."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from gansearch import outbox
from gansearch.core.datasets import Dataset
from gansearch.errors import ResultsError
from gansearch.packing import Engine
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.search.observer import Result
from gansearch.search.searchers import REPEAT, SPEC
from gansearch.search.worker import as_result
from gansearch.spec import TrialSpec


class EngineActor:
    """An engine in a Ray worker.

    Args:
        data: the data set, read in place from the node's object store.
        recorder: where outcomes go.
        given: the device and threads, all of them the engine's.
        slots: trials at a time, at most.
    """

    def __init__(self, data: Dataset, recorder: Recorder, given: Placement, slots: int) -> None:
        with contextlib.suppress(ResultsError):  # rows of an earlier process here; storage may be away still
            outbox.deliver(recorder.run)
        self._engine = Engine(data, recorder, given, slots)

    def advance(self, leave: list[str], join: list[tuple[str, dict[str, Any]]]) -> Advance:
        """Let trials go, take others in, and train an epoch."""
        for name in leave:
            self._engine.remove(name)
        for name, config in join:
            self._engine.add(name, TrialSpec.from_dict(config[SPEC]), repeat=config.get(REPEAT, False))
        reports = self._engine.advance()
        return Advance(
            reports=[(name, as_result(report, spec)) for name, report, spec in reports],
            short=self._engine.take_short(),
            slots=self._engine.slots,
        )

    def interrupt(self, leave: list[str], reason: str) -> None:
        """Write checkpoints of all trials but those that somebody else has ended."""
        for name in leave:
            self._engine.remove(name)
        self._engine.interrupt(reason)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What an engine says after an epoch.

    Attributes:
        reports: what its trials report, by their names.
        short: what those met that it let go, for its memory did not suffice for one of them alone.
        slots: trials that fit.
    """

    reports: list[tuple[str, Result]]
    short: dict[str, str]
    slots: int
