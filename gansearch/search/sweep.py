"""A sweep: search, then confirm what validation chose; every trial a row in the run directory."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path

from gansearch import results, schema
from gansearch.config import TrialConfig
from gansearch.core.datasets import Dataset, check_fits, describe, load
from gansearch.errors import ConfigError, ResultsError
from gansearch.paths import RunPaths
from gansearch.provenance import versions
from gansearch.recorder import Recorder
from gansearch.search.confirm import confirm_spec, finalist
from gansearch.search.observer import Observer
from gansearch.search.progress import Progress
from gansearch.search.ray_tune import check_resources, connected, make_scheduler, run_trials
from gansearch.search.searchers import Listed, Point, SpecSearcher, make_strategy
from gansearch.search.sections import Limits
from gansearch.search.stopping import Limiter, Reason, StopRequest
from gansearch.search.strategies import Scheduler
from gansearch.search.study import Study, load_study
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec
from gansearch.trial import describe as describe_error
from gansearch.yaml_files import dump_yaml


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        run: the run directory, which holds everything else.
        complete: whether all its stages ran.
        reason: what ended it early, or ended its search early; None where nothing did.
        ended: trials by status, over all stages.
    """

    run: Path
    complete: bool
    reason: str | None
    ended: dict[str, int]


def sweep(
    study: Study | str | Path,
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    download: bool = True,
    address: str | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> SweepResult:
    """Run a study: search its space with Ray Tune, then confirm the configuration that validation chose.

    The last act is the only one that reads the test set. Ctrl-C, SIGTERM, SIGHUP and `gansearch stop` end a
    sweep cleanly: every row that was finished stays, and trials that ran become INTERRUPTED rows. Trials in
    the middle of an epoch are given ten seconds; a second Ctrl-C does not wait for them.

    Args:
        study: a study, the path of a study file, or a shipped study's name.
        out: the run directory; must not hold a sweep already.
        data_dir: where data sets are looked for; by default GANSEARCH_DATA or the user's cache.
        download: whether a data set that is not there may be downloaded.
        address: a Ray cluster to connect to; by default the one this process is connected to, the one that
            RAY_ADDRESS names, or a new one on this machine.
        on_progress: called about once a second while trials run.

    Raises:
        UserError: when the study, the data, the run directory or the cluster cannot be used; nothing has
            run then.
    """
    if not isinstance(study, Study):
        study = load_study(study)
    run = Path(out).absolute()
    check_run_directory(run)
    check_study_fits(study)
    data = load(study.base.dataset.name, data_dir=Path(data_dir) if data_dir else None, download=download)
    with connected(address):
        capacity = check_resources(study.resources)
        write_plan(study, data, run)
        concurrent = min(capacity, study.max_concurrent or capacity)
        return _Driver(study, data, run, concurrent, on_progress).run()


def check_run_directory(run: Path) -> None:
    """Raise ResultsError unless a new sweep can be written to the directory."""
    paths = RunPaths(run)
    if paths.plan.exists():
        raise ResultsError(f"{run} already holds a sweep", hint="give another directory with --out")
    if run.exists() and not run.is_dir():
        raise ResultsError(f"{run} is a file, not a directory", hint="give another directory with --out")
    if run.is_dir() and any(paths.table(name).exists() for name in ("trials", "curves")):
        raise ResultsError(f"{run} already holds tables of other trials", hint="give another directory with --out")
    existing = next(folder for folder in (run, *run.parents) if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ResultsError(f"{run} cannot be written: {existing} is not a writable directory", hint="give another one")


def check_study_fits(study: Study) -> None:
    """Raise a UserError unless every configuration of the space can be trained on the study's data set."""
    searched = {p.name: p.domain for p in study.space.parameters}
    if "dataset.name" in searched:
        raise ConfigError(
            "the space searches dataset.name, but scores on different data cannot be ranked",
            hint="run a sweep for each data set",
        )
    info = describe(study.base.dataset.name)
    sizes = [study.base.algorithm.batch_size]
    if "algorithm.batch_size" in searched:
        sizes += [int(str(value)) for value in searched["algorithm.batch_size"].extremes()]
    for size in sizes:
        check_fits(info, size)


def write_plan(study: Study, data: Dataset, run: Path) -> None:
    """Write the resolved plan: the study, and the versions and data it runs with.

    Raises:
        ResultsError: when another sweep has claimed the directory, or it cannot be written.
    """
    path = RunPaths(run).plan
    try:
        run.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)  # of two sweeps that start at once, one claims the directory
    except FileExistsError:
        raise ResultsError(f"{run} already holds a sweep", hint="give another directory with --out") from None
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror}", hint="give another directory with --out"
        ) from error
    plan = {
        "name": study.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "data": {"name": data.name, **data.digests},
        "study": study.to_dict(),
    }
    results.write_text(path, dump_yaml(plan))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What one stage runs.

    Attributes:
        name: `search` or `confirm`.
        searcher: its trials.
        scheduler: who is stopped early.
        data: what they may read.
        limits: when it ends early.
    """

    name: str
    searcher: SpecSearcher
    scheduler: Scheduler
    data: Dataset
    limits: Limits


class _Driver:
    """The stages of one sweep, one after the other.

    Args:
        study: the study.
        data: its data set, test split included.
        run: the run directory, which holds the plan.
        concurrent: trials at a time.
        on_progress: hears each progress.
    """

    def __init__(
        self, study: Study, data: Dataset, run: Path, concurrent: int, on_progress: Callable[[Progress], None]
    ) -> None:
        self._study, self._data, self._run, self._concurrent = study, data, run, concurrent
        self._on_progress = on_progress
        self._request = StopRequest(run)
        self._started = time.monotonic()
        self._ended: collections.Counter[str] = collections.Counter()
        self._planned = study.num_trials * study.repeats + study.confirm.seeds
        self._progress = Progress(study=study.name, stage="search", planned=study.num_trials * study.repeats)

    def run(self) -> SweepResult:
        """Run the stages; whatever happens, the last progress says how it ended."""
        self._request.clear_file()
        results.write_json(RunPaths(self._run).progress, self._progress.to_dict())
        try:
            with self._request.listening():
                complete, reason = self._stages()
        except KeyboardInterrupt:
            self._finish("stopped", "interrupted")
            raise
        except BaseException as error:
            self._finish("failed", f"the driver met an error: {describe_error(error)}")
            raise
        finally:
            self._request.clear_file()
        note = reason.text if reason else None
        self._finish("done" if complete else "stopped", note)
        return SweepResult(run=self._run, complete=complete, reason=note, ended=dict(self._ended))

    def _stages(self) -> tuple[bool, Reason | None]:
        """Run search and confirm; return whether all came to an end, and what ended one early."""
        reason = self._run_stage(self._search())
        if reason is not None and not reason.spent:
            return False, reason
        if self._study.confirm.seeds == 0:
            return True, reason
        try:
            config = finalist(self._run)
        except ResultsError as error:
            return False, reason or Reason(error.message)
        completed = self._ended[schema.COMPLETE]
        stopped = self._run_stage(self._confirm(config))
        if stopped is None and self._ended[schema.COMPLETE] == completed:
            stopped = Reason("no confirm trial completed")
        return stopped is None, stopped or reason

    def _search(self) -> _Stage:
        study = self._study
        return _Stage(
            name="search",
            searcher=SpecSearcher(
                make_strategy(study),
                study.num_trials,
                study.repeats,
                lambda point, replicate: search_spec(study, point, replicate),
            ),
            scheduler=study.scheduler,
            data=self._data.without_test(),
            limits=study.limits,
        )

    def _confirm(self, config: TrialConfig) -> _Stage:
        study = self._study
        return _Stage(
            name="confirm",
            searcher=SpecSearcher(
                Listed([{}]), 1, study.confirm.seeds, lambda _, replicate: confirm_spec(study, config, replicate)
            ),
            scheduler=Scheduler(name="none"),
            data=self._data,
            limits=dataclasses.replace(study.limits, time_limit=None, gpu_hours=None),
        )

    def _run_stage(self, stage: _Stage) -> Reason | None:
        """Run the trials of one stage; return why it ended early, or None."""
        study = self._study
        observer = Observer(
            Recorder(self._run),
            self._data.digests,
            dataclasses.replace(
                self._progress,
                stage=stage.name,
                planned=stage.searcher.num_trials,
                running=0,
                ended={},
                left=None,
                elapsed=time.monotonic() - self._started,
            ),
            slots=self._concurrent,
            searched=tuple(p.name for p in study.space.parameters),
            publish=self._publish,
        )
        limiter = Limiter(stage.limits, observer, gpus=study.resources.gpu, request=self._request)
        try:
            run_trials(
                stage.searcher,
                make_scheduler(stage.scheduler, study.epochs),
                study=study,
                run=self._run,
                data=stage.data,
                max_concurrent=self._concurrent,
                observer=observer,
                limiter=limiter,
            )
        finally:
            reason = limiter.reason
            left = observer.interrupt(reason.text if reason else "the driver ended")
            self._ended += observer.ended
            self._progress = observer.progress
        if reason is None and (left or not stage.searcher.handed_out):
            return Reason("Ray Tune ended before its trials did")
        return reason

    def _publish(self, progress: Progress) -> None:
        # A sweep outlives a moment in which its directory cannot be written.
        with contextlib.suppress(ResultsError):
            results.write_json(RunPaths(self._run).progress, progress.to_dict())
        self._on_progress(progress)

    def _finish(self, stage: str, note: str | None) -> None:
        self._publish(
            dataclasses.replace(
                self._progress,
                stage=stage,
                ended=dict(self._ended),
                planned=self._ended.total() if stage == "done" else max(self._planned, self._ended.total()),
                running=0,
                left=None,
                elapsed=time.monotonic() - self._started,
                updated=time.time(),
                note=note,
            )
        )


def search_spec(study: Study, point: Point, replicate: int) -> TrialSpec:
    """Return a trial of a point of the study's space."""
    config = study.space.config(point)
    return TrialSpec(
        config=config,
        seed=trial_seed(study.seed, "search", config.config_id, replicate),
        stage="search",
        replicate=replicate,
        protocols=(study.protocols.final,),
        report_protocol=study.protocols.report,
        guards=study.guards,
    )
