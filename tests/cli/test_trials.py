"""`train` and `reproduce` with real trials."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.best import best_document
from gansearch import parts, results
from gansearch.cli.trials import row_summary, verdict
from gansearch.core import datasets
from gansearch.errors import ConfigError
from gansearch.schema import TRIALS
from gansearch.trial import Trial
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import CONFIG, FULL, PUBLISHED, SEEDS, Gansearch, Place
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


@pytest.fixture
def best(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the run's best.yaml in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.yaml"
    path.write_text(dump_yaml(best_document(place.run)), encoding="utf-8")
    return path


def _edited(best: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Write a file in which something of best.yaml differs."""
    from gansearch.yaml_files import load_yaml

    document = load_yaml(best)
    edit(document)
    path = best.with_name("edited.yaml")
    path.write_text(dump_yaml(document), encoding="utf-8")
    return path


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


def test_reproduce_is_identical_in_the_same_environment(best: Path, gansearch: Gansearch) -> None:
    code, out, err = gansearch("reproduce", best)
    assert code == 0, out
    lines = out.splitlines()
    run = f"runs/reproduce-{CONFIG.config_id}-{SEEDS[0]}-1"
    assert lines[0] == "verdict: identical"
    assert lines[1] == "the validation score and the weights are equal bit for bit"
    assert f"with seed {SEEDS[0]} on cpu into {run}\n" in err
    assert err.endswith(f"its row is in {run}\n")
    (row,) = results.read(run, "trials").to_dict("records")
    assert row["stage"] == "reproduce"
    assert row["protocol_id"] == FULL.id
    assert math.isnan(row["test_ll_mean"])
    assert not Path(run, "test_evaluations").exists()
    assert gansearch("reproduce", best)[0] == 0  # once more, not the row of before
    again = results.read(f"{run[:-1]}2", "trials")
    assert again["weights_digest"].item() == row["weights_digest"]
    assert again["run_started"].item() > row["run_started"]


def test_reproduce_judges_a_row_that_is_there_and_says_so(best: Path, gansearch: Gansearch) -> None:
    _, first, _ = gansearch("reproduce", best, "--out", "here")
    code, again, err = gansearch("reproduce", best, "--out", "here")
    assert (code, again) == (0, first)
    held = f"here holds {CONFIG.config_id} with seed {SEEDS[0]} already"
    assert err == f"{held}: nothing is trained, the row that is stored there is judged\n"


def test_reproduce_takes_any_completed_seed_of_the_file(best: Path, gansearch: Gansearch) -> None:
    code, out, _ = gansearch("reproduce", best, "--seed", str(SEEDS[2]), "--out", "here", "--json")
    found = json.loads(out)
    assert (code, found["holds"], found["kind"], found["run"]) == (0, True, "identical", "here")
    assert found["row"]["seed"] == SEEDS[2]
    assert found["interval"] is None
    code, _, err = gansearch("reproduce", best, "--seed", "7")
    assert (code, err.splitlines()[1]) == (2, f"hint: its completed seeds: {SEEDS[0]}, {SEEDS[1]}, {SEEDS[2]}")


def test_one_unit_in_the_last_place_is_not_identical(best: Path, gansearch: Gansearch) -> None:
    def nudge(document: dict[str, Any]) -> None:
        entry = document["seeds"][0]
        entry["valid_ll_mean"] = math.nextafter(entry["valid_ll_mean"], math.inf)

    code, out, _ = gansearch("reproduce", _edited(best, nudge))
    assert code == 1
    assert out.startswith("verdict: not identical\nvalid_ll_mean differs in the same environment")


def _elsewhere(document: dict[str, Any]) -> None:
    """As if it had been made on another machine: other bits, and so other digits."""
    document["environment"].update(torch="2.0.0", device_name="Another processor")
    for entry in document["seeds"]:
        entry |= {"weights_digest": "0" * 32, "collapsed": False}


HEALTHY = {
    **{"status": "COMPLETE", "collapsed": False, "valid_ll_mean": 1.0, "weights_digest": "1", "run_threads": 1},
    **{"run_device": "here", "run_device_name": "here", "run_gansearch_version": "here", "run_torch_version": "here"},
    "run_python_version": "3.1",
}
"""What of a row of another machine decides about it."""


