"""What a score costs: the full protocol beside the matrix products that it cannot avoid, and beside others' estimators.

    python -m benchmarks.parzen

On one thread and on two, in turns: the two bare products of 10,000 samples with 10,000 validation and 10,000 test
images of 784 pixels (the limit); the full protocol (sigma refined on all validation images, test images scored); the
direct broadcast algorithm of the estimator that was released with the paper; scikit-learn's KernelDensity. The peers
see a share of the points at every sigma of the protocol's grid, and their times are scaled to all points. Then an
intermediate report beside an epoch of training. Ratios are medians over rounds. Nothing else should run meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

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
from benchmarks.parzen_peers import GridScore, broadcast, by_grid, kernel_density
from gansearch.config_files import load_config_file
from gansearch.core import diagnostics, parzen
from gansearch.core.adversarial import Adversarial
from gansearch.core.datasets import as_tensor, load, to_unit
from gansearch.errors import DataError
from gansearch.protocols import Protocol, protocol
from gansearch.scoring import score_valid

SEED = 2014
LIMIT, OURS, BROADCAST, KDE = "matrix products", "gansearch", "broadcast", "KernelDensity"
PEERS = (BROADCAST, KDE)
EPOCH, REPORT = "epoch", "report"
STEPS_PER_EPOCH = 500
"""Of MNIST in the paper's minibatches of 100."""
NOISE = 0.1
"""Standard deviation of what is added to training images, to stand for a model's samples."""
EQUAL_NATS = 2e-3
"""Answers are equal that differ by less at every point: what the estimator promises of float32."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What is scored.

    Attributes:
        name: of the images.
        samples: what stands in the place of a model's samples, in [0,1], float32 [n, d].
        train: training images as bytes.
        valid: validation images as bytes.
        test: test images as bytes.
        levels: the byte that stands for a pixel value of 1.
    """

    name: str
    samples: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor
    levels: int


def problem(num_samples: int) -> Problem:
    """Return MNIST, with noisy training images for samples; random bytes of its shape where it is not there."""
    generator = torch.Generator().manual_seed(SEED)
    try:
        data = load("mnist", data_dir=None, download=False)
        name, levels = "MNIST", data.levels
        train, valid, test = (as_tensor(split) for split in (data.train, data.valid, data.test) if split is not None)
    except DataError:
        name, levels = "random bytes in the place of MNIST", 255
        train, valid, test = (
            torch.randint(0, 256, (n, 784), dtype=torch.uint8, generator=generator) for n in (50_000, 10_000, 10_000)
        )
    samples = to_unit(train[:num_samples], levels)
    samples = (samples + NOISE * torch.randn(samples.shape, generator=generator)).clamp_(0, 1)
    return Problem(name=name, samples=samples, train=train, valid=valid, test=test, levels=levels)


def bare(samples: Tensor, valid: Tensor, test: Tensor) -> Callable[[], None]:
    """Return what multiplies samples with both sets of points, into memory that is already there."""
    results = [torch.empty(len(points), len(samples)) for points in (valid, test)]

    def compute() -> None:
        for points, result in zip((valid, test), results, strict=True):
            torch.mm(points, samples.T, out=result)

    return compute


