"""Every file name of a run directory, in one place."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from gansearch.errors import ResultsError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class TrialKey:
    """What identifies a trial, whatever it is scored under.

    Attributes:
        config_id: hash of the configuration.
        seed: the trial's seed.
        stage: search, confirm, train or reproduce.
        fold: fold of the data set.
    """

    config_id: str
    seed: int
    stage: str
    fold: int = 0

    def __str__(self) -> str:
        return f"{self.config_id}-{self.seed}-{self.stage}-{self.fold}"


@dataclasses.dataclass(frozen=True, slots=True)
class RunPaths:
    """The files of one run directory.

    Attributes:
        root: the run directory.
    """

    root: Path

    @property
    def plan(self) -> Path:
        """The resolved plan of the sweep."""
        return self.root / "sweep.yaml"

    @property
    def progress(self) -> Path:
        """What the driver last said about itself, as JSON."""
        return self.root / "progress.json"

    @property
    def stop_request(self) -> Path:
        """Its existence asks the driver to end the sweep."""
        return self.root / "stop"

    @property
    def claims(self) -> Path:
        """Folder of drivers' claims on the run: one while a sweep runs, none else."""
        return self.root / "claims"

    def claim(self, claim_id: str) -> Path:
        """One driver's claim, as JSON."""
        return self.claims / (safe_name(claim_id) + ".json")

    def table(self, name: str) -> Path:
        """Folder of a table's Parquet parts."""
        return self.root / name

    def part(self, table: str, key: TrialKey | str, *suffix: str) -> Path:
        """Parquet part of one trial in a table, named by its key."""
        return self.table(table) / (safe_name("-".join((str(key), *suffix))) + ".parquet")

    def checkpoint(self, key: TrialKey) -> Path:
        """Where an unfinished trial continues from."""
        return self.root / "checkpoints" / safe_name(str(key)) / "checkpoint.safetensors"

    def weights(self, key: TrialKey) -> Path:
        """The scored weights of a finalist."""
        return self.root / "checkpoints" / safe_name(str(key)) / "weights.safetensors"


def safe_name(name: str) -> str:
    """Return `name` when it can only be a file name inside its folder.

    Raises:
        ResultsError: when it holds a path separator, starts with a dot or an underscore, or is empty.
    """
    if not _SAFE.match(name):
        raise ResultsError(f"'{name}' cannot be a file name: letters, digits, '.', '_' and '-' only")
    return name
