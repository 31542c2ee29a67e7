"""`spaces` and `schema`: what comes with gansearch."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import textwrap
from typing import Any

from gansearch.cli.output import emit, emit_json
from gansearch.cli.parser import Command, add_json

_WIDTH = 100
"""Columns of a paragraph where the terminal does not say, or is wider."""


def _add_spaces(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this file instead of the list")
    parser.add_argument(
        "--strategies",
        action="store_true",
        help="list the searchers, schedulers and executors instead, and when to use each",
    )
    add_json(parser)


def run_spaces(arguments: argparse.Namespace) -> int:
    """List the shipped files or the strategies, or show one file."""
    from gansearch.errors import ConfigError
    from gansearch.yaml_files import find_shipped, load_yaml, shipped_names

    if arguments.strategies:
        if arguments.name is not None:
            raise ConfigError(f"--strategies lists them all, and takes no '{arguments.name}'")
        _show_strategies(as_json=arguments.json)
        return 0
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


def _show_strategies(*, as_json: bool) -> None:
    """Write every searcher, scheduler and executor: its name, its options with their defaults, and when to use it."""
    from gansearch.search.strategies import EXECUTORS, SCHEDULERS, SEARCHERS, Executor, Scheduler, Searcher

    sections = {
        "searchers": {name: (Searcher(name=name).to_dict(), strategy.when) for name, strategy in SEARCHERS.items()},
        "schedulers": {name: (Scheduler(name=name).to_dict(), strategy.when) for name, strategy in SCHEDULERS.items()},
        "executors": {name: (Executor(name=name).to_dict(), strategy.when) for name, strategy in EXECUTORS.items()},
    }
    if as_json:
        emit_json(
            {
                title: [
                    {"name": name, "options": {k: v for k, v in section.items() if k != "name"}, "when": when}
                    for name, (section, when) in listed.items()
                ]
                for title, listed in sections.items()
            }
        )
        return
    width = min(shutil.get_terminal_size((_WIDTH, 0)).columns, _WIDTH)
    lines = []
    for title, listed in sections.items():
        lines.append(title)
        for section, when in listed.values():
            pairs = ", ".join(f"{key}: {json.dumps(value)}" for key, value in section.items() if key != "name")
            lines += ["", f"  {section['name']}" + (f"  {{{pairs}}}" if pairs else "")]
            lines += textwrap.wrap(when, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        lines.append("")
    emit("\n".join(lines[:-1]))


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
        examples=(
            "gansearch spaces",
            "gansearch spaces quickstart > my-study.yaml",
            "gansearch spaces --strategies",
        ),
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
