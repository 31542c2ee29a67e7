"""What is wrong with a study, and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest

from gansearch.errors import ConfigError
from gansearch.search.study import Study
from tests.search.small_plans import ASHA, GRID, SMALL, changed

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
        ({"executor": "pakced"}, "executor.name is 'pakced', which is not known", "did you mean 'packed'?"),
        ({"executor": 3}, "executor must be a mapping", None),
        ({"executor": ["tune", "packed"]}, "executor must be one strategy", "run a sweep for each"),
        ({"executor": {"name": "packed", "slots": 0}}, "executor.slots must be 1 or more, got 0", None),
        ({"executor": {"name": "packed", "slots": 2.5}}, "executor.slots must be an integer, got 2.5", None),
        ({"executor": {"name": "packed", "slot": 2}}, "executor has an unknown key 'slot'", "did you mean 'slots'?"),
        ({"executor": {"slots": 8}}, "executor.slots is an option of 'packed' and 'auto'", "add `name: packed`"),
        ({"executor": {"name": "tune", "slots": 8}}, "executor.slots is an option of 'packed'", "name: packed"),
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
        ({"protocols": {"final": {"name": "x", "num_samples": 0}}}, "protocol x: num_samples must be 2 or more", None),
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
        ({"limits": {"heartbeat": 0}}, "limits.heartbeat must be above 0, got 0.0", None),
        ({"limits": {"heartbeat": "soon"}}, "limits.heartbeat must be a duration, got 'soon'", "90m"),
        ({"limits": {"out_of_memory": "wait"}}, "limits.out_of_memory must be retry or fail, got 'wait'", None),
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
