"""`track`: tell a tracker of the trials of a run that was made without it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch.cli.output import emit, emit_json, say, tell_skipped
from gansearch.cli.parser import Command, add_json, add_skip_damaged, trackers
from gansearch.errors import UserError
from gansearch.storage import location

if TYPE_CHECKING:
    from gansearch.tracking.interface import Destination


def _add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--to", type=trackers, required=True, metavar="NAMES", help="tensorboard, mlflow, wandb, or several: a,b"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="for TensorBoard's files (default: RUN/tensorboard)"
    )
    add_json(parser)
    add_skip_damaged(parser)


def run_track(arguments: argparse.Namespace) -> int:
    """Tell trackers of a run's trials."""
    from gansearch import parts, results, schema
    from gansearch.paths import RunPaths
    from gansearch.tracking.replay import replay

    run = arguments.run_directory
    to = _destinations(arguments)
    trials, skipped = results.read_arrow(run, schema.TRIALS, skip_damaged=arguments.skip_damaged)
    curves = parts.arrow_schema(schema.CURVES).empty_table()
    more: list[str] = []
    if RunPaths(run).table(schema.CURVES.name).is_dir():  # there is none where no trial came to a report
        curves, more = results.read_arrow(run, schema.CURVES, skip_damaged=arguments.skip_damaged)
    tell_skipped([*skipped, *more])
    told = []
    for destination in to:
        trials_told, left_out = replay(trials, curves, destination)
        told.append({"tracker": destination.name, "place": destination.place, "trials": trials_told})
        if left_out:
            say(f"note: {left_out} trials have no outcome yet and are left out of {destination.name}")
    if arguments.json:
        emit_json(told)
    else:
        emit("\n".join(f"{one['tracker']}: {one['trials']} trials in {one['place']}" for one in told))
    return 0


def _destinations(arguments: argparse.Namespace) -> list[Destination]:
    from gansearch.tracking.destinations import destinations
    from gansearch.tracking.tensorboard import TensorBoard

    output = arguments.output
    if output is None:
        return list(destinations(arguments.to, arguments.run_directory))
    if "tensorboard" not in arguments.to:
        raise UserError("-o is the directory of TensorBoard's files", hint="add --to tensorboard, or leave -o out")
    # Of the run itself nothing is written then, wherever it lies.
    there = destinations(["tensorboard"], output)
    others = destinations([name for name in arguments.to if name != "tensorboard"], arguments.run_directory)
    return [*(dataclasses.replace(one, directory=output) for one in there if isinstance(one, TensorBoard)), *others]


COMMANDS = (
    Command(
        name="track",
        help="show a run's trials in TensorBoard, MLflow or Weights & Biases",
        description="Tell a tracker of all trials of a run that have an outcome, as `sweep --track` does while they\n"
        "run. What the tracker knows of them already is not doubled.",
        examples=("gansearch track runs/quickstart --to tensorboard",),
        add_arguments=_add_track,
        run=run_track,
    ),
)
