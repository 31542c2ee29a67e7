"""Ray and Ray Tune: connect to a cluster, and run trials there."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import ray.exceptions
from ray import tune
from ray._private import worker as ray_worker
from ray.util.placement_group import placement_group, remove_placement_group

from gansearch.core.datasets import Dataset
from gansearch.errors import ResourceError
from gansearch.placement import Placement
from gansearch.search.observer import Observer
from gansearch.search.population import Population
from gansearch.search.schedulers import pauses
from gansearch.search.searchers import SpecSearcher
from gansearch.search.sections import Resources
from gansearch.search.stopping import Limiter
from gansearch.search.study import Study
from gansearch.search.worker import TrialWorker
from gansearch.seeds import stream

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial
    from ray.tune.schedulers import TrialScheduler

CONNECT_SECONDS = 10.0
"""Longest wait for a cluster's address to answer."""
SCRATCH = ".tune-"
"""What the name of Tune's own folder in a run directory begins with: readers of the tables ignore it."""
KEPT_CHECKPOINTS = 4
"""Copies of a member's checkpoint that Tune keeps: one that waits for room may still go on from an older one."""

_SETTINGS = {
    # The tables are the record of a sweep: Tune's own files, tables and snapshots are switched off.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial that failed or diverged has no value to report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The sweep listens to signals itself.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a running cluster, or start Ray on this machine, for the time of the block.

    A connection that is there already is used and left open.

    Args:
        address: a cluster's address; None for the one that RAY_ADDRESS names, else a local Ray.

    Raises:
        ResourceError: when no cluster answers at the address, or one is given to a process that is connected.
    """
    with _environment(_SETTINGS), contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(_unprinted())
            _connect(address or os.environ.get("RAY_ADDRESS") or "local")
            stack.callback(ray.shutdown)
        elif address:
            raise ResourceError(
                f"this process is connected to a Ray cluster already, so it cannot connect to {address}",
                hint="leave the address out to use that one, or call ray.shutdown() first",
            )
        yield


def _connect(address: str) -> None:
    if "://" in address:
        raise ResourceError(
            f"Ray's client protocol is not supported: {address}",
            hint="give the cluster's own address, such as 10.0.0.1:6379, on a machine of the cluster",
        )
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        _check_answers(address)
        with _sighup_ignored():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        local = address == "local"
        where = "Ray cannot start on this machine" if local else f"no Ray cluster can be used at {address}"
        hint = None if local else f"check it with `ray status --address {address}`"
        raise ResourceError(f"{where}: {str(error).strip().splitlines()[0]}", hint=hint) from error


def _check_answers(address: str) -> None:
    """Raise OSError unless something listens at `host:port`: Ray itself would try for two minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


@contextlib.contextmanager
def _sighup_ignored() -> Iterator[None]:
    """Let the processes that are started in the block outlive a terminal that closes: the sweep ends them itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _unprinted() -> Iterator[None]:
    """Keep Ray's messages about lost workers off stdout, where tables go; the trials' rows tell of them.

    Ray has no public switch for them: `log_to_driver` is for the workers' own output.
    """
    before = getattr(ray_worker, "_worker_logs_enabled", True)
    setattr(ray_worker, "_worker_logs_enabled", False)  # noqa: B010  # a Ray without it is as good
    try:
        yield
    finally:
        setattr(ray_worker, "_worker_logs_enabled", before)  # noqa: B010  # as above


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the time of the block."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def check_resources(resources: Resources) -> int:
    """Return how many trials fit on the cluster at a time.

    Raises:
        ResourceError: when none of its machines can give one trial what it takes.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = sum(resources.fit(machine.get("CPU", 0.0), machine.get("GPU", 0.0)) for machine in machines)
    if fit:
        return fit
    for name, asked in (("GPU", resources.gpu), ("CPU", resources.cpu)):
        most = max((machine.get(name, 0.0) for machine in machines), default=0.0)
        if asked > most:
            raise ResourceError(
                f"each trial asks for {asked:g} {name}, but no machine of the cluster has more than {most:g}",
                hint=f"lower resources.{name.lower()} in the study, or connect to a larger cluster with --address",
            )
    raise ResourceError(
        f"each trial asks for {resources.cpu:g} CPU and {resources.gpu:g} GPU, but no machine has both",
        hint="lower resources in the study, or connect to a larger cluster with --address",
    )


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
    group = placement_group([{name.upper(): share for name, share in bundle.items()}] * count)
    try:
        group.wait(CONNECT_SECONDS)
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
    """
    resources = study.resources
    trainable = tune.with_parameters(TrialWorker, recorder=observer.recorder, data=data, placement=placement(study))
    bundle = {"cpu": resources.cpu, **({"gpu": resources.gpu} if resources.gpu else {})}
    waiting = pauses(scheduler)
    population = searcher if isinstance(searcher, Population) else None
    run = observer.recorder.run.absolute()
    for left in run.glob(f"{SCRATCH}*"):  # of a driver that was killed: there is one at a time
        shutil.rmtree(left, ignore_errors=True)
    # Where every node finds a checkpoint that Tune hands on; else no file of Tune's is needed elsewhere.
    shared = run / f"{SCRATCH}{uuid.uuid4().hex[:12]}"
    scratch = shared if waiting else Path(tempfile.mkdtemp(prefix="gansearch-tune-"))
    # What Tune logs of a trial's error stands in the trial's row; errors of the driver are raised.
    log = logging.getLogger("ray.tune")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with (
            _kept_idle(bundle, check_resources(resources) - max_concurrent if waiting else 0),
            _seeded(study.seed),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", module=r"ray\.tune\.schedulers\.pb2|sklearn\.")
            tune.Tuner(
                tune.with_resources(trainable, bundle),
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
                    callbacks=[observer],
                    stop=limiter,
                    failure_config=tune.FailureConfig(max_failures=study.limits.max_failures),
                    checkpoint_config=tune.CheckpointConfig(
                        checkpoint_at_end=False, num_to_keep=KEPT_CHECKPOINTS if population else None
                    ),
                ),
            ).fit()
    finally:
        log.setLevel(level)
        shutil.rmtree(scratch, ignore_errors=True)


def _trial_id(trial: TuneTrial) -> str:
    """Return the name of a trial's folder: by default Tune puts its values there."""
    return str(trial.trial_id)
