"""One driver holds a run: claims, their life, take-over of what a dead driver left."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gansearch import storage
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Checkpoint, Recorder
from gansearch.search import lease

KEY = TrialKey("0123456789ab", 3, "search")


def _other_place(run: Path, **changes: object) -> lease.Claim:
    """Leave the claim of a driver on another machine."""
    since = "2020-01-01T00:00:00+00:00"
    claim = lease.Claim(id="c0ffee", host="far", place="far away", pid=1, started="2", since=since)
    claim = dataclasses.replace(claim, **changes)  # type: ignore[arg-type]
    storage.write_json(RunPaths(run).claim(claim.id), dataclasses.asdict(claim))
    return claim


def _comes(condition: Callable[[], bool]) -> bool:
    """Return whether a condition comes to hold within 20 seconds."""
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_one_driver_holds_a_run_and_gives_it_back(tmp_path: Path) -> None:
    with lease.held(tmp_path / "run") as first:
        assert [path.stem for path in RunPaths(tmp_path / "run").claims.iterdir()] == [first.claim.id]
        with pytest.raises(ResultsError, match=f"held by another driver: process {first.claim.pid} on .*, since 20"):
            lease.claim(tmp_path / "run")
        assert not first.lost
    assert not list(RunPaths(tmp_path / "run").claims.iterdir())
    with lease.held(tmp_path / "run") as second:
        assert second.claim.id != first.claim.id


def test_what_a_killed_driver_left_is_taken_over(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from gansearch.search import lease
lease.claim(Path({str(tmp_path)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(RunPaths(tmp_path).claims.glob("*.json"))) == 1
    with lease.held(tmp_path) as held:
        assert [p.stem for p in RunPaths(tmp_path).claims.glob("*.json")] == [held.claim.id]


def test_a_later_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    with lease.held(tmp_path) as held:
        assert held.claim.alive
        assert not dataclasses.replace(held.claim, started="1").alive
        assert dataclasses.replace(held.claim, place="far away").alive is None


def test_a_claim_of_another_machine_lives_while_it_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "WATCH_SECONDS", 3.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    claim = _other_place(tmp_path)
    ended = threading.Event()

    def renew() -> None:
        for renewed in range(1, 1000):
            if ended.wait(0.1):
                return
            _other_place(tmp_path, renewed=renewed)

    renewer = threading.Thread(target=renew)
    renewer.start()
    try:
        with pytest.raises(ResultsError, match="process 1 on far, since 2020-01-01"):
            lease.claim(tmp_path)
    finally:
        ended.set()
        renewer.join()
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.5)
    with lease.held(tmp_path):
        assert not RunPaths(tmp_path).claim(claim.id).exists()


def test_a_holder_renews_and_notices_that_it_lost_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    held = lease.claim(tmp_path)
    path = RunPaths(tmp_path).claim(held.claim.id)
    assert _comes(lambda: '"renewed": 0' not in path.read_text())
    monkeypatch.setattr(lease, "RENEW_SECONDS", 60.0)
    time.sleep(0.3)  # past a renewal that was under way
    path.unlink()
    assert held.lost
    held.release()
    assert not held.lost


def test_a_holder_yields_to_one_that_took_the_run_over_while_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    held = lease.claim(tmp_path)
    _other_place(tmp_path, renewed=0)  # a mere attempt
    time.sleep(0.5)
    assert not held.lost
    _other_place(tmp_path, renewed=1)
    assert _comes(lambda: held.lost)
    held.release()
    assert [p.stem for p in RunPaths(tmp_path).claims.glob("*.json")] == ["c0ffee"]


@pytest.mark.parametrize("together", [2, 5])
def test_of_drivers_that_claim_at_once_at_most_one_holds(tmp_path: Path, together: int) -> None:
    start = threading.Barrier(together)
    outcomes: list[lease.Lease | None] = []

    def attempt(run: Path) -> None:
        start.wait()
        try:
            outcomes.append(lease.claim(run))
        except ResultsError:
            outcomes.append(None)

    for turn in range(10):
        outcomes.clear()
        run = tmp_path / str(turn)
        threads = [threading.Thread(target=attempt, args=(run,)) for _ in range(together)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held = [one for one in outcomes if one is not None]
        assert len(outcomes) == together
        assert len(held) <= 1
        assert len(list(RunPaths(run).claims.glob("*.json"))) == len(held)
        for one in held:
            one.release()


def test_a_file_that_is_no_claim_is_named(tmp_path: Path) -> None:
    storage.write_text(RunPaths(tmp_path).claim("abc"), "{}")
    with pytest.raises(ResultsError, match=r"abc\.json is not a driver's claim"):
        lease.claim(tmp_path)


def test_a_recorder_writes_nothing_once_its_drivers_claim_is_gone(tmp_path: Path) -> None:
    with lease.held(tmp_path) as held:
        recorder = Recorder(tmp_path, held.claim.id)
        recorder.save_checkpoint(KEY, Checkpoint({}, {"epochs": 1}))
    with pytest.raises(ResultsError, match="another driver holds"):
        recorder.save_checkpoint(KEY, Checkpoint({}, {"epochs": 2}))
    with pytest.raises(ResultsError, match="another driver holds"):
        recorder.drop_checkpoint(KEY)
    with pytest.raises(ResultsError, match="another driver holds"):
        recorder.save_weights(KEY, {}, {})
    with pytest.raises(ResultsError, match="another driver holds"):
        recorder.record_test_evaluation({})
    kept = Recorder(tmp_path).load_checkpoint(KEY)
    assert kept is not None
    assert kept.state == {"epochs": 1}


def test_of_drivers_on_two_machines_that_claim_at_once_at_most_one_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither renews its claim before it holds the run, so watching would find both dead."""
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.3)
    monkeypatch.setattr(lease, "_place", lambda: threading.current_thread().name)
    written = threading.Barrier(2)
    write = lease._write

    def together(path: Path, claim: lease.Claim) -> None:
        write(path, claim)
        if not claim.renewed:
            written.wait()

    monkeypatch.setattr(lease, "_write", together)
    held: list[lease.Lease] = []
    refused: list[str] = []

    def attempt() -> None:
        try:
            held.append(lease.claim(tmp_path))
        except ResultsError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=attempt, name=name) for name in ("here", "there")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) + len(refused) == 2
    assert refused
    assert all("is held by another driver" in message for message in refused)
    assert not any(one.lost for one in held)
    for one in held:
        one.release()


def test_a_process_that_this_user_cannot_look_at_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease.held(tmp_path) as held:
        monkeypatch.setattr(lease, "_started", lambda _: "unknown")
        assert held.claim.alive is None
        monkeypatch.setattr(lease, "_started", lambda _: None)
        assert held.claim.alive is False


def test_a_dead_claim_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _other_place(tmp_path)
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.0)

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(ResultsError, match=r"cannot remove .*c0ffee\.json, which a dead driver left: Perm"):
        lease.claim(tmp_path)
