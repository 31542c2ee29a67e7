"""The paper's MNIST networks on one GPU: packs beside one plain process a trial, and beside the rate of its products.

Run by `python -m benchmarks.packed --device cuda`; needs PyTorch and NumPy only. The peer is what Ray Tune would do
with shares of the GPU, without Ray: N processes, each of which trains a trial of its own with `Adversarial`, as many
as train the most together. Every rate is of whole epochs; an iteration is k steps of D and one of G.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from benchmarks.flops import Product, cost, products
from benchmarks.machine import Figures, Ratio, say, table
from benchmarks.packed_networks import SEED, mnist, on_device, paper
from gansearch.config import TrialConfig
from gansearch.core import parzen
from gansearch.core.adversarial import Adversarial
from gansearch.core.datasets import Dataset, to_unit
from gansearch.core.pack import Pack
from gansearch.protocols import Protocol, protocol

ORDERS = ("alternating", "simultaneous")
PROCESSES = (1, 4, 8, 16)
PACKS = (8, 16, 32, 64, 128)
GROWTH = 1.03
"""More trials at a time are tried as long as they train this much more together."""
SQUARE = 4096
BATCH = 64
"""Of the batched products: the trials whose products they are."""
PATIENCE = 300.0
"""Seconds to wait for a process to begin, or to end."""


def measure(
    device: torch.device,
    *,
    images: int,
    seconds: float,
    configs: Mapping[str, TrialConfig] | None = None,
    data: tuple[str, Dataset] | None = None,
    counts: tuple[Sequence[int], Sequence[int]] = (PROCESSES, PACKS),
    square: int = SQUARE,
    score: Protocol | None = None,
) -> dict[str, Any]:
    """Return all figures of a device.

    Args:
        device: what to measure; a GPU, but for tests.
        images: of the training split that is trained on.
        seconds: for which each contestant trains, at least.
        configs: what is trained, by name; the paper's networks in both orders by default.
        data: the images and what they are called; MNIST by default, or random bytes of its shape.
        counts: how many processes to try, and how many trials of a pack.
        square: rows of the matrices whose product gives the rate.
        score: protocol of the score; the full one by default.
    """
    name, found = data or mnist()
    wanted = configs or {order: paper(order) for order in ORDERS}
    on_cpu = on_device(found.train, torch.device("cpu"), images)
    train = on_cpu.to(device)
    measured: dict[str, Any] = {"images": name, "device": device.type, "seconds": seconds, "orders": {}}
    first = next(iter(wanted.values()))
    say("the rate of matrix products")
    measured["rates"] = rates(first, found.dim, device, square=square, seconds=seconds / 5)
    for order, config in wanted.items():
        k, epoch = config.algorithm.k, found.n_train // config.algorithm.batch_size
        say(f"{order}: alone")
        alone = Adversarial(config, train, found.levels, SEED)
        one: dict[str, Any] = {
            "flops": cost(config, found.dim).flops,
            "alone": _rate(functools.partial(_epoch, alone), seconds, device) / k,
            "epochs": config.algorithm.epochs,
            "iterations": config.algorithm.epochs * epoch / k,
        }
        del alone
        share = functools.partial(processes, config, on_cpu, found.levels, device, seconds)
        pack = functools.partial(pack_of, config, train, found.levels, seconds)
        one["processes"] = until_no_growth(share, counts[0])
        one["packs"] = until_no_growth(pack, counts[1])
        measured["orders"][order] = one
    say("the full score")
    measured["score"] = full_score(
        Adversarial(first, train, found.levels, SEED), found, device, score or protocol("full")
    )
    return measured


def rates(config: TrialConfig, dim: int, device: torch.device, *, square: int, seconds: float) -> dict[str, float]:
    """Return the rates of matrix products in operations a second.

    Returns:
        `float32`: of square matrices, TF32 off. `batched`: of the products of an iteration, `BATCH` trials at a time,
        TF32 off. `tf32`: of square matrices where TF32 is allowed; as `float32` where the device has none.
    """
    each = [Product(square, square, square)]
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        found = {"float32": _products(each, 1, device, seconds)}
        found["batched"] = _products(products(config, dim, together=True), BATCH, device, seconds)
        torch.set_float32_matmul_precision("high")
        found["tf32"] = _products(each, 1, device, seconds)
    finally:
        torch.set_float32_matmul_precision(before)
    return found


def _products(wanted: Sequence[Product], batch: int, device: torch.device, seconds: float) -> float:
    """Return the rate of products, each for a batch of matrices, operands and results in memory that is there."""
    generator = torch.Generator(device).manual_seed(SEED)
    memory: dict[tuple[int, int], torch.Tensor] = {}

    def matrices(rows: int, columns: int) -> torch.Tensor:
        if (rows, columns) not in memory:
            shape = (batch, rows, columns)
            memory[rows, columns] = torch.empty(shape, device=device).uniform_(-1, 1, generator=generator)
        return memory[rows, columns]

    results = {(one.rows, one.columns): torch.empty((batch, one.rows, one.columns), device=device) for one in wanted}
    jobs = []
    for one in wanted:
        left, right = matrices(one.rows, one.inner), matrices(one.inner, one.columns)
        if one.transposed == "left":
            left = matrices(one.inner, one.rows).mT
        if one.transposed == "right":
            right = matrices(one.columns, one.inner).mT
        jobs.append((left, right, results[one.rows, one.columns]))

    def compute() -> int:
        for left, right, result in jobs:
            torch.bmm(left, right, out=result)
        _wait(device)
        return 1

    return _rate(compute, seconds, device) * batch * sum(one.flops for one in wanted)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _rate(call: Callable[[], int], seconds: float, device: torch.device) -> float:
    """Return what a call does, as it counts it, a second: over so many seconds, after calls that do not count."""
    for _ in range(2):
        call()
    _wait(device)
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or not done:
        done += call()
        _wait(device)
    return done / max(passed, time.perf_counter() - began)


def _epoch(trial: Adversarial) -> int:
    """Train an epoch; return its steps."""
    trial.train_epoch()
    return trial.steps_per_epoch


def until_no_growth(one: Callable[[int], dict[str, Any]], counts: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Measure more and more trials at a time, as long as they make more iterations together and memory suffices."""
    found: dict[int, dict[str, Any]] = {}
    best = 0.0
    for n in counts:
        try:
            found[n] = one(n)
        except torch.OutOfMemoryError:
            say(f"the memory does not hold {n} trials")
            break
        if found[n]["iterations"] < GROWTH * best:
            break
        best = found[n]["iterations"]
    return found


