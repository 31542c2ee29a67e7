"""How soon a sweep trains, and what its workers take of the memory. Linux only.

Time runs from the start of the command (`gansearch sweep`, a Python process of its own) to the moment at which a worker
begins the first epoch of the first trial. The peer is a bare script, timed in turns with it: its own start, `ray.init`
with the same options, and one task that imports torch. Both once with a Ray of their own, and once on a running one.

Memory is the proportional set size (PSS) in the first epochs of those sweeps, two trials at a time, the mean of the two
workers. The bare processes have imported torch and ray and nothing else. There are three of them, at another moment:
one stands for the sweep's driver, so that as many processes share torch's pages in both cases. A third kind, with
ray.tune besides, shows what of the difference is Ray Tune's own.

    python -m benchmarks.startup --json startup.json
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.machine import Figures, Ratio, Times, headline, machine, options, ratio_table, say, table, write_json
from benchmarks.startup_memory import in_store, pss
from benchmarks.startup_worker import FOLDER
from gansearch.core.datasets import load
from gansearch.errors import DataError

ROOT = Path(__file__).parents[1]
STUDIES = {"digits": "quickstart", "MNIST": "mnist_small"}
"""The shipped study of each data set: one core a trial."""
WORKERS = 2
SETTLED_SECONDS = 2.0
"""Between a worker's first epoch and the look at its memory."""
SWEEP, PEER, STRICT = "first training step", "peer", "peer, once it has imported ray"
_LONGEST = 60.0
BARE = ("torch", "ray")
WITH_TUNE = (*BARE, "ray.tune")


def sweep(data: str, address: str, *, memory: bool = False) -> dict[str, Any]:
    """Start a sweep and end it once its workers train.

    Args:
        data: a name in `STUDIES`.
        address: a running cluster, or `local`.
        memory: whether to wait for both workers and look at their memory.

    Returns:
        `seconds` to the first epoch; with `memory`, lists of the workers' `pss`, and of `store_rss` and `store_pss`
        where those read the object store, all in MB.
    """
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        marks = Path(folder, FOLDER)
        marks.mkdir()
        arguments = [STUDIES[data], str(Path(folder, "run")), *([] if address == "local" else [address])]
        began = time.time()
        with _running("benchmarks.startup_sweep", *arguments) as process:
            found = _marks(marks, WORKERS if memory else 1, process)
            measured: dict[str, Any] = {"seconds": min(mark["at"] for mark in found) - began}
            if memory:
                time.sleep(SETTLED_SECONDS)
                pids = [mark["pid"] for mark in found]
                store = [in_store(pid) for pid in pids]
                measured |= {"pss": [pss(pid) for pid in pids]}
                measured |= {"store_rss": [rss for rss, _ in store], "store_pss": [part for _, part in store]}
        return measured


def peer(address: str) -> dict[str, float]:
    """Return the seconds that the peer took from its start, and from its call of `ray.init`."""
    began = time.time()
    with _running("benchmarks.startup_peer", address) as process:
        told = json.loads(process.communicate(timeout=_LONGEST)[0])
    return {"seconds": told["imported"] - began, "after_import": told["imported"] - told["asked"]}


def bare(modules: Sequence[str]) -> float:
    """Return the mean PSS, in MB, of processes that have imported modules and nothing else: as many as a sweep has."""
    code = f"import sys, {', '.join(modules)}; print(flush=True); sys.stdin.read()"
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(WORKERS + 1):
            process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(process.communicate)  # closes its input, and so ends it
            processes.append(process)
        for process in processes:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"a process did not import {', '.join(modules)}")
        return fmean(pss(process.pid) for process in processes)


