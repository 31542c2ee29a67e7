"""Tune's schedulers as studies ask for them, on courses of known values."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, PopulationBasedTraining
from ray.tune.schedulers.pb2 import PB2

from gansearch.search.domains import Interval
from gansearch.search.population import Explorer
from gansearch.search.rungs import KeyedScheduler
from gansearch.search.schedulers import HyperBand, make_scheduler, pauses
from gansearch.search.searchers import CURRENT, SPEC
from gansearch.search.strategies import SCHEDULERS, Scheduler
from tests.trials import spec

CLASSES = {
    "none": FIFOScheduler,
    "asha": ASHAScheduler,
    "median": MedianStoppingRule,
    "hyperband": HyperBand,
    "pbt": PopulationBasedTraining,
    "pb2": PB2,
}


def explorer(name: str) -> Explorer:
    domains = {"adam.lr_g": Interval(low=1e-4, high=1e-2, log=True)}
    return Explorer(domains, resample=0.25, seed=3, next_number=8, guided=name == "pb2")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_scheduler_of_the_catalogue_is_made(name: str) -> None:
    found = make_scheduler(Scheduler(name=name), 9, explorer(name))
    assert type(found) is CLASSES[name]
    assert pauses(found) == (name in ("hyperband", "pbt", "pb2"))


def test_a_population_needs_an_explorer() -> None:
    with pytest.raises(ValueError, match="pbt needs an explorer"):
        make_scheduler(Scheduler(name="pbt"), 9)


def test_median_stops_what_is_below_the_others_and_bears_trials_without_a_value() -> None:
    scheduler = make_scheduler(Scheduler(name="median", grace_epochs=2, min_trials=3), 9)
    keyed: Any = KeyedScheduler(scheduler)
    trials = [TuneTrial("worker", config={SPEC: spec(seed=i).to_dict()}, trial_id=f"t{i}", stub=True) for i in range(6)]
    for trial in trials:
        keyed.on_trial_add(None, trial)
    for trial, value in zip(trials[:3], (5.0, 6.0, 7.0), strict=True):
        decisions = [keyed.on_trial_result(None, trial, {"epoch": e, CURRENT: value}) for e in (1, 2, 3)]
        assert decisions == ["CONTINUE"] * 3  # no others have come so far, and nobody waits for them
    keyed.on_trial_result(None, trials[3], {"epoch": 1, CURRENT: 9.0})
    keyed.on_trial_complete(None, trials[3], {"epoch": 9, "status": "DIVERGED"})
    for trial, value, decision in ((trials[4], 5.5, "STOP"), (trials[5], 6.5, "CONTINUE")):
        assert keyed.on_trial_result(None, trial, {"epoch": 1, CURRENT: value}) == "CONTINUE"
        assert keyed.on_trial_result(None, trial, {"epoch": 2, CURRENT: value}) == decision


@dataclasses.dataclass(eq=False)
class Course:
    """A trial with a value that stays as it is, as a scheduler sees it.

    Attributes:
        trial_id: its name.
        value: its value.
        ends: the epoch after which it ends on its own, without a value.
        status: Tune's status.
    """

    trial_id: str
    value: float
    ends: float = math.inf
    epoch: int = 0
    status: str = "PENDING"
    is_saving: bool = False


class Machine:
    """Runs courses one epoch at a time in two slots, as Tune's controller would; ends when nothing can go on."""

    # Any: its trials and its controller are Tune's.
    def __init__(self, scheduler: Any, courses: list[Course], budget: int) -> None:
        self.scheduler, self.courses, self.budget = scheduler, courses, budget
        for course in courses:
            scheduler.on_trial_add(self, course)
        while self._fill():
            self._advance(next(c for c in courses if c.status == "RUNNING"))

    def _fill(self) -> bool:
        while sum(c.status == "RUNNING" for c in self.courses) < 2:
            chosen = self.scheduler.choose_trial_to_run(self)
            if chosen is None:
                break
            chosen.status = "RUNNING"
        return any(c.status == "RUNNING" for c in self.courses)

    def _advance(self, course: Course) -> None:
        course.epoch += 1
        if course.epoch in (course.ends, self.budget):
            result = {"epoch": course.epoch} | ({} if course.epoch == course.ends else {CURRENT: course.value})
            self.scheduler.on_trial_complete(self, course, result)
            course.status = "TERMINATED"
            return
        decision = self.scheduler.on_trial_result(self, course, {"epoch": course.epoch, CURRENT: course.value})
        course.status = {"CONTINUE": "RUNNING", "PAUSE": "PAUSED", "STOP": "TERMINATED"}[decision]
        self.courses.append(self.courses.pop(self.courses.index(course)))  # the others' turn

    def stop_trial(self, course: Course) -> None:
        self.scheduler.on_trial_remove(self, course)
        course.status = "TERMINATED"


def hyperband(budget: int) -> HyperBand:
    found = make_scheduler(Scheduler(name="hyperband", reduction_factor=3.0), budget)
    assert isinstance(found, HyperBand)
    return found


def test_hyperband_halves_its_brackets_and_trains_what_is_left_to_the_end() -> None:
    """Of 9 epochs and a factor of 3: 3 whole trials, 5 from epoch 3 on, and 9 from epoch 1 on."""
    courses = [Course(str(i), value=float(i)) for i in range(17)]
    Machine(hyperband(9), courses, 9)
    by_value = sorted(courses, key=lambda c: c.value)
    assert {c.status for c in courses} == {"TERMINATED"}
    assert [c.epoch for c in by_value] == [9, 9, 9, 3, 3, 3, 9, 9, 1, 1, 1, 1, 1, 1, 3, 3, 9]


def test_hyperband_trains_to_a_budget_that_is_no_power_of_its_factor() -> None:
    courses = [Course(str(i), value=float(i)) for i in range(8)]
    Machine(hyperband(10), courses, 10)
    assert sorted(c.epoch for c in courses) == [3, 3, 3, 10, 10, 10, 10, 10]


@pytest.mark.parametrize("seed", range(20))
def test_hyperband_outlives_trials_that_end_on_their_own(seed: int) -> None:
    """Whichever trials of a bracket diverge, and whenever: those that wait for them go on."""
    source = random.Random(seed)
    courses = [
        Course(str(i), value=source.random(), ends=source.randint(1, 26) if source.random() < 0.5 else math.inf)
        for i in range(40)
    ]
    Machine(hyperband(27), courses, 27)
    assert {c.status for c in courses} == {"TERMINATED"}
    assert any(c.epoch == 27 for c in courses)
