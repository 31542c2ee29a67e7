"""A run's search as an Optuna study: in memory for Optuna's evaluators and plots, or in a storage for its dashboard.

    COMPLETE                       COMPLETE  with what the searcher was told
    STOPPED                        PRUNED    with the same, of the epochs that it ran
    DIVERGED, FAILED, COLLAPSED    FAIL
    INTERRUPTED, RUNNING           left out: no outcome

Intermediate values are the trial's reports, by epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from analysis.planned_search import Parameter
from analysis.search_rows import Reports, Search, SearchTrial, read_search, search_reports
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.storage import Location, reason

METRIC = "validation log-likelihood, nats"
STATES: Mapping[str, TrialState] = {
    schema.COMPLETE: TrialState.COMPLETE,
    schema.STOPPED: TrialState.PRUNED,
    schema.DIVERGED: TrialState.FAIL,
    schema.FAILED: TrialState.FAIL,
    schema.COLLAPSED: TrialState.FAIL,
}
"""Optuna's state of a trial with an outcome."""
_NO_START = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_ERROR_LENGTH = 500
_SQLITE = "sqlite:///"
_JOURNAL = ".log"
"""Ending of a file that is Optuna's journal, which is written far faster than an SQLite database."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written to a storage.

    Attributes:
        storage: URL of the storage, or path of the journal, as `optuna-dashboard` takes it.
        study: name of the study in it.
        states: number of trials by Optuna's state.
        left_out: trials without an outcome.
        skipped: damaged parts that were left out.
    """

    storage: str
    study: str
    states: Mapping[str, int]
    left_out: int
    skipped: tuple[str, ...]


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution of a parameter."""
    if parameter.kind == "choice":
        return CategoricalDistribution([_encoded(parameter, value) for value in parameter.values])
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _encoded(parameter: Parameter, value: object) -> Any:
    """Return Optuna's value: the JSON of a choice where some choice is a list, as a search itself names it."""
    lists = any(isinstance(v, tuple) for v in parameter.values)
    return json.dumps(value) if lists else value


def frozen_trial(
    trial: SearchTrial, parameters: Sequence[Parameter], state: TrialState, reports: Sequence[tuple[int, float]] = ()
) -> FrozenTrial:
    """Return a trial of a search as Optuna's.

    Args:
        trial: the trial; it has an outcome.
        parameters: the searched parameters.
        state: Optuna's state of it.
        reports: its (epoch, value) reports, in nats.

    Raises:
        ResultsError: when a value lies outside the plan's space, or one is missing of a trial that completed.
    """
    acting = [p for p in parameters if p.name in trial.values]
    for parameter in acting:
        value = trial.values[parameter.name]
        if not parameter.holds(value):
            raise ResultsError(
                f"search trial {trial.key.config_id} has {parameter.name} = {value!r}, outside the plan's space",
                hint="the plan file is not that of these trials",
            )
    if state is TrialState.COMPLETE and trial.value is None:
        raise ResultsError(f"trial {trial.key.config_id} with seed {trial.key.seed} is COMPLETE without a report")
    found = optuna.trial.create_trial(
        state=state,
        value=None if state is TrialState.FAIL else trial.value,
        params={p.name: _encoded(p, trial.values[p.name]) for p in acting},
        distributions={p.name: distribution(p) for p in acting},
        intermediate_values=dict(reports),
        user_attrs=_attributes(trial),
    )
    # Optuna's times are local ones without a zone.
    started = (trial.started or _NO_START).astimezone().replace(tzinfo=None)
    found.datetime_start = started
    found.datetime_complete = started + datetime.timedelta(seconds=trial.seconds or 0.0)
    return found


def _attributes(trial: SearchTrial) -> dict[str, Any]:
    """Return what a reader finds a trial's rows by, and what became of it."""
    values = {
        "config_id": trial.key.config_id,
        "seed": trial.key.seed,
        "fold": trial.key.fold,
        "number": trial.number,
        "replicate": trial.replicate,
        "status": trial.status,
        "epochs": trial.epochs,
        "valid_ll_mean": trial.valid,
        "error": None if trial.error is None else trial.error[:_ERROR_LENGTH],
    }
    return {name: value for name, value in values.items() if value is not None}


def frozen_trials(
    search: Search, states: Mapping[str, TrialState] = STATES, reports: Reports | None = None
) -> list[FrozenTrial]:
    """Return a search's trials as Optuna's, in their order.

    Args:
        search: the search.
        states: which statuses to take, and as what.
        reports: the trials' reports; none by default.

    Raises:
        ResultsError: when the run has no plan, or as `frozen_trial`.
    """
    parameters = search.need_plan().parameters
    return [
        frozen_trial(t, parameters, states[t.status], (reports or {}).get(t.key, ()))
        for t in search.trials
        if t.status in states
    ]


