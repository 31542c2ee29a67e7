"""`best`, `front` and `table1`."""

from __future__ import annotations

import argparse
import dataclasses

from gansearch.cli.output import deliver, emit, emit_json, say, tell_skipped, to_json
from gansearch.cli.parser import Command, add_data, add_json, add_output, add_skip_damaged
from gansearch.storage import location


def _add_best(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
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
    for note in (*found["chosen"]["notes"], *found["chosen"]["not_judged"]):
        say(f"note: {note}")
    for flag in found["chosen"]["flags"]:
        say(f"flag: {flag['name']}: {flag['text']}")
    deliver(to_json(found) if arguments.json else dump_yaml(found), arguments.output)
    return 0


def _add_front(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    add_json(parser)
    add_skip_damaged(parser)


def run_front(arguments: argparse.Namespace) -> int:
    """Show the configurations that no other beats in both likelihood and cost."""
    from analysis.front import front

    found = front(arguments.run_directory, skip_damaged=arguments.skip_damaged)
    if arguments.json:
        emit_json([dataclasses.asdict(point) for point in found])
        return 0
    lines = [f"{'config_id':12}  {'valid nats':>10}  {'operations':>10}  seeds  values"]
    for point in found:
        values = " ".join(f"{name.removeprefix('cfg_')}={_short(value)}" for name, value in point.values.items())
        numbers = f"{point.valid_ll_mean:10.2f}  {point.flops:10.2e}  {point.seeds:5}"
        lines.append(f"{point.config_id:12}  {numbers}  {values}".rstrip())
    emit("\n".join(lines))
    return 0


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _add_table1(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directories", type=location, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument(
        "--format", choices=("text", "markdown", "latex", "html", "csv"), default="text", help="how (default: text)"
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
    tell_skipped(table.skipped)
    deliver(to_json(as_plain(table)) if arguments.json else render(table, arguments.format), arguments.output)
    return 0


COMMANDS = (
    Command(
        name="best",
        help="the configuration that validation chose",
        description="Write the configuration that validation chose, with what each of its seeds scored, as a file\n"
        "that `gansearch train` and `gansearch reproduce` accept. Reasons to doubt the scores are told as flags.",
        examples=("gansearch best runs/quickstart", "gansearch best runs/quickstart -o best.yaml"),
        add_arguments=_add_best,
        run=run_best,
    ),
    Command(
        name="front",
        help="the best trades of likelihood for training cost",
        description="Show the configurations of a search that no other beats in both validation log-likelihood and\n"
        "floating-point operations of training: what a search with nsga2 is for.",
        examples=("gansearch front runs/quickstart",),
        add_arguments=_add_front,
        run=run_front,
    ),
    Command(
        name="table1",
        help="confirmed configurations beside Table 1 of the paper",
        description="Write the test scores of each run's confirmed configuration beside the four published rows\n"
        "of Table 1 of Goodfellow et al. 2014, and beside what `gansearch calibrate` found of the data.",
        examples=("gansearch table1 runs/quickstart", "gansearch table1 runs/quickstart --format latex -o table1.tex"),
        add_arguments=_add_table1,
        run=run_table1,
    ),
)
