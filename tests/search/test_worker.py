"""A trial inside a worker: paused, gone on with elsewhere, and copied."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from ray import tune

from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.recorder import Recorder
from gansearch.search.population import TURN, VALUES
from gansearch.search.searchers import CURRENT, METRIC, SPEC
from gansearch.search.worker import TrialWorker
from gansearch.spec import TrialSpec
from tests.trials import EVERY_REPORT, curves, digits, outcome, run_trial, spec

TRIAL = spec(values={"momentum.lr_g": 0.05, "momentum.lr_d": 0.05, "algorithm.epochs": 6})
COPY_VALUES = [("momentum.lr_g", 0.2), ("discriminator.dropout_hidden", 0.3)]


def worker(run: Path, config: dict[str, Any]) -> TrialWorker:
    """Return a worker as Tune sets one up."""
    made = TrialWorker.__new__(TrialWorker)
    made.setup(config, Recorder(run), digits(), EVERY_REPORT)
    return made


def stepped(of: TrialWorker, times: int) -> dict[str, Any]:
    return [of.step() for _ in range(times)][-1]


def rows(run: Path) -> dict[str, dict[str, Any]]:
    frame = pd.read_parquet(run / "trials").astype(object)
    found = frame.where(frame.notna(), None).to_dict("records")
    return {row["config_id"]: {str(name): value for name, value in row.items()} for row in found}


def test_a_result_carries_the_trial_and_its_values(tmp_path: Path) -> None:
    result = worker(tmp_path, {SPEC: TRIAL.to_dict()}).step()
    assert TrialSpec.from_dict(result[SPEC][0]) == TRIAL
    assert (result["epoch"], result["done"], result[CURRENT]) == (1, False, result["draft"][0]["report_last_ll_mean"])
    assert result[METRIC] == result["draft"][0]["report_ll_mean"]


@pytest.mark.parametrize("turn", [{}, {TURN: 3, VALUES: []}], ids=["alone", "member"])
def test_a_paused_trial_goes_on_in_another_worker(tmp_path: Path, turn: dict[str, Any]) -> None:
    config = {SPEC: TRIAL.to_dict(), **turn}
    paused, saved = worker(tmp_path / "run", config), tmp_path / "saved"
    saved.mkdir()
    stepped(paused, 2)
    paused.save_checkpoint(str(saved))
    other = worker(tmp_path / "run", {SPEC: spec(seed=9).to_dict()})
    other.reset_config(config)
    other.load_checkpoint(str(saved))
    assert stepped(other, 4)["status"] == schema.COMPLETE
    (alone,) = run_trial(TRIAL, tmp_path / "alone")
    assert outcome(rows(tmp_path / "run")[TRIAL.config.config_id]) == outcome(alone)


def test_a_copy_is_what_its_configuration_and_its_donors_seed_give_alone(tmp_path: Path) -> None:
    run, saved = tmp_path / "run", tmp_path / "saved"
    saved.mkdir()
    donor = worker(run, {SPEC: TRIAL.to_dict(), TURN: 0, VALUES: []})
    stepped(donor, 2)
    donor.save_checkpoint(str(saved))
    stepped(donor, 2)  # its own checkpoint is of a later epoch by now
    copy = worker(run, {SPEC: spec(seed=9).to_dict(), TURN: 1, VALUES: []})
    stepped(copy, 3)  # what the member was before
    copy.reset_config({SPEC: TRIAL.to_dict(), TURN: 7, VALUES: COPY_VALUES})
    copy.load_checkpoint(str(saved))
    result = copy.step()
    config = TRIAL.config.changed(2, dict(COPY_VALUES))
    found = TrialSpec.from_dict(result[SPEC][0])
    assert (found.config, found.seed, found.number) == (config, TRIAL.seed, 7)
    assert found.parent_id == TRIAL.config.config_id
    assert result["epoch"] == 3
    stepped(copy, 3)
    stepped(donor, 2)
    (alone,) = run_trial(dataclasses.replace(TRIAL, config=config), tmp_path / "alone")
    row = rows(run)[config.config_id]
    lineage = {"number": 7, "parent_id": TRIAL.config.config_id}
    assert outcome(row) == outcome(alone) | lineage
    every = curves(run)
    own = every[every["config_id"] == config.config_id].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, curves(tmp_path / "alone"))
    values = {c: every[every["config_id"] == c]["report_ll_mean"].tolist() for c in every["config_id"].unique()}
    assert values[config.config_id][:2] == values[TRIAL.config.config_id][:2]
    assert values[config.config_id][2:] != values[TRIAL.config.config_id][2:]
    samples = pd.read_parquet(run / "samples")
    assert samples[samples["config_id"] == config.config_id]["epoch"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_copy_whose_worker_is_lost_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    run, saved = tmp_path / "run", tmp_path / "saved"
    saved.mkdir()
    donor = worker(run, {SPEC: TRIAL.to_dict(), TURN: 0, VALUES: []})
    stepped(donor, 2)
    donor.save_checkpoint(str(saved))
    config = {SPEC: TRIAL.to_dict(), TURN: 7, VALUES: COPY_VALUES}
    for epoch in (3, 4):
        copy = worker(run, config)
        copy.load_checkpoint(str(saved))
        assert copy.step()["epoch"] == epoch


def test_nothing_is_written_before_the_first_step(tmp_path: Path) -> None:
    run, saved = tmp_path / "run", tmp_path / "saved"
    saved.mkdir()
    donor = worker(tmp_path / "elsewhere", {SPEC: TRIAL.to_dict(), TURN: 0, VALUES: []})
    donor.step()
    donor.save_checkpoint(str(saved))
    copy = worker(run, {SPEC: TRIAL.to_dict(), TURN: 7, VALUES: COPY_VALUES})
    copy.load_checkpoint(str(saved))
    assert not run.exists()
    with pytest.raises(ResultsError, match="cannot be saved before its first report"):
        copy.save_checkpoint(str(saved))


class _Planted:
    """Writes a file where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


def test_no_pickle_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    """Tune's own `restore` would run whatever somebody put there."""
    saved, trace = tmp_path / "saved", tmp_path / "code-ran"
    saved.mkdir()
    paused = worker(tmp_path / "run", {SPEC: TRIAL.to_dict()})
    stepped(paused, 2)
    paused.save_checkpoint(str(saved))
    (saved / "_dict_checkpoint.pkl").write_bytes(pickle.dumps(_Planted(trace)))
    found = tune.Checkpoint.from_directory(str(saved))
    other = worker(tmp_path / "run", {SPEC: TRIAL.to_dict()})
    other.restore(SimpleNamespace(checkpoint=found, metrics={"training_iteration": 2, "time_total_s": 1.5}))
    assert (other.iteration, other.step()["epoch"]) == (2, 3)
    assert not trace.exists()
