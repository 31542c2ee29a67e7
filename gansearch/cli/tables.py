"""`best` and `table1`."""

from __future__ import annotations

import argparse
from pathlib import Path

from gansearch.cli.output import deliver, say, to_json
from gansearch.cli.parser import Command, add_data, add_json, add_output, add_skip_damaged


def _add_best(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=Path, metavar="RUN", help="a run directory")
    add_output(parser, "the file")
    add_json(parser)
    add_skip_damaged(parser)
    add_data(parser, used=False)


def run_best(arguments: argparse.Namespace) -> int:
    """Write the configuration that validation chose."""
    from analysis.best import best_document, best_full
    from gansearch.yaml_files import dump_yaml

    read = best_full if arguments.json else best_document
    found = read(arguments.run_directory, skip_damaged=arguments.skip_damaged)
    for note in found["chosen"]["notes"]:
        say(f"note: {note}")
    deliver(to_json(found) if arguments.json else dump_yaml(found), arguments.output)
    return 0


def _add_table1(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directories", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument(
        "--format", choices=("text", "markdown", "latex", "csv"), default="text", help="how (default: text)"
    )
    add_output(parser, "the table")
    add_json(parser)
    add_skip_damaged(parser)
    add_data(parser, used=False)


def run_table1(arguments: argparse.Namespace) -> int:
    """Write confirmed configurations beside the published rows of Table 1."""
    from analysis.render import render
    from analysis.table1 import as_plain, table1

    table = table1(arguments.run_directories, skip_damaged=arguments.skip_damaged)
    if table.skipped:
        say(f"note: damaged part files left out: {len(table.skipped)}")
    deliver(to_json(as_plain(table)) if arguments.json else render(table, arguments.format), arguments.output)
    return 0


COMMANDS = (
    Command(
        name="best",
        help="the configuration that validation chose",
        description="Write the configuration that validation chose, with what each of its seeds scored, as a file\n"
        "that `gansearch train` and `gansearch reproduce` accept.",
        examples=("gansearch best runs/quickstart", "gansearch best runs/quickstart -o best.yaml"),
        add_arguments=_add_best,
        run=run_best,
    ),
    Command(
        name="table1",
        help="confirmed configurations beside Table 1 of the paper",
        description="Write the test scores of each run's confirmed configuration beside the four published rows\n"
        "of Table 1 of Goodfellow et al. 2014.",
        examples=("gansearch table1 runs/quickstart", "gansearch table1 runs/quickstart --format latex -o table1.tex"),
        add_arguments=_add_table1,
        run=run_table1,
    ),
)
