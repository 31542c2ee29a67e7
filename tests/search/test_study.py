"""Studies: defaults, what is read back, options, budgets and durations."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.config import TrialConfig
from gansearch.errors import ConfigError
from gansearch.protocols import Protocol, protocol
from gansearch.search.sections import Confirm, Limits, Protocols, Resources, parse_duration
from gansearch.search.space import Space
from gansearch.search.strategies import Scheduler, Searcher
from gansearch.search.study import Study
from gansearch.yaml_files import dump_yaml, parse_yaml
from tests.search.small_plans import ASHA, GRID, SMALL, changed


def test_defaults() -> None:
    study = Study.parse(SMALL, "small")
    assert study == Study(
        name="small",
        space=Space.parse(SMALL["space"], TrialConfig().replace({"algorithm.epochs": 12})),
        num_trials=7,
        description="",
        searcher=Searcher(name="random"),
        scheduler=Scheduler(name="none"),
        repeats=1,
        resources=Resources(cpu=1, gpu=0),
        max_concurrent=None,
        protocols=Protocols(final=protocol("full"), report=protocol("report")),
        confirm=Confirm(seeds=3, protocols=(protocol("full"), protocol("published-2014"))),
        limits=Limits(time_limit=None, gpu_hours=None, stop_if_first_fail=5, max_failures=2),
        seed=0,
    )
    assert study.epochs == 12


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the mapping of a study file."""
    epochs = draw(st.integers(6, 99))
    gpu = draw(st.sampled_from([0, 0.25, 1, 2]))
    inline = {"name": "mine", "num_samples": draw(st.integers(2, 999)), "sigma_min": draw(st.floats(0.01, 0.5))}
    final = draw(st.sampled_from(["full", inline]))
    tpe = {"name": "tpe", "startup_trials": draw(st.integers(1, 9)), "multivariate": draw(st.booleans())}
    asha = {"name": "asha", "grace_epochs": draw(st.integers(1, 6)), "reduction_factor": draw(st.floats(1.5, 9))}
    options: dict[str, Any] = {
        "description": draw(st.text(max_size=9)),
        "override": {"momentum.ramp_unit": draw(st.sampled_from(["auto", "fraction"])), "momentum.initial": 0.4},
        "searcher": draw(st.sampled_from(["random", "tpe", tpe])),
        "scheduler": draw(st.sampled_from(["none", "asha", asha])),
        "epochs": epochs,
        "repeats": draw(st.integers(1, 5)),
        "resources": {"cpu": draw(st.floats(0.01, 8)), "gpu": gpu},
        "max_concurrent": draw(st.none() | st.integers(1, 64)),
        "confirm": draw(st.sampled_from([{"seeds": 0}, {"seeds": 5, "protocols": [final]}, {"seeds": 1}])),
        "limits": {"time_limit": draw(st.sampled_from([None, "1h30m", 45.5])), "gpu_hours": 1.5 if gpu else None},
        "seed": draw(st.integers(0, 2**63 - 1)),
    }
    names = draw(st.sets(st.sampled_from(sorted(options))))
    if options["limits"]["gpu_hours"]:
        names |= {"resources"}
    plan = {"base": {"algorithm": {"epochs": 8}}, "space": SMALL["space"], "num_trials": draw(st.integers(1, 99))}
    return {**plan, "protocols": {"final": final}, **{name: options[name] for name in sorted(names)}}


@given(plans())
def test_the_resolved_plan_is_read_back_as_the_same_study(plan: dict[str, Any]) -> None:
    study = Study.parse(plan, "drawn")
    text = dump_yaml(study.to_dict())
    again = Study.parse(parse_yaml(text, "text"), "drawn")
    assert again == study
    assert again.digest == study.digest
    assert dump_yaml(again.to_dict()) == text


@settings(max_examples=30)
@given(plans(), st.integers(100, 200), st.integers(6, 50), st.integers(0, 99))
def test_options_replace_what_the_file_says(plan: dict[str, Any], trials: int, epochs: int, seed: int) -> None:
    study = Study.parse(plan, "drawn")
    assert study.with_options() == study
    got = study.with_options(num_trials=trials, epochs=epochs, seed=seed)
    assert (got.num_trials, got.epochs, got.seed) == (trials, epochs, seed)
    plan = changed(plan, num_trials=trials, epochs=epochs, seed=seed)
    assert got == Study.parse(plan, "drawn")


def test_sections_that_do_not_act_in_the_base_survive() -> None:
    space = {
        "update.rule": {"choice": ["momentum", "adam"]},
        "adam.beta1": {"uniform": [0, 0.9], "when": {"update.rule": "adam"}},
    }
    study = Study.parse(changed(SMALL, base={"adam": {"beta2": 0.77, "lr_g": 3e-3}}, space=space), "s")
    again = Study.parse(study.to_dict(), "s")
    assert again.space.config({"update.rule": "adam"}).adam.beta2 == 0.77


ADAM_SPACE = {"adam.lr_g": {"loguniform": [1e-5, 1e-2]}}
SEARCHED = {"update.rule": {"choice": ["momentum", "adam"]}, "algorithm.k": {"int": [1, 4]}}


