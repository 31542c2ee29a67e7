"""`sweep`, `status` and `stop`; those that start Ray are marked slow."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from gansearch import results
from gansearch.cli.display import QUIET_SECONDS, Plain
from gansearch.cli.plan import estimate_lines, first_configurations, first_lines, plan_lines
from gansearch.cli.sweeps import _tell, summary
from gansearch.paths import RunPaths
from gansearch.search.estimate import Estimate, Speed, _least
from gansearch.search.progress import Best, Progress, lines, read_progress
from gansearch.search.searchers import SPEC, SpecSearcher, make_strategy
from gansearch.search.study import Study
from gansearch.search.sweep import SweepResult
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import CONFIG, FULL, REPORT, Gansearch, Place
from tests.test_layers import ROOT

STUDY = {
    "description": "Small nets on digits",
    "base": CONFIG.to_dict(),
    "space": {"algorithm.k": {"int": [1, 3]}, "momentum.lr_g": {"loguniform": [0.02, 0.4]}},
    "num_trials": 6,
    "protocols": {
        "final": {"name": "small", "num_samples": 230, "sigma_points": 9},
        "report": {"name": "smallest", "num_samples": 120, "sigma_points": 4},
    },
    "confirm": {"seeds": 2, "protocols": [{"name": "small", "num_samples": 230, "sigma_points": 9}]},
    "seed": 11,
}
BEST = Best(value=-12.34, config_id="abcdef", epoch=6, changes="algorithm.k=2")


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
    path = tmp_path / "small.yaml"
    path.write_text(dump_yaml(STUDY), encoding="utf-8")
    return path


def _state(**changes: object) -> Progress:
    values: dict[str, object] = {
        "study": "small",
        "stage": "search",
        "planned": 6,
        "elapsed": 30.0,
        "host": "elsewhere",
    }
    return Progress(**(values | changes))  # type: ignore[arg-type]


def _say(run: Path, progress: Progress) -> None:
    results.write_json(RunPaths(run).progress, progress.to_dict())


# The dry run


def test_a_dry_run_shows_the_plan_and_leaves_nothing_behind(study: Path, gansearch: Gansearch) -> None:
    before = sorted(Path().rglob("*"))
    code, out, err = gansearch("sweep", study, "--out", "run", "--dry-run", "--seed", "12")
    assert (code, err) == (0, "measuring the base configuration on this machine\n")
    assert sorted(Path().rglob("*")) == before
    shown = out.splitlines()
    for line in (
        "study       small: Small nets on digits",
        "space       algorithm.k    integer in [1, 3]; base 1",
        "            momentum.lr_g  log-uniform in [0.02, 0.4]; base 0.1",
        "searcher    random",
        "scheduler   none",
        "trials      6 configurations, 1 seed each",
        "budget      4 epochs, a report every 2",
        "confirm     2 seeds, scored by:",
        "seed        12",
        "            1,197 train, 300 valid, 300 test; needs no files",
        "cost: an estimate from the base configuration, measured for a moment on this machine",
    ):
        assert line in shown
    assert f"  {CONFIG.config_id}  algorithm.k=1, momentum.lr_g=0.1" in shown


def test_a_dry_run_as_json(study: Path, gansearch: Gansearch) -> None:
    _, out, _ = gansearch("sweep", study, "--dry-run", "--json", "--epochs", "6")
    found = json.loads(out)
    assert found["study"]["epochs"] == 6
    assert (found["data"]["name"], found["data"]["there"]) == ("digits", True)
    cost = found["estimate"]
    assert cost["speed"]["data"] == "real"
    assert min(cost["speed"][name] for name in ("epoch", "report", "score", "confirm_score")) > 0
    least, most = cost["search"]
    assert least == pytest.approx(most)  # no early stopping
    trial = (6 * cost["speed"]["epoch"] + 3 * cost["speed"]["report"] + cost["speed"]["score"]) / 3600
    assert most == pytest.approx(6 * trial)
    # Nothing is left to share when every trial has a slot; one slot takes all trial time.
    assert trial <= cost["wall"][0] <= cost["wall"][1] <= (most + cost["confirm"]) * (1 + 1e-9)


def test_a_dry_run_finds_what_would_stop_a_sweep(study: Path, place: Place, gansearch: Gansearch) -> None:
    code, _, err = gansearch("sweep", study, "--out", place.run, "--dry-run")
    assert (code, err.splitlines()[0]) == (2, f"error: {place.run} already holds tables of other trials")


def test_a_data_set_that_is_not_there_is_measured_on_random_bytes(study: Path, gansearch: Gansearch) -> None:
    plan = {**STUDY, "base": {**CONFIG.to_dict(), "dataset": {"name": "mnist"}}}
    study.write_text(dump_yaml(plan), encoding="utf-8")
    code, out, _ = gansearch("sweep", study, "--dry-run", "--data-dir", "nowhere")
    assert code == 0
    assert "50,000 train, 10,000 valid, 10,000 test; not there yet, to be downloaded in nowhere" in out
    assert "(cpu, synthetic data)" in out
    assert not Path("nowhere").exists()


def _handed_out(study: Study) -> list[str]:
    """Return the configurations that a sweep's searcher hands out while no trial has ended."""

    def make_spec(point: Mapping[str, object], replicate: int) -> TrialSpec:
        return TrialSpec(
            config=study.space.config(point),
            seed=replicate,
            stage="search",
            protocols=(FULL,),
            report_protocol=REPORT,
        )

    searcher = SpecSearcher(make_strategy(study), study.num_trials, 1, make_spec)
    trials = [searcher.suggest(f"trial{i}") for i in range(study.num_trials)]
    return [TrialSpec.from_dict(trial[SPEC]).config.config_id for trial in trials]