def measure(of: Problem, how: Protocol, threads: int, rounds: int, share: int) -> dict[str, Any]:
    """Return the times of a score by each contestant, those of peers scaled to all points, and whether they agree.

    Args:
        of: what is scored.
        how: the protocol.
        threads: that PyTorch may use; KernelDensity uses one.
        rounds: that count.
        share: the peers see one point in so many.
    """
    samples = of.samples
    valid, test = (to_unit(images, of.levels) for images in (of.valid, of.test))
    few = valid[: len(valid) // share], test[: len(test) // share]
    answers: dict[str, GridScore] = {}
    fit = parzen.fit_sigma(samples, valid, how)
    peers = {BROADCAST: broadcast(samples), KDE: kernel_density(samples)}

    def ours() -> None:
        found = parzen.fit_sigma(samples, valid, how)
        parzen.log_likelihood(samples, test, found.sigma, dtype=how.dtype)

    def peer(name: str) -> Callable[[], None]:
        def score() -> None:
            answers[name] = by_grid(peers[name], *few, fit.grid_sigmas)

        return score

    with _threads(threads):
        times = interleave({LIMIT: bare(samples, valid, test), OURS: ours, **{p: peer(p) for p in PEERS}}, rounds)
    return {
        "problem": of.name,
        "protocol": how.id,
        "shape": [len(samples), len(valid), len(test), samples.shape[1]],
        "flops": 2 * len(samples) * (len(valid) + len(test)) * samples.shape[1],
        "threads": threads,
        "rounds": rounds,
        "share": share,
        "sigma": fit.sigma,
        "times": times | {name: Times(tuple(share * s for s in times[name].seconds)) for name in PEERS},
        "differences": {name: difference(samples, few, answers[name], how) for name in PEERS},
    }


def difference(samples: Tensor, points: tuple[Tensor, Tensor], answer: GridScore, how: Protocol) -> dict[str, float]:
    """Return by how much a peer's log-likelihoods differ from ours.

    Args:
        samples: what carries the kernels.
        points: validation and test points that the peer saw.
        answer: what it found.
        how: the protocol.

    Returns:
        `test_nats`: the largest difference at a test point at the peer's sigma, in nats; `grid`: the largest at a
        validation point at any sigma of the grid, relative to our value.
    """
    valid, test = points
    grid = parzen.fit_sigma(samples, valid, dataclasses.replace(how, refine=False))
    ours = torch.stack([parzen.log_likelihood(samples, valid, s, dtype=how.dtype) for s in grid.grid_sigmas])
    ll = parzen.log_likelihood(samples, test, answer.sigma, dtype=how.dtype)
    return {
        "test_nats": (ll - answer.test_ll).abs().max().item(),
        "grid": ((ours - answer.valid_ll) / ours).abs().max().item(),
    }


def measure_report(of: Problem, how: Protocol, threads: int, rounds: int, steps: int) -> dict[str, Any]:
    """Return the times of an epoch of the paper's networks, and of an intermediate report.

    Args:
        of: what is trained on.
        how: the protocol of reports.
        threads: that PyTorch may use.
        rounds: that count.
        steps: of an epoch; its time is scaled to `STEPS_PER_EPOCH`.

    Raises:
        RuntimeError: when training diverged, so that it moved nothing.
    """
    config = load_config_file("paper/mnist").config
    learner = Adversarial(config, of.train[: steps * config.algorithm.batch_size], of.levels, SEED)
    reference = diagnostics.reference(of.train, of.valid, of.levels, num_samples=how.num_samples)

    def report() -> None:
        drawn = learner.sample(learner.weights(), how.num_samples, "report")
        score_valid(drawn, of.valid, of.levels, how)
        diagnostics.diversity(drawn, reference)

    with _threads(threads):
        times = interleave({EPOCH: learner.train_epoch, REPORT: report}, rounds)
    if learner.diverged():
        raise RuntimeError("training diverged")
    epoch = Times(tuple(STEPS_PER_EPOCH / steps * s for s in times[EPOCH].seconds))
    return {"protocol": how.id, "threads": threads, "steps": steps, "times": {EPOCH: epoch, REPORT: times[REPORT]}}


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and put back what was set."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ratios(score: Figures, report: Figures) -> list[Ratio]:
    """Return what `measure` and `measure_report` found as ratios beside their targets."""
    times, threads = score["times"], score["threads"]
    where = f"{threads} thread{'s' if threads > 1 else ''}"
    found = [Ratio.of(f"{where}: full protocol / matrix products", times[OURS], times[LIMIT], 2.5, at_most=True)]
    for name, target in ((BROADCAST, 20), (KDE, 50)):
        one = Ratio.of(f"{where}: {name} / full protocol", times[name], times[OURS], target)
        scaled = f"{one.note}; peer on 1 of {score['share']} points, scaled"
        found.append(dataclasses.replace(one, note=scaled))
    percent = Times(tuple(100 * s for s in report["times"][REPORT].seconds))
    one = Ratio.of(f"{where}: 100 x report / epoch of training", percent, report["times"][EPOCH], 3, at_most=True)
    scaled = f"{one.note}; epoch of {STEPS_PER_EPOCH} steps, scaled from {report['steps']}"
    return [*found, dataclasses.replace(one, note=scaled)]


def figures_table(measured: Sequence[tuple[Figures, Figures]]) -> str:
    """Return the times of all contestants as a table in Markdown; those of peers are scaled to all points."""
    rows = []
    for score, report in measured:
        of_products = f"{score['flops'] / score['times'][LIMIT].median / 1e9:.0f} GFLOP/s"
        notes = {LIMIT: of_products, OURS: f"sigma {score['sigma']:.4f}"}
        notes |= {name: f"differs by {d['test_nats']:.0e} nats, {d['grid']:.0e}" for name, d in _differences(score)}
        notes |= {EPOCH: f"{1e3 * report['times'][EPOCH].median / STEPS_PER_EPOCH:.1f} ms a step", REPORT: ""}
        for name, times in [*score["times"].items(), *report["times"].items()]:
            rows.append([str(score["threads"]), name, f"{times.median:.2f}", f"{times.fastest:.2f}", notes[name]])
    return table(["threads", "contestant", "s, median", "s, fastest", ""], rows)


def _differences(score: Figures) -> list[tuple[str, Mapping[str, float]]]:
    return [(name, score["differences"][name]) for name in PEERS]


def unequal(score: Figures) -> list[str]:
    """Return the peers whose answers differ from ours by more than is promised."""
    return [name for name, found in _differences(score) if not found["test_nats"] < EQUAL_NATS]


def main() -> None:
    """Measure what the command line asks for; print the tables, and write the figures where they are asked for."""
    parser = options("benchmarks.parzen", __doc__)
    cores = len(os.sched_getaffinity(0))
    most = [threads for threads in (1, 2) if threads <= cores]
    parser.add_argument("--threads", type=int, nargs="+", default=most, metavar="N", help="(default: 1 and 2)")
    parser.add_argument("--share", type=int, default=1_000, metavar="N", help="peers: 1 point in N (default: 1,000)")
    parser.add_argument("--rounds", type=int, metavar="N", help="that count (default: 3)")
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else 3)
    where, found, measured = machine(), [], []
    full, reports = protocol("full"), protocol("report")
    of = problem(full.num_samples)
    for threads in given.threads:
        say(f"{of.name}, threads: {threads}")
        score = measure(of, full, threads, rounds, given.share)
        report = measure_report(of, reports, threads, rounds, steps=20 if given.quick else 50)
        measured.append((score, report))
        found += ratios(score, report)
    if given.json:
        plain = [
            {**one, "times": {name: times.to_dict() for name, times in one["times"].items()}}
            for pair in measured
            for one in pair
        ]
        write_json(given.json, where, plain, found)
    what = f"{of.name}; {full.describe()}; then as many test images. Peers differ from it at a test point (in nats, at \
their sigma), and relatively at any sigma of the grid, by:"
    print("\n\n".join([headline(where), what, figures_table(measured), ratio_table(found)]))
    if wrong := sorted({name for score, _ in measured for name in unequal(score)}):
        raise SystemExit(f"answers are not equal: {', '.join(wrong)} differs by {EQUAL_NATS} nats or more")


if __name__ == "__main__":
    main()
