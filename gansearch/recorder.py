"""Where a trial's outcome goes: the tables and checkpoint files of a run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import safetensors
import safetensors.torch

from gansearch import outbox, parts, results, schema, storage
from gansearch.errors import ResultsError
from gansearch.object_store import StorageError
from gansearch.paths import RunPaths, TrialKey
from gansearch.storage import Location
from gansearch.tracking.interface import Destination

if TYPE_CHECKING:
    import torch


T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors and what else is needed to go on from them.

    Attributes:
        tensors: by name, on the CPU.
        state: JSON-able values.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Recorder:
    """Writes one run directory. Every file appears whole or not at all.

    Attributes:
        run: the run directory.
        claim_id: of the driver it writes for; once that driver's claim on the run is gone, nothing is written,
            so that a worker that outlives its sweep does not write into the one that went on. None for a run
            without a driver.
        patience: seconds for which an operation is tried again while the storage is away; rows wait on this machine's
            disk meanwhile.
        track: where trials are followed besides.
    """

    run: Location
    claim_id: str | None = None
    patience: float = 0.0
    track: tuple[Destination, ...] = ()

    @property
    def paths(self) -> RunPaths[Location]:
        """The run directory's file names."""
        return RunPaths(self.run)

    def trial(self, key: TrialKey, row: Mapping[str, object]) -> None:
        """Write a trial's row under one protocol."""
        self._write(schema.TRIALS, [row], key, str(row["protocol_id"]))

    def table(self, table: schema.Table, key: TrialKey, rows: Sequence[Mapping[str, object]]) -> None:
        """Write a trial's part of a table (curves, samples or examples) anew."""
        self._write(table, rows, key)

    def _write(
        self, table: schema.Table, rows: Sequence[Mapping[str, object]], key: TrialKey | str, *suffix: str
    ) -> None:
        path = self.paths.part(table.name, key, *suffix)
        kept = RunPaths(outbox.folder(self.run)).part(table.name, key, *suffix)

        def keep(error: Exception) -> None:
            _log.warning("%s; trying again for %.0f s, the rows wait in %s", error, self.patience, kept)
            with contextlib.suppress(ResultsError):  # a disk that is full: they wait in memory alone
                parts.write_part(kept, table, rows)

        def put() -> None:
            self._check_claim()
            parts.write_part(path, table, rows)

        try:
            storage.patiently(put, self.patience, keep)
        except ResultsError as error:
            if storage.may_pass(error) and kept.exists():
                raise ResultsError(
                    f"{error.message}; its rows wait in {kept.parent.parent}",
                    hint=f"once the storage is back, `gansearch resume {self.run}` on this machine delivers them",
                ) from error
            raise
        kept.unlink(missing_ok=True)

    def _patiently(self, call: Callable[[], T]) -> T:
        return storage.patiently(call, self.patience, lambda error: _log.warning("%s; trying again", error))

    def _check_claim(self) -> None:
        if self.claim_id is not None and not self.paths.claim(self.claim_id).exists():
            raise ResultsError(f"another driver holds {self.run} now, so this one writes nothing more there")

    def rows(self, key: TrialKey, protocol_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the trial's rows under these protocols, as far as they are there."""
        paths = [self.paths.part(schema.TRIALS.name, key, p) for p in protocol_ids]
        return [row for path in paths for row in self._find(path, schema.TRIALS)]

    def read_table(self, table: schema.Table, key: TrialKey) -> list[dict[str, Any]]:
        """Return a trial's part of a table; nothing where there is none."""
        return self._find(self.paths.part(table.name, key), table)

    def _find(self, path: Location, table: schema.Table) -> list[dict[str, Any]]:
        return self._patiently(lambda: parts.find_part(path, table))

    def find_test_evaluation(self, weights_digest: str, protocol_id: str, data_digest: str) -> dict[str, Any] | None:
        """Return the ledger's entry for a model under a protocol, or None."""
        return self._patiently(lambda: results.find_test_evaluation(self.run, weights_digest, protocol_id, data_digest))

    def record_test_evaluation(self, row: Mapping[str, object]) -> None:
        """Enter an evaluation of the test set in the ledger; an entry that is there already is kept."""
        self._check_claim()
        table = schema.TEST_EVALUATIONS
        parts.check_rows(table, [row := {"made_at": datetime.datetime.now(datetime.UTC), **row}])
        names = [str(row[name]) for name in table.key]
        if self.find_test_evaluation(*names) is None:
            self._write(table, [row], names[0], *names[1:])

    def save_checkpoint(self, key: TrialKey, checkpoint: Checkpoint) -> None:
        """Replace the trial's checkpoint."""
        self._save(self.paths.checkpoint(key), checkpoint)

    def load_checkpoint(self, key: TrialKey) -> Checkpoint | None:
        """Return the trial's checkpoint, or None where there is none."""
        path = self.paths.checkpoint(key)
        return self._patiently(lambda: load(path) if path.exists() else None)

    def checkpoint_epochs(self, key: TrialKey) -> int:
        """Return the epochs after which the trial's checkpoint was made; 0 where none can be read."""
        path = self.paths.checkpoint(key)
        try:
            with storage.local_copy(path) as file:
                return int(_state(file)["epochs"])
        except StorageError:
            raise
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
            return 0

    def drop_checkpoint(self, key: TrialKey) -> None:
        """Remove the checkpoint of a trial that has ended; a finalist's weights beside it stay."""
        path = self.paths.checkpoint(key)

        def drop() -> None:
            self._check_claim()
            path.unlink(missing_ok=True)

        self._patiently(drop)
        with contextlib.suppress(OSError):  # not empty, or never made
            path.parent.rmdir()

    def save_weights(self, key: TrialKey, weights: Mapping[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Keep a finalist's scored weights."""
        self._save(self.paths.weights(key), Checkpoint(dict(weights), state))

    def _save(self, path: Location, checkpoint: Checkpoint) -> None:
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        payload = safetensors.torch.save(tensors, metadata={"state": json.dumps(checkpoint.state)})

        def put() -> None:
            self._check_claim()
            storage.write_bytes(path, payload)

        self._patiently(put)


def load(path: Location) -> Checkpoint:
    """Return what a safetensors file of this project holds.

    Raises:
        ResultsError: when it is missing, damaged or out of reach.
    """
    try:
        with storage.local_copy(path) as file:
            return Checkpoint(safetensors.torch.load_file(file), _state(file))
    except StorageError:
        raise
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is not a readable checkpoint: {error}") from error


def _state(file: Path) -> dict[str, Any]:
    """Return what stands in a safetensors file beside its tensors."""
    with safetensors.safe_open(file, framework="pt") as opened:
        state: dict[str, Any] = json.loads(opened.metadata()["state"])
    return state
