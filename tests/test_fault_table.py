"""Every row of the table of faults names a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
_TEST = re.compile(r"\[(test_\w+)\]\(([^)]+)\) \|\Z")
FAULTS = (
    "a trial's process is killed",
    "a node is killed",
    "the head is killed",
    "the driver is killed",
    "the storage is away for a minute",
    "a trial hangs",
    "its process is stopped",
    "a machine runs out of memory",
    "a GPU fails",
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_test_of_a_fault_is_there(row: str) -> None:
    found = _TEST.search(row)
    assert found is not None, "its last cell names no test"
    tree = ast.parse((PAGE.parent / found[2]).read_text(encoding="utf-8"))
    assert found[1] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert row.count("|") == 6


@pytest.mark.parametrize("fault", FAULTS)
def test_the_faults_that_must_be_survived_are_there(fault: str) -> None:
    assert any(row.startswith(f"| {fault}") for row in ROWS)
