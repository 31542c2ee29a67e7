"""Where a trial's outcome goes: checkpoints, weights and rows under their key."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.paths import TrialKey
from gansearch.recorder import Checkpoint, Recorder, load
from gansearch.rows import draft_row, final_rows
from tests.trials import FULL, PUBLISHED, digits, spec

KEY = TrialKey("00c0ffee0000", 5, "confirm", 1)


def checkpoint() -> Checkpoint:
    tensors = {
        "g/0.weight": torch.linspace(-1, 1, 6).reshape(2, 3).T,
        "alive": torch.tensor(True),
        "counts": torch.tensor([2**40, 3]),
        "nan": torch.tensor([math.nan, -0.0]),
    }
    return Checkpoint(tensors, {"epochs": 3, "row": {"d_real": 0.1 + 0.2, "game_value": math.inf}})


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.load_checkpoint(KEY) is None
    recorder.save_checkpoint(KEY, checkpoint())
    loaded = recorder.load_checkpoint(KEY)
    assert loaded is not None
    assert loaded.state == checkpoint().state
    for name, tensor in checkpoint().tensors.items():
        found = loaded.tensors[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert found.contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes()
    recorder.save_checkpoint(KEY, Checkpoint({}, {"epochs": 4}))
    replaced = recorder.load_checkpoint(KEY)
    assert replaced == Checkpoint({}, {"epochs": 4})
    assert [p.name for p in recorder.paths.checkpoint(KEY).parent.glob("*")] == ["checkpoint.safetensors"]


def test_dropping_a_checkpoint_leaves_a_finalists_weights(tmp_path: Path) -> None:
    recorder, other = Recorder(tmp_path), TrialKey("00c0ffee0000", 6, "search")
    weights = {"0.bias": torch.tensor([1.0, 2.0])}
    for key in (KEY, other):
        recorder.save_checkpoint(key, checkpoint())
    recorder.save_weights(KEY, weights, {"scored_epoch": 4})
    for _ in range(2):  # dropping what is not there does nothing
        recorder.drop_checkpoint(KEY)
        recorder.drop_checkpoint(other)
    assert recorder.load_checkpoint(KEY) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [recorder.paths.weights(KEY)]
    assert not recorder.paths.checkpoint(other).parent.exists()
    kept = load(recorder.paths.weights(KEY))
    assert kept.state == {"scored_epoch": 4}
    assert torch.equal(kept.tensors["0.bias"], weights["0.bias"])


@pytest.mark.parametrize("cut", [0, 7, 40, -3])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path, cut: int) -> None:
    recorder = Recorder(tmp_path)
    recorder.save_checkpoint(KEY, checkpoint())
    path = recorder.paths.checkpoint(KEY)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ResultsError, match="is not a readable checkpoint") as caught:
        recorder.load_checkpoint(KEY)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_one_of_another_program_are_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ResultsError, match=r"missing\.safetensors is not a readable checkpoint"):
        load(tmp_path / "missing.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ResultsError, match=r"foreign\.safetensors is not a readable checkpoint"):
        load(tmp_path / "foreign.safetensors")


def test_rows_are_found_by_key_and_protocol(tmp_path: Path) -> None:
    recorder, trial = Recorder(tmp_path), spec("train", protocols=(FULL, PUBLISHED))
    rows = final_rows(draft_row(trial, digits().digests), trial, schema.FAILED, error="no reason")
    ids = [FULL.id, PUBLISHED.id]
    assert recorder.rows(trial.key, ids) == []
    recorder.trial(trial.key, rows[1])
    assert [row["protocol_id"] for row in recorder.rows(trial.key, ids)] == [PUBLISHED.id]
    recorder.trial(trial.key, rows[0])
    assert [row["protocol_id"] for row in recorder.rows(trial.key, ids)] == ids
    assert recorder.rows(spec("train", seed=4).key, ids) == []
    assert recorder.read_table(schema.CURVES, trial.key) == []
