"""What ends a stage early: its limits, a file, a signal."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from gansearch import schema
from gansearch.search import stopping
from gansearch.search.sections import Limits
from gansearch.search.stopping import Limiter, StopRequest
from tests.search.stages import Stage


def limiter(stage: Stage, limits: Limits, gpus: float = 0.0) -> Limiter:
    return Limiter(limits, stage.observer, gpus=gpus, request=StopRequest(stage.recorder.run))


def test_gpu_hours_are_those_of_all_trials_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("gansearch.search.observer.time.monotonic", lambda: clock[0])
    stage = Stage(tmp_path)
    limit = limiter(stage, Limits(gpu_hours=1.0), gpus=0.25)
    first = stage.start(1)
    stage.start(2)
    clock[0] = 3600.0
    stage.report(first, 4, -5.0, status=schema.COMPLETE)
    stage.complete(first)
    stage.start(3)
    # One hour each of the first two, then one more each of the second and third, at a quarter of a GPU.
    assert stage.observer.trial_seconds == 7200.0
    clock[0] = 7200.0 - 1.0
    assert not limit.stop_all()
    clock[0] = 7200.0 + 1.0
    assert limit.stop_all()
    assert limit.reason == stopping.Reason("the limit of 1 GPU hours was reached", spent=True)


def test_time_limit_starts_with_the_stage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [500.0]
    monkeypatch.setattr("gansearch.search.stopping.time.monotonic", lambda: clock[0])
    limit = limiter(stage, Limits(time_limit=90.0))
    clock[0] += 89
    assert not limit.stop_all()
    clock[0] += 2
    assert limit.stop_all()
    assert limit.reason == stopping.Reason("the time limit of 90 s was reached", spent=True)


def test_failures_end_a_stage_only_while_nothing_else_has_happened(stage: Stage) -> None:
    limit = limiter(stage, Limits(stop_if_first_fail=2))
    stage.observer.ended.update({"FAILED": 1})
    assert not limit.stop_all()
    stage.observer.ended.update({"DIVERGED": 1})
    stage.observer.ended.update({"FAILED": 5})
    assert not limit.stop_all()
    del stage.observer.ended["DIVERGED"]
    assert limit.stop_all()
    assert limit.reason == stopping.Reason("the first 6 trials all failed, the last with: None")


def test_no_limit_ends_nothing(stage: Stage) -> None:
    limit = limiter(stage, Limits(stop_if_first_fail=None))
    stage.observer.ended.update({"FAILED": 50})
    assert not limit.stop_all()
    assert not limit("t1", {})


def test_stop_file_and_its_removal(stage: Stage) -> None:
    request = StopRequest(stage.recorder.run)
    assert request.reason() is None
    (stage.recorder.run / "stop").touch()
    assert request.reason() == stopping.Reason("stopped on request")
    request.clear_file()
    request.clear_file()
    assert request.reason() is None


def test_stop_file_is_looked_for_from_time_to_time_and_a_signal_heard_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("gansearch.search.stopping.time.monotonic", lambda: clock[0])
    limit = limiter(stage, Limits())
    assert not limit.stop_all()
    (stage.recorder.run / "stop").touch()
    clock[0] += stopping.LOOK_SECONDS / 2
    assert not limit.stop_all()
    clock[0] += stopping.LOOK_SECONDS
    assert limit.stop_all()
    request = StopRequest(stage.recorder.run)
    request.clear_file()
    other = Limiter(Limits(), stage.observer, gpus=0, request=request)
    assert not other.stop_all()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with request.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            assert other.stop_all()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_first_signal_is_a_request_and_the_second_what_it_was_before(tmp_path: Path, number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda n, _: heard.append(n))
    try:
        request = StopRequest(tmp_path)
        with request.listening():
            os.kill(os.getpid(), number)
            assert request.reason() == stopping.Reason(f"interrupted by {number.name}")
            assert heard == []
            os.kill(os.getpid(), number)
            assert heard == [number]
        os.kill(os.getpid(), number)
        assert heard == [number, number]
    finally:
        signal.signal(number, before)


def test_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        request = StopRequest(tmp_path)
        with request.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_listening_in_another_thread_leaves_signals_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def listen() -> None:
        with StopRequest(tmp_path).listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]
