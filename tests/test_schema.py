"""The tables' columns: named once, documented, and the names that users rely on."""

from __future__ import annotations

import pytest

from gansearch import parts, schema

PROMISED = {
    "trials": {
        *("config_id", "seed", "stage", "fold", "protocol_id", "status", "error", "cfg_json"),
        *("valid_ll_mean", "valid_ll_se_examples", "test_ll_mean", "test_ll_se_examples"),
        *("sigma", "sigma_at_edge", "num_samples", "epochs", "scored_epoch", "g_updates", "d_updates"),
    },
    "curves": {"epoch"},
    "examples": {"split", "ll"},
}


def test_the_names_that_users_rely_on_are_there() -> None:
    for table, names in PROMISED.items():
        assert names <= {c.name for c in schema.TABLES[table].columns}
    assert {"COMPLETE", "STOPPED", "DIVERGED", "FAILED"} <= set(schema.STATUSES)
    assert schema.STAGES == ("search", "confirm", "train", "reproduce")


@pytest.mark.parametrize("table", schema.TABLES.values(), ids=lambda t: t.name)
def test_a_table_is_whole(table: schema.Table) -> None:
    names = [c.name for c in table.columns]
    assert len(set(names)) == len(names)
    assert all(not table.column(name).nullable for name in table.key)
    assert all(c.doc for c in table.columns)
    assert all(c.unit for c in table.columns if c.type == "float64" and not c.name.startswith("cfg_"))
    assert parts.arrow_schema(table).names == names
    with pytest.raises(KeyError):
        table.column("no_such_column")


@pytest.mark.parametrize("table", schema.TABLES.values(), ids=lambda t: t.name)
def test_the_documentation_has_a_line_a_column(table: schema.Table) -> None:
    lines = schema.document(table).splitlines()
    described = [line for line in lines if line.startswith("| `")]
    assert [line.split("`")[1] for line in described] == [c.name for c in table.columns]
    assert all(line.count("|") == 6 for line in described)
    assert lines[0] == f"## {table.name}"
