"""`reproduce` with real trials, and what it says of others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gansearch import results
from gansearch.cli.trials import verdict
from gansearch.errors import ConfigError
from tests.cli.conftest import CONFIG, FULL, PUBLISHED, SEEDS, Gansearch, edited


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

    code, out, _ = gansearch("reproduce", edited(best, nudge))
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

    code, out, _ = gansearch("reproduce", edited(best, update))
    assert code == 0
    assert out.splitlines()[0] == "verdict: identical"
    assert "another environment: gansearch was 0.0.9" in out


def test_one_seed_can_be_reproduced_with_another_version_of_this_project(best: Path, gansearch: Gansearch) -> None:
    def single(document: dict[str, Any]) -> None:
        document["environment"].update(gansearch="0.0.9")
        document["seeds"] = document["seeds"][:1]

    code, out, _ = gansearch("reproduce", edited(best, single))
    assert (code, out.splitlines()[0]) == (0, "verdict: identical")


def test_a_trial_of_a_pack_is_another_draw(best: Path, gansearch: Gansearch) -> None:
    def packed(document: dict[str, Any]) -> None:
        document["environment"]["executor"] = "packed"
        document["seeds"][0]["weights_digest"] = "0" * 32

    code, out, err = gansearch("reproduce", edited(best, packed))
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

    plan = plan_reproduction(load_config_file(edited(best, edit)))
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

    plan = plan_reproduction(load_config_file(edited(best, edit)))
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

    file = load_config_file(edited(best, edit))
    assert plan_reproduction(file).scores == (0.0, 1.0, 2.0)
    plan = plan_reproduction(file, fold=1)
    assert (plan.spec.fold, plan.scores) == (1, (10.0, 11.0, 12.0))
    with pytest.raises(ConfigError, match="has no seed completed on fold 2") as caught:
        plan_reproduction(file, fold=2)
    assert caught.value.hint is not None


def test_elsewhere_a_trial_is_held_against_the_seeds_of_the_file(best: Path, gansearch: Gansearch) -> None:
    """The networks of these tests are so small that their samples cover next to nothing: they count as collapsed."""
    code, out, err = gansearch("reproduce", edited(best, _elsewhere))
    assert code == 1
    assert out.startswith("verdict: undecided whether another draw of the same configuration\n")
    assert "none of the file's 3 seeds collapsed or diverged; that may be chance (p = 0.25)" in out
    assert "note: another environment: device_name was Another processor, is " in err
    assert "note: another environment: torch was 2.0.0, is " in err

    def collapsed(document: dict[str, Any]) -> None:
        _elsewhere(document)
        document["seeds"][1]["collapsed"] = True

    code, out, _ = gansearch("reproduce", edited(best, collapsed))
    assert code == 0
    assert out.startswith("verdict: another draw of the same configuration\n")
    assert "and 1 of the file's 3 seeds collapsed or diverged too" in out


def test_elsewhere_one_seed_gives_no_verdict(best: Path, gansearch: Gansearch) -> None:
    def single(document: dict[str, Any]) -> None:
        _elsewhere(document)
        document["seeds"] = document["seeds"][:1]

    path = edited(best, single)
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

    code, out, _ = gansearch("reproduce", edited(best, edit))
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
    code, out, err = gansearch("reproduce", edited(best, edit))
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("runs").exists()


def test_the_other_protocol_of_the_confirm_stage_is_not_what_is_reproduced(best: Path) -> None:
    from gansearch.config_files import load_config_file
    from gansearch.reproduce import plan_reproduction

    plan = plan_reproduction(load_config_file(best))
    assert [p.id for p in plan.spec.protocols] == [FULL.id]
    assert PUBLISHED.id != FULL.id
