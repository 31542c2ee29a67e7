"""Every file name of a run directory, in one place."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Generic, TypeVar

from gansearch.errors import ResultsError
from gansearch.storage import Location

L = TypeVar("L", bound=Location)
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
class RunPaths(Generic[L]):
    """The files of one run directory.

    Attributes:
        root: the run directory.
    """

    root: L

    @property
    def plan(self) -> L:
        """The resolved plan of the sweep."""
        return self._at("sweep.yaml")

    @property
    def progress(self) -> L:
        """What the driver last said about itself, as JSON."""
        return self._at("progress.json")

    @property
    def stop_request(self) -> L:
        """Its existence asks the driver to end the sweep."""
        return self._at("stop")

    @property
    def claims(self) -> L:
        """Folder of drivers' claims on the run: one while a sweep runs, none else."""
        return self._at("claims")

    def claim(self, claim_id: str) -> L:
        """One driver's claim, as JSON."""
        return self._at("claims", safe_name(claim_id) + ".json")

    def table(self, name: str) -> L:
        """Folder of a table's Parquet parts."""
        return self._at(name)

    def part(self, table: str, key: TrialKey | str, *suffix: str) -> L:
        """Parquet part of one trial in a table, named by its key."""
        return self._at(table, safe_name("-".join((str(key), *suffix))) + ".parquet")

    def checkpoint(self, key: TrialKey) -> L:
        """Where an unfinished trial continues from."""
        return self._at("checkpoints", safe_name(str(key)), "checkpoint.safetensors")

    def weights(self, key: TrialKey) -> L:
        """The scored weights of a finalist."""
        return self._at("checkpoints", safe_name(str(key)), "weights.safetensors")

    def _at(self, *names: str) -> L:
        place: Any = self.root
        for name in names:
            place = place / name
        found: L = place
        return found


def safe_name(name: str) -> str:
    """Return `name` when it can only be a file name inside its folder.

    Raises:
        ResultsError: when it holds a path separator, starts with a dot or an underscore, or is empty.
    """
    if not _SAFE.match(name):
        raise ResultsError(f"'{name}' cannot be a file name: letters, digits, '.', '_' and '-' only")
    return name
