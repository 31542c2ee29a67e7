"""Which searcher, scheduler and space go together, and the reasons where they do not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gansearch.errors import ConfigError
from gansearch.search.pairings import PAUSING
from gansearch.search.strategies import SCHEDULERS, SEARCHERS
from gansearch.yaml_files import parse_yaml
from tests.search.small_studies import study

README = Path(__file__).parents[2] / "search_spaces" / "README.md"

NUMBERS = {"adam.lr_g": {"loguniform": [0.0001, 0.01], "points": 3}, "adam.beta1": {"uniform": [0.0, 0.9], "points": 2}}
CHOICE = {**NUMBERS, "generator.hidden": {"choice": [[23], [7]]}}
CONDITIONAL = {
    **NUMBERS,
    "discriminator.max_col_norm": {"choice": [None, 2.0]},
    "algorithm.k": {"int": [1, 3]},
    "algorithm.order": {"choice": ["simultaneous", "alternating"], "when": {"algorithm.k": [2, 3]}},
}
ONE = {"adam.beta1": NUMBERS["adam.beta1"]}
PIECES = {**NUMBERS, "discriminator.pieces": {"int": [2, 4]}}
POPULATION = {"scheduler": {"name": "pbt", "interval_epochs": 2}, "num_trials": 8}


def refusal(**changes: Any) -> tuple[str, str | None]:
    """Return the message and the hint that a study is refused with."""
    with pytest.raises(ConfigError) as caught:
        study(**changes)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_takes_unconditional_numbers(name: str) -> None:
    given = study(searcher=name, space=NUMBERS, num_trials=None if name == "grid" else 12)
    assert given.searcher.name == name


@pytest.mark.parametrize("name", ["random", "sobol", "tpe", "nsga2"])
def test_searchers_that_take_every_space(name: str) -> None:
    assert study(searcher=name, space=CONDITIONAL).searcher.name == name


@pytest.mark.parametrize("name", ["gp", "cmaes"])
def test_a_conditional_parameter_cannot_be_modelled(name: str) -> None:
    space = {key: CONDITIONAL[key] for key in (*NUMBERS, "algorithm.k", "algorithm.order")}
    assert refusal(searcher=name, space=space) == (
        f"searcher '{name}' models parameters that always act, but algorithm.order is conditional",
        "use searcher: tpe, or fix what it depends on",
    )


def test_gp_takes_a_choice_and_cmaes_does_not() -> None:
    assert study(searcher="gp", space=CHOICE).searcher.name == "gp"
    assert refusal(searcher="cmaes", space=CHOICE) == (
        "searcher 'cmaes' models numbers, but generator.hidden is a choice in no order",
        "use searcher: tpe, or fix it",
    )


def test_cmaes_needs_two_parameters() -> None:
    assert refusal(searcher="cmaes", space=ONE) == (
        "searcher 'cmaes' needs two parameters or more",
        "use searcher: tpe",
    )
    assert study(searcher="gp", space=ONE).searcher.name == "gp"


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name not in ("none", "pbt", "pb2")])
def test_two_objectives_go_with_no_scheduler(scheduler: str) -> None:
    assert refusal(searcher="nsga2", scheduler=scheduler, space=NUMBERS) == (
        f"{scheduler} ranks trials by their likelihood alone, but searcher 'nsga2' has two objectives",
        "use scheduler: none, or searcher: tpe",
    )


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
@pytest.mark.parametrize("scheduler", ["pbt", "pb2"])
def test_one_strategy_alone_chooses_the_values(name: str, scheduler: str) -> None:
    given = {"name": scheduler, "interval_epochs": 2}
    assert refusal(searcher=name, scheduler=given, space=NUMBERS, num_trials=8) == (
        f"{scheduler} changes the values itself, so searcher '{name}' would learn from values that were not its own",
        "use searcher: random or sobol, which draw the first population",
    )


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_a_population_is_drawn_by_a_searcher_that_learns_nothing(name: str) -> None:
    assert study(searcher=name, space=NUMBERS, **POPULATION).scheduler.name == "pbt"


def test_a_population_cannot_change_its_structure() -> None:
    message, hint = refusal(space=PIECES, **POPULATION)
    assert message == (
        "pbt changes values while trials run, but discriminator.pieces is structural: no member could continue from "
        "another's checkpoint"
    )
    assert hint is not None
    assert hint.startswith("fix it, or use scheduler: asha; what pbt can change: momentum.lr_g, ")


@pytest.mark.parametrize("key", ["searcher", "scheduler"])
def test_a_sweep_has_one_strategy_of_each_kind(key: str) -> None:
    assert refusal(**{key: ["grid", "tpe"]}) == (
        f"{key} must be one strategy, got ['grid', 'tpe']",
        "run a sweep for each",
    )


@pytest.mark.parametrize(
    ("key", "section", "message", "hint"),
    [
        (
            "searcher",
            {"name": "random", "startup_trials": 4},
            "searcher.startup_trials is an option of 'tpe', 'gp' and 'cmaes'",
            "add `name: tpe`, or remove it",
        ),
        (
            "searcher",
            {"population_size": 9},
            "searcher.population_size is an option of 'nsga2'",
            "add `name: nsga2`, or remove it",
        ),
        (
            "searcher",
            {"name": "gp", "multivariate": True},
            "searcher.multivariate is an option of 'tpe'",
            "add `name: tpe`, or remove it",
        ),
        (
            "scheduler",
            {"name": "hyperband", "grace_epochs": 2},
            "scheduler.grace_epochs is an option of 'asha' and 'median'",
            "add `name: asha`, or remove it",
        ),
        (
            "searcher",
            {"name": "tpee", "startup_trials": 4},
            "searcher.name is 'tpee', which is not known",
            "did you mean 'tpe'?",
        ),
        ("searcher", "cma", "searcher.name is 'cma', which is not known", "did you mean 'cmaes'?"),
        ("searcher", {"name": "tpe", "startup_trials": 0}, "searcher.startup_trials must be 1 or more, got 0", None),
        (
            "searcher",
            {"name": "nsga2", "population_size": 1},
            "searcher.population_size must be 2 or more, got 1",
            None,
        ),
    ],
)
def test_an_option_of_another_strategy_and_a_wrong_value(
    key: str, section: object, message: str, hint: str | None
) -> None:
    assert refusal(**{key: section}) == (message, hint)


def test_more_trials_than_a_finite_space_holds() -> None:
    for name in ("random", "sobol", "tpe", "gp", "cmaes", "nsga2"):
        space = {"algorithm.k": {"int": [1, 3]}, "discriminator.pieces": {"int": [2, 3]}}
        assert study(searcher=name, space=space, num_trials=6).num_trials == 6
        message, _ = refusal(searcher=name, space=space, num_trials=7)
        assert message == "num_trials is 7, but the space holds only 6 configurations"


def test_the_plan_holds_the_options_that_act() -> None:
    for name, strategy in SEARCHERS.items():
        given = study(searcher=name, space=NUMBERS, num_trials=None if name == "grid" else 5)
        assert set(given.to_dict()["searcher"]) == {"name", *strategy.options}


def test_the_readme_shows_every_searcher_as_it_is_written() -> None:
    table = re.findall(r"^\| `(\w+)` \|.*\| `(searcher: .+?)` \|$", README.read_text(), re.MULTILINE)
    assert [name for name, _ in table] == list(SEARCHERS)
    for name, example in table:
        given = study(**parse_yaml(example, "README.md"), space=NUMBERS, num_trials=None if name == "grid" else 5)
        assert given.searcher.name == name
        section = parse_yaml(example, "README.md")["searcher"]
        assert set(given.searcher.to_dict()) == ({"name"} if isinstance(section, str) else set(section))


@pytest.mark.parametrize("scheduler", sorted(PAUSING))
def test_the_packed_executor_drives_no_scheduler_under_which_trials_wait(scheduler: str) -> None:
    given = scheduler if scheduler == "hyperband" else {"name": scheduler, "interval_epochs": 2}
    for executor in ("tune", "auto"):
        assert study(executor=executor, scheduler=given, space=NUMBERS, num_trials=8).scheduler.name == scheduler
    assert refusal(executor="packed", scheduler=given, space=NUMBERS, num_trials=8) == (
        f"the packed executor cannot drive scheduler '{scheduler}', which lets trials wait for others",
        "use scheduler: asha, median or none; or executor: tune",
    )


def test_the_packed_executor_drives_all_other_schedulers() -> None:
    for scheduler in set(SCHEDULERS) - set(PAUSING):
        assert study(executor="packed", scheduler=scheduler, space=NUMBERS).executor.name == "packed"


@pytest.mark.parametrize("scheduler", ["pbt", "pb2"])
def test_a_population_is_changed_before_its_budget_ends(scheduler: str) -> None:
    given = {"scheduler": {"name": scheduler, "interval_epochs": 4}, "num_trials": 8, "space": NUMBERS, "epochs": 4}
    assert refusal(**given) == (
        f"scheduler.interval_epochs is 4, the whole budget, so {scheduler} would change nothing",
        "lower interval_epochs, or raise epochs",
    )