FINITE = {"algorithm.k": {"int": [1, 3]}, "noise.dim": {"choice": [7, 8]}}
TPE = {"name": "tpe", "startup_trials": 4}


@pytest.mark.parametrize(
    ("changes", "shown", "rest"),
    [
        ({}, 5, "  then 1 random draw"),
        ({"num_trials": 9}, 5, "  then 4 random draws"),
        ({"num_trials": 3}, 3, None),
        ({"num_trials": 6, "space": FINITE}, 5, "  then 1 random draw"),  # draws that repeat a point are left out
        ({"num_trials": 6, "space": FINITE, "searcher": "grid"}, 5, "  then 1 point of the grid"),
        ({"num_trials": 3, "searcher": "tpe"}, 3, None),
        ({"num_trials": 12, "searcher": "tpe"}, 5, "  then 5 random draws, then 2 suggestions of TPE's model"),
        ({"num_trials": 6, "searcher": TPE}, 4, "  then 2 suggestions of TPE's model"),
    ],
)
def test_the_first_configurations_are_those_that_are_tried(
    changes: dict[str, object], shown: int, rest: str | None
) -> None:
    study = Study.parse({**STUDY, **changes}, "small")
    first = first_configurations(study)
    assert [point["config_id"] for point in first] == _handed_out(study)[:shown]
    assert first[0]["config_id"] == CONFIG.config_id
    assert first_lines(study, first)[1 + shown :] == ([rest] if rest else [])


def test_a_study_without_confirm_says_so() -> None:
    told = plan_lines(Study.parse({**STUDY, "confirm": {"seeds": 0}}, "small"))
    (line,) = [line for line in told if line.startswith("confirm")]
    assert line == "confirm     none: the chosen configuration is not trained again, and the test set is not read"
    assert not any("small-" in line and "230 samples" in line for line in told[told.index(line) :])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_here_is_told(study: Path, gansearch: Gansearch) -> None:
    study.write_text(dump_yaml({**STUDY, "resources": {"gpu": 0.5}}), encoding="utf-8")
    code, out, err = gansearch("sweep", study, "--dry-run")
    assert (code, err) == (0, "note: trials take a GPU, and PyTorch sees none on this machine\n")
    assert "a sweep on this machine alone would be refused" in out


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


def test_the_least_that_asha_runs() -> None:
    plan = {
        **STUDY,
        "num_trials": 9,
        "epochs": 20,
        "scheduler": {"name": "asha", "grace_epochs": 2, "reduction_factor": 3},
    }
    # Rungs at 2, 6 and 18 epochs: 9 trials run 2, 3 of them 4 more, 1 of them the other 14.
    assert _least(Study.parse(plan, "small"), 9) == (9 * 2 + 3 * 4 + 1 * 14, 1.0)
    assert _least(Study.parse(STUDY, "small"), 6) == (6 * 4, 6.0)


def test_the_cost_in_words() -> None:
    plan = {**STUDY, "scheduler": {"name": "asha", "grace_epochs": 2}}
    study = Study.parse(plan, "small")
    speed = Speed(epoch=2.5, report=0.04, score=1.25, confirm_score=3.0, device="cpu", data="real")
    cost = Estimate(speed=speed, concurrent=2, search=(0.5, 3.0), confirm=0.01, wall=(0.25, 1.75))
    assert estimate_lines(study, cost) == [
        "cost: an estimate from the base configuration, measured for a moment on this machine",
        "  measured  2.5 s an epoch, 40 ms a report, 1.2 s a final score (cpu, real data)",
        "  search    at most 3 h 00 min of trial time, at least 30 min if ASHA stops all it can",
        "  confirm   36 s of trial time",
        "  in all    15 min to 1 h 45 min on this machine, 2 trials at a time",
    ]
    assert estimate_lines(study, None) == [
        "cost: trials take a GPU, and PyTorch sees none here, so nothing could be measured",
        "  a sweep on this machine alone would be refused; --address connects to a cluster that has GPUs",
    ]
    assert "scheduler   asha (grace_epochs 2, reduction_factor 3.0)" in plan_lines(study)


