"""Many trials on one device: packs that train them, and each trial's own reports, scores and rows.

An `Engine` is the packed counterpart of a process that runs one trial after another. Trials of one shape share a
pack; packs of several shapes take turns, an epoch each. When memory does not suffice, fewer trials run at a time:
those that must wait go on from their checkpoints later.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import logging
from collections.abc import Sequence

from gansearch.config import TrialConfig
from gansearch.core.datasets import Dataset
from gansearch.core.pack import Pack, Shape, Slot, shape_of
from gansearch.core.shapes import Tensor
from gansearch.faults import MemoryFaultError, fault_of
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.spec import TrialSpec
from gansearch.trial import Report, Trial

_log = logging.getLogger(__name__)


Reported = tuple[str, Report, TrialSpec]
"""A trial's name in its engine, its report, and what was asked for."""


@dataclasses.dataclass(slots=True, kw_only=True)
class _Entry:
    """A trial of an engine.

    Attributes:
        spec: what is asked for.
        repeat: whether its first report may be that of its checkpoint.
        trial: the trial, once it has a place.
        slot: its place, once the trial has set up its model.
        to_train: epochs that its pack trains until its next report.
        amid_epochs: whether its model has been trained since its last report, or is being trained.
    """

    spec: TrialSpec
    repeat: bool
    trial: Trial | None = None
    slot: Slot | None = None
    to_train: int = 0
    amid_epochs: bool = False


_PackKey = tuple[Shape, int]


def _pack_of(spec: TrialSpec) -> _PackKey:
    """Return what trials must have in common to share a pack: the shape, and the images that they are trained on."""
    return shape_of(spec.config), spec.fold


