"""The job script for Slurm, run here by a stand-in for Slurm that starts the tasks of all nodes on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gansearch.yaml_files import dump_yaml
from tests.ray_processes import ROOT
from tests.search.small_studies import alive, plan, trials

SCRIPT = ROOT / "docs" / "slurm" / "sweep.sbatch"

SCONTROL = """#!/bin/sh
printf 'localhost\\nsecond\\nthird\\n'
"""
# Starts as many processes as there are tasks, passes SIGTERM on to them as srun does, and notes who they are and how
# the token's file is protected.
SRUN = """#!/usr/bin/env python3
import os, re, signal, stat, subprocess, sys
command = [argument for argument in sys.argv[1:]]
options = {}
while command[0].startswith("--"):
    name, _, value = command.pop(0).partition("=")
    options[name] = value
# Each machine has a /tmp of its own.
machines = ["head"] if "--nodelist" in options else [str(task) for task in range(int(options["--ntasks"]))]
tasks = [
    subprocess.Popen([re.sub("^(--temp-dir=.*)", rf"\\1-{machine}", argument) for argument in command])
    for machine in machines
]
mode = stat.S_IMODE(os.stat(os.environ["RAY_AUTH_TOKEN_PATH"]).st_mode)
with open(os.environ["NOTES"], "a") as notes:
    for task in tasks:
        notes.write(f"{task.pid} {mode:o} {os.environ['RAY_AUTH_MODE']}\\n")
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""


def _environment(folder: Path) -> dict[str, str]:
    tools = folder / "bin"
    tools.mkdir()
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "NOTES": str(folder / "notes"),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_CPUS_PER_TASK": "1",
    }


def _running_with(word: str) -> list[str]:
    """Return the command lines of running processes that name something."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if word in line]


def test_the_shell_accepts_it() -> None:
    done = subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_on_three_nodes(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(dump_yaml(plan()))
    environment = _environment(tmp_path)
    command = ["bash", str(SCRIPT), "small.yaml", "run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("ok ") and "3 machines: 2 CPU" in line for line in lines), done.stdout
    assert not any(line.startswith(("fail", "warning")) for line in lines)
    assert lines[-1].startswith("run: done; trials: ")
    assert re.search(r"^\[\d+ s\] search: 0/3 trials", done.stderr, re.MULTILINE), "plain lines, without a terminal"
    assert "\x1b" not in done.stderr
    assert trials(tmp_path / "run", "search")["status"].tolist() == ["COMPLETE"] * 3
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert len(notes) == 3
    assert {tuple(note[1:]) for note in notes} == {("600", "token")}
    assert not any(alive(int(note[0])) for note in notes)
    temporary = f"/tmp/ray-{environment['SLURM_JOB_ID']}-"
    for machine in ("head", "0", "1"):
        shutil.rmtree(temporary + machine)  # it holds Ray's logs
    assert not _running_with(temporary)
    assert not list(tmp_path.glob(".gansearch-*")), "the token is gone"
