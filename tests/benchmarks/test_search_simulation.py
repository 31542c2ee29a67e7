"""The simulated clock: who works when, what the searcher hears, and what schedulers save where that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from benchmarks.search.points import EPOCHS, REPORT_EVERY
from benchmarks.search.simulate import Simulation, Step
from benchmarks.search.worlds import Course
from gansearch.search.proposals import Listed, Outcome, Proposal
from gansearch.search.schedulers import make_scheduler, pauses
from gansearch.search.strategies import Scheduler
from tests.benchmarks.synthetic_curves import REPORTS

GRACE = 6


class Levels:
    """A world in which a point is its quality, which every report shows."""

    def __init__(self, diverges: Sequence[float] = ()) -> None:
        self._diverges = diverges

    def again(self) -> Levels:
        return self

    def course(self, point: Mapping[str, object], rng: np.random.Generator) -> Course:
        quality = float(str(point["quality"]))
        completes = quality not in self._diverges
        curve = np.full(REPORTS if completes else 3, quality)
        return Course(current=curve, objective=curve, completes=completes, quality=quality, flops=7.0)


class Heard(Listed):
    """A strategy that lists points and remembers what happened."""

    def __init__(self, qualities: Sequence[float]) -> None:
        super().__init__(Proposal(number=i, point={"quality": q}) for i, q in enumerate(qualities))
        self.events: list[str] = []
        self.outcomes: dict[int, Outcome] = {}

    def suggest(self) -> Proposal | None:
        proposal = super().suggest()
        if proposal is not None:
            self.events.append(f"ask {proposal.number}")
        return proposal

    def tell(self, number: int, outcome: Outcome) -> None:
        self.events.append(f"tell {number}")
        self.outcomes[number] = outcome


def _run(
    strategy: Heard,
    scheduler: Scheduler | None = None,
    workers: int = 1,
    budget: int = 10**6,
    diverges: Sequence[float] = (),
) -> list[Step]:
    tunes = make_scheduler(scheduler or Scheduler(name="none"), EPOCHS)
    simulation = Simulation(
        strategy,
        tunes,
        Levels(diverges),
        report_every=REPORT_EVERY,
        workers=workers,
        ahead=pauses(tunes),
        seed=0,
    )
    return simulation.run(budget)


@pytest.mark.parametrize(("workers", "ticks"), [(1, 7 * EPOCHS), (3, 3 * EPOCHS), (7, EPOCHS), (9, EPOCHS)])
def test_workers_share_the_clock_and_not_the_budget(workers: int, ticks: int) -> None:
    steps = _run(Heard(range(7)), workers=workers)
    assert steps[-1].epochs == 7 * EPOCHS
    assert steps[-1].tick == ticks


def test_one_worker_hears_of_each_trial_before_the_next_is_asked_for() -> None:
    strategy = Heard([1, 2, 3])
    _run(strategy)
    assert strategy.events == ["ask 0", "tell 0", "ask 1", "tell 1", "ask 2", "tell 2"]


def test_four_workers_ask_for_four_before_they_hear_of_any() -> None:
    strategy = Heard([1, 2, 3, 4, 5])
    _run(strategy, workers=4)
    assert strategy.events[:6] == ["ask 0", "ask 1", "ask 2", "ask 3", "tell 0", "ask 4"]


def test_a_search_ends_at_its_budget() -> None:
    assert _run(Heard(range(100)), workers=4, budget=500)[-1].epochs == 500


def test_the_searcher_hears_the_value_and_the_cost_of_what_was_trained() -> None:
    strategy = Heard([5, 3])
    _run(strategy, Scheduler(name="asha", grace_epochs=GRACE))
    assert strategy.outcomes == {
        0: Outcome(value=5, flops=7.0 * EPOCHS),
        1: Outcome(value=3, flops=7.0 * GRACE),
    }


def test_a_diverged_trial_has_no_value_and_is_never_the_incumbent() -> None:
    strategy = Heard([5, 9])
    steps = _run(strategy, diverges=[9])
    assert strategy.outcomes[1] == Outcome(value=None, flops=7.0 * 3 * REPORT_EVERY)
    assert steps[-1].complete == 5


def test_asha_stops_every_worse_trial_at_its_grace() -> None:
    n = 12
    steps = _run(Heard(range(n, 0, -1)), Scheduler(name="asha", grace_epochs=GRACE, reduction_factor=3))
    assert steps[-1].epochs == EPOCHS + (n - 1) * GRACE
    assert steps[-1].reported == n


def test_asha_stops_no_trial_that_is_better_than_all_before() -> None:
    n = 5
    steps = _run(Heard(range(n)), Scheduler(name="asha", grace_epochs=GRACE, reduction_factor=3))
    assert steps[-1].epochs == n * EPOCHS


def test_median_stopping_ends_what_is_worse_than_most_at_its_grace() -> None:
    strategy = Heard([10, 10, 10, 9, 11])
    steps = _run(strategy, Scheduler(name="median", grace_epochs=GRACE, min_trials=3))
    assert strategy.outcomes[3] == Outcome(value=9, flops=7.0 * GRACE)
    assert steps[-1].epochs == 4 * EPOCHS + GRACE


@pytest.mark.parametrize("name", ["asha", "median", "hyperband"])
def test_schedulers_bear_trials_that_diverge(name: str) -> None:
    strategy = Heard([10, 9, 10, 9, 10, 9, 10, 11, 12, 13, 9, 8])
    steps = _run(strategy, Scheduler(name=name, grace_epochs=GRACE), workers=4, diverges=[9])
    assert steps[-1].complete == 13
    assert None in [outcome.value for outcome in strategy.outcomes.values()]
    assert len(strategy.outcomes) == 12


def test_hyperband_halves_whole_brackets() -> None:
    """The first has 5 trials and halves nothing; the next trains 8 to epoch 18, and the best 3 of them to the end."""
    strategy = Heard([1, 2, 3, 4, 5, 13, 6, 12, 7, 11, 8, 10, 9])
    steps = _run(strategy, Scheduler(name="hyperband", reduction_factor=3), workers=4)
    ended_early = {number for number, outcome in strategy.outcomes.items() if outcome.flops == 7.0 * 18}
    assert ended_early == {6, 8, 10, 11, 12}
    assert steps[-1].epochs == (5 + 3) * EPOCHS + 5 * 18
    assert steps[-1].complete == 13


def test_the_incumbent_of_complete_trials_waits_for_their_end() -> None:
    steps = _run(Heard([1, 2]))
    first_of_second = EPOCHS // REPORT_EVERY
    assert math.isnan(steps[0].complete)
    assert steps[0].reported == 1
    assert (steps[first_of_second].reported, steps[first_of_second].complete) == (2, 1)
    assert steps[-1].complete == 2
