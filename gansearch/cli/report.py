"""`report`: a run as one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from gansearch.cli.output import deliver
from gansearch.cli.parser import Command, add_data, add_skip_damaged
from gansearch.storage import location


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    add_skip_damaged(parser)
    add_data(parser, used=False)


def run_report(arguments: argparse.Namespace) -> int:
    """Write a run as one HTML page."""
    from analysis.report.page import report

    deliver(report(arguments.run_directory, skip_damaged=arguments.skip_damaged), arguments.output)
    return 0


COMMANDS = (
    Command(
        name="report",
        help="a run as one page to hand to a colleague",
        description="Write a run as one HTML file that opens without a network: what came of it, Table 1, the\n"
        "finalists with their samples, the search in figures, every trial, costs and how to repeat it.",
        examples=("gansearch report runs/quickstart -o report.html",),
        add_arguments=_add_report,
        run=run_report,
    ),
)
