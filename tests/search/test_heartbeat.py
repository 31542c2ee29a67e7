"""Which trials have said nothing for too long."""

from __future__ import annotations

import pytest

from gansearch.search.heartbeat import AUTOMATIC_LEAST, LONGEST_STEP, Heartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Listening:
    """A heartbeat whose driver makes a step a second."""

    def __init__(self, limit: float | None) -> None:
        self.clock = Clock()
        self.heartbeat = Heartbeat(limit, clock=self.clock)

    def wait(self, seconds: int) -> dict[str, float]:
        silent: dict[str, float] = {}
        for _ in range(seconds):
            self.clock.now += 1
            silent = self.heartbeat.step()
        return silent


def test_a_trial_is_silent_for_too_long_after_its_limit() -> None:
    listening = Listening(30)
    for name in ("a", "b"):
        listening.heartbeat.start(name)
    assert listening.wait(20) == {}
    listening.heartbeat.report("b")
    assert listening.wait(10) == {}
    assert listening.wait(1) == {"a": 31}
    listening.heartbeat.end("a")
    assert listening.wait(19) == {}
    assert listening.wait(1) == {"b": 31}


def test_a_trial_that_starts_again_is_given_its_time_again() -> None:
    listening = Listening(30)
    listening.heartbeat.start("a")
    listening.wait(25)
    listening.heartbeat.end("a")
    listening.wait(60)
    listening.heartbeat.start("a")
    assert listening.wait(30) == {}
    assert listening.wait(1) == {"a": 31}


def test_without_a_limit_there_is_none_before_the_first_report() -> None:
    listening = Listening(None)
    listening.heartbeat.start("a")
    assert listening.wait(5000) == {}
    assert listening.heartbeat.limit is None


@pytest.mark.parametrize(("longest", "limit"), [(7, AUTOMATIC_LEAST), (90, AUTOMATIC_LEAST), (200, 2000.0)])
def test_the_automatic_limit_is_ten_times_the_longest_wait_for_a_report(longest: int, limit: float) -> None:
    listening = Listening(None)
    listening.heartbeat.start("a")
    listening.wait(longest)
    listening.heartbeat.report("a")
    listening.wait(3)
    listening.heartbeat.report("a")
    assert listening.heartbeat.limit == limit
    assert listening.wait(int(limit)) == {}
    assert listening.wait(1) == {"a": limit + 1}


def test_time_in_which_the_driver_does_not_listen_does_not_count() -> None:
    """It was stopped, or waited for its storage: the reports of that time are still to be heard."""
    listening = Listening(30)
    listening.heartbeat.start("a")
    listening.clock.now += 3600
    assert listening.heartbeat.step() == {}
    assert listening.wait(30 - int(LONGEST_STEP)) == {}
    assert listening.wait(1) == {"a": 31}


def test_a_trial_that_nobody_listens_to_reports_nothing() -> None:
    listening = Listening(None)
    listening.heartbeat.report("a")
    listening.heartbeat.end("a")
    assert listening.heartbeat.limit is None
