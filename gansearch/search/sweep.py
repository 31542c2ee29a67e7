"""A sweep: search, then confirm what validation chose; every trial a row in the run directory.

Each of `sweep`, `resume` and `confirm` ends with a run directory that the next one can go on from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from gansearch import outbox, schema
from gansearch.core.datasets import Dataset, describe, load
from gansearch.errors import ConfigError, ResultsError, UserError, nearest
from gansearch.fits import check_fits
from gansearch.parts import DamagedPartError
from gansearch.search import history
from gansearch.search.capacity import Room, open_room
from gansearch.search.cluster import connected, started_here
from gansearch.search.confirm import check_enough, check_scored
from gansearch.search.doctor import check_shared
from gansearch.search.domains import show
from gansearch.search.driver import Driver, SweepResult
from gansearch.search.executors import executor_of
from gansearch.search.launch import trials_here
from gansearch.search.lease import Lease, held
from gansearch.search.pairings import POPULATION
from gansearch.search.plan_files import (
    changed_versions,
    check_data,
    extended,
    read_plan,
    rewrite_plan,
    with_confirm,
    write_plan,
)
from gansearch.search.progress import Progress
from gansearch.search.run_directory import check_run_directory
from gansearch.search.space import is_among
from gansearch.search.strategies import RESUMED
from gansearch.search.study import Study, load_study
from gansearch.search.versions import check_versions
from gansearch.search.warm_start import read_warm_start
from gansearch.storage import Location, location
from gansearch.tracking.destinations import destinations

RERUNNABLE = (schema.FAILED, schema.DIVERGED, schema.STOPPED, schema.COLLAPSED)
"""How a trial may have ended that is given another try."""


def sweep(
    study: Study | str | Path,
    out: Location | str,
    *,
    data_dir: str | Path | None = None,
    download: bool = True,
    address: str | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> SweepResult:
    """Run a study: search its space with Ray Tune, then confirm the configurations that validation chose.

    The last act is the only one that reads the test set. Ctrl-C, SIGTERM, SIGHUP and `gansearch stop` end a
    sweep cleanly: every row that was finished stays, and trials that ran become INTERRUPTED rows. Trials in
    the middle of an epoch are given ten seconds; a second Ctrl-C does not wait for them. However it ended,
    `resume` goes on.

    Args:
        study: a study, the path of a study file, or a shipped study's name.
        out: the run directory; must not hold a sweep already.
        data_dir: where data sets are looked for; by default GANSEARCH_DATA or the user's cache.
        download: whether a data set that is not there may be downloaded.
        address: a Ray cluster to connect to; by default the one this process is connected to, the one that
            RAY_ADDRESS names, or a new one on this machine.
        on_progress: called about once a second while trials run.
        on_note: told what a user should know before trials run.

    Raises:
        UserError: when the study, the data, the run directory or the cluster cannot be used; nothing has
            run then.
    """
    if not isinstance(study, Study):
        study = load_study(study)
    run = location(out).absolute()
    check_run_directory(run)
    check_study_fits(study)
    data = _load(study, data_dir, download)
    warm_start = read_warm_start(study, data.digests["valid"])
    for note in (*executor_of(study).notes, *warm_start.notes):
        on_note(note)
    with _cluster(study, run, address) as room, held(run) as lease:
        write_plan(study, data, run)
        return Driver(study, data, run, lease=lease, room=room, on_progress=on_progress, warm_start=warm_start).run()


def resume(
    run: Location | str,
    *,
    num_trials: int | None = None,
    space: str | None = None,
    rerun: Collection[str] = (),
    data_dir: str | Path | None = None,
    download: bool = True,
    address: str | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> SweepResult:
    """Go on with a sweep that ended, however it did; extend it where more is asked for.

    Trials that have an outcome are never run again, others go on from their last checkpoint, and the
    searcher's history and the scheduler's rungs are rebuilt from the tables.

    Args:
        run: the run directory.
        num_trials: configurations in all, to extend the search; None for as planned.
        space: study file whose space takes the place of the planned one; must hold all that was tried.
        rerun: statuses of search trials that are to run again all the same, of `RERUNNABLE`.
        data_dir: where data sets are looked for; by default GANSEARCH_DATA or the user's cache.
        download: whether a data set that is not there may be downloaded.
        address: a Ray cluster to connect to, as in `sweep`.
        on_progress: called about once a second while trials run.
        on_note: told what a user should know before trials run.

    Raises:
        UserError: when the run is held by another driver, or cannot go on as it is asked to; nothing has run
            then.
    """
    for status in rerun:
        if status not in RERUNNABLE:
            raise ConfigError(f"trials that ended {status} cannot run again", hint=nearest(status, RERUNNABLE))
    run = location(run).absolute()
    read_plan(run)  # that there is one: a claim makes folders
    with held(run) as lease, _whole_tables():
        plan = read_plan(run)  # another driver may have extended it until now
        study = extended(plan, run, num_trials, space)
        if schema.STOPPED in rerun and study.scheduler.name in POPULATION:
            raise ConfigError(
                f"{study.scheduler.name} stopped trials whose places copies of better ones took: they cannot run again",
                hint="leave --rerun stopped out",
            )
        check_study_fits(study)
        data = _load(study, data_dir, download)
        check_data(plan, data)
        warm_start = read_warm_start(study, data.digests["valid"])
        _deliver(run, on_note)
        _migrate(run, lease, on_note)
        if study.to_dict() != plan.study.to_dict():
            changes = {"num_trials": study.num_trials} | ({"space": space} if space else {})
            rewrite_plan(run, plan, study, changes)
        if rerun and (again := history.start_again(run, lease.claim.id, rerun)):
            on_note(f"{again} trials that ended {' or '.join(rerun)} run again")
        notes = [*_unfinished_notes(run), *_scheduler_notes(study), *executor_of(study).notes, *warm_start.notes]
        if others := changed_versions(plan):
            notes.append(f"versions differ from those that the sweep was started with: {'; '.join(others)}")
        for note in notes:
            on_note(note)
        with _cluster(study, run, address) as room:
            return Driver(
                study, data, run, lease=lease, room=room, on_progress=on_progress, warm_start=warm_start
            ).run()


def confirm(
    run: Location | str,
    *,
    top: int | None = None,
    seeds: int | None = None,
    folds: str | None = None,
    protocols: list[str] | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
    address: str | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> SweepResult:
    """Run the confirm stage of a run whose search has completed trials; confirm trials that ended stay.

    Args:
        run: the run directory.
        top: finalists by validation; None for as planned.
        seeds: fresh seeds of each; None for as planned.
        folds: `first` or `all` of the data set; None for as planned.
        protocols: names of the test scores' protocols; None for as planned.
        data_dir: where data sets are looked for; by default GANSEARCH_DATA or the user's cache.
        download: whether a data set that is not there may be downloaded.
        address: a Ray cluster to connect to, as in `sweep`.
        on_progress: called about once a second while trials run.
        on_note: told what a user should know before trials run.

    Raises:
        UserError: when the run is held by another driver, has fewer completed configurations than `top`, or holds
            complete confirm trials without a score under one of the protocols; nothing has run then.
    """
    run = location(run).absolute()
    read_plan(run)  # that there is one: a claim makes folders
    with held(run) as lease, _whole_tables():
        plan = read_plan(run)  # another driver may have extended it until now
        study = with_confirm(plan.study, top=top, seeds=seeds, folds=folds, protocols=protocols)
        check_study_fits(study)
        check_enough(run, study)
        check_scored(run, study)
        data = _load(study, data_dir, download)
        check_data(plan, data)
        _deliver(run, on_note)
        _migrate(run, lease, on_note)
        if study.to_dict() != plan.study.to_dict():
            rewrite_plan(run, plan, study, {"confirm": study.to_dict()["confirm"]})
        for note in _unfinished_notes(run, "confirm"):
            on_note(note)
        with _cluster(study, run, address) as room:
            return Driver(
                study,
                data,
                run,
                lease=lease,
                room=room,
                on_progress=on_progress,
                search=False,
            ).run()


SIZES = (
    *("algorithm.batch_size", "algorithm.epochs", "noise.dim"),
    *("generator.hidden", "generator.output", "generator.output_inputs"),
    *("discriminator.hidden", "discriminator.inputs"),
    *("deconvolution.", "convolution.", "condition.", "pretraining."),
)
"""The parameters, and sections of them, that decide whether networks and data fit."""
_CORNERS = 10_000
"""Combinations of their values that are tried before a sweep, at most."""


def check_study_fits(study: Study) -> None:
    """Raise a UserError unless every configuration of the space can be trained on the study's data set."""
    if any(p.name == "dataset.name" for p in study.space.parameters):
        raise ConfigError(
            "the space searches dataset.name, but scores on different data cannot be ranked",
            hint="run a sweep for each data set",
        )
    info = describe(study.base.dataset.name)
    if study.confirm.folds == "all" and info.folds == 1:
        raise ConfigError(
            f"confirm.folds is all, and the data set '{info.name}' has one fold", hint="leave confirm.folds out"
        )
    protocols = (study.protocols.final, study.protocols.report, *study.confirm.protocols)
    check_fits(study.base, info, protocols)
    for point in itertools.islice(study.space.corners(SIZES), _CORNERS):
        config = study.space.config(point)
        try:
            check_fits(config, info)
        except UserError as error:
            sizes = ", ".join(f"{name} {show(value)}" for name, value in point.items() if is_among(name, SIZES))
            raise type(error)(f"where the space has {sizes}: {error.message}", hint=error.hint) from None


