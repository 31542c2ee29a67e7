"""`spaces` and `schema`."""

from __future__ import annotations

import json

import pytest

from gansearch import schema
from gansearch.search.strategies import EXECUTORS, SCHEDULERS, SEARCHERS
from gansearch.yaml_files import find_shipped, shipped_names
from tests.cli.conftest import Gansearch


def test_spaces_lists_what_is_shipped_with_its_kind(gansearch: Gansearch) -> None:
    code, out, err = gansearch("spaces")
    assert (code, err) == (0, "")
    listed = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert list(listed) == shipped_names()
    assert (listed["quickstart"], listed["paper/mnist"]) == ("study", "configuration")
    assert "Small adversarial nets on 8x8 digits" in out


def test_spaces_shows_a_file_as_it_is(gansearch: Gansearch) -> None:
    assert gansearch("spaces", "quickstart") == (0, find_shipped("quickstart").read_text(), "")


def test_spaces_as_json(gansearch: Gansearch) -> None:
    _, out, _ = gansearch("spaces", "--json")
    assert [file["name"] for file in json.loads(out)] == shipped_names()
    _, out, _ = gansearch("spaces", "paper/mnist", "--json")
    assert json.loads(out)["config"]["noise"]["dim"] == 100


STRATEGIES = """\
searchers

  random
    Independent draws. The baseline that every other searcher has to beat; best with many workers,
    with asha, and wherever the sample itself is analysed afterwards, since it is unbiased. Point i
    is a function of (seed, i), so a resumed sweep tries the very same configurations.

  sobol
    A scrambled Sobol sequence: as random, but spread evenly, so that a few dozen points leave no
    corner of the space empty. Use it in place of random for maps of the space and for 2 to 10
    parameters. Point i is a function of (seed, i).

  grid
    Every combination of listed values. For two or three parameters whose effect is to be shown in a
    table; it wastes trials wherever a parameter matters little.

  tpe  {startup_trials: 10, multivariate: true}
    Optuna's tree-structured Parzen estimator, the searcher to start with: it takes every kind of
"""


def test_spaces_lists_the_strategies(gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = gansearch("spaces", "--strategies")
    assert (code, err) == (0, "")
    assert out.startswith(STRATEGIES)
    assert max(map(len, out.splitlines())) <= 100
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "]
    assert names == [*SEARCHERS, *SCHEDULERS, *EXECUTORS]
    monkeypatch.setenv("COLUMNS", "50")
    narrow = gansearch("spaces", "--strategies")[1]
    assert max(len(line) for line in narrow.splitlines() if line.startswith("    ")) <= 50
    assert narrow.split() == out.split()


def test_spaces_lists_the_strategies_as_json(gansearch: Gansearch) -> None:
    found = json.loads(gansearch("spaces", "--strategies", "--json")[1])
    for title, strategies in (("searchers", SEARCHERS), ("schedulers", SCHEDULERS), ("executors", EXECUTORS)):
        assert {s["name"]: s["when"] for s in found[title]} == {name: s.when for name, s in strategies.items()}
        assert {s["name"]: set(s["options"]) for s in found[title]} == {
            n: set(s.options) for n, s in strategies.items()
        }
    assert found["searchers"][3]["options"] == {"startup_trials": 10, "multivariate": True}


def test_spaces_takes_a_name_or_strategies(gansearch: Gansearch) -> None:
    code, out, err = gansearch("spaces", "quickstart", "--strategies")
    assert (code, out) == (2, "")
    assert err == "error: --strategies lists them all, and takes no 'quickstart'\n"


def test_schema_documents_every_column(gansearch: Gansearch) -> None:
    _, out, err = gansearch("schema")
    assert err == ""
    for table in schema.TABLES.values():
        assert f"## {table.name}\n" in out
        for column in table.columns:
            assert f"| `{column.name}` | {column.type} |" in out
    assert gansearch("schema", "curves") == (0, schema.document(schema.CURVES), "")


def test_schema_as_json(gansearch: Gansearch) -> None:
    _, out, _ = gansearch("schema", "trials", "--json")
    (table,) = json.loads(out)
    assert [c["name"] for c in table["columns"]] == [c.name for c in schema.TRIALS.columns]
