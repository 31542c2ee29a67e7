"""What is wrong with a search space, and what to do about it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gansearch.config import TrialConfig
from gansearch.errors import ConfigError
from gansearch.search.space import MAX_GRID, Space

BASE = TrialConfig()
K = {"algorithm.k": {"int": [1, 5]}}
CYCLE = {
    "algorithm.k": {"int": [1, 5], "when": {"noise.dim": 100}},
    "noise.dim": {"choice": [100, 50], "when": {"score.at": "best"}},
    "score.at": {"choice": ["best", "last"], "when": {"algorithm.k": 1}},
}


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        ([], "space must be a mapping", None),
        ({}, "space is empty", "give at least one parameter a range"),
        ({"algorithm.k": {"fixed": 2}}, "space is empty", "give at least one parameter a range"),
        (
            {"algorithm.kk": {"int": [1, 2]}},
            "space: no parameter is called 'algorithm.kk'",
            "did you mean 'algorithm.k'?",
        ),
        (
            {"algorithm.k": {"integer": [1, 2]}},
            "space.algorithm.k: unknown kind or option 'integer'",
            "did you mean 'int'?",
        ),
        ({"algorithm.k": {"chioce": [1, 2]}}, "unknown kind or option 'chioce'", "did you mean 'choice'?"),
        ({"algorithm.k": 3}, "space.algorithm.k: a mapping with a kind is needed, got 3", "kinds: "),
        ({"algorithm.k": {"log": True}}, "one kind is needed, got none", "kinds: "),
        ({"algorithm.k": {"int": [1, 5], "choice": [1]}}, "one kind is needed, got int and choice", "kinds: "),
        ({"algorithm.k": {"int": [1, 5], "fixed": 1}}, "one kind is needed, got int and fixed", "kinds: "),
        ({**K, "score.at": {"fixed": "best", "when": {"algorithm.k": 1}}}, "'fixed' takes no 'when'", None),
        ({"momentum.final": {"uniform": [0, 0.9], "log": True}}, "'uniform' takes no 'log'", "only int do"),
        ({"algorithm.k": {"int": [1, 5], "points": 3}}, "'int' takes no 'points'", None),
        ({"momentum.final": {"uniform": [0, 0.9], "points": 1}}, "points must be 2 or more, got 1", None),
        (
            {"momentum.final": {"uniform": [0.9, 0.5]}},
            "the lower bound must be below the upper, got 0.9 and 0.5",
            "fixed",
        ),
        ({"algorithm.k": {"int": [3, 3]}}, "the lower bound must be below the upper, got 3 and 3", "fixed"),
        ({"momentum.lr_g": {"uniform": [0.1, math.inf]}}, "the lower bound must be below the upper", None),
        ({"momentum.lr_g": {"uniform": [math.nan, 1.0]}}, "the lower bound must be below the upper", None),
        ({"momentum.lr_g": {"loguniform": [0, 1]}}, "a log-uniform range must be above 0, got 0", None),
        ({"momentum.lr_g": {"loguniform": [-1, 1]}}, "a log-uniform range must be above 0, got -1", None),
        ({"algorithm.k": {"int": [0, 3], "log": True}}, "with log must be 1 or more, got 0", None),
        ({"momentum.lr_g": {"uniform": 0.1}}, "uniform must be a list of two bounds, got 0.1", "[low, high]"),
        ({"momentum.lr_g": {"uniform": [0.1, 0.2, 0.3]}}, "uniform must be a list of two bounds", "[low, high]"),
        ({"momentum.lr_g": {"uniform": [0.1, "x"]}}, "space.momentum.lr_g: uniform[1] must be a number, got 'x'", None),
        ({"algorithm.k": {"int": [1, 2.5]}}, "int[1] must be an integer, got 2.5", None),
        ({"algorithm.k": {"uniform": [1, 5]}}, "'uniform' does not fit a parameter that holds integers", "use int"),
        ({"momentum.final": {"int": [0, 1]}}, "'int' does not fit a parameter that holds numbers", "use uniform"),
        ({"score.at": {"int": [0, 1]}}, "'int' does not fit a parameter that holds no numbers", "use choice"),
        ({"generator.hidden": {"int": [10, 20]}}, "'int' does not fit a parameter that holds no numbers", "use choice"),
        ({"algorithm.k": {"choice": []}}, "choice needs at least one value", None),
        ({"algorithm.k": {"choice": 3}}, "choice must be a list of values, got 3", None),
        ({"momentum.final": {"choice": [0.7, 1, 0.7]}}, "choice holds 0.7 twice", None),
        ({"generator.hidden": {"choice": [[9], [1200, 1200], [9]]}}, "choice holds [9] twice", None),
        ({"algorithm.k": {"choice": [1, "2"]}}, "choice[1] must be an integer, got '2'", None),
        ({"generator.hidden": {"choice": [1200]}}, "choice[0] must be a list, got 1200", None),
        ({"algorithm.k": {"int": [0, 5]}}, "space: algorithm.k must be 1 or more, got 0", None),
        ({"momentum.final": {"uniform": [0.5, 1]}}, "space: momentum.final must be in [0, 1), got 1.0", None),
        ({"generator.hidden": {"choice": [[1200, 1200], [0]]}}, "generator.hidden must be", None),
        ({"score.at": {"choice": ["best", "lats"]}}, "score.at is 'lats', which is not known", "did you mean 'last'?"),
        ({**K, "score.at": {"fixed": "lats"}}, "space: score.at is 'lats'", "did you mean 'last'?"),
        (
            {"momentum.ramp_start": {"uniform": [0, 60]}, "momentum.ramp_end": {"uniform": [50, 250]}},
            "momentum.ramp_start at 60.0 with momentum.ramp_end at 50.0: momentum.ramp_end must be above",
            None,
        ),
        (
            {"algorithm.k": {"int": [2, 5]}},
            "space: the base's algorithm.k is 1, outside the space: integer in [2, 5]",
            "widen",
        ),
        ({"noise.dim": {"choice": [20, 50]}}, "the base's noise.dim is 100, outside the space: one of 20, 50", "widen"),
        (
            {"adam.lr_g": {"loguniform": [1e-5, 1e-3]}},
            "adam.lr_g has no effect: update.rule is never adam",
            "search update.rule",
        ),
        (
            {"update.rule": {"fixed": "adam"}, "momentum.final": {"uniform": [0.5, 0.9]}},
            "momentum.final has no effect: update.rule is never momentum",
            "search update.rule",
        ),
        (
            {"update.rule": {"choice": ["momentum", "adam"]}, "momentum.final": {"uniform": [0.5, 0.9]}},
            "momentum.final has no effect unless update.rule is momentum",
            "add `when: {update.rule: momentum}` to it",
        ),
        ({"algorithm.k": {"int": [1, 5], "when": 3}}, "when must map parameter names to values, got 3", "when"),
        (
            {"algorithm.k": {"int": [1, 5], "when": {"score.att": "best"}}},
            "no parameter is called 'score.att'",
            "score.at",
        ),
        ({"algorithm.k": {"int": [1, 5], "when": {"score.at": []}}}, "when.score.at lists no value", None),
        ({"algorithm.k": {"int": [1, 5], "when": {"score.at": 1}}}, "when.score.at must be text, got 1", None),
        (
            {"algorithm.k": {"int": [1, 5], "when": {"score.at": "last"}}},
            "space.algorithm.k: when: score.at is always best, so the parameter could never act",
            "search score.at as well",
        ),
        (
            {**K, "noise.dim": {"choice": [100, 50], "when": {"algorithm.k": [1, 6]}}},
            "space.noise.dim: when: algorithm.k never takes the value 6",
            "integer in [1, 5]",
        ),
        (
            {
                "momentum.final": {"uniform": [0.5, 0.9]},
                "algorithm.k": {"int": [1, 5], "when": {"momentum.final": 0.7}},
            },
            "when: momentum.final is continuous",
            None,
        ),
        (
            {"algorithm.k": {"int": [1, 5], "when": {"algorithm.k": 1}}},
            "the conditions of algorithm.k wait",
            "remove one",
        ),
        (CYCLE, "the conditions of algorithm.k, noise.dim, score.at wait for each other", "remove one"),
        (
            {
                **K,
                "noise.dim": {"choice": [100, 50], "when": {"algorithm.k": 1}},
                "score.at": {"choice": ["best", "last"], "when": {"noise.dim": 50, "algorithm.k": 2}},
            },
            "score.at: its conditions on algorithm.k contradict each other",
            None,
        ),
    ],
)
def test_bad_spaces(data: Any, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        Space.parse(data, BASE)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_grids_that_cannot_be_listed() -> None:
    with pytest.raises(ConfigError, match=r"space\.momentum\.lr_g: a grid needs to know how many values"):
        Space.parse({"momentum.lr_g": {"uniform": [0.05, 0.2]}}, BASE).grid()
    with pytest.raises(ConfigError, match=f"more than {MAX_GRID:,} points"):
        Space.parse({"algorithm.k": {"int": [1, 10**15]}}, BASE).grid()
