"""Ray and Ray Tune: connect to a cluster, and run trials there."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from gansearch.core.datasets import Dataset
from gansearch.errors import ResourceError
from gansearch.search.observer import Limiter, Observer
from gansearch.search.searchers import METRIC, SpecSearcher
from gansearch.search.sections import Resources, Scheduler
from gansearch.search.worker import TrialWorker
from gansearch.training import Placement

_SETTINGS = {
    # The tables are the record of a sweep: Tune's own files, tables and snapshots are switched off.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial that failed or diverged has no value to report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a running cluster, or start Ray on this machine, for the time of the block.

    A connection that is there already is used and left open.

    Args:
        address: a cluster's address, or None for a local Ray.

    Raises:
        ResourceError: when no cluster answers at the address.
    """
    os.environ.update({name: value for name, value in _SETTINGS.items() if name not in os.environ})
    if ray.is_initialized():
        yield
        return
    try:
        options = {"address": address} if address else {"include_dashboard": False}
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"no Ray cluster answers at {address}" if address else "Ray cannot start on this machine"
        raise ResourceError(
            f"{where}: {str(error).strip().splitlines()[0]}", hint="check it with `ray status --address ...`"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def check_resources(resources: Resources) -> int:
    """Return how many trials fit on the cluster at a time.

    Raises:
        ResourceError: when it cannot give one trial what it takes.
    """
    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    for name, asked, there in (("GPU", resources.gpu, gpus), ("CPU", resources.cpu, cpus)):
        if asked > there:
            raise ResourceError(
                f"each trial asks for {asked:g} {name}, but the cluster has {there:g}",
                hint=f"lower resources.{name.lower()} in the study, or connect to a larger cluster with --address",
            )
    fit = cpus // resources.cpu
    if resources.gpu:
        # A trial's share must lie on one GPU.
        fit = min(fit, gpus * (1 // resources.gpu) if resources.gpu <= 1 else gpus // resources.gpu)
    return max(int(fit), 1)


def placement(resources: Resources) -> Placement:
    """Return what a trial of a study is given."""
    return Placement(
        device="cuda" if resources.gpu > 0 else "cpu", threads=max(int(resources.cpu), 1), gpu_share=resources.gpu
    )


def make_scheduler(scheduler: Scheduler, epochs: int) -> TrialScheduler:
    """Return Tune's scheduler for a study whose trials have a budget of so many epochs."""
    if scheduler.name == "none":
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        metric=METRIC,
        mode="max",
        max_t=epochs,
        grace_period=scheduler.grace_epochs,
        reduction_factor=scheduler.reduction_factor,
    )


def run_trials(
    searcher: SpecSearcher,
    scheduler: TrialScheduler,
    *,
    run: Path,
    data: Dataset,
    resources: Resources,
    max_concurrent: int,
    observer: Observer,
    limiter: Limiter,
) -> None:
    """Run the searcher's trials to their ends, or until a limit or an interrupt ends the stage.

    Args:
        searcher: what is tried.
        scheduler: who is stopped early.
        run: the run directory, reachable under the same path from every node.
        data: what the trials may read; placed once in each node's object store.
        resources: what each trial takes.
        max_concurrent: trials at a time.
        observer: hears what happens.
        limiter: ends the stage.
    """
    trainable = tune.with_parameters(TrialWorker, run=str(run.absolute()), data=data, placement=placement(resources))
    bundle = {"cpu": resources.cpu, **({"gpu": resources.gpu} if resources.gpu else {})}
    scratch = Path(tempfile.mkdtemp(prefix="gansearch-tune-"))
    try:
        tune.Tuner(
            tune.with_resources(trainable, bundle),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=searcher.num_trials,
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(scratch),
                verbose=0,
                callbacks=[observer],
                stop=limiter,
                failure_config=tune.FailureConfig(max_failures=limiter.max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
