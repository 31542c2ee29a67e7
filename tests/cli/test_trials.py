"""`train` with real trials."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.best import best_document
from gansearch import parts
from gansearch.cli.trials import row_summary
from gansearch.core import datasets
from gansearch.schema import TRIALS
from gansearch.trial import Trial
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import CONFIG, FULL, SEEDS, Gansearch, Place
from tests.test_layers import ROOT

# Starts the command line in an interpreter in which Ray looks as if it were not installed.
WITHOUT_RAY = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
from gansearch.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_train_repeats_a_confirmed_trial_from_its_best_file(best: Path, place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("train", best, "--seed", str(SEEDS[1]), "--json")
    assert code == 0
    found = json.loads(out)
    assert found["run"] == f"runs/train-{CONFIG.config_id}-{SEEDS[1]}"
    (row,) = found["rows"]
    confirmed = next(e for e in best_document(place.run)["seeds"] if e["seed"] == SEEDS[1])
    for name in ("valid_ll_mean", "weights_digest", "sigma", "scored_epoch"):
        assert row[name] == confirmed[name]
    assert (row["stage"], row["protocol_id"], row["test_ll_mean"]) == ("train", FULL.id, None)
    first, *reports = err.splitlines()
    assert first == f"training {CONFIG.config_id} with seed {SEEDS[1]} on cpu into {found['run']}"
    assert [line.split("  ")[0] for line in reports] == ["epoch 2 of 4", "epoch 4 of 4"]


def test_train_options_beat_the_file(best: Path, gansearch: Gansearch) -> None:
    code, out, _ = gansearch(
        *("train", best, "--epochs", "2", "--seed", "6", "--out", "here", "--threads", "1", "--device", "cpu"), "--json"
    )
    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert (row["seed"], row["cfg_algorithm_epochs"], row["epochs"]) == (6, 2, 2)
    assert len(list(Path("here/trials").iterdir())) == 1


def test_train_shows_a_trial_that_is_there_already(best: Path, gansearch: Gansearch) -> None:
    _, first, _ = gansearch("train", best, "--out", "here")
    code, again, err = gansearch("train", best, "--out", "here")
    assert (code, again, err) == (0, first, "here holds this trial already: nothing to train\n")
    assert (
        f"config_id             {CONFIG.config_id}\nseed                  0\nstatus                COMPLETE\n" in first
    )


def test_a_stored_failure_is_told_with_a_way_out(best: Path, gansearch: Gansearch) -> None:
    gansearch("train", best, "--out", "here")
    (part,) = Path("here/trials").iterdir()
    (row,) = parts.read_part(part, TRIALS)
    parts.write_part(part, TRIALS, [row | {"status": "FAILED", "error": "no memory"}])
    code, out, err = gansearch("train", best, "--out", "here")
    assert (code, "no memory" in out) == (1, True)
    assert err.splitlines()[1].startswith("hint: it failed there")


def test_train_takes_a_shipped_protocol_by_name(best: Path, gansearch: Gansearch) -> None:
    code, out, _ = gansearch("train", best, "--epochs", "2", "--protocol", "report")
    assert code == 0
    assert "report-" in out
    code, _, err = gansearch("train", best, "--protocol", "ful")
    assert (code, err) == (2, "error: no score protocol is called 'ful'\nhint: did you mean 'full'?\n")


def test_a_trial_that_diverges_is_an_answer_of_no(best: Path, gansearch: Gansearch) -> None:
    # A step of 1e38 in weights of order 0.1 overflows float32 in the next product.
    config = CONFIG.replace({"momentum.lr_g": 1e38, "momentum.lr_d": 1e38})
    path = best.with_name("wild.yaml")
    path.write_text(dump_yaml({"config": config.to_dict()}), encoding="utf-8")
    code, out, _ = gansearch("train", path)
    assert code == 1
    assert "status     DIVERGED\n" in out
    assert "non-finite by epoch 2\n" in out
    _, out, _ = gansearch("train", path, "--json")
    json.loads(out, parse_constant=pytest.fail)  # no NaN, which is not JSON


def test_an_interrupted_trial_goes_on_where_it_was(
    best: Path, gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[int] = []
    advance = Trial.advance

    def interrupted(self: Trial) -> Any:
        report = advance(self)
        reports.append(report.epoch)
        if len(reports) == 1:
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(Trial, "advance", interrupted)
    code, out, err = gansearch("train", best, "--out", "here")
    assert (code, out, err.splitlines()[-1]) == (1, "", "interrupted")
    code, out, _ = gansearch("train", best, "--out", "here", "--json")
    assert code == 0
    assert reports == [2, 4]
    _, whole, _ = gansearch("train", best, "--out", "another", "--json")
    digests = [json.loads(text)["rows"][0]["weights_digest"] for text in (out, whole)]
    assert digests[0] == digests[1]


def test_train_needs_no_ray(best: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_RAY, "train", str(best), "--epochs", "2"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, cwd=best.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 2), done.stderr
    assert "status                COMPLETE" in done.stdout


def test_a_study_is_not_trained(gansearch: Gansearch) -> None:
    code, _, err = gansearch("train", "quickstart")
    assert code == 2
    assert err.endswith("hint: run it with `gansearch sweep`\n")


def test_the_summary_of_a_trial_that_failed_at_once() -> None:
    row = {"config_id": "abc", "seed": 3, "status": "FAILED", "error": "no", "epochs": 0, "valid_ll_mean": None}
    assert row_summary([row]) == "config_id  abc\nseed       3\nstatus     FAILED\nerror      no\nepochs     0"


def test_train_sets_parameters_by_name(best: Path, gansearch: Gansearch) -> None:
    settings = ("--set", "algorithm.k=2", "--set", "generator.hidden=[9, 8]", "--set", "generator.max_col_norm=null")
    code, out, _ = gansearch("train", best, "--epochs", "2", *settings, "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert (row["cfg_algorithm_k"], row["cfg_generator_hidden"], row["cfg_generator_max_col_norm"]) == (2, "9-8", None)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("algorithm.k", "--set algorithm.k is not NAME=VALUE"),
        ("algorithm.q=1", "no parameter is called 'algorithm.q'"),
        ("algorithm.k=0", "algorithm.k must be 1 or more, got 0"),
        ("algorithm.k=[", "--set algorithm.k=[, line 1: not YAML"),
        ("adam.lr_g=0.1", "--set adam.lr_g has no effect: update.rule is momentum"),
        ("condition.on=labels", None),
        ("dataset.name=cifar10_contrast", "generator.output is 'sigmoid'"),
    ],
)
def test_what_cannot_be_set_is_told_before_training(
    setting: str, message: str | None, best: Path, gansearch: Gansearch
) -> None:
    code, _, err = gansearch("train", best, "--epochs", "1", "--set", setting)
    if message is None:  # scikit-learn's digits have labels
        assert code == 0
        return
    assert code == 2
    assert err.startswith(f"error: {message}")


def test_labels_are_asked_for_where_there_are_none(best: Path, gansearch: Gansearch) -> None:
    settings = ("--set", "condition.on=labels", "--set", "dataset.name=lfwcrop48")
    code, _, err = gansearch("train", best, *settings)
    assert code == 2
    assert err.startswith("error: condition.on is labels, and the data set 'lfwcrop48' has none\n")


def test_train_takes_one_fold_or_all(best: Path, gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch) -> None:
    first = datasets.DATASETS["digits"][0]
    folds = {
        fold: dataclasses.replace(first, info=dataclasses.replace(first.info, fold=fold, folds=3)) for fold in range(3)
    }
    monkeypatch.setattr(datasets, "DATASETS", {**datasets.DATASETS, "digits": folds})
    code, out, err = gansearch("train", best, "--epochs", "2", "--fold", "all", "--out", "here")
    assert code == 0
    rows = pd.read_parquet("here/trials")
    assert sorted(rows.fold) == [0, 1, 2]
    lines = out.splitlines()
    assert lines[-3].startswith("folds                 3 of 3 completed, sigma ")
    assert lines[-2] == f"valid_ll_mean         {rows.valid_ll_mean.mean():.2f} nats, mean over folds"
    assert lines[-1] == f"valid_ll_se_folds     {rows.valid_ll_mean.std(ddof=1) / 3**0.5:.2f} nats"
    assert [line.split(",")[1] for line in err.splitlines() if line.startswith("training")] == [
        f" fold {fold}" for fold in range(3)
    ]
    code, _, err = gansearch("train", best, "--fold", "3", "--out", "here")
    assert (code, err) == (2, "error: the data set 'digits' has the folds 0 to 2, and fold 3 was asked for\n")
