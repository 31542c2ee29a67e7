"""`doctor`: what a sweep needs, checked before it starts."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from gansearch.cli.output import emit, emit_json, say
from gansearch.cli.parser import Command, add_data, add_json, data_options

if TYPE_CHECKING:
    from gansearch.search.doctor import Check


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "space", nargs="?", metavar="SPACE", help="a study file, or the name of a shipped one: what it asks for"
    )
    parser.add_argument("--out", metavar="RUN", help="the run directory that the sweep will be given")
    parser.add_argument("--address", metavar="A", help="a running Ray cluster (default: Ray on this machine)")
    add_data(parser)
    add_json(parser)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Check one thing after another; exit code 2 where one fails."""
    from gansearch.search.doctor import FAIL, examine
    from gansearch.search.study import load_study

    study = load_study(arguments.space) if arguments.space else None
    found = []
    for check in examine(study, arguments.out, address=arguments.address, **data_options(arguments)):
        found.append(check)
        if not arguments.json:
            emit(line(check))
    if arguments.json:
        emit_json([dataclasses.asdict(check) for check in found])
    failed = sum(check.outcome == FAIL for check in found)
    if failed:
        say(f"{failed} of {len(found)} checks failed")
    return 2 if failed else 0


def line(check: Check) -> str:
    """Return a check as one line."""
    hint = f" (hint: {check.hint})" if check.hint else ""
    return f"{check.outcome:7}  {check.name:13}  {check.text}{hint}"


COMMANDS = (
    Command(
        name="doctor",
        help="check what a sweep needs before it starts",
        description="Check what a sweep needs: the cluster, its token, versions, GPUs, the run directory, the data\n"
        "set, clocks and disks of all machines. One line each; exit code 2 where one fails.",
        examples=(
            "gansearch doctor",
            "gansearch doctor quickstart --out runs/new",
            "gansearch doctor mnist --out s3://bucket/runs/mnist --address 10.0.0.1:6379",
        ),
        add_arguments=_add_doctor,
        run=run_doctor,
    ),
)
