"""`sweep --dry-run`: the plan, the first configurations and the cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gansearch.cli.plan import estimate_lines, first_configurations, first_lines, plan_lines
from gansearch.search.estimate import Estimate, Speed, _least
from gansearch.search.proposals import Proposal, make_strategy
from gansearch.search.searchers import SPEC, SpecSearcher
from gansearch.search.study import Study
from gansearch.search.warm_start import WarmStart
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import CONFIG, FULL, REPORT, Gansearch, Place
from tests.cli.small_study import STUDY, write_study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small study's file in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


def test_a_dry_run_shows_the_plan_and_leaves_nothing_behind(study: Path, gansearch: Gansearch) -> None:
    before = sorted(Path().rglob("*"))
    code, out, err = gansearch("sweep", study, "--out", "run", "--dry-run", "--seed", "12")
    assert (code, err) == (0, "measuring the base configuration on this machine\n")
    assert sorted(Path().rglob("*")) == before
    shown = out.splitlines()
    for line in (
        "study       small: Small nets on digits",
        "space       algorithm.k    integer in [1, 3]; base 1",
        "            momentum.lr_g  log-uniform in [0.02, 0.4]; base 0.1",
        "searcher    random",
        "scheduler   none",
        "executor    tune",
        "trials      6 configurations, 1 seed each",
        "budget      4 epochs, a report every 2",
        "confirm     the best 3 and the base, 2 seeds each, scored by:",
        "seed        12",
        "            1,197 train, 300 valid, 300 test; needs no files",
        "cost: an estimate from the base configuration, measured for a moment on this machine",
    ):
        assert line in shown
    assert f"  {CONFIG.config_id}  algorithm.k=1, momentum.lr_g=0.1" in shown


def test_a_dry_run_as_json(study: Path, gansearch: Gansearch) -> None:
    _, out, _ = gansearch("sweep", study, "--dry-run", "--json", "--epochs", "6")
    found = json.loads(out)
    assert found["study"]["epochs"] == 6
    assert (found["data"]["name"], found["data"]["there"]) == ("digits", True)
    cost = found["estimate"]
    assert cost["speed"]["data"] == "real"
    assert min(cost["speed"][name] for name in ("epoch", "report", "score", "confirm_score")) > 0
    least, most = cost["search"]
    assert least == pytest.approx(most)  # no early stopping
    trial = (6 * cost["speed"]["epoch"] + 3 * cost["speed"]["report"] + cost["speed"]["score"]) / 3600
    assert most == pytest.approx(6 * trial)
    # Nothing is left to share when every trial has a slot; one slot takes all trial time.
    assert trial <= cost["wall"][0] <= cost["wall"][1] <= (most + cost["confirm"]) * (1 + 1e-9)


def test_a_dry_run_finds_what_would_stop_a_sweep(study: Path, place: Place, gansearch: Gansearch) -> None:
    code, _, err = gansearch("sweep", study, "--out", place.run, "--dry-run")
    assert (code, err.splitlines()[0]) == (2, f"error: {place.run} already holds tables of other trials")


def test_a_data_set_that_is_not_there_is_measured_on_random_bytes(study: Path, gansearch: Gansearch) -> None:
    plan = {**STUDY, "base": {**CONFIG.to_dict(), "dataset": {"name": "mnist"}}}
    study.write_text(dump_yaml(plan), encoding="utf-8")
    code, out, _ = gansearch("sweep", study, "--dry-run", "--data-dir", "nowhere")
    assert code == 0
    assert "50,000 train, 10,000 valid, 10,000 test; not there yet, to be downloaded in nowhere" in out
    assert "(cpu, synthetic data)" in out
    assert not Path("nowhere").exists()


def _handed_out(study: Study) -> list[str]:
    """Return the configurations that a sweep's searcher hands out while no trial has ended."""

    def make_spec(proposal: Proposal, replicate: int) -> TrialSpec:
        return TrialSpec(
            config=study.space.config(proposal.point),
            seed=replicate,
            stage="search",
            protocols=(FULL,),
            report_protocol=REPORT,
        )

    searcher = SpecSearcher(make_strategy(study), study.num_trials, 1, make_spec)
    trials = [searcher.suggest(f"trial{i}") for i in range(study.num_trials)]
    return [TrialSpec.from_dict(trial[SPEC]).config.config_id for trial in trials]


FINITE = {"algorithm.k": {"int": [1, 3]}, "noise.dim": {"choice": [7, 8]}}
TPE = {"name": "tpe", "startup_trials": 4}


