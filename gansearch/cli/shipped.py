"""`spaces` and `schema`: what comes with gansearch."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from gansearch.cli.output import emit, emit_json
from gansearch.cli.parser import Command, add_json


def _add_spaces(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this file instead of the list")
    add_json(parser)


def run_spaces(arguments: argparse.Namespace) -> int:
    """List the shipped files, or show one."""
    from gansearch.yaml_files import find_shipped, load_yaml, shipped_names

    if arguments.name is not None:
        path = find_shipped(arguments.name)
        if arguments.json:
            emit_json(load_yaml(path))
        else:
            emit(path.read_text(encoding="utf-8"))
        return 0
    files = [_describe(name, load_yaml(find_shipped(name))) for name in shipped_names()]
    if arguments.json:
        emit_json(files)
        return 0
    widths = [max(len(file[key]) for file in files) for key in ("name", "kind")]
    emit("\n".join(f"{f['name']:{widths[0]}}  {f['kind']:{widths[1]}}  {f['description']}" for f in files))
    return 0


def _describe(name: str, content: dict[str, Any]) -> dict[str, str]:
    kind = "study" if "space" in content else "configuration"
    return {"name": name, "kind": kind, "description": str(content.get("description", ""))}


def _add_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", nargs="?", metavar="TABLE", help="one table instead of all")
    add_json(parser)


def run_schema(arguments: argparse.Namespace) -> int:
    """Show the columns of the tables."""
    from gansearch.errors import ResultsError, nearest
    from gansearch.schema import TABLES, document

    if arguments.table is not None and arguments.table not in TABLES:
        raise ResultsError(f"there is no table '{arguments.table}'", hint=nearest(arguments.table, TABLES))
    tables = [t for t in TABLES.values() if arguments.table in (None, t.name)]
    if arguments.json:
        emit_json([dataclasses.asdict(t) for t in tables])
    else:
        emit("\n".join(document(t) for t in tables))
    return 0


COMMANDS = (
    Command(
        name="spaces",
        help="the shipped studies and configurations",
        description="List the studies and configurations that come with gansearch, or show one of them.",
        examples=("gansearch spaces", "gansearch spaces quickstart > my-study.yaml"),
        add_arguments=_add_spaces,
        run=run_spaces,
    ),
    Command(
        name="schema",
        help="the columns of the result tables",
        description="Show every column of the tables of a run directory, as Markdown.",
        examples=("gansearch schema trials",),
        add_arguments=_add_schema,
        run=run_schema,
    ),
)
