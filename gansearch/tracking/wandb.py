"""Weights & Biases: one run a trial, online or in files that `wandb sync` sends later."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

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
    trial_id,
    trial_name,
)

PROJECT = "gansearch"
"""Name of the project where WANDB_PROJECT names none."""
INIT_SECONDS = 20.0
"""How long a trial's run may take to be known to the service; WANDB_INIT_TIMEOUT counts before it."""
_GOOD = (schema.COMPLETE, schema.STOPPED, schema.COLLAPSED)

Mode = Literal["online", "offline", "disabled", "shared"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wandb:
    """A project of a service.

    Attributes:
        project: its name.
        entity: whose it is; None for the account's default.
        mode: as WANDB_MODE takes it; None for what is configured where the trial runs.
        directory: where files are kept; None for the current directory of the trial's process.
        run: the run directory: the group of its trials.
    """

    project: str
    entity: str | None
    mode: str | None
    directory: str | None
    run: str

    @classmethod
    def of(cls, run: Location) -> Wandb:
        """Return the project that the environment names.

        Raises:
            ResultsError: when files are to be kept that have no place.
        """
        mode = os.environ.get("WANDB_MODE") or None
        directory = os.environ.get("WANDB_DIR") or (str(run) if isinstance(run, Path) else None)
        if mode == "offline" and directory is None:
            raise ResultsError(
                f"the files of offline W&B runs cannot be written to {run}",
                hint="set WANDB_DIR to a directory",
            )
        return cls(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            entity=os.environ.get("WANDB_ENTITY") or None,
            mode=mode,
            directory=directory,
            run=str(run),
        )

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return "wandb"

    @property
    def place(self) -> str:
        """Where it can be found."""
        where = f"project {self.project}, group {self._group}"
        return f"{where}, files in {self.directory}/wandb" if self.mode == "offline" else where

    @property
    def _group(self) -> str:
        return self.run.rstrip("/").rpartition("/")[2]

    def prepare(self) -> None:
        """Nothing is shared: the service makes a project with its first run."""

    def start(self, draft: Row) -> WandbRun:
        """Return what follows a trial in its run, which is found again by its id."""
        import wandb

        identity = trial_id(self.run, draft)
        offline = self.mode == "offline"
        if self.directory is not None:
            Path(self.directory).mkdir(parents=True, exist_ok=True)
            if offline:
                _remove_earlier(Path(self.directory), identity)
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            x_disable_stats=True,
            x_save_requirements=False,
            init_timeout=float(os.environ.get("WANDB_INIT_TIMEOUT") or INIT_SECONDS),
        )
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=cast(Mode | None, self.mode),
            dir=self.directory,
            id=identity,
            name=trial_name(draft),
            group=self._group,
            job_type=draft["stage"],
            config=hyperparameters(draft) | labels(draft),
            allow_val_change=True,
            resume=None if offline else "allow",
            reinit="create_new",
            save_code=False,
            settings=quiet,
        )
        return WandbRun(run)


class WandbRun:
    """One trial's run.

    The service takes no step twice: of a trial that goes on from a checkpoint, reports that are there already are
    left as they are. An offline run cannot be gone on with: its files are written anew, from the first report on.

    Args:
        run: wandb's own.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._next: int = run.step  # one more than the last that is there; 0 for a new run

    def report(self, row: Row) -> None:
        """Log a report."""
        if row["epoch"] >= self._next:
            self._run.log(metrics(row), step=row["epoch"])

    def end(self, rows: Sequence[Row]) -> None:
        """Log the scores and how the trial ended, as the run's summary."""
        if ended(rows):
            self._run.summary.update(scores(rows))
        self._run.summary.update(facts(rows))
        self._run.finish(exit_code=0 if not rows or rows[0]["status"] in (*_GOOD, schema.RUNNING) else 1)


def _remove_earlier(directory: Path, identity: str) -> None:
    """Remove a trial's offline files of earlier processes: all that counts of them is written anew."""
    for folder in (directory / "wandb").glob(f"offline-run-*-{identity}"):
        shutil.rmtree(folder)
