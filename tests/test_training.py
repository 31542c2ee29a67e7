"""What a trial runs on, what it keeps for the next one, and how its weights are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from gansearch import scoring
from gansearch.core.datasets import load
from gansearch.errors import ResourceError
from gansearch.placement import Placement
from gansearch.training import weights_digest
from tests.trials import EVERY_REPORT, digits, outcome, run_trial, spec


def test_a_trial_gets_the_threads_it_is_given_and_says_so(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        (row,) = run_trial(
            spec(values={"algorithm.epochs": 1}), tmp_path, placement=Placement(threads=2, gpu_share=0.25)
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (row["run_device"], row["run_threads"], row["run_gpu_share"]) == ("cpu", 2, 0.25)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="a GPU is asked for"):
        Placement(device="cuda").claim()
    (row,) = run_trial(spec(), tmp_path, placement=Placement(device="cuda"))
    assert row["status"] == "FAILED"
    assert row["error"].startswith("a GPU is asked for, but PyTorch sees none here (hint: ")


def test_the_data_are_prepared_once_for_all_trials_of_a_process(tmp_path: Path) -> None:
    data = dataclasses.replace(digits())
    hits = scoring.images_on.cache_info().hits
    for seed in (1, 2, 3):
        run_trial(spec(seed=seed), tmp_path, data=data)
    assert scoring.images_on.cache_info().hits == hits + 2


def test_a_trial_does_not_depend_on_those_before_it_in_its_process(tmp_path: Path) -> None:
    trial = spec(values={"dataset.name": "gaussian_mixture"})
    points = load("gaussian_mixture", data_dir=None)
    (alone,) = run_trial(trial, tmp_path / "alone", data=points)
    run_trial(spec(seed=8), tmp_path / "other")
    torch.rand(11)
    (after,) = run_trial(trial, tmp_path / "after", data=points)
    assert outcome(after) == outcome(alone)
    (digit,) = run_trial(spec(seed=9), tmp_path / "digits")
    assert digit["coverage_real"] != after["coverage_real"]


def test_checkpoints_keep_their_distance_in_time(tmp_path: Path) -> None:
    def checkpoints_seen(placement: Placement, folder: Path) -> int:
        seen: list[Path] = []
        run_trial(
            spec(), folder, placement=placement, on_report=lambda _: seen.extend(folder.rglob("checkpoint.safetensors"))
        )
        return len(seen)

    assert checkpoints_seen(EVERY_REPORT, tmp_path / "often") == 4  # of five reports, for the last one ends the trial
    assert checkpoints_seen(Placement(checkpoint_seconds=1e9), tmp_path / "never") == 0


def test_a_digest_follows_names_shapes_and_bits() -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([-1.5])}
    digest = weights_digest(weights)
    assert digest == weights_digest(dict(reversed([(n, t.clone()) for n, t in weights.items()])))
    assert digest == weights_digest(weights | {"a": weights["a"].T.contiguous().T})  # other strides
    changed = weights["a"].clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(7.0))
    others = [
        weights | {"a": changed},
        weights | {"a": weights["a"].reshape(3, 2)},
        {"a": weights["a"], "c": weights["b"]},
        weights | {"b": -weights["b"]},
    ]
    assert len({digest, *map(weights_digest, others)}) == 5
