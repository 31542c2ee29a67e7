"""How what is compared is named: RUN, or RUN:RULE, where a run may be a path or a URI."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from pathlib import Path
from typing import Any

from analysis.records import Row
from gansearch import schema
from gansearch.config import parameters
from gansearch.errors import ResultsError, nearest

LEADER, PAPER = "leader", "paper"
LEAST_PREFIX = 4
"""Of a config_id, in characters."""
FORMS = f"{LEADER}, {PAPER}, #2, a config_id or NAME=VALUE"

_PREFIX = re.compile(r"[0-9a-f]+")
_RANK = re.compile(r"#([0-9]+)")
_LISTED = re.compile(r"\s*,\s*(?![^\[]*\])")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A value that a configuration is to have.

    Attributes:
        name: dotted name of the parameter.
        value: the value, of the parameter's type; None: that it has none. A list is text such as `64-32`.
    """

    name: str
    value: object

    def holds(self, row: Row) -> bool:
        """Return whether a row's configuration has the value; floats are equal to the four digits that tables show."""
        value = row[schema.cfg_column(self.name)]
        if isinstance(value, float) and isinstance(self.value, float):
            return value == self.value or f"{value:.4g}" == f"{self.value:.4g}"
        return bool(value == self.value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What one item names.

    Attributes:
        given: as it was written.
        run: the run directory, a path or URI.
        rule: `leader`, `paper`, `config`, `rank` or `conditions`.
        prefix: first characters of a config_id, for the rule `config`.
        rank: place by validation, from 1, for the rule `rank`.
        conditions: what the configuration has, for the rule `conditions`.
    """

    given: str
    run: str
    rule: str
    prefix: str = ""
    rank: int = 0
    conditions: tuple[Condition, ...] = ()


def read_name(given: str) -> Name:
    """Return what an item names.

    A rule stands behind the last colon; a folder that is there wins over a rule.

    Args:
        given: `RUN`, `RUN:leader`, `RUN:paper`, `RUN:#2`, `RUN:CONFIG_ID` (4 characters of it or more) or
            `RUN:NAME=VALUE[,NAME=VALUE]`.

    Raises:
        ResultsError: when the rule is none of these, or names a parameter or value that cannot be.
    """
    run, rule = _split(given)
    if rule is None or rule == LEADER:
        return Name(given=given, run=run, rule=LEADER)
    if rule == PAPER:
        return Name(given=given, run=run, rule=PAPER)
    if "=" in rule:
        conditions = tuple(_condition(given, part) for part in _LISTED.split(rule.strip()))
        return Name(given=given, run=run, rule="conditions", conditions=conditions)
    if (match := _RANK.fullmatch(rule)) and int(match[1]) >= 1:
        return Name(given=given, run=run, rule="rank", rank=int(match[1]))
    if _PREFIX.fullmatch(rule) and len(rule) >= LEAST_PREFIX:
        return Name(given=given, run=run, rule="config", prefix=rule)
    if _PREFIX.fullmatch(rule):
        raise ResultsError(
            f"'{given}': '{rule}' is too short for a config_id", hint=f"give {LEAST_PREFIX} characters of it or more"
        )
    close = nearest(rule, (LEADER, PAPER))
    hint = close if close.startswith("did") else f"behind the colon stands one of {FORMS}"
    raise ResultsError(f"'{given}': '{rule}' is no rule", hint=hint)


def _split(given: str) -> tuple[str, str | None]:
    """Return the run and the rule, None where there is none."""
    run, colon, rule = given.rpartition(":")
    if not colon or "/" in rule or Path(given).is_dir():  # of `s3://bucket/run`, and of a port, the colon is the URI's
        return given, None
    if "?" in run and rule.isdecimal():  # the options of a URI may end in a port
        return given, None
    if not run:
        raise ResultsError(f"'{given}' names no run", hint="such as runs/quickstart:paper")
    return run, rule


def _condition(given: str, text: str) -> Condition:
    name, equals, value = (part.strip() for part in text.partition("="))
    hints = dict(parameters())
    if not equals:
        raise ResultsError(f"'{given}': '{text}' is no condition", hint="such as algorithm.k=2,momentum.lr_g=0.1")
    if name not in hints:
        raise ResultsError(f"'{given}': no parameter is called '{name}'", hint=_nearest_parameter(name, hints))
    try:
        return Condition(name=name, value=_value(hints[name], value))
    except ValueError:
        kind = {int: "an integer", float: "a number"}.get(_type(hints[name]), "a list")
        hint = "a list is written 64-32" if kind == "a list" else None
        raise ResultsError(f"'{given}': {name} must be {kind}, got '{value}'", hint=hint) from None


def _nearest_parameter(name: str, known: typing.Collection[str]) -> str:
    """Return the nearest dotted name; of a bare key, every parameter of that key."""
    keys = [dotted for dotted in known if dotted.partition(".")[2] == name]
    if keys:
        return f"did you mean {' or '.join(repr(key) for key in keys)}?"
    return nearest(name, known)


def _type(hint: Any) -> Any:
    """Return what a parameter is, where it is not null."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def _value(hint: Any, text: str) -> object:
    """Return a value as the tables hold it.

    Raises:
        ValueError: when it is not of the parameter's type.
    """
    kind = _type(hint)
    if kind is not hint and text in ("null", "none", "None"):
        return None
    if kind is float:
        value = float(text)
        if math.isnan(value):
            raise ValueError(text)
        return value
    if kind is int:
        return int(text)
    if kind is str:
        return text
    numbers = re.split(r"\s*[-,]\s*", text.strip("[] "))
    return "-".join(str(int(number)) for number in numbers)
