"""`top`: the first configurations of a run by validation."""

from __future__ import annotations

import argparse

from gansearch.cli.output import deliver, to_json
from gansearch.cli.parser import Command, add_json, add_output, add_skip_damaged, integer
from gansearch.storage import location


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    parser.add_argument("-n", "--count", type=integer(1), default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument(
        "--stage",
        choices=("search", "confirm"),
        help="which trials (default: those that `gansearch best` chooses from)",
    )
    parser.add_argument(
        "--by",
        choices=("score", "report"),
        default="score",
        help="score: configurations by the rule of `gansearch best`; report: all trials, stopped ones too, by their "
        "best report under the cheap report protocol (default: score)",
    )
    parser.add_argument("--format", choices=("text", "markdown", "csv"), default="text", help="how (default: text)")
    add_output(parser, "the table")
    add_json(parser)
    add_skip_damaged(parser)


def run_top(arguments: argparse.Namespace) -> int:
    """Write the first configurations of a run."""
    from analysis.top import as_plain, top
    from analysis.top_table import render

    found = top(
        arguments.run_directory,
        arguments.count,
        stage=arguments.stage,
        by=arguments.by,
        skip_damaged=arguments.skip_damaged,
    )
    deliver(to_json(as_plain(found)) if arguments.json else render(found, arguments.format), arguments.output)
    return 0


COMMANDS = (
    Command(
        name="top",
        help="the first configurations by validation",
        description="Write the first configurations of a run in the order of validation, with the values that the\n"
        "search gave them and how their seeds ended. The first one is what `gansearch best` gives.",
        examples=("gansearch top runs/quickstart", "gansearch top runs/quickstart -n 5 --stage search --by report"),
        add_arguments=_add_top,
        run=run_top,
    ),
)
