"""A sweep: search, then confirm what validation chose; every trial a row in the run directory."""

from __future__ import annotations

import dataclasses
import datetime
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gansearch import results
from gansearch.core.datasets import Dataset, check_fits, describe, load
from gansearch.errors import ConfigError, ResultsError
from gansearch.paths import RunPaths
from gansearch.provenance import versions
from gansearch.recorder import Recorder
from gansearch.search.confirm import confirm_specs, finalist
from gansearch.search.observer import Limiter, Observer
from gansearch.search.progress import Progress
from gansearch.search.ray_tune import check_resources, connected, make_scheduler, run_trials
from gansearch.search.searchers import Listed, Point, SpecSearcher, Strategy, make_strategy
from gansearch.search.sections import Scheduler
from gansearch.search.study import Study, load_study
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        run: the run directory, which holds everything else.
        complete: whether it came to its own end, with all stages.
        reason: why it did not; None where it did.
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

    The last act is the only one that reads the test set. Ctrl-C, SIGTERM and `gansearch stop` end a sweep
    cleanly: every row that was finished stays.

    Args:
        study: a study, the path of a study file, or a shipped study's name.
        out: the run directory; must not hold a sweep already.
        data_dir: where data sets are looked for; by default GANSEARCH_DATA or the user's cache.
        download: whether a data set that is not there may be downloaded.
        address: a Ray cluster to run on; by default the one this process is connected to, or a new local one.
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
        driver = _Driver(study, data, run, min(capacity, study.max_concurrent or capacity), on_progress)
        with _stop_on_sigterm(run):
            return driver.run()


def check_run_directory(run: Path) -> None:
    """Raise ResultsError unless a new sweep can be written to the directory."""
    paths = RunPaths(run)
    if paths.plan.exists():
        raise ResultsError(f"{run} already holds a sweep", hint="give another directory with --out")
    if run.exists() and not run.is_dir():
        raise ResultsError(f"{run} is a file, not a directory", hint="give another directory with --out")
    if run.is_dir() and any(paths.table(name).exists() for name in ("trials", "curves")):
        raise ResultsError(f"{run} already holds tables of other trials", hint="give another directory with --out")


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
    """Write the resolved plan: the study, and the versions and data it runs with."""
    plan = {
        "name": study.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "data": {"name": data.name, **data.digests},
        "study": study.to_dict(),
    }
    results.write_text(RunPaths(run).plan, dump_yaml(plan))


class _Driver:
    """The stages of one sweep, one after the other."""

    def __init__(
        self, study: Study, data: Dataset, run: Path, concurrent: int, on_progress: Callable[[Progress], None]
    ) -> None:
        self._study, self._data, self._run, self._concurrent = study, data, run, concurrent
        self._recorder, self._on_progress = Recorder(run), on_progress
        self._started = time.monotonic()
        self._ended: dict[str, int] = {}
        self._progress = Progress(study=study.name, stage="search", planned=study.num_trials * study.repeats)

    def run(self) -> SweepResult:
        """Run the stages; whatever happens, the last progress says how it ended."""
        stop_request = RunPaths(self._run).stop_request
        stop_request.unlink(missing_ok=True)
        self._publish(self._progress)
        try:
            reason = self._stages()
        except BaseException:
            self._finish("failed", "the driver met an error")
            raise
        finally:
            stop_request.unlink(missing_ok=True)
        self._finish("stopped" if reason else "done", reason)
        return SweepResult(run=self._run, complete=reason is None, reason=reason, ended=self._ended)

    def _stages(self) -> str | None:
        """Run search and confirm; return why the sweep ended early, or None."""
        study = self._study
        reason = self._stage("search", make_strategy(study), study.num_trials, study.repeats, study.scheduler)
        over_budget = reason is not None and reason.startswith(_LIMITS)
        if study.confirm.seeds == 0 or (reason is not None and not over_budget):
            return reason
        try:
            config = finalist(self._run)
        except ResultsError as error:
            return error.message
        specs = confirm_specs(study, config)
        points: list[Point] = [{"index": i} for i in range(len(specs))]
        return self._stage(
            "confirm", Listed(points), len(specs), 1, Scheduler(name="none"), lambda p, _: specs[int(str(p["index"]))]
        )

    def _search_spec(self, point: Point, replicate: int) -> TrialSpec:
        config = self._study.space.config(point)
        return TrialSpec(
            config=config,
            seed=trial_seed(self._study.seed, "search", config.config_id, replicate),
            stage="search",
            replicate=replicate,
            protocols=(self._study.protocols.final,),
            report_protocol=self._study.protocols.report,
        )

    def _stage(
        self,
        name: str,
        strategy: Strategy,
        num_points: int,
        repeats: int,
        scheduler: Scheduler,
        make_spec: Callable[[Point, int], TrialSpec] | None = None,
    ) -> str | None:
        """Run the trials of one stage; return why it ended early, or None."""
        study = self._study
        searcher = SpecSearcher(strategy, num_points, repeats, make_spec or self._search_spec)
        observer = Observer(
            self._recorder,
            self._data.digests,
            dataclasses.replace(
                self._progress, stage=name, planned=searcher.num_trials, running=0, ended={}, left=None
            ),
            started=self._started,
            searched=tuple(p.name for p in study.space.parameters),
            publish=self._publish,
        )
        searching = name == "search"
        limits = study.limits if searching else dataclasses.replace(study.limits, time_limit=None, gpu_hours=None)
        deadline = time.monotonic() + limits.time_limit if limits.time_limit is not None else None
        stop_request = RunPaths(self._run).stop_request
        limiter = Limiter(limits, observer, gpus=study.resources.gpu, stop_request=stop_request, deadline=deadline)
        run_trials(
            searcher,
            make_scheduler(scheduler, study.epochs),
            run=self._run,
            data=self._data.without_test() if searching else self._data,
            resources=study.resources,
            max_concurrent=self._concurrent,
            observer=observer,
            limiter=limiter,
        )
        reason = limiter.reason
        if reason is None and (observer.unfinished or not searcher.handed_out):
            reason = "interrupted"
        observer.interrupt(reason or "interrupted")
        for status, count in observer.ended.items():
            self._ended[status] = self._ended.get(status, 0) + count
        self._progress = observer.progress
        return reason

    def _publish(self, progress: Progress) -> None:
        results.write_json(RunPaths(self._run).progress, progress.to_dict())
        self._on_progress(progress)

    def _finish(self, stage: str, note: str | None) -> None:
        self._publish(
            dataclasses.replace(
                self._progress,
                stage=stage,
                ended=self._ended,
                planned=sum(self._ended.values()),
                running=0,
                left=None,
                elapsed=time.monotonic() - self._started,
                updated=time.time(),
                note=note,
            )
        )


_LIMITS = "the time limit", "the limit of"


@contextmanager
def _stop_on_sigterm(run: Path) -> Iterator[None]:
    """Turn SIGTERM into a request to stop, where this thread may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(_signal: int, _frame: Any) -> None:
        RunPaths(run).stop_request.touch()

    before = signal.signal(signal.SIGTERM, request)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