# Progress


def test_a_log_gets_a_line_when_something_changed_or_a_minute_passed() -> None:
    written: list[str] = []
    now = 0.0
    shown = Plain(written.append, lambda: now)
    for now, state in (  # noqa: B007  # the clock reads it
        (0.0, _state()),
        (1.0, _state(elapsed=31.0)),
        (2.0, _state(running=2)),
        (3.0, _state(running=2, best=BEST)),
        (4.0, _state(running=2, best=BEST)),
        (3.0 + QUIET_SECONDS, _state(running=2, best=BEST)),
        (70.0, _state(running=2, best=BEST, ended={"COMPLETE": 1}, left=100.0)),
        (71.0, _state(stage="confirm", planned=2)),
    ):
        shown(state)
    assert written == [
        "[30 s] search: 0/6 trials (none ended), 0 running",
        "[30 s] search: 0/6 trials (none ended), 2 running",
        "[30 s] search: 0/6 trials (none ended), 2 running; best -12.3 nats (abcdef)",
        "[30 s] search: 0/6 trials (none ended), 2 running; best -12.3 nats (abcdef)",
        "[30 s] search: 1/6 trials (1 COMPLETE), 2 running; best -12.3 nats (abcdef); about 2 min left",
        "[30 s] confirm: 0/2 trials (none ended), 0 running",
    ]


def test_the_live_display_shows_the_same() -> None:
    from rich.console import Console

    from gansearch.cli.display import panel

    console = Console(width=90, record=True, force_terminal=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(panel(_state(ended={"COMPLETE": 2, "FAILED": 1}, running=2, best=BEST, left=240.0), 86))
    text = console.export_text()
    console.file.close()
    assert [line.strip("│╭╮─ ") for line in text.splitlines() if "━" not in line and "╰" not in line] == [
        "small: search",
        "trials  3 of 6 ended, 2 running",
        "2 COMPLETE, 1 FAILED",
        "time    30 s, about 4 min left in this stage",
        "best    -12.3 nats (report protocol) at epoch 6",
        "abcdef  algorithm.k=2",
        "⠋ Ctrl-C ends the sweep; finished trials stay",
    ]


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


def test_status_of_a_finished_run(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("status", place.run)
    assert (code, err) == (0, "")
    assert out == "quickstart: done\n  trials   5 of 5 ended (5 COMPLETE), 0 running\n  time     12 s\n"
    _, out, _ = gansearch("status", place.run, "--json")
    assert json.loads(out) == read_progress(place.run).to_dict() | {"alive": False}


def test_status_of_a_run_whose_driver_died(gansearch: Gansearch, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    state = Progress(study="small", stage="search", planned=6, running=2, elapsed=30.0, pid=ended.pid)
    _say(tmp_path, state)
    code, out, err = gansearch("status", tmp_path)
    assert (code, out) == (0, "\n".join(lines(state)) + "\n")
    assert out.startswith("small: search (its driver is gone)\n")
    assert f"the sweep's driver is gone (process {ended.pid} on {state.host})" in err
    code, _, err = gansearch("stop", tmp_path)
    assert (code, err.splitlines()[0]) == (2, f"error: no sweep runs in {tmp_path}: its driver is gone")


def test_stop_of_a_finished_run(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("stop", place.run)
    assert (code, out, err.splitlines()[0]) == (2, "", f"error: no sweep runs in {place.run}: it is done")
    assert not RunPaths(place.run).stop_request.exists()


def test_stop_gives_up_after_its_timeout(gansearch: Gansearch, tmp_path: Path) -> None:
    _say(tmp_path, Progress(study="small", stage="search", planned=6))  # this process, which does not listen
    code, out, err = gansearch("stop", tmp_path, "--timeout", "0.3")
    assert (code, out) == (1, "")
    assert "has not ended within 0.3 s" in err
    assert RunPaths(tmp_path).stop_request.exists()


# Real sweeps


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
    assert (process.returncode, out) == (0, "run: done; trials: 8 COMPLETE\n"), err
    told = err.splitlines()
    assert told[0] == "sweep small into run: 6 trials of 4 epochs"
    assert told[-2:] == ["next: gansearch best run", "      gansearch table1 run"]
    assert any("] confirm: 2/2 trials (2 COMPLETE), 0 running" in line for line in told)
    assert gansearch("status", "run")[1].startswith("small: done\n  trials   8 of 8 ended (8 COMPLETE), 0 running\n")
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
    assert "finished trials are kept in run" in err


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
    out, _ = process.communicate(timeout=120)
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
