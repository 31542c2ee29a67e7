"""The parser of the command line: its commands, the options they share, and errors that offer the nearest name."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gansearch import __version__
from gansearch.errors import UserError, nearest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: what it is called.
        help: what it does, in one line.
        description: what its own help says first.
        examples: command lines that its help shows.
        add_arguments: adds its arguments to a parser.
        run: takes the parsed arguments and returns the exit code.
    """

    name: str
    help: str
    description: str
    examples: tuple[str, ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        """Raise the message of argparse as a UserError, with the nearest legal name where a name is wrong."""
        choice = re.match(
            r"argument (?P<what>\S+): invalid choice: '(?P<value>.*?)' \(choose from (?P<legal>.*)\)", message
        )
        if choice:
            legal = re.findall(r"[\w.-]+", choice["legal"])
            if choice["what"] == "COMMAND":
                raise UserError(f"there is no command '{choice['value']}'", hint=nearest(choice["value"], legal))
            raise UserError(f"{choice['what']} '{choice['value']}' is not known", hint=nearest(choice["value"], legal))
        raise UserError(message, hint=f"{self.prog} --help")

    @property
    def options(self) -> list[str]:
        """The names of all options."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]


def make_parser(commands: Sequence[Command]) -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="gansearch",
        description="Distributed hyperparameter search for the adversarial nets of Goodfellow et al. 2014.",
        epilog=_examples(("gansearch sweep quickstart --out runs/quickstart", "gansearch table1 runs/quickstart")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gansearch {__version__}")
    children = parser.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=Parser)
    for command in commands:
        child = children.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=_examples(command.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run, parser=child)
    return parser


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments.

    Raises:
        UserError: when they are wrong.
    """
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        child: Parser = arguments.parser
        if unknown[0].startswith("-"):
            name = unknown[0].partition("=")[0]
            raise UserError(f"{child.prog} has no option '{name}'", hint=nearest(name, child.options))
        raise UserError(f"{child.prog}: unexpected argument '{unknown[0]}'", hint=f"{child.prog} --help")
    return arguments


def _examples(lines: Sequence[str]) -> str:
    return "\n".join([f"example{'s' if len(lines) > 1 else ''}:", *(f"  {line}" for line in lines)])


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="write the result as JSON, with every digit")


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Add -o."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"write {what} there instead of to stdout")


def add_data(parser: argparse.ArgumentParser, *, used: bool = True) -> None:
    """Add the options that say where data sets are; where they are not `used`, for every command to take the same."""
    where = "where data sets are looked for (default: $GANSEARCH_DATA, else ~/.cache/gansearch)"
    download = "fail where a data set is not there yet"
    if not used:
        where = download = "taken as by the other commands; this one reads tables only"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=where)
    parser.add_argument("--no-download", action="store_true", help=download)


def add_skip_damaged(parser: argparse.ArgumentParser) -> None:
    """Add --skip-damaged."""
    parser.add_argument("--skip-damaged", action="store_true", help="leave out damaged table files instead of failing")


def add_track(parser: argparse.ArgumentParser) -> None:
    """Add --track."""
    parser.add_argument(
        "--track", type=trackers, metavar="NAMES", help="follow trials in tensorboard, mlflow, wandb, or several: a,b"
    )


def trackers(text: str) -> tuple[str, ...]:
    """Return an argument's names of trackers; several have commas between them."""
    from gansearch.tracking.destinations import tracker_names

    return tracker_names(text)


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return an argument's type: an integer in a range."""
    rule = f"an integer of {least} or more" + (f" and at most {most}" if most is not None else "")

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {rule}, got '{text}'") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"must be {rule}, got {value}")
        return value

    return convert


def seconds(text: str) -> float:
    """Return an argument's seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be seconds, 0 or more, got '{text}'")
    return value


def data_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_data` gave as keyword arguments of `datasets.load`."""
    return {"data_dir": arguments.data_dir, "download": not arguments.no_download}
