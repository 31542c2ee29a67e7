"""What a trial costs the driver, and what that is beside plain Ray Tune.

    python -m benchmarks.scale --trials 1000 10000

Every measurement runs in a process and on a Ray of its own, one after the other. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.scale.report import tables
from benchmarks.scale.studies import CONCURRENT


def jobs(given: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield the kind and the number of trials of each measurement that is asked for."""
    yield from (("no-op", trials) for trials in given.trials)
    for kind, trials in (
        ("sleep", given.sleep),
        ("plain-reuse", given.plain_reuse),
        ("real", given.real),
        ("plain", given.plain),
    ):
        if trials:
            yield kind, trials


def run(kind: str, trials: int, given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Measure in a process of its own; what the trials wrote is removed."""
    own = work / f"{kind}-{trials}"
    command = [sys.executable, "-m", "benchmarks.scale.measure", kind, "--trials", str(trials), "--work", str(own)]
    command += ["--concurrent", str(given.concurrent), "--epochs", str(given.epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(own, ignore_errors=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run what the command line asks for; print the tables, and write the figures where they are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="*", default=[1000, 10000], metavar="N", help="of no-op sweeps")
    parser.add_argument("--sleep", type=int, default=1000, metavar="N", help="trials that sleep for a second; 0: none")
    parser.add_argument("--plain-reuse", type=int, default=1000, metavar="N", help="of plain Tune with reuse_actors")
    parser.add_argument("--plain", type=int, default=1000, metavar="N", help="of plain Tune with its defaults")
    parser.add_argument("--real", type=int, default=20, metavar="N", help="trials that train")
    parser.add_argument("--epochs", type=int, default=280, help="of a trial that trains: about 10 s on one core")
    parser.add_argument("--concurrent", type=int, default=CONCURRENT, metavar="N", help="trials that do not train")
    parser.add_argument("--work", type=Path, help="where the trials write meanwhile (default: a temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, as JSON")
    given = parser.parse_args()
    where, found = machine(), []
    with tempfile.TemporaryDirectory(prefix="gansearch-scale-", dir=given.work) as work:
        for kind, trials in jobs(given):
            print(f"measuring: {kind}, {trials} trials", file=sys.stderr, flush=True)
            found.append(run(kind, trials, given, Path(work)))
            if given.json:  # each time: one that takes long may be ended
                content = json.dumps({"machine": where, "measured": found}, indent=2)
                given.json.write_text(content + "\n", encoding="utf-8")
    print(tables(where, found), end="")


if __name__ == "__main__":
    main()
