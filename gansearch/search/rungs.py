"""A scheduler's memory, rebuilt from the tables when a sweep is resumed.

Tune names trials anew each time; here a trial is known by its key, so that a report which is replayed, and
then made again by a trial that goes on from an earlier checkpoint, counts once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from gansearch.paths import TrialKey
from gansearch.search.searchers import CURRENT, SPEC
from gansearch.spec import TrialSpec

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial as TuneTrial

REBUILT = ("none", "asha", "median")
"""Schedulers whose memory is a function of the reports alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """What a scheduler sees of a trial.

    Attributes:
        trial_id: the trial's key.
    """

    trial_id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The reports of a trial that count.

    Attributes:
        key: the trial.
        reports: (epoch, value) pairs in the order of the epochs; values in nats.
        ended: whether the trial has an outcome.
    """

    key: TrialKey
    reports: tuple[tuple[int, float], ...]
    ended: bool


class KeyedScheduler(TrialScheduler):
    """A scheduler that knows trials by their keys.

    Args:
        inner: Tune's scheduler; must decide by reports alone (`REBUILT`).
        past: the trials before; their reports are told to it in their order.
    """

    def __init__(self, inner: TrialScheduler, past: Iterable[Course] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray is typed in part
        self._inner: Any = inner  # takes whatever has a trial's id for a trial, and no controller
        self._added: set[str] = set()
        self._told: dict[str, int] = {}  # epochs of each trial's last report
        self._names: dict[str, Named] = {}
        for course in past:
            self._replay(course)

    def _replay(self, course: Course) -> None:
        named = Named(str(course.key))
        self._add(None, named)
        result: dict[str, Any] = {}
        for i, (epoch, value) in enumerate(course.reports, 1):
            result = {"epoch": epoch, CURRENT: value}
            self._told[named.trial_id] = epoch
            if course.ended and i == len(course.reports):
                self._complete(None, named, result)  # of which Tune tells instead of the result, not beside it
            elif isinstance(self._inner, MedianStoppingRule):
                # All that it remembers. To decide anew takes it a time that grows with the reports before; and what
                # it let go on then, among trials that came later, it might now take for stopped.
                self._inner._results[named].append(result)
            else:
                self._inner.on_trial_result(None, named, result)

    def _complete(self, controller: Any, named: Named, result: dict[str, Any]) -> None:
        self._inner.on_trial_complete(controller, named, result)
        self._added.discard(named.trial_id)  # Tune's schedulers forget it: one that equals it is added anew

    def _add(self, controller: Any, named: Named) -> None:
        if named.trial_id not in self._added:
            self._added.add(named.trial_id)
            self._inner.on_trial_add(controller, named)

    def _named(self, trial: TuneTrial) -> Named:
        if trial.trial_id not in self._names:
            self._names[trial.trial_id] = Named(str(TrialSpec.from_dict(trial.config[SPEC]).key))
        return self._names[trial.trial_id]

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Hand on what Tune was given."""
        return bool(self._inner.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Hear of a trial; of one that is known already, nothing new."""
        self._add(tune_controller, self._named(trial))

    def on_trial_result(self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Return the scheduler's decision on a report; on one that a restarted worker makes again, to go on."""
        named = self._named(trial)
        if result["epoch"] <= self._told.get(named.trial_id, 0):
            return str(TrialScheduler.CONTINUE)
        self._told[named.trial_id] = result["epoch"]
        return str(self._inner.on_trial_result(tune_controller, named, result))

    def on_trial_complete(self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Hear that a trial has ended; of one that ended without a value, nothing: the median rule averages them."""
        if CURRENT in result:
            self._complete(tune_controller, self._named(trial), result)

    def on_trial_error(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Hear that a trial was lost."""
        self._inner.on_trial_error(tune_controller, self._named(trial))

    def on_trial_remove(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Hear that a trial was removed."""
        self._inner.on_trial_remove(tune_controller, self._named(trial))

    def choose_trial_to_run(self, tune_controller: TuneController) -> TuneTrial | None:  # noqa: ARG002  # the signature is Tune's
        """Return none: Tune starts those that wait in their order, on a process that is free before it asks for one.

        Tune's schedulers would look through all trials at every event, to name the first that waits; and that one,
        whose own process is starting, is then given a process that has just come free, so that its own is ended: at
        the start of a sweep of short trials, hardly a process would live to run one.
        """
        return None

    def debug_string(self) -> str:
        """Return the scheduler's own account of itself."""
        return str(self._inner.debug_string())


def courses(
    keys: Sequence[TrialKey],
    reports: Mapping[TrialKey, Sequence[tuple[int, float]]],
    open_epochs: Mapping[TrialKey, int],
    diverged: Mapping[TrialKey, int],
) -> list[Course]:
    """Return the reports that count, trial by trial.

    Of an unfinished trial only those before its checkpoint do: it makes that one and the later ones again, for the
    driver may have been killed before the scheduler decided on it. Of one that diverged the last does not: the
    scheduler was told of no value.

    Args:
        keys: the trials, in the order in which they were tried.
        reports: every report there is.
        open_epochs: epochs that the checkpoints of unfinished trials hold.
        diverged: epochs after which trials were found to have diverged.
    """
    found = []
    for key in keys:
        until = open_epochs.get(key, diverged.get(key))
        counted = tuple((e, v) for e, v in reports.get(key, ()) if until is None or e < until)
        found.append(Course(key=key, reports=counted, ended=key not in open_epochs))
    return found
