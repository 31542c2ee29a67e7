"""A sweep whose driver is killed (SIGKILL) at random moments and resumed each time, held against one that never was.

    python -m tests.kill_and_resume OUT --kills 20

trains the same small study twice on real digits, with one worker, so that both must come to the same rows:
`OUT/whole` from start to end, `OUT/killed` with a driver that is killed again and again. After each kill every
row that was finished must still be there, byte for byte (it was not run again), and no key may stand twice;
at the end the rows and curves of both must agree in every bit but those of time and place. With `--workers 2`
trials end in another order than they do in the whole sweep, and only the first part is checked.
Exit code 0 when all of it holds.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.search.progress import read_progress
from gansearch.yaml_files import dump_yaml

STUDY: dict[str, Any] = {
    "base": {
        "dataset": {"name": "digits"},
        "noise": {"dim": 11},
        "generator": {"hidden": [64, 64], "init_range": 0.2},
        "discriminator": {"hidden": [48, 48], "pieces": 3, "init_range": 0.1},
        "algorithm": {"batch_size": 25},
        "momentum": {"ramp_unit": "auto"},
        "score": {"report_every": 9},
    },
    "epochs": 243,
    "space": {
        "algorithm.k": {"int": [1, 3]},
        "momentum.lr_g": {"loguniform": [0.02, 0.4]},
        "momentum.lr_d": {"loguniform": [0.02, 0.4]},
        "discriminator.dropout_hidden": {"uniform": [0.0, 0.6]},
    },
    "scheduler": {"name": "asha", "grace_epochs": 27, "reduction_factor": 3},
    "num_trials": 32,
    "confirm": {"top": 1, "seeds": 2},
    "limits": {"checkpoint_seconds": 1},
    "seed": 3,
}
STARTING = 0.15
"""Share of the drivers that are killed at a moment counted from their start, Ray's included."""
OF_THE_RUN = ("run_", "examples_per_second", "seconds", "made_at")
"""Starts of the names of columns that hold time and place."""


def main() -> int:
    """Run the comparison; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a new directory")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--longest", type=float, default=8.0, help="seconds a driver lives at most once it has begun (default: 8)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    arguments = parser.parse_args()
    study = {**STUDY, "max_concurrent": arguments.workers}
    return kill_and_resume(
        study, arguments.out, kills=arguments.kills, longest=arguments.longest, moments=random.Random(arguments.seed)
    )


def kill_and_resume(study: dict[str, Any], out: Path, *, kills: int, longest: float, moments: random.Random) -> int:
    """Run the comparison in a new directory; return 0 when everything holds.

    Args:
        study: what is run; with `max_concurrent` 1 the outcome is held against a sweep that is never killed.
        out: a new directory.
        kills: how often.
        longest: a driver lives for a random time of at most so many seconds from when it has begun.
        moments: draws the times.
    """
    out.mkdir(parents=True)
    file, run = out / "study.yaml", out / "killed"
    file.write_text(dump_yaml(study), encoding="utf-8")
    finished: dict[str, str] = {}
    problems: list[str] = []
    start = ["sweep", str(file), "--out", str(run)]
    for kill in range(1, kills + 1):
        # Most are killed while trials run, some while Ray starts; the first must write the plan.
        starting = kill > 1 and moments.random() < STARTING
        lived = _killed(start, run, moments.uniform(0, longest), out / f"driver-{kill}.log", starting=starting)
        start = ["resume", str(run)]
        found = _finished(run)
        problems += _compare(finished, found)
        print(f"kill {kill:2} after {lived:4.1f} s: {len(found)} rows have an outcome, {_unfinished(run)}", flush=True)
        finished = found
    code = _driver(start, out / "driver-last.log").wait()
    problems += _compare(finished, _finished(run))
    if code != 0:
        problems.append(f"the last driver ended with {code}")
    print(f"resumed to the end: {len(_finished(run))} rows have an outcome", flush=True)
    if study["max_concurrent"] == 1:
        code = _driver(["sweep", str(file), "--out", str(out / "whole")], out / "whole.log").wait()
        problems += [*([f"the whole sweep ended with {code}"] if code else []), *_differences(out / "whole", run)]
    print("\n".join(problems) or "no finished row lost, none twice, none run again", flush=True)
    return 1 if problems else 0


def _driver(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        command = [sys.executable, "-m", "gansearch.cli", *arguments]
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def _killed(arguments: list[str], run: Path, seconds: float, log: Path, *, starting: bool) -> float:
    """Start a driver and kill it so long after its start, or after it has begun; return how long it lived."""
    started = time.monotonic()
    process = _driver(arguments, log)
    while not starting and not _begun(run, process.pid) and process.poll() is None:
        time.sleep(0.05)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return time.monotonic() - started


def _begun(run: Path, pid: int) -> bool:
    """Return whether a driver of this process has said something about trials that run."""
    try:
        progress = read_progress(run)
    except ResultsError:
        return False
    return progress.pid == pid and progress.running > 0


def _parts(run: Path) -> list[Path]:
    folder = RunPaths(run).table(schema.TRIALS.name)
    return sorted(p for p in folder.glob("*.parquet") if not p.name.startswith("."))


def _finished(run: Path) -> dict[str, str]:
    """Return the digest of each part that holds an outcome, by its name; checks that pandas reads all parts."""
    found = {}
    for path in _parts(run):
        (row,) = pd.read_parquet(path).to_dict("records")
        if row["status"] not in schema.UNFINISHED:
            found[path.name] = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    if found:
        whole = pd.read_parquet(RunPaths(run).table(schema.TRIALS.name))
        twice = whole.duplicated(list(schema.TRIALS.key)).sum()
        assert not twice, f"{twice} keys stand twice"
    return found


def _unfinished(run: Path) -> str:
    states = [pd.read_parquet(path)["status"].iloc[0] for path in _parts(run)]
    kept = len(list((run / "checkpoints").glob("*/checkpoint.safetensors")))
    return f"{sum(s in schema.UNFINISHED for s in states)} unfinished, {kept} checkpoints"


def _compare(before: dict[str, str], after: dict[str, str]) -> list[str]:
    lost = [f"lost: {name}" for name in before if name not in after]
    return lost + [f"run again: {name}" for name, digest in before.items() if after.get(name, digest) != digest]


def _differences(whole: Path, killed: Path) -> list[str]:
    """Return where the tables of two runs differ, columns of time and place aside."""
    problems = []
    for table in (schema.TRIALS, schema.CURVES, schema.EXAMPLES):
        frames = []
        for run in (whole, killed):
            frame = pd.read_parquet(RunPaths(run).table(table.name))
            kept = [c for c in frame.columns if not c.startswith(OF_THE_RUN) and c != "test_evaluation"]
            frames.append(frame[kept].sort_values(list(table.key)).reset_index(drop=True))
        if frames[0].shape != frames[1].shape:
            problems.append(f"{table.name}: {len(frames[0])} rows in the whole sweep, {len(frames[1])} in the killed")
        elif not frames[0].equals(frames[1]):
            differ = [c for c in frames[0].columns if not frames[0][c].equals(frames[1][c])]
            problems.append(f"{table.name}: the columns {', '.join(differ)} differ")
        else:
            print(f"{table.name}: {len(frames[0])} rows, equal in {len(frames[0].columns)} columns", flush=True)
    return problems


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s", flush=True)
    sys.exit(code)
