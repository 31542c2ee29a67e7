"""A sweep on a simulated clock: the toolkit's searchers and Tune's schedulers, with courses in place of training.

One epoch is one tick, and every worker is as fast as the others. What the sweep's driver does is done here in
the same order: a free worker takes a trial that its scheduler has readied, else the searcher's next point; each
report goes to the scheduler; a trial that has ended is told to the searcher with the value that it had reported.

Tune's schedulers want a controller and trials. Of a controller they call no more than `Controller` has; this
drives ASHA, median stopping and HyperBand as they are, brackets and pauses included.
"""

from __future__ import annotations

import dataclasses
import heapq
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler

from benchmarks.search.worlds import Course, World
from gansearch.search.proposals import Outcome, Proposal, Strategy

CURRENT = "current"
"""Name of the value that schedulers compare, as in a sweep."""
PENDING, RUNNING, PAUSED, TERMINATED = "PENDING", "RUNNING", "PAUSED", "TERMINATED"


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class Trial:
    """A trial as Tune's schedulers see it, and what it will report.

    Attributes:
        trial_id: its name.
        number: its place in the searcher's sequence.
        config: the point.
        course: what it would report, were it never stopped.
        status: one of Tune's.
        reports: how many it has made.
        is_saving: Tune's, always false: a checkpoint takes no time here.
        last_result: Tune's.
    """

    trial_id: str
    number: int
    config: dict[str, object]
    course: Course
    status: str = PENDING
    reports: int = 0
    is_saving: bool = False
    last_result: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def objective(self) -> float:
        """What the searcher is told if the trial ends now, in nats; NaN where it has no value."""
        return float(self.course.objective[self.reports - 1]) if self.reports else float("nan")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The state of a search after one report.

    Attributes:
        epochs: spent so far, over all trials.
        tick: the clock.
        reported: true quality of the trial with the highest reported value so far, in nats.
        complete: the same among trials that have been trained to their end; NaN before the first.
    """

    epochs: int
    tick: int
    reported: float
    complete: float


class Incumbent:
    """The trial with the highest value so far, among those that were shown."""

    def __init__(self) -> None:
        self._value = -np.inf
        self.quality = float("nan")

    def show(self, trial: Trial) -> None:
        """Take the trial if it reports more than any before."""
        if trial.objective > self._value:
            self._value, self.quality = trial.objective, trial.course.quality


class Controller:
    """What Tune's schedulers ask of the controller that drives them."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def get_trials(self) -> list[Trial]:
        """Return the trials that have not ended."""
        return list(self._simulation.live)

    get_live_trials = get_trials

    def stop_trial(self, trial: Trial) -> None:
        """End a trial that is paused, as a bracket does with its losers."""
        self._simulation.end(trial, removed=True)


class Simulation:
    """One repetition of a sweep.

    Args:
        strategy: the searcher.
        scheduler: Tune's scheduler.
        world: gives points their courses.
        report_every: epochs from report to report.
        workers: trials at a time.
        ahead: whether a next point waits in the scheduler's hands before a worker is free, as Tune has it where no
            limit is set on trials at a time: for schedulers that let trials wait.
        seed: of the courses' random choices.
    """

    def __init__(
        self,
        strategy: Strategy,
        scheduler: TrialScheduler,
        world: World,
        *,
        report_every: int,
        workers: int,
        ahead: bool,
        seed: int,
    ) -> None:
        self._strategy, self._world = strategy, world
        self._scheduler: Any = scheduler  # reads of a trial only what `Trial` has
        self._every, self._workers, self._ahead = report_every, workers, ahead
        self._rng = np.random.default_rng(seed)
        self._controller: Any = Controller(self)
        self.live: dict[Trial, None] = {}
        self._pending: list[Trial] = []
        self._exhausted = False
        self._running: list[tuple[int, int, Trial]] = []
        self._sequence = 0
        self._tick = 0
        self._reported, self._complete = Incumbent(), Incumbent()

    def run(self, budget: int) -> list[Step]:
        """Search until so many epochs are spent, or nothing is left to try; return the state at each report."""
        steps: list[Step] = []
        epochs = 0
        while epochs < budget and self._fill():
            self._tick, _, trial = heapq.heappop(self._running)
            epochs += self._every
            self._report(trial)
            steps.append(
                Step(epochs=epochs, tick=self._tick, reported=self._reported.quality, complete=self._complete.quality)
            )
        return steps

    def _fill(self) -> bool:
        """Give every free worker a trial; return whether any runs."""
        while len(self._running) < self._workers and (trial := self._next()) is not None:
            self._start(trial)
        if self._ahead:
            self._queue()
        return bool(self._running)

    def _next(self) -> Trial | None:
        """Return the trial that a free worker takes, or None when there is none."""
        if not self._ahead:
            return self._propose()
        self._queue()
        chosen: Any = self._scheduler.choose_trial_to_run(self._controller)
        if chosen is not None and chosen.status == PENDING:
            self._pending.remove(chosen)
        return chosen if isinstance(chosen, Trial) else None

    def _queue(self) -> None:
        """Let one point wait, as Tune does while all workers are busy."""
        if not self._pending and (trial := self._propose()) is not None:
            self._pending.append(trial)

    def _propose(self) -> Trial | None:
        """Return the searcher's next point as a trial that the scheduler knows."""
        proposal: Proposal | None = None if self._exhausted else self._strategy.suggest()
        if proposal is None:
            self._exhausted = True
            return None
        trial = Trial(
            trial_id=f"{proposal.number:06d}",
            number=proposal.number,
            config=proposal.point,
            course=self._world.course(proposal.point, self._rng),
        )
        self.live[trial] = None
        self._scheduler.on_trial_add(self._controller, trial)
        return trial

    def _start(self, trial: Trial) -> None:
        trial.status = RUNNING
        self._sequence += 1  # of two reports at the same tick, that of the trial which began its step first
        heapq.heappush(self._running, (self._tick + self._every, self._sequence, trial))

    def _report(self, trial: Trial) -> None:
        """Make a trial's next report, and do what follows from it."""
        trial.reports += 1
        over = trial.reports == len(trial.course.objective)
        result: dict[str, Any] = {"epoch": trial.reports * self._every, "done": over}
        diverged = over and not trial.course.completes
        if not diverged:
            result[CURRENT] = float(trial.course.current[trial.reports - 1])
            self._reported.show(trial)
        trial.last_result = result
        if over:
            if not diverged:
                self._complete.show(trial)
            if not diverged or self._ahead:  # as in a sweep: the median rule would average a value that is not there
                self._scheduler.on_trial_complete(self._controller, trial, result)
            self.end(trial, diverged=diverged)
            return
        decision = self._scheduler.on_trial_result(self._controller, trial, result)
        if decision == TrialScheduler.CONTINUE:
            self._start(trial)
        elif decision == TrialScheduler.PAUSE:
            trial.status = PAUSED
        else:
            self._scheduler.on_trial_complete(self._controller, trial, result)
            self.end(trial)

    def end(self, trial: Trial, *, diverged: bool = False, removed: bool = False) -> None:
        """End a trial and tell the searcher what became of it.

        Args:
            trial: which.
            diverged: whether it has no value.
            removed: whether the scheduler ends it while it does not run.
        """
        if trial.status == TERMINATED:
            return
        trial.status = TERMINATED
        del self.live[trial]
        if removed:
            self._scheduler.on_trial_remove(self._controller, trial)
        self._strategy.tell(
            trial.number,
            Outcome(
                value=None if diverged else trial.objective,
                flops=trial.course.flops * trial.reports * self._every,
            ),
        )