class Engine:
    """Trials that run together on one device.

    Args:
        data: the data set; its test split may be locked away unless a trial reads it.
        recorder: where outcomes go.
        placement: the device, all of it.
        slots: trials at a time, at most.

    Attributes:
        slots: trials at a time, at most, now: half as many after memory did not suffice.
    """

    def __init__(self, data: Dataset, recorder: Recorder, placement: Placement, slots: int) -> None:
        self._data, self._recorder, self._placement = data, recorder, placement
        self.slots, self._asked = slots, slots
        self._short: dict[str, str] = {}
        self._packs: dict[_PackKey, Pack] = {}
        self._running: dict[str, _Entry] = {}
        self._waiting: collections.deque[tuple[str, _Entry]] = collections.deque()

    @property
    def names(self) -> list[str]:
        """The trials that are here, those that wait among them."""
        return [*self._running, *(name for name, _ in self._waiting)]

    def add(self, name: str, spec: TrialSpec, *, repeat: bool = False) -> None:
        """Take a trial in; it starts with the next `advance` that has room for it.

        Args:
            name: what it is called here.
            spec: what is asked for.
            repeat: as in `Trial.advance`.
        """
        self._waiting.append((name, _Entry(spec=spec, repeat=repeat)))

    def remove(self, name: str) -> None:
        """Let a trial go that somebody else ends."""
        self._waiting = collections.deque((other, entry) for other, entry in self._waiting if other != name)
        entry = self._running.pop(name, None)
        if entry is not None:
            self._leave(entry)
            if entry.trial is not None:
                entry.trial.leave()

    def advance(self) -> list[Reported]:
        """Train every trial for an epoch; return the reports that are due.

        Where memory does not suffice, fewer run from here on; `take_short` tells of a trial that is too large alone.

        Raises:
            FaultError: when the device fails, or memory does not suffice for the only trial that there is.
            ResultsError: when a table cannot be read or written.
        """
        reports: list[Reported] = []
        try:
            self._start(reports)
            for key in [key for key, pack in self._packs.items() if len(pack)]:
                self._train(key, reports)
        except Exception as error:
            fault = fault_of(error) or error
            if not isinstance(fault, MemoryFaultError) or len(self.names) < 2:
                if fault is error:
                    raise
                raise fault from error
            if len(self._running) > 1:
                self._shrink(fault)
            else:
                self._set_aside(fault)
        return reports

    def take_short(self) -> dict[str, str]:
        """Return the trials let go for which, alone, memory did not suffice, with what they met; each once."""
        short, self._short = self._short, {}
        return short

    def interrupt(self, reason: str) -> None:
        """Write a checkpoint and an INTERRUPTED row of every trial that runs.

        Of a trial amid the epochs between two reports the last checkpoint stands.

        Args:
            reason: why, for the column `error`.
        """
        for entry in self._running.values():
            if entry.trial is not None:
                entry.trial.interrupt(reason, amid_epochs=entry.amid_epochs)

    def _start(self, reports: list[Reported]) -> None:
        """Start trials that wait, while there is room; add the reports of those that need no training."""
        while self._waiting and len(self._running) < self.slots:
            name, entry = self._waiting.popleft()
            self._running[name] = entry
            data = self._data.of_fold(entry.spec.fold)
            entry.trial = Trial(entry.spec, data, self._recorder, self._placement, functools.partial(self._join, entry))
            report = entry.trial.start(repeat=entry.repeat)
            if report is None and entry.trial.epochs_to_report == 0:  # interrupted after the report that ended it
                report = entry.trial.advance()
            if report is not None:
                self._reported(name, entry, report, reports)
            entry.to_train = entry.trial.epochs_to_report

    def _join(
        self, entry: _Entry, config: TrialConfig, train: Tensor, levels: int, seed: int, labels: Tensor | None = None
    ) -> Slot:
        """Give a trial its place in the pack of its shape."""
        pack = self._packs.setdefault(_pack_of(entry.spec), Pack(train, levels, labels))
        entry.slot = pack.join(config, seed)
        return entry.slot

    def _train(self, key: _PackKey, reports: list[Reported]) -> None:
        """Train a pack for an epoch; have those report whose reports are due."""
        members = [
            (name, entry)
            for name, entry in self._running.items()
            if entry.slot is not None and _pack_of(entry.spec) == key
        ]
        for _, entry in members:
            entry.amid_epochs = True
        self._packs[key].train_epoch()
        for name, entry in members:
            self._trained(name, entry, reports)

    def _trained(self, name: str, entry: _Entry, reports: list[Reported]) -> None:
        """Take note of an epoch of a trial; have it report where that is due."""
        entry.to_train -= 1
        if entry.trial is None or entry.slot is None:
            return
        if entry.to_train == 0 or entry.trial.out_of_time(entry.slot.untaken_seconds):
            entry.amid_epochs = False  # from here on the trial knows by itself
            self._reported(name, entry, entry.trial.advance(), reports)
            entry.to_train = entry.trial.epochs_to_report

    def _reported(self, name: str, entry: _Entry, report: Report, reports: list[Reported]) -> None:
        reports.append((name, report, entry.spec))
        if report.status is not None:
            self._leave(entry)
            del self._running[name]

    def _leave(self, entry: _Entry) -> None:
        if entry.slot is not None:
            self._packs[_pack_of(entry.spec)].leave(entry.slot)
            entry.slot = None

    def _set_aside(self, fault: MemoryFaultError) -> None:
        """Let the only trial that runs go: memory may well suffice for those that wait."""
        ((name, entry),) = self._running.items()
        self._short[name] = str(fault)
        if entry.trial is not None:
            entry.trial.leave()
        self._running.clear()
        self._packs.clear()
        self.slots = self._asked

    def _shrink(self, fault: MemoryFaultError) -> None:
        """Run half as many trials from now on: all go back to their checkpoints, and as many as fit go on."""
        entries: Sequence[tuple[str, _Entry]] = list(self._running.items())
        for _, entry in entries:
            if entry.trial is not None:
                entry.trial.leave()
        self.slots = max(min(self.slots, len(entries)) // 2, 1)
        _log.warning("%s; %d trials run at a time from here on", fault, self.slots)
        self._running.clear()
        self._packs.clear()
        again = [(name, _Entry(spec=entry.spec, repeat=False)) for name, entry in entries]
        self._waiting = collections.deque([*again, *self._waiting])
