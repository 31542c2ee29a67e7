"""How long the questions take that are asked of a run, when it has a million trials; and Ray Tune's answer beside.

    python -m benchmarks.analysis.million

A run of so many rows is made in a temporary folder, which takes a minute and half a gigabyte. Each question is a
process of its own, the start of Python included; its memory is the most that it held, as the system counts it. Files
are read that were just written, so from the system's cache. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_READ = """
from analysis.reading import read_trials
columns = ["config_id", "status", "valid_ll_mean", "cfg_momentum_lr_g"]
assert len(read_trials({run!r}, columns=columns, where={where})) > 0
"""
# The system counts a process's memory from that of the process it came from: this one is small.
_LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(process, 0)
with open(sys.argv[1], "w") as file:
    json.dump([time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""
QUESTIONS: dict[str, Callable[[Path, Path], list[str]]] = {
    "`gansearch --version`": lambda *_: _cli("--version"),
    "`best`": lambda confirmed, _: _cli("best", confirmed),
    "`best`, before the confirm stage": lambda _, searched: _cli("best", searched),
    "`top`, 20 of the confirmed": lambda confirmed, _: _cli("top", confirmed),
    "`top --stage search`, 20 of all": lambda confirmed, _: _cli("top", confirmed, "--stage", "search"),
    "`top --by report`, 20 of all": lambda confirmed, _: _cli("top", confirmed, "--by", "report"),
    "`table1`": lambda confirmed, _: _cli("table1", confirmed),
    "`finalists`": lambda confirmed, _: _cli("finalists", confirmed),
    "`front`": lambda confirmed, _: _cli("front", confirmed),
    "`read_trials`, 4 columns": lambda confirmed, _: [
        sys.executable,
        "-c",
        _READ.format(run=str(confirmed), where=[]),
    ],
    "`read_trials`, 4 columns of the completed": lambda confirmed, _: [
        sys.executable,
        "-c",
        _READ.format(run=str(confirmed), where=[("status", "==", "COMPLETE")]),
    ],
}
"""By name: the command, given a run that was confirmed and the same before its confirm stage."""


def _cli(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "gansearch.cli", *map(str, arguments)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: processor time, of the system's work for it too: what is left of `seconds` on a busy machine.
        megabytes: the most memory that it held.
        output: what it wrote to stdout.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float
    output: str


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end.

    Raises:
        SystemExit: when it failed.
    """
    with tempfile.NamedTemporaryFile("r") as figures:
        launched = [sys.executable, "-S", "-c", _LAUNCHER, figures.name, *command]
        done = subprocess.run(launched, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
        seconds, cpu_seconds, kilobytes = json.load(figures)
    return Measured(seconds=seconds, cpu_seconds=cpu_seconds, megabytes=kilobytes / 1024, output=done.stdout)


def ask(rows: int, repeats: int, work: Path) -> dict[str, Any]:
    """Make a run of so many rows and put all questions to it.

    Args:
        rows: of its table of trials.
        repeats: times that each question is put.
        work: an empty folder for the run.
    """
    made = measure([sys.executable, "-m", "benchmarks.analysis.million_run", str(work), "--rows", str(rows)])
    confirmed, searched = work / "confirmed", work / "searched"
    found: dict[str, Any] = {"rows": rows, "made_seconds": made.seconds, "questions": {}}
    files = list((confirmed / "trials").glob("*.parquet"))
    found |= {"files": len(files), "megabytes_on_disk": sum(path.stat().st_size for path in files) / 2**20}
    for name, command in QUESTIONS.items():
        say(name)
        times = [measure(command(confirmed, searched)) for _ in range(repeats)]
        found["questions"][name] = {
            "seconds": [one.seconds for one in times],
            "cpu_seconds": [one.cpu_seconds for one in times],
            "megabytes": max(one.megabytes for one in times),
        }
    return found


def ask_ray(sizes: Sequence[int], limit: float, work: Path) -> list[dict[str, Any]]:
    """Put the question to Ray Tune, at growing sizes until an answer takes longer than a limit.

    Args:
        sizes: numbers of trials.
        limit: seconds.
        work: an empty folder for the experiments.
    """
    found: list[dict[str, Any]] = []
    for trials in sorted(sizes):
        if found and found[-1]["seconds"] > limit:
            break
        say(f"Ray Tune, {trials:,} trials")
        command, folder = [sys.executable, "-m", "benchmarks.analysis.million_ray"], work / f"ray-{trials}"
        measure([*command, "write", str(folder), "--trials", str(trials)])
        one = measure([*command, "read", str(folder)])
        shutil.rmtree(folder)
        numbers = {"seconds": one.seconds, "cpu_seconds": one.cpu_seconds, "megabytes": one.megabytes}
        found.append({"trials": trials, **numbers, "steps": json.loads(one.output.splitlines()[-1])["seconds"]})
    return found


def tables(found: Mapping[str, Any]) -> str:
    """Return what was measured as Markdown."""
    ours, lines = found["ours"], []
    lines += [
        f"{ours['rows']:,} rows in {ours['files']} files, {ours['megabytes_on_disk']:.0f} MB, made in "
        f"{ours['made_seconds']:.0f} s.",
        "",
        "| question | seconds, median | fastest | processor seconds, median | memory, MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, one in ours["questions"].items():
        seconds, cpu = one["seconds"], statistics.median(one["cpu_seconds"])
        numbers = f"{statistics.median(seconds):.2f} | {min(seconds):.2f} | {cpu:.2f} | {one['megabytes']:.0f}"
        lines.append(f"| {name} | {numbers} |")
    if found["ray"]:
        lines += [
            "",
            "| Ray Tune, best and top 20 of | seconds | of them, opening | processor seconds | memory, MB |",
            "| --- | --- | --- | --- | --- |",
        ]
    for one in found["ray"]:
        numbers = (
            f"{one['seconds']:.2f} | {one['steps']['open']:.2f} | {one['cpu_seconds']:.2f} | {one['megabytes']:.0f}"
        )
        lines.append(f"| {one['trials']:,} trials | {numbers} |")
    return "\n".join(lines) + "\n"


def where(load: Sequence[float]) -> str:
    """Return the machine, what it runs and how busy it was before and after, in words."""
    from benchmarks.machine import machine

    there = machine()
    versions = ", ".join(f"{name} {version}" for name, version in there["versions"].items())
    busy = f"load {load[0]:.1f} before, {load[1]:.1f} after"
    return f"{there['cores']} cores of {there['processor']}; {there['system']}; {versions}; {busy}."


def say(text: str) -> None:
    """Tell how far the benchmark is."""
    print(f"measuring: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure what the command line asks for; print the tables, and write the figures where they are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analysis.million",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="of trials (default: 1,000,000)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each question (default: 5)")
    parser.add_argument(
        "--ray", type=int, nargs="*", default=[1_000, 3_000, 10_000, 30_000], metavar="N", help="trials; none: no peer"
    )
    parser.add_argument("--limit", type=float, default=60, metavar="S", help="past which no larger peer is asked")
    parser.add_argument("--work", type=Path, help="where files lie meanwhile (default: a temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, as JSON")
    given = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="gansearch-million-", dir=given.work) as work:
        found: dict[str, Any] = {"ours": ask(given.rows, given.repeats, Path(work) / "ours")}
        found["ray"] = ask_ray(given.ray, given.limit, Path(work))
    text = where((before, os.getloadavg()[0]))
    if given.json:
        given.json.write_text(json.dumps({"machine": text, **found}, indent=2) + "\n", encoding="utf-8")
    print(f"{text}\n\n{tables(found)}", end="")


if __name__ == "__main__":
    main()
