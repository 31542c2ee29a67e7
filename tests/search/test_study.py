from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file, parse_config_file
from gansearch.errors import ConfigError
from gansearch.protocols import Protocol, protocol
from gansearch.search.domains import _KINDS
from gansearch.search.sections import Confirm, Limits, Protocols, Resources, Scheduler, Searcher, parse_duration
from gansearch.search.space import Space
from gansearch.search.study import _KEYS, Study, load_study
from gansearch.yaml_files import dump_yaml, find_shipped, load_yaml, parse_yaml, shipped_names

README = Path(__file__).parents[2] / "search_spaces" / "README.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)

SMALL: dict[str, Any] = {
    "base": {"dataset": {"name": "digits"}, "algorithm": {"epochs": 12}},
    "space": {"algorithm.k": {"int": [1, 4]}, "momentum.lr_g": {"loguniform": [0.01, 1]}},
    "num_trials": 7,
}
GRID: dict[str, Any] = {
    "base": {},
    "space": {"algorithm.k": {"int": [1, 4]}, "momentum.lr_g": {"uniform": [0.05, 0.2], "points": 2}},
    "searcher": "grid",
}
ASHA = {"name": "asha", "grace_epochs": 5}


def changed(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(data), **changes}


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
    inline = {"name": "mine", "num_samples": draw(st.integers(1, 999)), "sigma_min": draw(st.floats(0.01, 0.5))}
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