def test_the_section_of_a_rule_that_is_never_used_is_not_written() -> None:
    for changes, sections in (
        ({}, {"momentum"}),
        ({"base": {"update": {"rule": "adam"}}, "space": ADAM_SPACE}, {"adam"}),
        ({"base": {"momentum": {"lr_g": 0.3}}, "override": {"update.rule": "adam"}, "space": ADAM_SPACE}, {"adam"}),
        ({"space": {**ADAM_SPACE, "update.rule": {"fixed": "adam"}, "adam.beta2": {"fixed": 0.9}}}, {"adam"}),
        ({"space": SEARCHED}, {"adam", "momentum"}),
    ):
        study = Study.parse(changed(SMALL, **changes), "s")
        plan = study.to_dict()
        assert set(plan["base"]) & {"adam", "momentum"} == sections
        assert Study.parse(plan, "s") == study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"adam": {"lr_g": 0.1}}}, "base.adam has no effect: update.rule is momentum"),
        ({"override": {"adam.beta2": 0.9}}, "override: adam.beta2 has no effect: update.rule is momentum"),
        (
            {"space": {"algorithm.k": {"int": [1, 4]}, "adam.beta2": {"fixed": 0.9}}},
            "space: adam.beta2 has no effect: update.rule is momentum",
        ),
        (
            {"base": {"update": {"rule": "adam"}, "momentum": {"final": 0.9}}, "space": ADAM_SPACE},
            "base.momentum has no effect: update.rule is adam",
        ),
        (
            {"override": {"update.rule": "adam", "momentum.final": 0.9}, "space": ADAM_SPACE},
            "override: momentum.final has no effect: update.rule is adam",
        ),
    ],
)
def test_what_has_no_effect_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Study.parse(changed(SMALL, **changes), "s")
    section = "momentum" if "momentum" in message.partition(" has")[0] else "adam"
    assert (caught.value.message, caught.value.hint) == (message, f"set update.rule: {section}, or remove it")


@pytest.mark.parametrize(
    ("cpu", "gpu", "cpus", "gpus", "trials"),
    [
        (0.2, 0, 1, 0, 5),
        (0.1, 0, 3, 0, 30),
        (0.3, 0, 2, 0, 6),
        (1, 0.2, 64, 2, 10),
        (1, 0.1, 64, 3, 30),
        (1, 0.3, 64, 2, 6),
        (1, 2, 64, 5, 2),
        (2, 0.1, 7, 3, 3),
        (1, 1, 8, 0, 0),
        (4, 0, 3, 0, 0),
    ],
)
def test_shares_of_a_machine(cpu: float, gpu: float, cpus: float, gpus: float, trials: int) -> None:
    assert Resources(cpu=cpu, gpu=gpu).fit(cpus, gpus) == trials


def test_options_are_validated_against_the_rest() -> None:
    study = Study.parse(changed(SMALL, scheduler=ASHA), "s")
    with pytest.raises(ConfigError, match="grace_epochs is 5, above the budget of 3 epochs"):
        study.with_options(epochs=3)
    with pytest.raises(ConfigError, match="num_trials must be 1 or more, got 0"):
        study.with_options(num_trials=0)
    grid = Study.parse(GRID, "g")
    assert grid.with_options(epochs=9).num_trials == 9
    with pytest.raises(ConfigError, match="the grid has 9 points"):
        grid.with_options(num_trials=4)


def test_the_digest_follows_the_content_alone() -> None:
    study = Study.parse(SMALL, "a")
    assert study.digest == Study.parse(changed(SMALL, description="x"), "b").digest
    variants: list[dict[str, Any]] = [
        {"seed": 1},
        {"repeats": 2},
        {"searcher": "tpe"},
        {"num_trials": 8},
        {"override": {"noise.dim": 7}},
    ]
    assert len({study.digest, *(Study.parse(changed(SMALL, **v), "a").digest for v in variants)}) == 6


def test_a_study_travels_between_processes() -> None:
    study = Study.parse(changed(GRID, limits={"time_limit": "1h"}), "g")
    assert pickle.loads(pickle.dumps(study)) == study


def test_budget_and_overrides_reach_the_base() -> None:
    study = Study.parse(changed(SMALL, epochs=30, override={"noise.dim": 9, "generator.hidden": [5, 4]}), "s")
    assert (study.epochs, study.base.noise.dim, study.base.generator.hidden) == (30, 9, (5, 4))
    assert study.to_dict()["base"]["algorithm"]["epochs"] == study.to_dict()["epochs"] == 30


def test_the_epochs_may_be_searched_without_early_stopping() -> None:
    space = {"algorithm.epochs": {"int": [5, 20]}}
    assert Study.parse(changed(SMALL, space=space), "s").epochs == 12
    with pytest.raises(ConfigError, match="asha compares trials at equal epochs"):
        Study.parse(changed(SMALL, space=space, scheduler=ASHA), "s")


def test_a_grid_is_tried_whole() -> None:
    study = Study.parse(GRID, "g")  # 4 x 2, and the base beside it
    assert study.num_trials == study.space.grid_size == 9
    assert Study.parse(changed(GRID, num_trials=9), "g") == study


def test_confirm_uses_the_final_protocol_unless_told_otherwise() -> None:
    mine = {"name": "mine", "num_samples": 50}
    study = Study.parse(changed(SMALL, protocols={"final": mine}), "s")
    assert study.confirm.protocols == (Protocol(name="mine", num_samples=50), protocol("published-2014"))
    published = Study.parse(changed(SMALL, protocols={"final": "published-2014"}), "s")
    assert published.confirm.protocols == (protocol("published-2014"),)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1h", 3600), ("90m", 5400), (5400, 5400), (0.5, 0.5), ("45s", 45), ("1h30m", 5400), ("2d3h4m5s", 183_845)],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value, "time") == seconds


@pytest.mark.parametrize("value", ["", "h", "1.5h", "1 h", "30m1h", "1w", "-5m", True, None, [1], "5400"])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ConfigError, match="time must be a duration, got"):
        parse_duration(value, "time")