def study_of(
    trials: Iterable[FrozenTrial],
    name: str = "search",
    storage: BaseStorage | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> optuna.Study:
    """Return a new study of trials, whose values are to be maximised.

    Args:
        trials: its trials.
        name: what it is called.
        storage: where it is; in memory by default.
        attributes: what its readers are told of it, by name.

    Raises:
        DuplicatedStudyError: when the storage has a study of that name.
    """
    with silent():
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.set_metric_names([METRIC])
        for key, value in (attributes or {}).items():
            study.set_user_attr(key, value)
        study.add_trials(trials)
    return study


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep Optuna from telling of each study that it makes, and that names of metrics are new to it."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def export(run: Location | str, storage: str, *, name: str | None = None, skip_damaged: bool = False) -> Exported:
    """Write a run's search to an Optuna storage, as a study of its own.

    A new file appears whole or not at all; in a storage that is there already, a study that could not be
    written whole is removed again.

    Args:
        run: the run directory.
        storage: a path, which is taken for an SQLite file, or for Optuna's journal where it ends in `.log`; or a URL as
            Optuna takes it, such as `sqlite:///study.db`. The journal is the one for thousands of trials.
        name: name of the study; the run directory's by default.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run or the storage cannot be used, or the storage has a study of that name.
        ConfigError: when the run's plan file cannot be read.
    """
    search = read_search(run, skip_damaged=skip_damaged)
    trials = frozen_trials(search, STATES, search_reports(run, skip_damaged=skip_damaged))
    journal = "://" not in storage and Path(storage).suffix == _JOURNAL
    url = storage if "://" in storage or journal else f"{_SQLITE}{storage}"
    study = name or search.run
    path = Path(url.removeprefix(_SQLITE)) if journal or url.startswith(_SQLITE) else None
    with _told(storage):
        if path is not None and not path.exists():
            _write_new(path, study, trials, _about(search))
        else:
            _write(_open(url), study, trials, _about(search), storage)
    counts = {state.name: sum(t.state is state for t in trials) for state in dict.fromkeys(STATES.values())}
    return Exported(
        storage=url,
        study=study,
        states={state: count for state, count in counts.items() if count},
        left_out=len(search.trials) - len(trials),
        skipped=search.skipped,
    )


@contextlib.contextmanager
def _told(storage: str) -> Iterator[None]:
    """Tell what is wrong with a storage in one sentence."""
    import sqlalchemy.exc

    try:
        yield
    except OSError as error:
        raise ResultsError(f"the storage {storage} cannot be written: {reason(error)}") from error
    except (ImportError, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        # The first line: what follows is SQL.
        raise ResultsError(
            f"the storage {storage} cannot be used: {str(error.__cause__ or error).splitlines()[0]}",
            hint="give a path such as study.db, or a URL such as sqlite:///study.db",
        ) from error


def _open(url: str) -> BaseStorage:
    with silent():
        if "://" in url:
            return RDBStorage(url)
        return JournalStorage(JournalFileBackend(url))


def _close(storage: BaseStorage) -> None:
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def _about(search: Search) -> dict[str, Any]:
    """Return what a reader of the study must know."""
    plan = search.need_plan()
    return {
        "run": search.run,
        "dataset": search.dataset,
        "searcher": plan.searcher,
        "scheduler": plan.scheduler,
        "values": "what the searcher was told: validation under the report protocol; the best report of a trial, "
        "which is optimistic, or with `score.at: last` the last one",
    }


def _write_new(path: Path, name: str, trials: Sequence[FrozenTrial], attributes: Mapping[str, Any]) -> None:
    """Write a new file beside its place, and put it there once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        beside = Path(folder) / path.name
        made = _open(str(beside) if path.suffix == _JOURNAL else f"{_SQLITE}{beside}")
        if isinstance(made, RDBStorage):
            _hasten(made)
        study_of(trials, name, made, attributes)
        _close(made)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)


def _hasten(storage: RDBStorage) -> None:
    """Write without waiting for the disk at every trial: the file is in nobody's hands before it is whole."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def relax(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    _close(storage)  # connections that were opened without it


def _write(
    storage: BaseStorage, name: str, trials: Sequence[FrozenTrial], attributes: Mapping[str, Any], where: str
) -> None:
    try:
        study_of((), name, storage, attributes)
    except DuplicatedStudyError as error:
        raise ResultsError(
            f"the storage {where} has a study '{name}' already",
            hint="give another name with --study-name, or another storage; nothing was written",
        ) from error
    try:
        with silent():
            optuna.load_study(study_name=name, storage=storage).add_trials(trials)
    except BaseException:
        with silent():
            optuna.delete_study(study_name=name, storage=storage)
        raise
    finally:
        _close(storage)
