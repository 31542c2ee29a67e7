"""What the benchmarks share: the machine they name, how they time, and how they show and keep what they found.

Needs PyTorch and NumPy only, so that a benchmark can run where nothing else is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gansearch.provenance import device_name, versions

Figures = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """Return what figures are measured on: processor, cores, memory, GPU, system, load and versions."""
    gpu = device_name(torch.device("cuda")) if torch.cuda.is_available() else None
    return {
        "processor": device_name(torch.device("cpu")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gigabytes": os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "gpu": gpu,
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "versions": versions(),
    }


def headline(where: Figures) -> str:
    """Return in one line what `machine` found; packages that are not installed are left out."""
    cores = "1 core" if where["cores"] == 1 else f"{where['cores']} cores"
    parts = [f"{cores} of {where['processor']}", f"{where['memory_gigabytes']:.0f} GiB"]
    parts += [where["gpu"]] if where["gpu"] else []
    named = ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version)
    return "; ".join([*parts, where["system"], named, f"load {where['load']:.1f} at the start"]) + "."


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """How long something took, each time it was done.

    Attributes:
        seconds: of each time, in order; one or more.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        """The shortest time, in seconds: the one least disturbed."""
        return min(self.seconds)

    def each(self, times: int) -> Times:
        """Return the times of one thing, where each is that of so many in a row."""
        return Times(tuple(seconds / times for seconds in self.seconds))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        return {"median": self.median, "fastest": self.fastest, "seconds": list(self.seconds)}


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Time contestants in turns: all of them once, then all of them again.

    A machine that slows down meanwhile slows all of them, and each round begins with another contestant, so that
    nobody always follows the same one.

    Args:
        contestants: what to call, by name. On a GPU the call waits for the device itself.
        repeats: rounds that count, 1 or more.
        warmups: rounds before them, which do not.
        clock: tells the time, in seconds.
    """
    names = list(contestants)
    found: dict[str, list[float]] = {name: [] for name in names}
    for i in range(warmups + repeats):
        first = i % len(names)
        for name in (*names[first:], *names[:first]):
            began = clock()
            contestants[name]()
            if i >= warmups:
                found[name].append(clock() - began)
            else:
                clock()
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A claim: a figure beside that of a peer or a limit measured in the same run.

    Attributes:
        name: what is divided by what.
        value: what was found.
        target: what it should be; None where nothing was promised.
        at_most: whether the target is a ceiling; a floor otherwise.
        note: what stands beside it in the table, such as how a slow peer was scaled.
    """

    name: str
    value: float
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @classmethod
    def of(cls, name: str, above: Times, below: Times, target: float | None = None, *, at_most: bool = False) -> Ratio:
        """Return the ratio of two times of `interleave`: the median over its rounds, beside the least and the most.

        The two times of a round stand side by side, so what slows the machine for a while slows both.

        Args:
            name: what is divided by what.
            above: the times that are divided.
            below: the times that they are divided by, of the same rounds.
            target: what the ratio should be.
            at_most: whether the target is a ceiling.
        """
        each = [a / b for a, b in zip(above.seconds, below.seconds, strict=True)]
        note = f"{min(each):.2f} to {max(each):.2f}"
        return cls(name=name, value=statistics.median(each), target=target, at_most=at_most, note=note)

    @property
    def reached(self) -> bool | None:
        """Whether the value is as good as its target; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        return {**dataclasses.asdict(self), "reached": self.reached}


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """Return the ratios beside their targets as a table in Markdown."""
    rows = []
    for one in ratios:
        bound = "" if one.target is None else f"at {'most' if one.at_most else 'least'} {one.target:g}"
        verdict = {None: "", True: "reached", False: "not reached"}[one.reached]
        rows.append([one.name, f"{one.value:.2f}", bound, verdict, one.note])
    return table(["ratio", "value", "target", "", "note"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, its columns padded to one width.

    Raises:
        ValueError: when a row has not as many cells as the header.
    """
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"a row has not the {len(header)} cells of the header")
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def write_json(path: Path, where: Figures, measured: object, ratios: Sequence[Ratio] = ()) -> None:
    """Write the machine, the figures and the ratios to a file; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": where, "ratios": [one.to_dict() for one in ratios], "measured": measured}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def options(module: str, doc: str | None) -> argparse.ArgumentParser:
    """Return the command line that every benchmark has: `--json FILE` and `--quick`.

    Args:
        module: the benchmark's module, such as `benchmarks.training`.
        doc: the module's docstring.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, as JSON")
    parser.add_argument("--quick", action="store_true", help="a few repetitions: figures to look at, not to keep")
    return parser


def say(text: str) -> None:
    """Tell how far the benchmark is."""
    print(f"measuring: {text}", file=sys.stderr, flush=True)