@contextlib.contextmanager
def _running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module in a process of its own for the time of the block, and end it with what it has started."""
    command = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            yield process
        except BaseException:
            errors.seek(0)
            sys.stderr.write(errors.read()[-2_000:])
            raise
        finally:
            for _ in range(2):  # the second Ctrl-C does not wait for trials
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _marks(folder: Path, count: int, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Wait until so many workers have said that they train; return what they said."""
    until = time.monotonic() + _LONGEST
    while len(found := list(folder.glob("*.json"))) < count:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{len(found)} of {count} workers trained")
        time.sleep(0.05)
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """Run a Ray of two cores on this machine for the time of the block; give its address."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # it listens on this machine alone, for two minutes
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(sys.executable).with_name("ray")
    command = [str(script), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    command += [f"--num-cpus={WORKERS}", "--include-dashboard=false", "--disable-usage-stats"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(8)  # until its processes rest
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def measure(data: str, address: str, rounds: int) -> Figures:
    """Time the sweep and its peer in turns; look at the memory of workers and of bare processes where Ray is local."""
    local = address == "local"
    ours, theirs, plain, tune = [], [], [], []
    for number in range(1, rounds + 1):
        say(f"{data}, {'own Ray' if local else 'a running Ray'}, round {number} of {rounds}")
        ours.append(sweep(data, address, memory=local))
        theirs.append(peer(address))
        if local:
            plain.append(bare(BARE))
            tune.append(bare(WITH_TUNE))
    times = {
        SWEEP: [one["seconds"] for one in ours],
        PEER: [one["seconds"] for one in theirs],
        STRICT: [one["after_import"] for one in theirs],
    }
    memory: dict[str, list[float]] = {}
    if local:
        memory = {"a worker": [fmean(one["pss"]) for one in ours], "bare": plain, "bare, with ray.tune": tune}
    return {"times": times, "memory": memory, "sweeps": ours}


def ratios(name: str, found: Figures) -> list[Ratio]:
    """Return what `measure` found as ratios beside their targets."""
    times = {one: Times(tuple(seconds)) for one, seconds in found["times"].items()}
    both = [Ratio.of(f"{name}: {SWEEP} / {one}", times[SWEEP], times[one], 1.3, at_most=True) for one in (PEER, STRICT)]
    if not found["memory"]:
        return both
    sizes = {one: Times(tuple(each)) for one, each in found["memory"].items()}
    target = 1.2 if name.startswith("digits") else None
    worker, plain, tune = sizes.values()
    return [
        *both,
        Ratio.of(f"{name}: PSS of a worker / bare", worker, plain, target, at_most=True),
        Ratio.of(f"{name}: PSS of a worker / bare, with ray.tune", worker, tune),
    ]


def figures_table(measured: Mapping[str, Figures]) -> str:
    """Return times and memory as a table in Markdown."""
    rows = []
    for name, found in measured.items():
        rows += [[name, one, f"{median(s):.2f} s", f"{min(s):.2f} s"] for one, s in found["times"].items()]
        rows += [[name, f"PSS: {one}", f"{median(s):.0f} MB", f"{min(s):.0f} MB"] for one, s in found["memory"].items()]
        if found["memory"]:
            each = [max(one["store_rss"]) for one in found["sweeps"]]
            both = [sum(one["store_pss"]) for one in found["sweeps"]]
            rows.append([name, "object store, read by a worker", f"{median(each):.1f} MB", f"{min(each):.1f} MB"])
            rows.append([name, "PSS of that, two workers together", f"{median(both):.1f} MB", f"{min(both):.1f} MB"])
    return table(["", "", "median", "least"], rows)


def _is_here(data: str) -> bool:
    try:
        load(data.lower(), data_dir=None, download=False)
    except DataError as error:
        say(f"{data} is left out: {error.message}")
        return False
    return True


def main() -> None:
    """Measure, print the tables, and write the figures where they are asked for."""
    given = options("benchmarks.startup", __doc__).parse_args()
    rounds = 1 if given.quick else 3
    where = machine()
    measured = {f"{data}, own Ray": measure(data, "local", rounds) for data in STUDIES if _is_here(data)}
    with cluster() as address:
        measured["digits, a running Ray"] = measure("digits", address, rounds)
    found = [ratio for name, one in measured.items() for ratio in ratios(name, one)]
    if given.json:
        write_json(given.json, where, measured, found)
    print("\n\n".join([headline(where), figures_table(measured), ratio_table(found)]))


if __name__ == "__main__":
    main()
