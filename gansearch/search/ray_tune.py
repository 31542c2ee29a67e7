"""Ray Tune: run trials on the cluster that this process is connected to."""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ray import tune
from ray.util.placement_group import placement_group, remove_placement_group

from gansearch.core.datasets import Dataset
from gansearch.placement import Placement
from gansearch.search.capacity import room_now
from gansearch.search.head import head_watched
from gansearch.search.lost_workers import ROOM_SECONDS, LostWorkers
from gansearch.search.observer import Observer
from gansearch.search.population import Population
from gansearch.search.schedulers import pauses
from gansearch.search.searchers import SpecSearcher
from gansearch.search.stopping import Limiter
from gansearch.search.study import Study
from gansearch.search.tune_actors import any_loss_survived
from gansearch.search.tune_memory import first_snapshot_only
from gansearch.search.tune_start import started_at_once
from gansearch.search.worker import TrialWorker
from gansearch.seeds import stream
from gansearch.storage import remove_tree

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial
    from ray.tune.schedulers import TrialScheduler

SCRATCH = ".tune-"
"""What the name of Tune's own folder in a run directory begins with: readers of the tables ignore it."""
KEPT_CHECKPOINTS = 4
"""Copies of a member's checkpoint that Tune keeps: one that waits for room may still go on from an older one."""


def placement(study: Study) -> Placement:
    """Return what a trial of a study is given."""
    resources = study.resources
    return Placement(
        device="cuda" if resources.gpu > 0 else "cpu",
        threads=max(int(resources.cpu), 1),
        gpu_share=resources.gpu,
        checkpoint_seconds=study.limits.checkpoint_seconds,
    )


@contextlib.contextmanager
def _kept_idle(bundle: Mapping[str, float], count: int) -> Iterator[None]:
    """Take the room of so many trials off the cluster for the time of the block.

    Tune can limit how many trials there are, but trials that wait for others are among those: under a scheduler
    that lets them wait, only the room decides how many run.
    """
    if count <= 0:
        yield
        return
    group = placement_group([dict(bundle)] * count)
    try:
        group.wait(ROOM_SECONDS)
        yield
    finally:
        remove_placement_group(group)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators that Tune's population based schedulers draw from, for the time of the block."""
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(stream(seed, "search/tune", 0))
    np.random.seed(stream(seed, "search/tune", 1) % 2**32)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)


def run_trials(
    searcher: SpecSearcher | Population,
    scheduler: TrialScheduler,
    *,
    study: Study,
    data: Dataset,
    max_concurrent: int,
    observer: Observer,
    limiter: Limiter,
    worker: type[tune.Trainable] = TrialWorker,
) -> None:
    """Run the searcher's trials to their ends, or until the limiter ends the stage.

    Trials that are in the middle of an epoch at the end are given ten seconds, then killed.

    Args:
        searcher: what is tried: one trial after another, or a population that starts as a whole.
        scheduler: who is stopped early, waits, or is replaced.
        study: says what each trial takes, and how often it is restarted when its worker is lost.
        data: what the trials may read; placed once in each node's object store.
        max_concurrent: trials at a time.
        observer: hears what happens; its recorder's run directory is reachable under the same path from every node.
        limiter: ends the stage.
        worker: what runs the trials, set up as `TrialWorker` is and with results like its own.
    """
    resources = study.resources
    trainable = tune.with_parameters(worker, recorder=observer.recorder, data=data, placement=placement(study))
    bundle = resources.bundle()
    lost_workers = LostWorkers(observer, study.limits, resources)
    waiting = pauses(scheduler)
    population = searcher if isinstance(searcher, Population) else None
    run = observer.recorder.run.absolute()
    for left in run.glob(f"{SCRATCH}*"):  # of a driver that was killed: there is one at a time
        remove_tree(left)
    # Where every node finds a checkpoint that Tune hands on; else no file of Tune's is needed elsewhere.
    shared = run / f"{SCRATCH}{uuid.uuid4().hex[:12]}"
    scratch = shared if waiting else Path(tempfile.mkdtemp(prefix="gansearch-tune-"))
    # What Tune logs of a trial's error stands in the trial's row; errors of the driver are raised.
    log = logging.getLogger("ray.tune")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with (
            _kept_idle(bundle, room_now(resources) - study.max_concurrent if waiting and study.max_concurrent else 0),
            _seeded(study.seed),
            any_loss_survived(),
            head_watched(
                observer.write_interrupted,
                f"`gansearch resume {observer.recorder.run}` goes on, on this cluster when it is back or on another",
            ),
            first_snapshot_only(),
            started_at_once(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", module=r"ray\.tune\.schedulers\.pb2|sklearn\.")
            tune.Tuner(
                tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
                param_space=population.param_space() if population else None,
                tune_config=tune.TuneConfig(
                    search_alg=searcher if isinstance(searcher, SpecSearcher) else None,
                    scheduler=scheduler,
                    num_samples=1 if population else searcher.num_trials,
                    max_concurrent_trials=None if waiting else max_concurrent,
                    reuse_actors=True,
                    trial_dirname_creator=_trial_id,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=str(scratch),
                    verbose=0,
                    callbacks=[observer, lost_workers],
                    stop=limiter,
                    failure_config=tune.FailureConfig(max_failures=study.limits.max_failures),
                    checkpoint_config=tune.CheckpointConfig(
                        checkpoint_at_end=False, num_to_keep=KEPT_CHECKPOINTS if population else None
                    ),
                ),
            ).fit()
    finally:
        lost_workers.close()
        log.setLevel(level)
        remove_tree(scratch)


def _trial_id(trial: TuneTrial) -> str:
    """Return the name of a trial's folder: by default Tune puts its values there."""
    return str(trial.trial_id)