@pytest.mark.parametrize(
    ("changes", "shown", "rest"),
    [
        ({}, 5, "  then 1 random draw"),
        ({"num_trials": 9}, 5, "  then 4 random draws"),
        ({"num_trials": 3}, 3, None),
        ({"num_trials": 6, "space": FINITE}, 5, "  then 1 random draw"),  # draws that repeat a point are left out
        ({"num_trials": 6, "space": FINITE, "searcher": "grid"}, 5, "  then 1 point of the grid"),
        ({"num_trials": 3, "searcher": "tpe"}, 3, None),
        ({"num_trials": 12, "searcher": "tpe"}, 5, "  then 5 random draws, then 2 suggestions of tpe"),
        ({"num_trials": 6, "searcher": TPE}, 4, "  then 2 suggestions of tpe"),
    ],
)
def test_the_first_configurations_are_those_that_are_tried(
    changes: dict[str, object], shown: int, rest: str | None
) -> None:
    study = Study.parse({**STUDY, **changes}, "small")
    first = first_configurations(study, WarmStart())
    assert [point["config_id"] for point in first] == _handed_out(study)[:shown]
    assert first[0]["config_id"] == CONFIG.config_id
    assert first_lines(study, first, WarmStart())[1 + shown :] == ([rest] if rest else [])


def test_what_a_study_starts_from_is_shown_right_after_the_base(study: Path, gansearch: Gansearch) -> None:
    other = CONFIG.replace({"momentum.lr_g": 0.05, "algorithm.epochs": 9})
    Path("other.yaml").write_text(dump_yaml({"config": other.to_dict()}), encoding="utf-8")
    plan = {**STUDY, "start_from": ["other.yaml"], "num_trials": 12, "searcher": {"name": "tpe", "startup_trials": 4}}
    study.write_text(dump_yaml(plan), encoding="utf-8")
    code, out, _ = gansearch("sweep", study, "--dry-run")
    assert code == 0
    lines = out.splitlines()
    shown = lines[lines.index("first configurations") + 1 :]
    assert shown[0].endswith("algorithm.k=1, momentum.lr_g=0.1")
    tried = CONFIG.replace({"momentum.lr_g": 0.05})  # in the study's epochs
    assert shown[1] == f"  {tried.config_id}  algorithm.k=1, momentum.lr_g=0.05"
    assert shown[4] == "  then 8 suggestions of tpe"


def test_what_a_study_cannot_start_from_is_told_before_it_starts(study: Path, gansearch: Gansearch) -> None:
    other = CONFIG.replace({"momentum.lr_g": 7.0})
    Path("other.yaml").write_text(dump_yaml({"config": other.to_dict()}), encoding="utf-8")
    study.write_text(dump_yaml({**STUDY, "start_from": ["other.yaml"]}), encoding="utf-8")
    code, out, err = gansearch("sweep", study, "--dry-run")
    assert (code, out) == (2, "")
    assert "other.yaml: momentum.lr_g" in err.splitlines()[0]


def test_a_study_without_confirm_says_so() -> None:
    told = plan_lines(Study.parse({**STUDY, "confirm": {"seeds": 0}}, "small"))
    (line,) = [line for line in told if line.startswith("confirm")]
    assert line == "confirm     none: the chosen configuration is not trained again, and the test set is not read"
    assert not any("small-" in line and "230 samples" in line for line in told[told.index(line) :])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_here_is_told(study: Path, gansearch: Gansearch) -> None:
    study.write_text(dump_yaml({**STUDY, "resources": {"gpu": 0.5}}), encoding="utf-8")
    code, out, err = gansearch("sweep", study, "--dry-run")
    assert (code, err) == (0, "note: trials take a GPU, and PyTorch sees none on this machine\n")
    assert "a sweep on this machine alone would be refused" in out


def test_the_least_that_asha_runs() -> None:
    plan = {
        **STUDY,
        "num_trials": 9,
        "epochs": 20,
        "scheduler": {"name": "asha", "grace_epochs": 2, "reduction_factor": 3},
    }
    # Rungs at 2, 6 and 18 epochs: 9 trials run 2, 3 of them 4 more, 1 of them the other 14.
    assert _least(Study.parse(plan, "small"), 9) == (9 * 2 + 3 * 4 + 1 * 14, 1.0)
    assert _least(Study.parse(STUDY, "small"), 6) == (6 * 4, 6.0)


def test_the_cost_in_words() -> None:
    plan = {**STUDY, "scheduler": {"name": "asha", "grace_epochs": 2}}
    study = Study.parse(plan, "small")
    speed = Speed(epoch=2.5, report=0.04, score=1.25, confirm_score=3.0, device="cpu", data="real")
    cost = Estimate(speed=speed, concurrent=2, search=(0.5, 3.0), confirm=0.01, wall=(0.25, 1.75))
    assert estimate_lines(study, cost) == [
        "cost: an estimate from the base configuration, measured for a moment on this machine",
        "  measured  2.5 s an epoch, 40 ms a report, 1.2 s a final score (cpu, real data)",
        "  search    at most 3 h 00 min of trial time, at least 30 min if ASHA stops all it can",
        "  confirm   36 s of trial time",
        "  in all    15 min to 1 h 45 min on this machine, 2 trials at a time",
    ]
    assert estimate_lines(study, None) == [
        "cost: trials take a GPU, and PyTorch sees none here, so nothing could be measured",
        "  a sweep on this machine alone would be refused; --address connects to a cluster that has GPUs",
    ]
    assert "scheduler   asha (grace_epochs 2, reduction_factor 3.0)" in plan_lines(study)
