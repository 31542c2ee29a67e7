"""`sweep` from start to end; the tests that start Ray are marked slow."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gansearch.cli.sweeps import _tell, summary
from gansearch.paths import RunPaths
from gansearch.search.driver import SweepResult
from gansearch.search.progress import read_progress
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import Gansearch, Place
from tests.cli.small_study import STUDY, write_study
from tests.test_layers import ROOT


@pytest.fixture(autouse=True)
def _no_sweep_is_left() -> Iterator[None]:
    """End what a failed test would leave running, Ray and all: each sweep leads its own process group."""
    yield
    for process in _STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _STARTED.clear()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small study's file in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


@pytest.mark.parametrize(
    ("stages", "commands"), [("", []), ("search", ["best"]), ("search confirm", ["best", "table1"])]
)
def test_only_what_works_is_advertised(
    stages: str, commands: list[str], place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    for part in (run / "trials").iterdir():
        if not any(f"-{stage}-" in part.name for stage in stages.split()):
            part.unlink()
    _tell(SweepResult(run=run, complete=True, reason=None, ended={"COMPLETE": 5}), run)
    lines = [f"gansearch {command} {run}" for command in commands]
    assert [line.removeprefix("next:").strip() for line in capsys.readouterr().err.splitlines()] == lines


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            SweepResult(run=Path("r"), complete=True, reason=None, ended={"COMPLETE": 3, "STOPPED": 0}),
            "r: done; trials: 3 COMPLETE",
        ),
        (
            SweepResult(run=Path("r"), complete=False, reason="interrupted", ended={"INTERRUPTED": 2}),
            "r: ended early (interrupted); trials: 2 INTERRUPTED",
        ),
        (
            SweepResult(run=Path("r"), complete=True, reason="the time limit", ended={}),
            "r: done (the time limit); trials: none",
        ),
    ],
)
def test_the_summary_of_a_sweep(result: SweepResult, text: str) -> None:
    assert summary(result, Path("r")) == text


_STARTED: list[subprocess.Popen[str]] = []


def _start(study: Path, out: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gansearch.cli", "sweep", str(study), "--out", out]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=study.parent,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )
    _STARTED.append(process)
    return process


def _wait_for_a_trial(run: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if RunPaths(run).progress.exists() and read_progress(run).best is not None:
            return
        time.sleep(0.1)
    pytest.fail("no trial reported within two minutes")


@pytest.mark.slow
def test_a_sweep_from_start_to_table(study: Path, gansearch: Gansearch) -> None:
    process = _start(study, "run")
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (0, "run: done; trials: 14 COMPLETE\n"), err
    told = err.splitlines()
    assert told[0] == "sweep small into run: 6 trials of 4 epochs"
    assert told[-2:] == ["next: gansearch best run", "      gansearch table1 run"]
    assert any("] confirm: " in line and "/8 trials" in line for line in told)
    assert any("] done: 14/14 trials (14 COMPLETE), 0 running" in line for line in told)
    assert gansearch("status", "run")[1].startswith("small: done\n  trials   14 of 14 ended (14 COMPLETE), 0 running\n")
    assert gansearch("best", "run", "-o", "best.yaml")[0] == 0
    code, out, _ = gansearch("table1", "run")
    assert code == 0
    assert "Adversarial nets, run" in out
    assert gansearch("sample", "run")[0] == 0
    assert gansearch("reproduce", "best.yaml")[0] == 0
    code, _, err = gansearch("sweep", study, "--out", "run")
    assert (code, "already holds a sweep" in err) == (2, True)


def _long(study: Path) -> Path:
    """Give a study more to do than a test waits for."""
    study.write_text(dump_yaml({**STUDY, "num_trials": 500, "epochs": 100}), encoding="utf-8")
    return study


@pytest.mark.slow
def test_stop_from_another_terminal(study: Path, gansearch: Gansearch) -> None:
    process = _start(_long(study), "run")
    _wait_for_a_trial(Path("run"), process)
    assert gansearch("status", "run")[1].startswith("small: search\n")
    code, out, _ = gansearch("stop", "run")
    assert code == 0
    assert out.startswith("small: stopped\n")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.startswith("run: ended early (")
    assert "`gansearch resume run` goes on" in err


@pytest.mark.slow
def test_on_a_terminal_the_display_is_live_and_ctrl_c_ends_it(study: Path) -> None:
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    process = _start(_long(study), "run", theirs)
    os.close(theirs)
    reader = threading.Thread(target=_read_terminal, args=(ours, shown), daemon=True)
    reader.start()  # from the start: a terminal that nobody reads blocks its writer
    _wait_for_a_trial(Path("run"), process)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    out, _ = process.communicate(timeout=300)
    reader.join(timeout=10)
    os.close(ours)
    text = b"".join(shown).decode(errors="replace")
    assert process.returncode == 1, text
    assert out.startswith("run: ended early (")
    assert "small: starting Ray" in text
    assert "small: search" in text
    assert " of 500 ended, " in text
    assert "Traceback" not in text
    assert read_progress(Path("run")).stage == "stopped"


def _read_terminal(terminal: int, shown: list[bytes]) -> None:
    """Read what is shown until its writer has gone."""
    with contextlib.suppress(OSError):
        while block := os.read(terminal, 65536):
            shown.append(block)
