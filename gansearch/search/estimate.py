"""What a study would cost: the base configuration's speed, measured here for a moment, and extrapolated.

It is an estimate: other configurations of the space are faster or slower, trials that run side by side slow
each other down, and the start of workers is not counted.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from gansearch.core.datasets import Dataset, DatasetInfo, Rows, as_tensor, describe, load
from gansearch.core.shapes import Real, Tensor
from gansearch.errors import DataError
from gansearch.placement import Placement
from gansearch.protocols import Protocol
from gansearch.scoring import score_test, score_valid
from gansearch.search.pairings import POPULATION
from gansearch.search.study import Study
from gansearch.training import make_learner

if TYPE_CHECKING:
    pass

_T = TypeVar("_T")

MEASURED_SECONDS = 1.0
"""How long training is measured."""
_SAMPLES, _IMAGES = 1_000, 500  # scored in the measurement; the time of a score grows with their product


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What the base configuration takes on this machine, alone, in seconds.

    Attributes:
        epoch: one epoch of training.
        report: one score of the report protocol.
        score: a search trial's final score.
        confirm_score: a confirm trial's scores, of test too.
        device: what it was measured on.
        data: `real`, or `synthetic` where the data set is not here yet.
    """

    epoch: float
    report: float
    score: float
    confirm_score: float
    device: str
    data: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a study would cost here, in hours.

    Attributes:
        speed: what was measured.
        concurrent: trials at a time on this machine.
        search: trial-hours of the search, at least and at most: with early stopping at most lets every trial
            run its whole budget, at least stops all but one in `reduction_factor` at each rung.
        confirm: trial-hours of the confirm stage.
        wall: hours from start to end with so many trials at a time, at least and at most.
    """

    speed: Speed
    concurrent: int
    search: tuple[float, float]
    confirm: float
    wall: tuple[float, float]


def estimate(study: Study, *, data_dir: Path | None = None) -> Estimate | None:
    """Return what a study would cost on this machine; None where its trials take a GPU and there is none.

    Nothing is downloaded, written or started.

    Args:
        study: the study.
        data_dir: where its data set is looked for; None for the default.
    """
    if study.resources.gpu and not torch.cuda.is_available():
        return None
    speed = measure(study, data_dir)
    concurrent = _concurrent(study)
    trials, reports = study.num_trials * study.repeats, 1 / study.base.score.report_every
    per_epoch = speed.epoch + reports * speed.report
    whole = study.epochs * per_epoch + speed.score
    least_epochs, finishers = _least(study, trials)
    least = least_epochs * per_epoch + finishers * speed.score
    confirm_trial = study.epochs * per_epoch + speed.confirm_score
    confirm_trials = study.confirm.seeds * len(study.confirm_folds) * (study.confirm.top + 1)
    confirm_wall = math.ceil(confirm_trials / concurrent) * confirm_trial
    # A trial that runs to its end runs alone in its slot, however many there are.
    search_wall = (max(least / concurrent, whole), math.ceil(trials / concurrent) * whole)
    return Estimate(
        speed=speed,
        concurrent=concurrent,
        search=(least / 3600, trials * whole / 3600),
        confirm=confirm_trials * confirm_trial / 3600,
        wall=((search_wall[0] + confirm_wall) / 3600, (search_wall[1] + confirm_wall) / 3600),
    )


def _least(study: Study, trials: int) -> tuple[float, float]:
    """Return the epochs of all search trials, and those that run to their end, when the scheduler stops all it can.

    HyperBand is taken for its most eager bracket.
    """
    scheduler, budget = study.scheduler, study.epochs
    if scheduler.name in ("none", *POPULATION):
        return float(trials * budget), float(trials)
    first = float(scheduler.to_dict().get("grace_epochs", 1))
    if scheduler.name == "median":
        return (trials - 1) * first + budget, 1.0
    epochs, running, done, rung = 0.0, float(trials), 0.0, first
    while rung < budget and running > 1:
        epochs += running * (rung - done)
        running, done, rung = max(running / scheduler.reduction_factor, 1.0), rung, rung * scheduler.reduction_factor
    return epochs + running * (budget - done), running


def _concurrent(study: Study) -> int:
    """Return how many trials run at a time on this machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    fit = study.resources.fit(cpus, torch.cuda.device_count() if study.resources.gpu else 0)
    return max(min(fit, study.max_concurrent or study.num_trials * study.repeats), 1)


def measure(study: Study, data_dir: Path | None = None) -> Speed:
    """Return the speed of a study's base configuration on this machine."""
    threads = torch.get_num_threads()
    placement = Placement(
        device="cuda" if study.resources.gpu else "cpu", threads=max(int(study.resources.cpu), 1), checkpoint_seconds=0
    )
    device = placement.claim()
    try:
        return _measure(study, device, data_dir)
    finally:
        torch.set_num_threads(threads)


def _measure(study: Study, device: torch.device, data_dir: Path | None) -> Speed:
    config, info = study.base, describe(study.base.dataset.name)
    data = _here(info, data_dir)
    batch = config.algorithm.batch_size
    # A few minibatches are an epoch of the measurement: whole ones take minutes on large data.
    few = max(min(10 * config.algorithm.k, info.n_train // batch), 1)
    train = _images(data.train[: few * batch] if data else None, few * batch, info).to(device)
    valid = _images(data.valid[:_IMAGES] if data else None, min(_IMAGES, info.n_valid), info).to(device)
    classes = torch.zeros(len(train), dtype=torch.int64, device=device)  # any labels take as long
    learner = make_learner(config, train, info.levels, 0, classes)
    learner.train_epoch()  # the first steps are slower than the rest
    learner.diverged()
    steps, started = 0, time.monotonic()
    while time.monotonic() - started < MEASURED_SECONDS:
        learner.train_epoch()
        learner.diverged()  # waits for the device
        steps += few
    step = (time.monotonic() - started) / steps
    weights = learner.weights()

    def scored(protocol: Protocol, *, test: bool = False) -> float:
        n = min(protocol.num_samples, _SAMPLES)
        small = dataclasses.replace(protocol, num_samples=n, valid_subset="all", valid_count=0)
        images = info.n_valid if protocol.valid_subset == "all" else min(protocol.valid_count, info.n_valid)
        samples, sampling = _timed(lambda: learner.sample(weights, n, "report"), device)
        (_, fit), fitting = _timed(lambda: score_valid(samples, valid, info.levels, small), device)
        growth = protocol.num_samples / n
        total = growth * (sampling + fitting * images / len(valid))
        if test:
            _, testing = _timed(lambda: score_test(samples, valid, info.levels, fit.sigma, small.dtype), device)
            total += growth * testing * info.n_test / len(valid)
        return total

    return Speed(
        epoch=step * (info.n_train // batch),
        report=scored(study.protocols.report),
        score=scored(study.protocols.final),
        confirm_score=sum(scored(p, test=True) for p in study.confirm.protocols),
        device=str(device),
        data="real" if data else "synthetic",
    )


def _here(info: DatasetInfo, data_dir: Path | None) -> Dataset | None:
    try:
        return load(info.name, data_dir=data_dir, download=False)
    except DataError:
        return None


def _images(rows: Rows | None, n: int, info: DatasetInfo) -> Real[Tensor, "n d"]:
    """Return real images, or random bytes of their shape where there are none: they take as long."""
    if rows is not None:
        return as_tensor(rows)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(info.levels + 1, (n, info.dim), generator=generator, dtype=torch.uint8)


def _timed(work: Callable[[], _T], device: torch.device) -> tuple[_T, float]:
    started = time.monotonic()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.monotonic() - started