def test_elsewhere_a_result_may_be_identical_all_the_same(best: Path, gansearch: Gansearch) -> None:
    def update(document: dict[str, Any]) -> None:
        document["environment"].update(gansearch="0.0.9", device_name="Another processor")

    code, out, _ = gansearch("reproduce", _edited(best, update))
    assert code == 0
    assert out.splitlines()[0] == "verdict: identical"
    assert "another environment: gansearch was 0.0.9" in out


def test_one_seed_can_be_reproduced_with_another_version_of_this_project(best: Path, gansearch: Gansearch) -> None:
    def single(document: dict[str, Any]) -> None:
        document["environment"].update(gansearch="0.0.9")
        document["seeds"] = document["seeds"][:1]

    code, out, _ = gansearch("reproduce", _edited(best, single))
    assert (code, out.splitlines()[0]) == (0, "verdict: identical")


def test_a_trial_of_a_pack_is_another_draw(best: Path, gansearch: Gansearch) -> None:
    def packed(document: dict[str, Any]) -> None:
        document["environment"]["executor"] = "packed"
        document["seeds"][0]["weights_digest"] = "0" * 32

    code, out, err = gansearch("reproduce", _edited(best, packed))
    assert (code, out.splitlines()[0]) == (0, "verdict: another draw of the same configuration")
    assert "note: another environment: executor was packed, here the trial is trained alone\n" in err


@pytest.mark.parametrize(
    ("bad", "seeds", "row", "holds", "reason"),
    [
        (1, 3, {"collapsed": True}, True, "it collapsed, and 1 of the file's 4 seeds collapsed or diverged too"),
        (1, 3, {"status": "DIVERGED", "valid_ll_mean": None}, True, "it diverged, and 1 of the file's 4"),
        (
            0,
            5,
            {"collapsed": True},
            None,
            "none of the file's 5 seeds collapsed or diverged; that may be chance (p = 0.17)",
        ),
        (0, 19, {"collapsed": True}, None, "(p = 0.05)"),
        (0, 20, {"status": "DIVERGED", "valid_ll_mean": None}, False, "it diverged, and none of the file's 20 seeds"),
        (1, 60, {"collapsed": True}, False, "1 of the file's 61 seeds collapsed or diverged (p = 0.032)"),
        (40, 1, {}, False, "it went well, and 40 of the file's 41 seeds collapsed or diverged (p = 0.048)"),
        (2, 1, {}, None, "one of the file's seeds neither collapsed nor diverged"),
        (0, 3, {"status": "FAILED", "error": "no memory", "valid_ll_mean": None}, False, "ended as FAILED: no memory"),
    ],
)
def test_what_a_trial_that_went_otherwise_says(
    bad: int, seeds: int, row: dict[str, Any], holds: bool | None, reason: str, best: Path
) -> None:
    from gansearch.config_files import load_config_file
    from gansearch.reproduce import judge, plan_reproduction

    def edit(document: dict[str, Any]) -> None:
        _elsewhere(document)
        first = document["seeds"][0]
        document["seeds"] = [first | {"seed": i} for i in range(seeds)]
        document["seeds"] += [first | {"seed": 100 + i, "collapsed": True} for i in range(bad)]

    plan = plan_reproduction(load_config_file(_edited(best, edit)))
    assert not plan.undecidable
    found = judge(plan, HEALTHY | row, Path("here"))
    assert found.holds is holds
    assert reason in found.reason
    assert verdict(found).startswith("verdict: " + {True: "an", False: "not an", None: "undecided whether an"}[holds])


@pytest.mark.parametrize(("score", "holds"), [(210.0, True), (-30.0, False), (300.0, False)])
def test_a_healthy_trial_is_held_against_healthy_seeds(score: float, holds: bool, best: Path) -> None:
    """A collapsed seed far below would make an interval that holds anything."""
    from gansearch.config_files import load_config_file
    from gansearch.reproduce import judge, plan_reproduction

    def edit(document: dict[str, Any]) -> None:
        _elsewhere(document)
        for entry, told in zip(document["seeds"], (200.0, 205.0, 198.0), strict=True):
            entry["valid_ll_mean"] = told
        document["seeds"].append(document["seeds"][0] | {"seed": 5, "collapsed": True, "valid_ll_mean": -50.0})

    plan = plan_reproduction(load_config_file(_edited(best, edit)))
    found = judge(plan, HEALTHY | {"valid_ll_mean": score}, Path("here"))
    assert (found.holds, found.seeds, found.bad) == (holds, 3, 1)
    assert found.interval == pytest.approx((183.1, 218.9), abs=0.1)
    assert found.reason == f"the validation score is {'inside' if holds else 'outside'} the prediction interval"
    line = "  95% prediction interval of the file's 3 seeds that neither collapsed nor diverged: 183."
    assert line in verdict(found)


