"""The command line: `gansearch COMMAND ...`.

Tables and data go to stdout, everything else to stderr. Exit codes: 0 done; 1 it ran, but the answer is no;
2 the input is wrong. Commands import what they need when they run, so that help is there at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gansearch.cli import (
    calibrate,
    compare,
    demo,
    doctor,
    figures,
    funnel,
    models,
    report,
    rescore,
    resume,
    shipped,
    sweeps,
    tables,
    top,
    track,
    trials,
    understand,
)
from gansearch.cli.output import flush, say
from gansearch.cli.parser import make_parser, parse
from gansearch.errors import UserError

COMMANDS = (
    *sweeps.COMMANDS,
    *resume.COMMANDS,
    *doctor.COMMANDS,
    *funnel.COMMANDS,
    *compare.COMMANDS,
    *tables.COMMANDS,
    *top.COMMANDS,
    *calibrate.COMMANDS,
    *understand.COMMANDS,
    *report.COMMANDS,
    *rescore.COMMANDS,
    *trials.COMMANDS,
    *models.COMMANDS,
    *figures.COMMANDS,
    *demo.COMMANDS,
    *track.COMMANDS,
    *shipped.COMMANDS,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the arguments after the program's name; those of this process by default.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        say(f"error: {error.message}")
        if error.hint:
            say(f"hint: {error.hint}")
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 1
    finally:
        flush()


def _run(argv: Sequence[str]) -> int:
    arguments = parse(make_parser(COMMANDS), argv)
    code: int = arguments.run(arguments)
    return code
