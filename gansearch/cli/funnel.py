"""`finalists`: the confirmed configurations of a run, compared."""

from __future__ import annotations

import argparse
from pathlib import Path

from gansearch.cli.output import deliver, tell_skipped, to_json
from gansearch.cli.parser import Command, add_data, add_json, add_output, add_skip_damaged
from gansearch.storage import Location, location


def show(
    run: Location, *, form: str = "text", output: Path | None = None, as_json: bool = False, skip_damaged: bool = False
) -> int:
    """Write the comparison of a run's confirmed configurations, and return the exit code; nothing is trained.

    Args:
        run: the run directory.
        form: `text`, `markdown` or `csv`.
        output: the file; stdout by default.
        as_json: whether to write JSON, whatever the form.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, or no confirm trial of it completed.
        ConfigError: when its plan file cannot be read.
    """
    from analysis.funnel import as_plain, funnel
    from analysis.funnel_table import render

    found = funnel(run, skip_damaged=skip_damaged)
    tell_skipped(found.skipped)
    deliver(to_json(as_plain(found)) if as_json else render(found, form), output)
    return 0


def _add_finalists(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    parser.add_argument("--format", choices=("text", "markdown", "csv"), default="text", help="how (default: text)")
    add_output(parser, "the table")
    add_json(parser)
    add_skip_damaged(parser)
    add_data(parser, used=False)


def run_finalists(arguments: argparse.Namespace) -> int:
    """Write the comparison of a run's confirmed configurations."""
    return show(
        arguments.run_directory,
        form=arguments.format,
        output=arguments.output,
        as_json=arguments.json,
        skip_damaged=arguments.skip_damaged,
    )


COMMANDS = (
    Command(
        name="finalists",
        help="the confirmed configurations, compared",
        description="Write the confirmed configurations of a run beside each other: what each scored over its seeds,\n"
        "how many of them went bad, what the search had promised, and which are tied with the leader.",
        examples=("gansearch finalists runs/quickstart", "gansearch finalists runs/quickstart --format markdown"),
        add_arguments=_add_finalists,
        run=run_finalists,
    ),
)
