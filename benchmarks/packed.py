"""Many trials in one: the packed engine beside a trial alone, and beside a process a trial.

    python -m benchmarks.packed
    python -m benchmarks.packed --device cuda

On a CPU, for networks of several sizes: a trial trained alone (`gansearch.core.adversarial.Adversarial`) and its share
in a pack of 4 and of 16 (`gansearch.core.pack.Pack`), in turns, medians over rounds. Then one small study on digits
through Ray Tune with a process a trial and through the packed executor, on one running Ray. Neither has a target on a
CPU: the figures say where packs pay, and are what the executor's rule `auto` rests on.

On a GPU, with PyTorch and NumPy alone: the paper's MNIST networks, one process a trial sharing the GPU beside packs of
growing size, and the full score (`benchmarks/packed_gpu.py`). Nothing else should run meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.flops import cost
from benchmarks.machine import (
    Figures,
    Ratio,
    headline,
    interleave,
    machine,
    options,
    ratio_table,
    say,
    table,
    write_json,
)
from benchmarks.packed_networks import SEED, Problem, sizes
from gansearch.core.adversarial import Adversarial
from gansearch.core.pack import Pack

PACKS = (4, 16)
"""Trials of a pack."""
ALONE = "alone"
PARTS = ("training", "sweeps")
NO_GPU = 2
"""Exit code where a GPU is asked for and there is none."""


def packed(trials: int) -> str:
    """Return what a pack of so many trials is called."""
    return f"pack of {trials}"


def measure(problem: Problem, threads: int, rounds: int, packs: Sequence[int] = PACKS) -> dict[str, Any]:
    """Return the time of an iteration of a trial alone, and of its share in packs.

    Args:
        problem: what is trained.
        threads: that PyTorch may use.
        rounds: that count.
        packs: trials of each pack.

    Raises:
        RuntimeError: when training diverged, so that it moved nothing.
    """
    alone = Adversarial(problem.config, problem.images, problem.levels, SEED)
    contestants: dict[str, Callable[[], object]] = {ALONE: _repeated(alone.train_epoch, problem.epochs)}
    own = [alone]
    for trials in packs:
        pack = Pack(problem.images, problem.levels)
        slots = [pack.join(problem.config, SEED + i) for i in range(trials)]
        own += [slot.own for slot in slots]

        def train(pack: Pack = pack, slots: Sequence[Any] = slots) -> None:
            pack.train_epoch()
            for slot in slots:
                slot.train_epoch()

        contestants[packed(trials)] = _repeated(train, problem.epochs)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        times = interleave(contestants, rounds)
    finally:
        torch.set_num_threads(before)
    if any(one.diverged() for one in own):
        raise RuntimeError(f"{problem.name}: training diverged")
    iterations = problem.steps // problem.config.algorithm.k
    trained = {ALONE: 1, **{packed(trials): trials for trials in packs}}
    return {
        "problem": problem.name,
        "threads": threads,
        "steps": problem.steps,
        "rounds": rounds,
        "flops": cost(problem.config, problem.images.shape[1]).flops,
        "times": {name: times[name].each(iterations * trained[name]) for name in times},
    }


def _repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(times):
            call()

    return repeat


def ratios(one: Figures) -> list[Ratio]:
    """Return what `measure` found as ratios: how much sooner a trial's iteration is done in a pack than alone."""
    times = one["times"]
    where = f"{one['problem']}, {_threads(one)}"
    return [Ratio.of(f"{where}: {ALONE} / {name}", times[ALONE], times[name]) for name in times if name != ALONE]


def _threads(one: Figures) -> str:
    return f"{one['threads']} thread{'s' if one['threads'] > 1 else ''}"


def figures_table(measured: Sequence[Figures]) -> str:
    """Return the times of an iteration of a trial, and what packs gain, as a table in Markdown."""
    names = [name for name in measured[0]["times"] if name != ALONE]
    header = ["networks", "threads", "MFLOP", "ms, alone", *(f"ms, {name}" for name in names)]
    header += [f"alone / {name}" for name in names]
    rows = []
    for one in measured:
        times = [f"{1e3 * each.median:.3f}" for each in one["times"].values()]
        gains = [f"{ratio.value:.2f} ({ratio.note})" for ratio in ratios(one)]
        rows.append([one["problem"], str(one["threads"]), f"{one['flops'] / 1e6:.2f}", *times, *gains])
    return table(header, rows)


def plain(one: Figures) -> dict[str, Any]:
    """Return what `measure` found as JSON has it."""
    return {**one, "times": {name: times.to_dict() for name, times in one["times"].items()}}


def main() -> int:
    """Measure what the command line asks for; print the tables, and write the figures where they are asked for."""
    parser = options("benchmarks.packed", __doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], metavar="N", help="of a pack (default: 1)")
    parser.add_argument("--rounds", type=int, metavar="N", help="that count (default: 5)")
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help="to train on on a GPU")
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=PARTS, help="on a CPU (default: both)")
    given = parser.parse_args()
    if given.device == "cuda":
        return _on_a_gpu(given)
    rounds = given.rounds or (2 if given.quick else 5)
    where, found = machine(), list[Ratio]()
    parts, content = [headline(where)], dict[str, Any]()
    if "training" in given.parts:
        measured = []
        for problem in sizes():
            for threads in given.threads:
                say(f"{problem.name}, threads: {threads}")
                measured.append(measure(problem, threads, rounds))
                found += ratios(measured[-1])
        parts.append(figures_table(measured))
        content["training"] = [plain(one) for one in measured]
    if "sweeps" in given.parts:
        from benchmarks import packed_sweep  # Ray, which the rest does without

        swept = content["sweeps"] = packed_sweep.measure(quick=given.quick)
        gained = packed_sweep.ratios(swept)
        found += gained
        parts += [packed_sweep.figures_table(swept), ratio_table(gained)]
    if given.json:
        write_json(given.json, where, content, found)
    print("\n\n".join(parts))
    return 0


def _on_a_gpu(given: Any) -> int:
    """Run the part for a GPU, where there is one."""
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU here, and this part of the benchmark needs one.", file=sys.stderr)
        return NO_GPU
    from benchmarks import packed_gpu

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that it starts
    torch.set_num_threads(1)
    where = machine()
    measured = packed_gpu.measure(torch.device("cuda"), images=given.images, seconds=1.0 if given.quick else 5.0)
    found = packed_gpu.ratios(measured)
    if given.json:
        write_json(given.json, where, measured, found)
    print("\n\n".join([headline(where), *packed_gpu.tables(measured), ratio_table(found)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