NO_FINAL = {"seeds": 1, "protocols": ["published-2014"]}
TWICE = {"protocols": ["full", "full"]}


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"seracher": "tpe"}, "unknown key 'seracher'", "did you mean 'searcher'?"),
        ({"num_trial": 3}, "unknown key 'num_trial'", "did you mean 'num_trials'?"),
        ({"num_trials": 0}, "num_trials must be 1 or more, got 0", None),
        ({"num_trials": 2.5}, "num_trials must be an integer, got 2.5", None),
        ({"num_trials": None}, "a study with searcher 'random' needs the key 'num_trials'", None),
        ({"base": "paper/mnits"}, "base: there is no file 'paper/mnits'", "did you mean 'paper/mnist'?"),
        ({"base": "quickstart"}, "this is a study, not a configuration", None),
        ({"base": 3}, "base must be a mapping of names to values, got 3", None),
        ({"base": {"generater": {}}}, "base has an unknown key 'generater'", "did you mean 'generator'?"),
        ({"override": {"momentum.lrg": 1}}, "override: no parameter is called 'momentum.lrg'", "momentum.lr_g"),
        ({"override": {"algorithm.k": 0}}, "override: algorithm.k must be 1 or more, got 0", None),
        ({"override": [1]}, "override must map parameter names to values", None),
        ({"override": {"algorithm.k": 9}}, "space: the base's algorithm.k is 9, outside the space", "widen"),
        ({"space": {}}, "space is empty", None),
        ({"searcher": "tpa"}, "searcher.name is 'tpa', which is not known", "did you mean 'tpe'?"),
        ({"searcher": 3}, "searcher must be a mapping", None),
        ({"searcher": {"name": "tpe", "startup_trial": 3}}, "unknown key 'startup_trial'", "startup_trials"),
        ({"searcher": {"name": "tpe", "startup_trials": 0}}, "searcher.startup_trials must be 1 or more, got 0", None),
        ({"searcher": {"name": "random", "startup_trials": 3}}, "startup_trials is an option of 'tpe'", "name: tpe"),
        ({"scheduler": {"grace_epochs": 3}}, "scheduler.grace_epochs is an option of 'asha'", "name: asha"),
        ({"scheduler": "ahsa"}, "scheduler.name is 'ahsa', which is not known", "did you mean 'asha'?"),
        ({"scheduler": {"name": "asha", "reduction_factor": 1}}, "reduction_factor must be above 1, got 1.0", None),
        ({"scheduler": {"name": "asha", "grace_epochs": 0}}, "grace_epochs must be 1 or more, got 0", None),
        ({"scheduler": {"name": "asha", "grace_epochs": 13}}, "grace_epochs is 13, above the budget of 12", "lower"),
        ({"scheduler": ASHA, "override": {"score.report_every": 6}}, "reports every 6 epochs", "score.report_every"),
        (
            {"scheduler": ASHA, "space": {"score.report_every": {"int": [1, 7]}}},
            "reports every 7 epochs",
            "score.report_every",
        ),
        ({"epochs": 0}, "epochs must be 1 or more, got 0", None),
        ({"epochs": "30"}, "epochs must be an integer, got '30'", None),
        (
            {"epochs": 9, "override": {"algorithm.epochs": 8}},
            "epochs is 9, but override sets algorithm.epochs to 8",
            "one",
        ),
        (
            {"epochs": 9, "space": {**SMALL["space"], "algorithm.epochs": {"fixed": 8}}},
            "epochs is 9, but space fixes algorithm.epochs at 8",
            None,
        ),
        ({"repeats": 0}, "repeats must be 1 or more, got 0", None),
        ({"max_concurrent": 0}, "max_concurrent must be 1 or more, got 0", None),
        ({"resources": {"cpu": 0}}, "resources.cpu must be above 0, got 0.0", None),
        ({"resources": {"gpu": -1}}, "resources.gpu must be 0 or more, got -1.0", None),
        ({"resources": {"gpu": 1.5}}, "resources.gpu must be whole when above 1, got 1.5", None),
        ({"resources": {"gpus": 1}}, "resources has an unknown key 'gpus'", "did you mean 'gpu'?"),
        ({"protocols": {"final": "fulll"}}, "protocols.final: no score protocol is called 'fulll'", "full"),
        ({"protocols": {"finale": "full"}}, "protocols has an unknown key 'finale'", "did you mean 'final'?"),
        ({"protocols": {"final": {"name": "x", "num_samples": 0}}}, "protocol x: num_samples must be 1 or more", None),
        ({"protocols": "full"}, "protocols must be a mapping", None),
        ({"confirm": {"seeds": -1}}, "confirm.seeds must be 0 or more, got -1", None),
        ({"confirm": {"protocols": []}}, "confirm.protocols must be one or more, all different", None),
        ({"confirm": TWICE}, "confirm.protocols must be one or more, all different", None),
        ({"confirm": {"protocols": "full"}}, "confirm.protocols must be a list, got 'full'", None),
        ({"confirm": NO_FINAL}, "confirm.protocols lacks the final protocol full-", "add 'full'"),
        ({"confirm": 3}, "confirm must be a mapping", None),
        ({"limits": {"time_limit": "1x"}}, "limits.time_limit must be a duration, got '1x'", "90m"),
        ({"limits": {"time_limit": 0}}, "limits.time_limit must be above 0, got 0.0", None),
        ({"limits": {"gpu_hours": 0}}, "limits.gpu_hours must be above 0, got 0.0", None),
        ({"limits": {"gpu_hours": 2}}, "limits.gpu_hours is set, but trials take no GPU", "resources"),
        ({"limits": {"stop_if_first_fail": 0}}, "limits.stop_if_first_fail must be 1 or more, got 0", None),
        ({"limits": {"max_failures": -1}}, "limits.max_failures must be 0 or more, got -1", None),
        ({"limits": {"time": 1}}, "limits has an unknown key 'time'", None),
        ({"seed": -1}, "seed must be in 0 to 2**63 - 1, got -1", None),
        ({"description": 3}, "description must be text, got 3", None),
        ({"searcher": "grid"}, "space.momentum.lr_g: a grid needs to know how many values", "points"),
        (
            {"space": {"algorithm.k": {"int": [1, 4]}}},
            "num_trials is 7, but the space holds only 4 configurations",
            "searcher: grid",
        ),
    ],
)
def test_bad_studies(changes: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        Study.parse(changed(SMALL, **changes), "small")
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize("key", ["base", "space"])
def test_what_a_study_needs(key: str) -> None:
    data = changed(SMALL)
    del data[key]
    with pytest.raises(ConfigError, match=f"a study needs the key '{key}'"):
        Study.parse(data, "small")


@pytest.mark.parametrize("trials", [5, 12])
def test_a_grid_of_another_size(trials: int) -> None:
    with pytest.raises(ConfigError, match=f"num_trials is {trials}, but the grid has 9 points"):
        Study.parse(changed(GRID, num_trials=trials), "g")


def test_a_configuration_where_a_study_is_wanted() -> None:
    with pytest.raises(ConfigError) as caught:
        load_study("paper/mnist")
    assert caught.value.message == f"{find_shipped('paper/mnist')}: this is a configuration, not a study"
    assert caught.value.hint == "train it with `gansearch train`"
    with pytest.raises(ConfigError, match="this is a study"):
        load_config_file("quickstart")


def test_a_base_is_found_beside_its_study(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("config: {noise: {dim: 33}}\n")
    path = tmp_path / "study.yaml"
    path.write_text("base: mine.yaml\nspace: {algorithm.k: {int: [1, 3]}}\nnum_trials: 2\n")
    study = load_study(path)
    assert (study.name, study.base.noise.dim) == ("study", 33)
    (tmp_path / "mine.yaml").write_text("config: {noise: {dim: 0}}\n")
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    assert caught.value.message == f"{path}: base: {tmp_path / 'mine.yaml'}: noise.dim must be 1 or more, got 0"


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_file_loads(name: str) -> None:
    if "config" in load_yaml(find_shipped(name)):
        assert load_config_file(name).name == name
    else:
        study = load_study(name)
        assert study.name == name
        assert study.description
        assert study.space.contains(study.space.base_point())


def test_the_studies_that_the_project_promises() -> None:
    quickstart = load_study("quickstart")
    assert quickstart.base.dataset.name == "digits"
    assert quickstart.num_trials >= 12
    assert quickstart.resources == Resources(cpu=1, gpu=0)
    mnist = load_study("mnist")
    assert {p.name for p in mnist.space.parameters} == {
        "algorithm.k",
        "momentum.lr_g",
        "momentum.lr_d",
        "momentum.initial",
        "momentum.final",
        "discriminator.pieces",
        "discriminator.dropout_input",
        "discriminator.dropout_hidden",
    }
    published = load_config_file("paper/mnist").config
    assert mnist.base == published.replace({"algorithm.epochs": 30, "momentum.ramp_unit": "auto"})
    assert (mnist.scheduler.name, mnist.searcher.name, mnist.num_trials) == ("asha", "tpe", 64)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readme_blocks_are_valid(block: str) -> None:
    data = parse_yaml(block, "README.md")
    if "config" in data:
        parse_config_file(data, "readme")
    elif "base" in data:
        Study.parse(data, "readme")
    else:
        Space.parse(data["space"], TrialConfig())


def test_the_readme_documents_every_key_kind_and_option() -> None:
    blocks = [parse_yaml(block, "README.md") for block in BLOCKS]
    full = max((b for b in blocks if "base" in b), key=len)
    assert set(full) == set(_KEYS)
    for key in ("resources", "protocols", "confirm", "limits"):
        assert set(full[key]) == set(Study.parse(full, "readme").to_dict()[key])
    for key in ("searcher", "scheduler"):
        assert set(full[key]) == set(Study.parse(full, "readme").to_dict()[key])
    entries = [set(entry) for b in blocks for entry in b.get("space", {}).values()]
    assert set().union(*entries) == {*_KINDS, "when", "points", "log"}
    assert all(f"`{name}`" in README.read_text() for name in shipped_names())
