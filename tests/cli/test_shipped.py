"""`spaces` and `schema`."""

from __future__ import annotations

import json

from gansearch import schema
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
