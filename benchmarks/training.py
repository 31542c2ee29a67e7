"""How close training comes to the machine's rate of matrix products, and how it compares with the common loop.

    python -m benchmarks.training

Three contestants take turns on the same images, on one thread and on two: the bare matrix products of an iteration of
Algorithm 1, at the same shapes and with nothing between them (the limit); `gansearch.core.adversarial.Adversarial`; and
the loop that most public PyTorch repositories use (`benchmarks/common_loop.py`). Times are medians over rounds. Nothing
else should run meanwhile.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.common_loop import CommonLoop
from benchmarks.flops import Product, cost, products
from benchmarks.machine import (
    Figures,
    Ratio,
    Times,
    headline,
    interleave,
    machine,
    options,
    ratio_table,
    say,
    table,
    write_json,
)
from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file
from gansearch.core.adversarial import Adversarial
from gansearch.core.datasets import as_tensor, describe, load
from gansearch.errors import DataError
from gansearch.yaml_files import find_file, load_yaml

SEED = 2014
ORDERS = ("alternating", "simultaneous")
LIMIT_ITERATIONS = 8
"""Of the bare products in a row: all iterations are alike, so fewer of them do."""
LIMITS = {"products": False, "products, D on 2 m": True}
"""The arrangements of the bare products, and whether D sees examples and samples together; the faster is the limit."""
OURS, COMMON, REUSING = "gansearch", "common loop", "common loop, samples reused"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is trained.

    Attributes:
        name: of the images and the networks.
        config: the networks and the algorithm; the order is set by the benchmark.
        images: training images as bytes, [n, d].
        levels: the byte that stands for a pixel value of 1.
        epochs: of these images, in a row, for one time.
        of_limit: targets for the rate over that of the bare products, by the number of threads.
        of_common: target for the rate over that of the common loop.
    """

    name: str
    config: TrialConfig
    images: Tensor
    levels: int
    epochs: int
    of_limit: dict[int, float]
    of_common: float

    @property
    def steps(self) -> int:
        """Steps of one time."""
        return self.epochs * (len(self.images) // self.config.algorithm.batch_size)


def problems(images: int) -> list[Problem]:
    """Return the paper's networks on MNIST and those of the quickstart on digits.

    Args:
        images: of MNIST; of the digits as many, up to all.
    """
    mnist, digits = load_config_file("paper/mnist").config, load_yaml(find_file("quickstart"))["base"]
    return [
        _problem("MNIST", mnist, images, epochs=1, of_limit={1: 0.85, 2: 0.75}, of_common=1.3),
        _problem("digits", TrialConfig.from_dict(digits), images, epochs=5, of_limit={}, of_common=2.5),
    ]


def _problem(name: str, config: TrialConfig, images: int, **settings: Any) -> Problem:
    info = describe(config.dataset.name)
    try:
        train = as_tensor(load(info.name, data_dir=None, download=False).train[:images])
    except DataError:  # training takes as long on noise
        name = f"{name} (random bytes in its place)"
        generator = torch.Generator().manual_seed(SEED)
        shape = (min(images, info.n_train), info.dim)
        train = torch.randint(0, info.levels + 1, shape, dtype=torch.uint8, generator=generator)
    return Problem(name=name, config=config, images=train, levels=info.levels, **settings)


def bare(wanted: Sequence[Product]) -> Callable[[], None]:
    """Return what computes these products, one after the other, into memory that is already there.

    Matrices of the same shape are the same memory, as weights are that several products share.
    """
    generator = torch.Generator().manual_seed(SEED)
    matrices: dict[tuple[object, ...], Tensor] = {}

    def matrix(rows: int, columns: int, role: str) -> Tensor:
        shape = (columns, rows) if role == "transposed" else (rows, columns)
        if (*shape, role) not in matrices:
            matrices[*shape, role] = torch.empty(shape).uniform_(-1, 1, generator=generator)
        found = matrices[*shape, role]
        return found.t() if role == "transposed" else found

    jobs = [
        (
            matrix(one.rows, one.inner, "transposed" if one.transposed == "left" else "left"),
            matrix(one.inner, one.columns, "transposed" if one.transposed == "right" else "right"),
            matrix(one.rows, one.columns, "result"),
        )
        for one in wanted
    ]

    def compute() -> None:
        for left, right, result in jobs:
            torch.mm(left, right, out=result)

    return compute


def measure(problem: Problem, order: str, threads: int, rounds: int) -> dict[str, Any]:
    """Return the time of an iteration by each contestant.

    Args:
        problem: what is trained.
        order: of the updates; the common loop is alternating, and left out of another order.
        threads: that PyTorch may use.
        rounds: that count.

    Raises:
        RuntimeError: when training diverged, so that it moved nothing.
    """
    config = problem.config.replace({"algorithm.order": order})
    dim = problem.images.shape[1]
    ours = Adversarial(config, problem.images, problem.levels, SEED)
    contestants: dict[str, tuple[Callable[[], object], int]] = {
        name: (bare(products(config, dim, together=together)), LIMIT_ITERATIONS) for name, together in LIMITS.items()
    }
    contestants[OURS] = (ours.train_epoch, problem.epochs)
    if order == "alternating":
        floats = problem.images / problem.levels
        for name, reuse in {COMMON: False, REUSING: True}.items():
            contestants[name] = (CommonLoop(config, floats, SEED, reuse=reuse).train_epoch, problem.epochs)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        times = interleave({name: _repeated(*what) for name, what in contestants.items()}, rounds)
    finally:
        torch.set_num_threads(before)
    if ours.diverged():
        raise RuntimeError(f"{problem.name}, {order}: training diverged")
    return {
        "problem": problem.name,
        "order": order,
        "threads": threads,
        "images": len(problem.images),
        "steps": problem.steps,
        "rounds": rounds,
        "products": len(products(config, dim)),
        **dataclasses.asdict(cost(config, dim)),
        "times": {name: times[name].each(_iterations(problem, name)) for name in contestants},
    }


def _repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(times):
            call()

    return repeat


def _iterations(problem: Problem, contestant: str) -> int:
    return LIMIT_ITERATIONS if contestant in LIMITS else problem.steps // problem.config.algorithm.k


def limit(one: Figures) -> Times:
    """Return the times of the faster arrangement of the bare products."""
    times: list[Times] = [one["times"][name] for name in LIMITS]
    return min(times, key=lambda each: each.median)


def ratios(problem: Problem, one: Figures) -> list[Ratio]:
    """Return what `measure` found of a problem as ratios beside their targets."""
    threads, times = one["threads"], one["times"]
    where = f"{one['problem']}, {one['order']}, {threads} thread{'s' if threads > 1 else ''}"
    found = [Ratio.of(f"{where}: rate / matrix products", limit(one), times[OURS], problem.of_limit.get(threads))]
    if COMMON in times:
        found.append(Ratio.of(f"{where}: rate / common loop", times[COMMON], times[OURS], problem.of_common))
        found.append(Ratio.of(f"{where}: rate / common loop, samples reused", times[REUSING], times[OURS]))
    return found


def figures_table(measured: Sequence[Figures]) -> str:
    """Return the rates of all contestants as a table in Markdown.

    GFLOP/s are those of the iteration's own count, whatever a contestant computes beyond it.
    """
    header = ["networks", "order", "threads", "contestant", "iterations/s", "ms, median", "ms, fastest", "GFLOP/s"]
    rows = []
    for one in measured:
        for name, times in one["times"].items():
            rate = "" if name == REUSING else f"{one['flops'] / times.median / 1e9:.1f}"
            numbers = [f"{1 / times.median:.1f}", f"{1e3 * times.median:.3f}", f"{1e3 * times.fastest:.3f}", rate]
            rows.append([one["problem"], one["order"], str(one["threads"]), name, *numbers])
    return table(header, rows)


def cost_table(measured: Sequence[Figures]) -> str:
    """Return what an iteration of each problem and order costs as a table in Markdown."""
    header = ["networks", "order", "MFLOP", "products", "MB", "of products", "activations", "draws", "update"]
    rows: dict[tuple[str, str], list[str]] = {}
    for one in measured:
        parts = [one[f"{part}_bytes"] for part in ("product", "activation", "draw", "update")]
        cells = [f"{one['flops'] / 1e6:.1f}", str(one["products"]), *(f"{n / 1e6:.1f}" for n in (sum(parts), *parts))]
        rows[one["problem"], one["order"]] = cells
    return table(header, [[*names, *cells] for names, cells in rows.items()])


def main() -> None:
    """Measure what the command line asks for; print the tables, and write the figures where they are asked for."""
    parser = options("benchmarks.training", __doc__)
    cores = len(os.sched_getaffinity(0))
    most = [threads for threads in (1, 2) if threads <= cores]
    parser.add_argument("--threads", type=int, nargs="+", default=most, metavar="N", help="(default: 1 and 2)")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="to train on (default: 2,000)")
    parser.add_argument("--rounds", type=int, metavar="N", help="that count (default: 7)")
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 7)
    where, measured, found = machine(), [], []
    for problem in problems(min(given.images, 500) if given.quick else given.images):
        for threads in given.threads:
            for order in ORDERS:
                say(f"{problem.name}, {order}, threads: {threads}")
                measured.append(measure(problem, order, threads, rounds))
                found += ratios(problem, measured[-1])
    if given.json:
        plain = [one | {"times": {name: times.to_dict() for name, times in one["times"].items()}} for one in measured]
        write_json(given.json, where, plain, found)
    parts = [headline(where), cost_table(measured), figures_table(measured), ratio_table(found)]
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
