"""Where a trial's outcome goes: the tables and checkpoint files of a run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch

from gansearch import parts, results, schema, storage
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey

if TYPE_CHECKING:
    import torch


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
    """

    run: Path
    claim_id: str | None = None

    @property
    def paths(self) -> RunPaths[Path]:
        """The run directory's file names."""
        return RunPaths(self.run)

    def trial(self, key: TrialKey, row: Mapping[str, object]) -> None:
        """Write a trial's row under one protocol."""
        self._check_claim()
        path = self.paths.part(schema.TRIALS.name, key, str(row["protocol_id"]))
        parts.write_part(path, schema.TRIALS, [row])

    def _check_claim(self) -> None:
        if self.claim_id is not None and not self.paths.claim(self.claim_id).exists():
            raise ResultsError(f"another driver holds {self.run} now, so this one writes nothing more there")

    def rows(self, key: TrialKey, protocol_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the trial's rows under these protocols, as far as they are there."""
        paths = [self.paths.part(schema.TRIALS.name, key, p) for p in protocol_ids]
        return [row for path in paths for row in parts.find_part(path, schema.TRIALS)]

    def table(self, table: schema.Table, key: TrialKey, rows: Sequence[Mapping[str, object]]) -> None:
        """Write a trial's part of a table (curves, samples or examples) anew."""
        self._check_claim()
        parts.write_part(self.paths.part(table.name, key), table, rows)

    def read_table(self, table: schema.Table, key: TrialKey) -> list[dict[str, Any]]:
        """Return a trial's part of a table; nothing where there is none."""
        part = self.paths.part(table.name, key)
        return parts.read_part(part, table) if part.exists() else []

    def find_test_evaluation(self, weights_digest: str, protocol_id: str, data_digest: str) -> dict[str, Any] | None:
        """Return the ledger's entry for a model under a protocol, or None."""
        return results.find_test_evaluation(self.run, weights_digest, protocol_id, data_digest)

    def record_test_evaluation(self, row: Mapping[str, object]) -> None:
        """Enter an evaluation of the test set in the ledger."""
        self._check_claim()
        results.record_test_evaluation(self.run, {**row, "made_at": datetime.datetime.now(datetime.UTC)})

    def save_checkpoint(self, key: TrialKey, checkpoint: Checkpoint) -> None:
        """Replace the trial's checkpoint."""
        self._check_claim()
        _save(self.paths.checkpoint(key), checkpoint)

    def load_checkpoint(self, key: TrialKey) -> Checkpoint | None:
        """Return the trial's checkpoint, or None where there is none."""
        path = self.paths.checkpoint(key)
        return load(path) if path.exists() else None

    def checkpoint_epochs(self, key: TrialKey) -> int:
        """Return the epochs after which the trial's checkpoint was made; 0 where none can be read."""
        path = self.paths.checkpoint(key)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                return int(json.loads(file.metadata()["state"])["epochs"])
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
            return 0

    def drop_checkpoint(self, key: TrialKey) -> None:
        """Remove the checkpoint of a trial that has ended; a finalist's weights beside it stay."""
        self._check_claim()
        path = self.paths.checkpoint(key)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or never made
            path.parent.rmdir()

    def save_weights(self, key: TrialKey, weights: Mapping[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Keep a finalist's scored weights."""
        self._check_claim()
        _save(self.paths.weights(key), Checkpoint(dict(weights), state))


def _save(path: Path, checkpoint: Checkpoint) -> None:
    tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
    payload = safetensors.torch.save(tensors, metadata={"state": json.dumps(checkpoint.state)})
    storage.write_bytes(path, payload)


def load(path: Path) -> Checkpoint:
    """Return what a safetensors file of this project holds.

    Raises:
        ResultsError: when it is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            return Checkpoint(tensors, json.loads(file.metadata()["state"]))
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is not a readable checkpoint: {error}") from error