def test_a_fold_is_held_against_the_seeds_of_that_fold(best: Path) -> None:
    from gansearch.config_files import load_config_file
    from gansearch.reproduce import plan_reproduction

    def edit(document: dict[str, Any]) -> None:
        _elsewhere(document)
        entries = document["seeds"]
        document["seeds"] = [
            e | {"fold": f, "valid_ll_mean": 10.0 * f + i} for i, e in enumerate(entries) for f in (0, 1)
        ]

    file = load_config_file(_edited(best, edit))
    assert plan_reproduction(file).scores == (0.0, 1.0, 2.0)
    plan = plan_reproduction(file, fold=1)
    assert (plan.spec.fold, plan.scores) == (1, (10.0, 11.0, 12.0))
    with pytest.raises(ConfigError, match="has no seed completed on fold 2") as caught:
        plan_reproduction(file, fold=2)
    assert caught.value.hint is not None


def test_elsewhere_a_trial_is_held_against_the_seeds_of_the_file(best: Path, gansearch: Gansearch) -> None:
    """The networks of these tests are so small that their samples cover next to nothing: they count as collapsed."""
    code, out, err = gansearch("reproduce", _edited(best, _elsewhere))
    assert code == 1
    assert out.startswith("verdict: undecided whether another draw of the same configuration\n")
    assert "none of the file's 3 seeds collapsed or diverged; that may be chance (p = 0.25)" in out
    assert "note: another environment: device_name was Another processor, is " in err
    assert "note: another environment: torch was 2.0.0, is " in err

    def collapsed(document: dict[str, Any]) -> None:
        _elsewhere(document)
        document["seeds"][1]["collapsed"] = True

    code, out, _ = gansearch("reproduce", _edited(best, collapsed))
    assert code == 0
    assert out.startswith("verdict: another draw of the same configuration\n")
    assert "and 1 of the file's 3 seeds collapsed or diverged too" in out


def test_elsewhere_one_seed_gives_no_verdict(best: Path, gansearch: Gansearch) -> None:
    def single(document: dict[str, Any]) -> None:
        _elsewhere(document)
        document["seeds"] = document["seeds"][:1]

    path = _edited(best, single)
    code, out, err = gansearch("reproduce", path)
    assert (code, out.splitlines()[0]) == (1, "verdict: none")
    assert "a prediction interval takes two or more" in out
    assert "training" not in err
    code, out, _ = gansearch("reproduce", path, "--json")
    assert (code, json.loads(out)["holds"]) == (1, False)
    assert not Path("runs").exists()


def test_a_patch_release_of_python_and_the_environment_of_one_seed(best: Path, gansearch: Gansearch) -> None:
    def edit(document: dict[str, Any]) -> None:
        minor = ".".join(document["environment"]["python"].split(".")[:2])
        document["environment"] |= {"python": f"{minor}.999", "threads": 2}
        document["seeds"][0]["environment"] = {"threads": 1}

    code, out, _ = gansearch("reproduce", _edited(best, edit))
    assert (code, out.splitlines()[0]) == (0, "verdict: identical")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["config"]["algorithm"].update(k=2), "it was changed"),
        (lambda d: d.pop("seeds"), "does not say what is to be reproduced"),
        (lambda d: d.pop("protocol"), "does not say what is to be reproduced"),
        (lambda d: d["seeds"][0].pop("weights_digest"), "lacks 'weights_digest'"),
        (lambda d: d["environment"].update(data_valid_digest="0123"), "scores on different data do not compare"),
    ],
)
def test_a_file_that_cannot_be_reproduced_is_refused(
    edit: Callable[[dict[str, Any]], object], message: str, best: Path, gansearch: Gansearch
) -> None:
    code, out, err = gansearch("reproduce", _edited(best, edit))
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("runs").exists()


def test_the_other_protocol_of_the_confirm_stage_is_not_what_is_reproduced(best: Path) -> None:
    from gansearch.config_files import load_config_file
    from gansearch.reproduce import plan_reproduction

    plan = plan_reproduction(load_config_file(best))
    assert [p.id for p in plan.spec.protocols] == [FULL.id]
    assert PUBLISHED.id != FULL.id


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
