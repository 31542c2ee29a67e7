"""How what is compared is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.contestant_names import Condition, read_name
from gansearch.errors import ResultsError
from tests.analysis.rows import config, trial_row


@pytest.mark.parametrize(
    ("given", "run", "rule"),
    [
        ("runs/a", "runs/a", "leader"),
        ("runs/a:leader", "runs/a", "leader"),
        ("runs/a:paper", "runs/a", "paper"),
        ("runs/a:b:paper", "runs/a:b", "paper"),
        ("runs:7/a", "runs:7/a", "leader"),
        ("s3://bucket/runs/a", "s3://bucket/runs/a", "leader"),
        ("s3://bucket/runs/a:paper", "s3://bucket/runs/a", "paper"),
        ("s3://bucket/runs/a?region=eu-west-1:paper", "s3://bucket/runs/a?region=eu-west-1", "paper"),
        ("s3://b/a?endpoint_override=localhost:9000", "s3://b/a?endpoint_override=localhost:9000", "leader"),
        ("s3://b/a?endpoint_override=localhost:9000:#2", "s3://b/a?endpoint_override=localhost:9000", "rank"),
        (
            "s3://b/a?endpoint_override=http://localhost:9000",
            "s3://b/a?endpoint_override=http://localhost:9000",
            "leader",
        ),
        ("C:/runs/a:dead01", "C:/runs/a", "config"),
    ],
)
def test_the_run_ends_at_the_last_colon_that_is_not_its_own(given: str, run: str, rule: str) -> None:
    found = read_name(given)
    assert (found.given, found.run, found.rule) == (given, run, rule)


def test_a_folder_that_is_there_wins_over_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a:paper").mkdir()
    assert read_name("a:paper").run == "a:paper"
    assert read_name("a:paper:leader").run == "a:paper"


def test_ranks_and_ids() -> None:
    assert read_name("a:#12").rank == 12
    assert read_name("a:0123").prefix == "0123"
    assert read_name("a:dead01beef23").prefix == "dead01beef23"


def test_conditions_have_the_types_of_their_parameters() -> None:
    found = read_name("a:algorithm.k=2, momentum.lr_g=1e-1,generator.hidden=[64, 32],generator.output=tanh")
    assert found.conditions == (
        Condition(name="algorithm.k", value=2),
        Condition(name="momentum.lr_g", value=0.1),
        Condition(name="generator.hidden", value="64-32"),
        Condition(name="generator.output", value="tanh"),
    )
    assert read_name("a:generator.hidden=64-32,generator.max_col_norm=null").conditions == (
        Condition(name="generator.hidden", value="64-32"),
        Condition(name="generator.max_col_norm", value=None),
    )


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("momentum.lr_g=0.03123", True),  # as tables show .031234
        ("momentum.lr_g=0.031234", True),
        ("momentum.lr_g=0.03124", False),
        ("momentum.lr_g=0.03", False),
        ("algorithm.k=3", True),
        ("algorithm.k=2", False),
        ("generator.hidden=64-32", True),
        ("generator.hidden=32-64", False),
        ("generator.max_col_norm=null", True),
        ("discriminator.max_col_norm=null", False),
        ("adam.lr_g=0.0004", False),  # it has no such rate, whatever the default is
    ],
)
def test_a_condition_holds_or_not(condition: str, holds: bool) -> None:
    trial = config(momentum__lr_g=0.031234, algorithm__k=3, generator__hidden=(64, 32), discriminator__max_col_norm=1.5)
    assert read_name(f"a:{condition}").conditions[0].holds(trial_row(trial, 1, score=1.0)) == holds


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("a:ledaer", "'a:ledaer': 'ledaer' is no rule", "did you mean 'leader'?"),
        ("a:", "'a:': '' is no rule", "behind the colon stands one of leader, paper, #2, a config_id or NAME=VALUE"),
        ("a:#0", "'a:#0': '#0' is no rule", "behind the colon stands one of leader, paper, #2"),
        ("a:abc", "'a:abc': 'abc' is too short for a config_id", "give 4 characters of it or more"),
        (":paper", "':paper' names no run", "such as runs/quickstart:paper"),
        ("a:momentum.lrg=1", "no parameter is called 'momentum.lrg'", "did you mean 'momentum.lr_g'?"),
        ("a:k=1", "no parameter is called 'k'", "did you mean 'algorithm.k'?"),
        ("a:lr_g=1", "no parameter is called 'lr_g'", "did you mean 'momentum.lr_g' or 'adam.lr_g'?"),
        ("a:algorithm.k=two", "algorithm.k must be an integer, got 'two'", None),
        ("a:momentum.lr_g=nan", "momentum.lr_g must be a number, got 'nan'", None),
        ("a:generator.hidden=wide", "generator.hidden must be a list, got 'wide'", "a list is written 64-32"),
        ("a:algorithm.k=1,paper", "'paper' is no condition", "such as algorithm.k=2,momentum.lr_g=0.1"),
    ],
)
def test_mistakes_are_named(given: str, message: str, hint: str | None) -> None:
    with pytest.raises(ResultsError) as caught:
        read_name(given)
    assert message in caught.value.message
    if hint is None:
        assert caught.value.hint is None
    else:
        assert caught.value.hint is not None
        assert caught.value.hint.startswith(hint)
