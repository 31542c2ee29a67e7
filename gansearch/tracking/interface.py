"""What a tracker is, and what of a trial's rows it is told.

A tracker hears a trial as rows of the tables: first the draft of its row in `trials`, then each row of `curves`, at
the end its rows. So whatever runs trials, and a finished run's tables too, can be followed in the same way.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gansearch import schema
from gansearch.paths import TrialKey
from gansearch.seeds import digest

Row = Mapping[str, Any]

METRICS = tuple(
    c.name for c in schema.CURVES.columns if c.name not in schema.CURVES.key and c.type in ("float64", "int64", "bool")
)
"""Columns of `curves` that a tracker shows, by their own names; the step is the epoch."""
SCORES = ("valid_ll_mean", "valid_ll_se_examples", "test_ll_mean", "test_ll_se_examples", "sigma")
"""Columns of `trials` that it shows of a trial that was scored, under each protocol."""
FACTS = ("status", "error", "epochs", "scored_epoch", "weights_digest", "collapsed")
"""Columns of `trials` that it shows once, however the trial ended."""
_LABELS = ("config_id", "seed", "stage", "fold", "replicate", "number", "parent_id", "report_protocol_id")


class Tracker(Protocol):
    """Follows one trial. Whatever a method raises ends the following, and not the trial."""

    def report(self, row: Row) -> None:
        """Take a row of `curves`; rows come in the order of their epochs, from the first epoch on."""

    def end(self, rows: Sequence[Row]) -> None:
        """Take the trial's rows, one under each protocol, and close.

        The trial may go on elsewhere, where a row's status is no outcome or there are no rows.
        """


class Destination(Protocol):
    """Where trials are followed. Made where a sweep is started, and sent to wherever its trials run."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def place(self) -> str:
        """Where what it writes can be found, in words."""

    def prepare(self) -> None:
        """Make what all trials share, before there are several of them."""

    def start(self, draft: Row) -> Tracker:
        """Return what follows a trial.

        A trial that was followed before, in whatever process, is gone on with: no report of it is there twice.

        Args:
            draft: what is known of its row in `trials`.
        """


def trial_name(draft: Row) -> str:
    """Return a trial's name: `<config_id>-<seed>-<stage>-<fold>`."""
    return str(TrialKey(draft["config_id"], draft["seed"], draft["stage"], draft["fold"]))


def trial_id(run: str, draft: Row) -> str:
    """Return what identifies a trial among those of all runs: its name and a digest of the run directory's."""
    return f"{trial_name(draft)}-{digest([run])}"


def metrics(row: Row) -> dict[str, float]:
    """Return what a row of `curves` measured, by column; without nulls."""
    return {name: float(row[name]) for name in METRICS if row.get(name) is not None}


def hyperparameters(draft: Row) -> dict[str, Any]:
    """Return a trial's configuration by column, `cfg_algorithm_k` and so on; without what does not act in it."""
    return {
        name: value
        for name, value in draft.items()
        if name.startswith("cfg_") and name != "cfg_json" and value is not None
    }


def labels(draft: Row) -> dict[str, Any]:
    """Return what identifies a trial, by column; without nulls."""
    return {name: draft[name] for name in _LABELS if draft.get(name) is not None}


def scores(rows: Sequence[Row]) -> dict[str, float]:
    """Return a scored trial's values by `<protocol_id>/<column>`; test scores where its stage read the test set."""
    return {
        f"{row['protocol_id']}/{name}": float(row[name]) for row in rows for name in SCORES if row.get(name) is not None
    }


def facts(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how a trial ended, by column; without nulls, and nothing where there are no rows."""
    return {name: rows[0][name] for name in FACTS if rows[0].get(name) is not None} if rows else {}


def ended(rows: Sequence[Row]) -> bool:
    """Return whether the rows are an outcome."""
    return bool(rows) and all(row["status"] not in schema.UNFINISHED for row in rows)


def seconds_at(draft: Row, seconds: float | None) -> float:
    """Return when a trial had run so many seconds, as seconds since 1970: the same whenever it is asked."""
    started: datetime.datetime = draft["run_started"]
    return started.timestamp() + (seconds or 0.0)
