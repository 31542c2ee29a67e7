"""`compare`: configurations against one of them."""

from __future__ import annotations

import argparse

from gansearch.cli.output import deliver, tell_skipped, to_json
from gansearch.cli.parser import Command, add_data, add_json, add_output, add_skip_damaged


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "items",
        nargs="+",
        metavar="ITEM",
        help="RUN or RUN:leader, its leader by validation; RUN:paper, the study's base; RUN:#2, the second by "
        "validation; RUN:CONFIG_ID, 4 characters of it or more; RUN:NAME=VALUE[,NAME=VALUE], the best by validation "
        "of those that have these values; the first item is the one that the others are compared with",
    )
    parser.add_argument(
        "--protocol",
        metavar="PROTOCOL",
        help="id or name of the score protocol (default: the one that ranks, the search's own)",
    )
    parser.add_argument("--format", choices=("text", "markdown", "csv"), default="text", help="how (default: text)")
    add_output(parser, "the comparison")
    add_json(parser)
    add_skip_damaged(parser)
    add_data(parser, used=False)


def run_compare(arguments: argparse.Namespace) -> int:
    """Write the comparison of configurations with the first of them."""
    from analysis.comparing import as_plain, compare
    from analysis.comparing_text import render

    found = compare(arguments.items, protocol=arguments.protocol, skip_damaged=arguments.skip_damaged)
    tell_skipped(found.skipped)
    deliver(to_json(as_plain(found)) if arguments.json else render(found, arguments.format), arguments.output)
    return 0


COMMANDS = (
    Command(
        name="compare",
        help="configurations against one of them, with what the numbers support in words",
        description="Compare confirmed configurations, of one run or of several, with the first of them: over\n"
        "training seeds, over seeds and images, with Holm's correction, and the sentence that the numbers support.",
        examples=(
            "gansearch compare runs/quickstart:paper runs/quickstart:leader",
            "gansearch compare runs/quickstart:paper runs/quickstart:#2 runs/quickstart:algorithm.k=2",
        ),
        add_arguments=_add_compare,
        run=run_compare,
    ),
)
