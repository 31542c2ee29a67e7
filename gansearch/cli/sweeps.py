"""`sweep`, `status` and `stop`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch.cli.output import emit, emit_json, say
from gansearch.cli.parser import Command, add_data, add_json, add_track, data_options, integer, seconds
from gansearch.errors import ResultsError, UserError
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from gansearch.search.driver import SweepResult
    from gansearch.search.progress import Progress
    from gansearch.search.study import Study

_POLL_SECONDS = 0.2


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", metavar="SPACE", help="a study file, or the name of a shipped one")
    parser.add_argument("--out", type=location, metavar="RUN", help="the run directory, made by this command")
    parser.add_argument("--num-trials", type=integer(1), metavar="N", help="configurations, instead of the study's")
    parser.add_argument("--epochs", type=integer(1), metavar="E", help="each trial's budget, instead of the study's")
    parser.add_argument("--seed", type=integer(0), metavar="S", help="the sweep's seed, instead of the study's")
    parser.add_argument("--address", metavar="A", help="a running Ray cluster (default: Ray on this machine)")
    add_track(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the plan and what it would cost; run nothing")
    add_data(parser)
    add_json(parser)


def run_sweep(arguments: argparse.Namespace) -> int:
    """Run a study, or show what it would do."""
    from gansearch.search.study import load_study

    if arguments.out is None and not arguments.dry_run:
        raise UserError("a sweep needs a run directory", hint=f"add --out runs/{Path(arguments.space).stem}")
    study = load_study(arguments.space)
    options = {name: getattr(arguments, name) for name in ("num_trials", "epochs", "seed", "track")}
    if any(value is not None for value in options.values()):
        study = study.with_options(**options)
    if arguments.dry_run:
        from gansearch.cli.plan import show_plan

        return show_plan(study, arguments)
    return _sweep(study, arguments)


def _sweep(study: Study, arguments: argparse.Namespace) -> int:
    from gansearch.cli.display import shown
    from gansearch.search.launch import launched
    from gansearch.search.run_directory import check_run_directory

    check_run_directory(arguments.out.absolute())
    say(f"sweep {study.name} into {arguments.out}: {study.num_trials * study.repeats} trials of {study.epochs} epochs")
    with shown(study.name) as on_progress, launched(study, arguments.address):
        from gansearch.search.sweep import sweep

        result = sweep(
            study,
            arguments.out,
            on_progress=on_progress,
            on_note=note,
            **data_options(arguments),
        )
    return ended(result, arguments.out, arguments)


def ended(result: SweepResult, run: Location, arguments: argparse.Namespace) -> int:
    """Say how a sweep ended; return the exit code."""
    _tell(result, run)
    if arguments.json:
        emit_json(dataclasses.asdict(result))
    else:
        emit(summary(result, run))
    return 0 if result.complete else 1


def note(text: str) -> None:
    """Tell the user something before trials run."""
    say(text if text.startswith("warning:") else f"note: {text}")


def summary(result: SweepResult, run: Location) -> str:
    """Return how a sweep ended, in one line."""
    ended = ", ".join(f"{n} {status}" for status, n in result.ended.items() if n) or "none"
    how = "done" if result.complete else "ended early"
    how += f" ({result.reason})" if result.reason else ""
    return f"{run}: {how}; trials: {ended}"


def _tell(result: SweepResult, run: Location) -> None:
    """Say what can be done next with what there is."""
    if not result.complete:
        say(f"the sweep ended early: {result.reason}; `gansearch resume {run}` goes on")
    commands = [f"gansearch {name} {run}" for name in _that_work(run)]
    for lead, command in zip(("next:", "     "), commands, strict=False):
        say(f"{lead} {command}")


def _that_work(run: Location) -> list[str]:
    """Return which of `best` and `table1` have something to show of a run."""
    from analysis.best import best
    from analysis.table1 import table1

    work = []
    for name, read in (("best", lambda: best(run)), ("table1", lambda: table1([run]))):
        with contextlib.suppress(UserError):
            read()
            work.append(name)
    return work


def add_run(parser: argparse.ArgumentParser) -> None:
    """Let a command take a run directory."""
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")


def _add_status(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_json(parser)


def run_status(arguments: argparse.Namespace) -> int:
    """Show how far a sweep is."""
    from gansearch.search.progress import ENDED, lines, read_progress

    run = arguments.run_directory
    progress = read_progress(run)
    if arguments.json:
        emit_json(progress.to_dict() | {"alive": progress.alive})
    else:
        emit("\n".join(lines(progress)))
    if progress.stage not in ENDED and not progress.alive:
        say(f"the sweep's driver is gone (process {progress.pid} on {progress.host}); finished trials are kept")
        if "best" in _that_work(run):
            say(f"hint: gansearch best {run} shows the best of them")
        say(f"hint: gansearch resume {run} goes on")
    return 0


def _add_stop(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=120.0, metavar="S", help="seconds to wait for the end (default: 120)"
    )


def run_stop(arguments: argparse.Namespace) -> int:
    """Ask a sweep to end and wait until it has."""
    from gansearch.paths import RunPaths
    from gansearch.search.progress import ENDED, lines, read_progress

    run = arguments.run_directory
    progress = read_progress(run)
    if not progress.alive:
        state = f"it is {progress.stage}" if progress.stage in ENDED else "its driver is gone"
        raise ResultsError(f"no sweep runs in {run}: {state}", hint=f"gansearch status {run}")
    request = RunPaths(run).stop_request
    request.touch()
    say(f"asked the sweep in {run} to end; waiting for it")
    progress = _wait(run, arguments.timeout)
    if progress.alive:
        say(f"the sweep has not ended within {arguments.timeout:g} s; it ends as soon as a running trial reports")
        return 1
    request.unlink(missing_ok=True)  # a driver that died instead of ending leaves it
    emit("\n".join(lines(progress)))
    return 0


def _wait(run: Location, timeout: float) -> Progress:
    """Return what a driver says once it has ended, or at the latest after so many seconds."""
    from gansearch.search.progress import read_progress

    deadline = time.monotonic() + timeout
    while True:
        progress = read_progress(run)
        if not progress.alive or time.monotonic() > deadline:
            return progress
        time.sleep(_POLL_SECONDS)


COMMANDS = (
    Command(
        name="sweep",
        help="search a space, then confirm what validation chose",
        description="Run a study: search its space with Ray Tune, then train the chosen configuration again from\n"
        "fresh seeds and score it on the test set. Ctrl-C ends it cleanly: finished trials stay.",
        examples=(
            "gansearch sweep quickstart --out runs/quickstart",
            "gansearch sweep mnist --out runs/mnist --num-trials 8 --epochs 10 --dry-run",
        ),
        add_arguments=_add_sweep,
        run=run_sweep,
    ),
    Command(
        name="status",
        help="how far a sweep is",
        description="Show how far a sweep is, from any terminal that sees the run directory.",
        examples=("gansearch status runs/quickstart",),
        add_arguments=_add_status,
        run=run_status,
    ),
    Command(
        name="stop",
        help="end a running sweep cleanly",
        description="Ask a running sweep to end and wait until it has. Finished trials stay.",
        examples=("gansearch stop runs/quickstart",),
        add_arguments=_add_stop,
        run=run_stop,
    ),
)
