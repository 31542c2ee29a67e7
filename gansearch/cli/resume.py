"""`resume` and `confirm`: what goes on from a run directory."""

from __future__ import annotations

import argparse

from gansearch.cli.output import say
from gansearch.cli.parser import Command, add_data, add_json, data_options, integer
from gansearch.cli.sweeps import add_run, ended, note, summary


def _add_resume(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--num-trials", type=integer(1), metavar="N", help="configurations in all: extends the search")
    parser.add_argument("--space", metavar="SPACE", help="a study file whose wider space takes the old one's place")
    parser.add_argument(
        "--rerun",
        action="append",
        default=[],
        type=str.upper,
        metavar="STATUS",
        help="run search trials again that ended so (failed, diverged, stopped or collapsed); may be repeated",
    )
    parser.add_argument("--address", metavar="A", help="a running Ray cluster (default: Ray on this machine)")
    add_data(parser)
    add_json(parser)


def run_resume(arguments: argparse.Namespace) -> int:
    """Go on with a sweep that ended."""
    from gansearch.cli.display import shown

    run = arguments.run_directory
    say(f"resume the sweep in {run}")
    with shown(run.name) as on_progress:
        from gansearch.search.sweep import resume

        result = resume(
            run,
            num_trials=arguments.num_trials,
            space=arguments.space,
            rerun=arguments.rerun,
            address=arguments.address,
            on_progress=on_progress,
            on_note=note,
            **data_options(arguments),
        )
    return ended(result, run, arguments)


def _add_confirm(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--top", type=integer(1), metavar="N", help="finalists by validation, instead of the plan's")
    parser.add_argument("--seeds", type=integer(1), metavar="N", help="fresh seeds of each, instead of the plan's")
    parser.add_argument(
        "--folds", choices=("first", "all"), help="train each seed on the first fold or on all, instead of the plan's"
    )
    parser.add_argument(
        "--protocol",
        action="append",
        metavar="NAME",
        help="score the test set under this protocol, instead of the plan's; may be repeated",
    )
    parser.add_argument("--address", metavar="A", help="a running Ray cluster (default: Ray on this machine)")
    add_data(parser)
    add_json(parser)


def run_confirm(arguments: argparse.Namespace) -> int:
    """Train the finalists again from fresh seeds, and compare them."""
    from gansearch.cli.display import shown
    from gansearch.cli.funnel import show

    run = arguments.run_directory
    with shown(run.name) as on_progress:
        from gansearch.search.plan_files import confirmed_folds
        from gansearch.search.sweep import confirm

        result = confirm(
            run,
            top=arguments.top,
            seeds=arguments.seeds,
            folds=arguments.folds,
            protocols=arguments.protocol,
            address=arguments.address,
            on_progress=on_progress,
            on_note=note,
            **data_options(arguments),
        )
    if not result.complete:
        return ended(result, run, arguments)
    say(summary(result, run))
    if confirmed_folds(run) > 1:
        say(f"next: gansearch table1 {run}")
        return 0
    return show(run, as_json=arguments.json)


COMMANDS = (
    Command(
        name="resume",
        help="go on with a sweep that ended, or extend it",
        description="Go on with a sweep after a crash, Ctrl-C or `gansearch stop`, or with more trials. Trials that\n"
        "ended are never run again; others go on from their last checkpoint.",
        examples=(
            "gansearch resume runs/quickstart",
            "gansearch resume runs/quickstart --num-trials 32",
            "gansearch resume runs/quickstart --rerun failed",
        ),
        add_arguments=_add_resume,
        run=run_resume,
    ),
    Command(
        name="confirm",
        help="train the finalists again and compare them",
        description="Train the configurations that validation puts first, and the study's base beside them, from\n"
        "fresh seeds, score them on the test set, and compare them. Confirm trials that ended stay.",
        examples=("gansearch confirm runs/quickstart", "gansearch confirm runs/quickstart --top 2 --seeds 5"),
        add_arguments=_add_confirm,
        run=run_confirm,
    ),
)
