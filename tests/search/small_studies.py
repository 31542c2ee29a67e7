"""Small studies on embedded data, their sweeps in processes of their own, and what those left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gansearch.search.study import Study
from gansearch.yaml_files import dump_yaml

# Every protocol has sizes of its own.
FINAL = {"name": "final", "num_samples": 70, "sigma_points": 5, "refine": False}
REPORT = {**FINAL, "name": "report", "num_samples": 60, "valid_subset": "random", "valid_count": 50}
SECOND = {**FINAL, "name": "second", "num_samples": 80, "valid_subset": "first", "valid_count": 90}

# A shell's background jobs are started with SIGINT ignored, and the tests may run in one.
_ATTENTIVE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
_DRIVER = """
import sys
from gansearch.search import progress
from gansearch.search.sweep import sweep

if __name__ == "__main__":
    result = sweep(*sys.argv[1:3], address=(sys.argv[3:] or [None])[0],
                   on_progress=lambda p: print(progress.line(p), flush=True))
    print("complete" if result.complete else f"ended early: {result.reason}", flush=True)
"""


def plan(**changes: Any) -> dict[str, Any]:
    """Return a study of seconds, as its file would say it; `changes` replace whole keys."""
    return {
        "base": {
            "dataset": {"name": "digits"},
            "noise": {"dim": 11},
            "generator": {"hidden": [23], "init_range": 0.1},
            "discriminator": {"hidden": [17], "pieces": 2, "init_range": 0.1},
            "algorithm": {"batch_size": 100},
            "update": {"rule": "adam"},
            "adam": {"lr_g": 0.001, "lr_d": 0.001},
            "score": {"report_every": 1},
        },
        "epochs": 4,
        "space": {"adam.lr_g": {"loguniform": [0.0001, 0.01]}, "algorithm.k": {"int": [1, 3]}},
        "num_trials": 3,
        "protocols": {"final": FINAL, "report": REPORT},
        "confirm": {"top": 1, "seeds": 2, "protocols": [FINAL, SECOND]},
        "seed": 5,
        **changes,
    }


def endless(**changes: Any) -> dict[str, Any]:
    """Return a study whose trials report several times a second and never end within a test."""
    return plan(**{"epochs": 1_000_000, **changes})


def stuck(**changes: Any) -> dict[str, Any]:
    """Return a study whose trials take minutes for an epoch."""
    given = plan(**changes)
    given["base"]["generator"]["hidden"] = [1900, 1900]
    given["base"]["algorithm"]["batch_size"] = 1
    return given


def study(**changes: Any) -> Study:
    """Return the study of `plan`."""
    return Study.parse(plan(**changes), "small")


def trials(run: Path, stage: str | None = None) -> pd.DataFrame:
    """Return the rows of a run's trials, read with plain pandas, in a fixed order."""
    rows = pd.read_parquet(run / "trials").sort_values(["config_id", "seed", "protocol_id"], ignore_index=True)
    return rows if stage is None else rows[rows["stage"] == stage].reset_index(drop=True)


def progress_of(run: Path) -> dict[str, Any]:
    """Return what the sweep last said, as it stands in the file."""
    found: dict[str, Any] = json.loads((run / "progress.json").read_text())
    return found


class Sweeping:
    """A sweep in a process and a process group of its own, as a shell starts it.

    Args:
        folder: where the study's file and the run directory go.
        given: the study.
        address: the cluster; None for one of its own.
        keep_signals: whether signals that this process ignores are ignored there too.
        before: code that runs there before the sweep.
        env: environment variables beside those of this process.
    """

    def __init__(
        self,
        folder: Path,
        given: dict[str, Any],
        address: str | None = None,
        *,
        keep_signals: bool = False,
        before: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.run = folder / "run"
        self._out, self._err = folder / "stdout", folder / "stderr"
        path = folder / "small.yaml"
        path.write_text(dump_yaml(given))
        arguments = [str(path), str(self.run), *([address] if address else [])]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **(env or {})}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ("" if keep_signals else _ATTENTIVE) + before + _DRIVER, *arguments],
                stdout=out,
                stderr=err,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        """What it wrote to stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it wrote to stderr so far."""
        return self._err.read_text()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        """Wait until the condition holds; fail when the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the sweep ended:\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"waited in vain:\n{self.out}\n{self.err}"
            time.sleep(0.05)

    def wait_for_running(self) -> None:
        """Wait until trials run."""
        self.wait_for(lambda: (self.run / "progress.json").exists() and progress_of(self.run)["running"] > 0)

    def send(self, number: signal.Signals, *, to_group: bool = True) -> None:
        """Send a signal to the whole group, as a terminal does, or to the driver alone."""
        (os.killpg if to_group else os.kill)(self.process.pid, number)

    def end(self, seconds: float = 120) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below a process, by id, with their command lines."""
    parents, found = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip()
        except (ValueError, OSError):  # not a process, or gone by now
            continue
    below: set[int] = set()
    while grown := {child for child, parent in parents.items() if parent == pid or parent in below} - below:
        below |= grown
    return {child: found[child] for child in below if child in found}


def workers(pid: int) -> list[int]:
    """Return the processes below a process that run trials."""
    titles = ("ray::TrialWorker", "ray::ResourceTrainable")
    return [child for child, command in descendants(pid).items() if command.startswith(titles)]


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], seconds: float = 60) -> bool:
    """Wait for the processes to end; return whether they did."""
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(map(alive, pids))