def _load(study: Study, data_dir: str | Path | None, download: bool) -> Dataset:
    first, *others = (
        load(
            study.base.dataset.name,
            data_dir=Path(data_dir) if data_dir else None,
            download=download,
            fold=fold,
            labels="labels" in study.space.values_of("condition.on"),
        )
        for fold in (study.confirm_folds if study.confirm.seeds else range(1))
    )
    return dataclasses.replace(first, others=tuple(others))


@contextlib.contextmanager
def _cluster(study: Study, run: Location, address: str | None) -> Iterator[Room]:
    """Connect to a cluster for the time of the block; give the room that it has for the study's trials."""
    destinations(study.track, run)  # a tracker that is not installed is said before Ray is started
    with connected(address, trials=trials_here(study)):
        if not started_here():
            check_versions()
            check_shared(run)
        yield open_room(study)


@contextlib.contextmanager
def _whole_tables() -> Iterator[None]:
    """Say of a damaged part what is to be done: what goes on from the tables cannot leave one out."""
    try:
        yield
    except DamagedPartError as error:
        raise ResultsError(
            error.message,
            hint="move the file away: of a trial without a row in `trials`, everything is tried again",
        ) from error


def _migrate(run: Location, lease: Lease, on_note: Callable[[str], None]) -> None:
    migrated = history.migrate(run, lease.claim.id)
    if migrated:
        on_note(f"{migrated} part files of an older version of the tables were rewritten in version {schema.VERSION}")


def _deliver(run: Location, on_note: Callable[[str], None]) -> None:
    delivered = outbox.deliver(run)
    if delivered:
        on_note(f"{delivered} part files were delivered that waited on this machine for the storage to come back")


def _unfinished_notes(run: Location, stage: str | None = None) -> Iterator[str]:
    """Say how the trials go on that were started and have no outcome."""
    keys = [key for key in history.started_keys(run) if stage in (None, key.stage)]
    epochs = history.unfinished(run, keys)
    over = sum(not done for done in epochs.values())
    if len(keys) > over:
        yield f"{len(keys) - over} unfinished trials go on from their checkpoints"
    if over:
        yield f"warning: {over} unfinished trials have no checkpoint that can be read and start over"


def _scheduler_notes(study: Study) -> Iterator[str]:
    if study.scheduler.name in RESUMED:
        yield RESUMED[study.scheduler.name]
