"""MLflow: one run a trial, on a server or in a SQLite file."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.storage import Location
from gansearch.tracking.interface import (
    Row,
    ended,
    facts,
    hyperparameters,
    labels,
    metrics,
    scores,
    seconds_at,
    trial_id,
    trial_name,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILE = "mlflow.db"
"""File of a run directory, where no server is named."""
TAG = "gansearch.trial"
"""Tag by which a trial's run is found again."""
_PREFIX = "gansearch."
_STATUSES = {
    schema.COMPLETE: "FINISHED",
    schema.STOPPED: "KILLED",
    schema.COLLAPSED: "KILLED",
    schema.INTERRUPTED: "KILLED",
}
"""MLflow's word for how a trial ended; any other is FAILED."""
_SQLITE = "sqlite:///"
_ALWAYS = "seconds"
"""A column of `curves` that every report has: the steps of it are the reports that are there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mlflow:
    """An experiment of a tracking store.

    Attributes:
        uri: the store's, as MLFLOW_TRACKING_URI takes it.
        experiment: name of the experiment.
        run: the run directory, which tells trials of different runs apart.
    """

    uri: str
    experiment: str
    run: str

    @classmethod
    def of(cls, run: Location) -> Mlflow:
        """Return the store and the experiment that the environment names, else a file in the run directory.

        Raises:
            ResultsError: when the run lies on an object store and no tracking store is named.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri and not isinstance(run, Path):
            raise ResultsError(
                f"MLflow has no place for the trials of {run}",
                hint="set MLFLOW_TRACKING_URI to the address of a tracking server",
            )
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.name
        return cls(uri=uri or f"sqlite:///{run / FILE}", experiment=experiment, run=str(run))

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return "mlflow"

    @property
    def place(self) -> str:
        """Where it can be found."""
        return f"{self.uri}, experiment {self.experiment}"

    def prepare(self) -> None:
        """Make a SQLite file's tables, which takes seconds and must not happen twice at a time."""
        if self.uri.startswith(_SQLITE):
            self._experiment_id(self._client())

    def start(self, draft: Row) -> MlflowRun:
        """Return what follows a trial in its MLflow run."""
        client = self._client()
        return MlflowRun(client, self._experiment_id(client), trial_id(self.run, draft), draft)

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each step of making a file
        if self.uri.startswith(_SQLITE):
            Path(self.uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self.uri)

    def _experiment_id(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(client.create_experiment(self.experiment))
            except MlflowException:  # another trial has made it meanwhile
                found = client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        return str(found.experiment_id)


class MlflowRun:
    """One trial's MLflow run, found again by its tag.

    A store takes no report back. Of a trial that goes on from a checkpoint, reports after it that are there already
    are left as they are: training them again gives the same values, but for those that measure time.

    Args:
        client: of the store.
        experiment_id: the experiment.
        identity: the trial's id.
        draft: what is known of its row.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, identity: str, draft: Row) -> None:
        from mlflow.entities import Param

        self._client, self._draft = client, draft
        found = client.search_runs([experiment_id], f"tags.`{TAG}` = '{identity}'", max_results=1)
        if found:
            self._id: str = found[0].info.run_id
            client.update_run(self._id, status="RUNNING")
        else:
            tags = {_PREFIX + name: str(value) for name, value in labels(draft).items()}
            made = client.create_run(
                experiment_id, _milliseconds(draft, None), {**tags, TAG: identity}, trial_name(draft)
            )
            self._id = made.info.run_id
        self._there = {metric.step for metric in client.get_metric_history(self._id, _ALWAYS)} if found else set()
        self._scored = set(found[0].data.metrics) if found else set()
        client.log_batch(self._id, params=[Param(name, str(v)) for name, v in hyperparameters(draft).items()])

    def report(self, row: Row) -> None:
        """Log a report, all of it or nothing."""
        if row["epoch"] not in self._there:
            self._log(metrics(row), row["epoch"], row.get("seconds"))

    def end(self, rows: Sequence[Row]) -> None:
        """Log the scores and how the trial ended; one that goes on elsewhere stays RUNNING."""
        from mlflow.entities import RunTag

        if ended(rows):
            new = {name: value for name, value in scores(rows).items() if name not in self._scored}
            self._log(new, rows[0].get("scored_epoch") or 0, rows[0].get("run_seconds"))
        tags = [RunTag(_PREFIX + name, str(value)) for name, value in facts(rows).items()]
        self._client.log_batch(self._id, tags=tags)
        if rows and rows[0]["status"] != schema.RUNNING:
            when = _milliseconds(self._draft, rows[0].get("run_seconds"))
            self._client.set_terminated(self._id, _STATUSES.get(rows[0]["status"], "FAILED"), when)

    def _log(self, values: dict[str, float], step: int, seconds: float | None) -> None:
        from mlflow.entities import Metric

        when = _milliseconds(self._draft, seconds)
        self._client.log_batch(self._id, metrics=[Metric(name, value, when, step) for name, value in values.items()])


def _milliseconds(draft: Row, seconds: float | None) -> int:
    return round(1000 * seconds_at(draft, seconds))
