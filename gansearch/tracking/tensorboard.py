"""TensorBoard: one folder of event files a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    trial_name,
)

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

FOLDER = "tensorboard"
"""Folder of a run directory."""
_BAD = (schema.FAILED, schema.DIVERGED)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TensorBoard:
    """Event files in a directory.

    Attributes:
        directory: what `tensorboard --logdir` is given; holds one folder a trial, named by its key.
    """

    directory: Path

    @classmethod
    def of(cls, run: Location) -> TensorBoard:
        """Return the folder of a run directory.

        Raises:
            ResultsError: when the run lies on an object store, to which event files cannot be appended.
        """
        if not isinstance(run, Path):
            raise ResultsError(
                f"TensorBoard's event files cannot be written to {run}",
                hint=f"`gansearch track {run} --to tensorboard -o DIR` writes them of its tables; or use another one",
            )
        return cls(directory=run / FOLDER)

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return "tensorboard"

    @property
    def place(self) -> str:
        """Where it can be found."""
        return str(self.directory)

    def prepare(self) -> None:
        """Nothing is shared."""

    def start(self, draft: Row) -> Events:
        """Return what writes a trial's events."""
        return Events(self.directory / trial_name(draft), draft)


class Events:
    """One trial's event file.

    A trial that goes on has its reports from the first one written anew, and the older files are removed: the epochs
    after its last checkpoint are in them, and would stand there twice.

    Args:
        folder: the trial's own.
        draft: what is known of its row.
    """

    def __init__(self, folder: Path, draft: Row) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # their `api` takes TensorFlow
        from torch.utils.tensorboard import FileWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink(missing_ok=True)
        self._draft = draft
        self._writer: Any = FileWriter(str(folder))
        started = seconds_at(draft, None)
        about = hparams_pb(
            hyperparameters(draft) | labels(draft), trial_id=folder.name, start_time_secs=round(started, 3)
        )
        self._writer.add_summary(about, walltime=started)

    def report(self, row: Row) -> None:
        """Write a report's values."""
        self._scalars(metrics(row), row["epoch"], seconds_at(self._draft, row.get("seconds")))
        self._writer.flush()

    def end(self, rows: Sequence[Row]) -> None:
        """Write the scores and how the trial ended."""
        from torch.utils.tensorboard.summary import text

        if ended(rows):
            when = seconds_at(self._draft, rows[0].get("run_seconds"))
            self._scalars(scores(rows), rows[0].get("scored_epoch"), when)
            outcome = "\n".join(f"- {name}: {value}" for name, value in facts(rows).items())
            self._writer.add_summary(text("outcome", outcome), rows[0]["epochs"], when)
            self._writer.add_summary(_outcome(rows[0]["status"], when), walltime=when)
        self._writer.close()

    def _scalars(self, values: Mapping[str, float], step: int | None, when: float) -> None:
        from torch.utils.tensorboard.summary import scalar

        for name, value in values.items():
            self._writer.add_summary(scalar(name, value), step, when)


def _outcome(status: str, when: float) -> Summary:
    """Return what the view of hyperparameters knows a trial's end by."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_FAILURE if status in _BAD else api_pb2.STATUS_SUCCESS, end_time_secs=when
    )
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    return Summary(value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about)])