def best_of(found: Mapping[int, Figures]) -> int:
    """Return how many trials at a time made the most iterations a second together."""
    return max(found, key=lambda n: found[n]["iterations"])


def pack_of(config: TrialConfig, train: torch.Tensor, levels: int, seconds: float, n: int) -> dict[str, Any]:
    """Return the iterations a second of a pack's trials together, and its memory a trial in bytes (0 off a GPU)."""
    say(f"a pack of {n}")
    device = train.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    pack = Pack(train, levels)
    slots = [pack.join(config, SEED + i) for i in range(n)]

    def epoch() -> int:
        pack.train_epoch()
        for slot in slots:
            slot.train_epoch()
        return n * slots[0].own.steps_per_epoch

    steps = _rate(epoch, seconds, device)
    most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    frozen = sum(slot.diverged() for slot in slots)
    return {"iterations": steps / config.algorithm.k, "bytes": (most - held) / n, "diverged": frozen}


def processes(
    config: TrialConfig, train: torch.Tensor, levels: int, device: torch.device, seconds: float, n: int
) -> dict[str, Any]:
    """Return the iterations a second of n processes together, each of which trains one trial.

    Args:
        config: what is trained.
        train: training images as bytes, on the CPU.
        levels: the byte that stands for a pixel value of 1.
        device: what all of them train on.
        seconds: for which each trains.
        n: how many.

    Raises:
        torch.OutOfMemoryError: when a process did not end well: mostly for want of memory.
    """
    say(f"{n} processes")
    context = multiprocessing.get_context("spawn")
    start, told = context.Barrier(n), context.Queue()
    arguments = (config, train.numpy(), levels, device.type, seconds, start, told)
    workers = [context.Process(target=_work, args=(*arguments, SEED + i), daemon=True) for i in range(n)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(2 * PATIENCE + seconds)
    if any(worker.exitcode != 0 for worker in workers):
        for worker in workers:
            worker.kill()
        raise torch.OutOfMemoryError(f"of {n} processes, not all trained")
    rates: list[float] = [told.get(timeout=PATIENCE) for _ in workers]
    return {"iterations": sum(rates) / config.algorithm.k}


def _work(
    config: TrialConfig, train: Any, levels: int, device: str, seconds: float, start: Any, told: Any, seed: int
) -> None:
    """Train a trial in a process of its own; tell its steps a second, from when all have begun."""
    torch.set_num_threads(1)
    where = torch.device(device)
    try:
        trial = Adversarial(config, torch.from_numpy(train).to(where), levels, seed)
        trial.train_epoch()
    except BaseException:
        start.abort()  # the others wait for it
        raise
    start.wait(PATIENCE)
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        steps += _epoch(trial)
    told.put(steps / (time.perf_counter() - began))


def full_score(
    trial: Adversarial, data: Dataset, device: torch.device, one: Protocol, rounds: int = 5
) -> dict[str, Any]:
    """Return the seconds of a score in each round: samples, sigma on all validation images, test images at it.

    Raises:
        ValueError: when the data set has no test images.
    """
    if data.test is None:
        raise ValueError("the full score reads the test images")
    valid, test = (to_unit(on_device(split, device), data.levels) for split in (data.valid, data.test))
    weights, seconds = trial.weights(), []
    for _ in range(rounds + 1):
        _wait(device)
        began = time.perf_counter()
        samples = trial.sample(weights, one.num_samples, "score")
        sigma = parzen.fit_sigma(samples, valid, one).sigma
        mean, _ = parzen.mean_and_se(parzen.log_likelihood(samples, test, sigma, dtype=one.dtype))
        _wait(device)
        seconds.append(time.perf_counter() - began)
    sizes = {"samples": one.num_samples, "valid": len(valid), "test": len(test)}
    return {"seconds": seconds[1:], "test_ll_mean": mean, **sizes}


def ratios(measured: Figures) -> list[Ratio]:
    """Return the figures as ratios beside their targets."""
    found = []
    for order, one in measured["orders"].items():
        share, pack = best_of(one["processes"]), best_of(one["packs"])
        most, fastest = one["processes"][share]["iterations"], one["packs"][pack]["iterations"]
        beside = f"{pack} in a pack, {share} processes"
        rate = one["flops"] * fastest
        name = f"{order}: configurations an hour, pack / one process a trial"
        found += [
            Ratio(name=name, value=fastest / most, target=15, note=beside),
            Ratio(name=f"{order}: pack / one trial alone", value=fastest / one["alone"], note=f"{pack} in a pack"),
            Ratio(
                name=f"{order}: rate of a pack / FP32 products", value=rate / measured["rates"]["float32"], target=0.4
            ),
            Ratio(name=f"{order}: rate of a pack / batched products", value=rate / measured["rates"]["batched"]),
        ]
    seconds = sorted(measured["score"]["seconds"])
    note = f"{seconds[0]:.3f} to {seconds[-1]:.3f}"
    middle = seconds[len(seconds) // 2]
    return [*found, Ratio(name="the full score, seconds", value=middle, target=1, at_most=True, note=note)]


def tables(measured: Figures) -> list[str]:
    """Return the figures as tables in Markdown."""
    peak = [[name, f"{rate / 1e12:.2f}"] for name, rate in measured["rates"].items()]
    rows = []
    for order, one in measured["orders"].items():
        contestants = {"one trial alone": {"iterations": one["alone"]}}
        contestants |= {f"{n} processes, a trial each": each for n, each in one["processes"].items()}
        contestants |= {f"pack of {n}": each for n, each in one["packs"].items()}
        for name, each in contestants.items():
            rate = each["iterations"]
            flops = one["flops"] * rate
            hour = f"{3600 * rate / one['iterations']:.2f}"
            shares = f"{flops / measured['rates']['float32']:.1%}"
            memory = f"{each['bytes'] / 2**20:.0f}" if each.get("bytes") else ""
            rows.append([order, name, f"{rate:.0f}", f"{flops / 1e9:.0f}", shares, hour, memory])
    epochs = " and ".join(sorted({str(one["epochs"]) for one in measured["orders"].values()}))
    header = ["order", measured["images"], "iterations/s, all trials", "GFLOP/s", "of FP32 products"]
    header += [f"configurations of {epochs} epochs an hour", "MiB a trial"]
    return [table(["matrix products", "TFLOP/s"], peak), table(header, rows)]
