"""The kinds of a searched parameter: what values it takes, and how they are drawn, listed and named.

`Interval` (YAML `uniform`, `loguniform`), `Integers` (`int`) and `Choice` (`choice`) answer the same calls:
`contains`, `at` (the value at a quantile), `grid`, `suggest` and `encode`/`decode` (to and from Optuna's own
parameter values), `to_dict` and `describe`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gansearch import parsing
from gansearch.errors import ConfigError, nearest

_KINDS = ("uniform", "loguniform", "int", "choice", "fixed")
_OPTIONS = ("when", "log", "points")


class SuggestsValues(Protocol):
    """What is needed of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Suggest a number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Suggest an integer in [low, high]."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number between two bounds.

    Attributes:
        low: lower bound, included; above 0 when `log`.
        high: upper bound, included.
        log: uniform in the logarithm.
        points: values in a grid, 2 or more; None where a grid was not foreseen.
    """

    low: float
    high: float
    log: bool = False
    points: int | None = None

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        if self.log and self.low <= 0:
            raise ConfigError(f"the lower bound of a log-uniform range must be above 0, got {self.low:g}")
        if self.points is not None and self.points < 2:
            raise ConfigError(f"points must be 2 or more, got {self.points}")

    def contains(self, value: object) -> bool:
        """Return whether the value lies in the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def at(self, u: float) -> float:
        """Return the value at the quantile u in [0,1)."""
        if self.log:
            value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + u * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def extremes(self) -> tuple[object, ...]:
        """Return values that are all legal only if every value is."""
        return (self.low, self.high)

    def grid(self) -> tuple[object, ...]:
        """Return `points` values from bound to bound, equally spaced, in the logarithm when `log`."""
        if self.points is None:
            raise ConfigError("a grid needs to know how many values to take", hint="add `points: 5`")
        spaced = (np.geomspace if self.log else np.linspace)(self.low, self.high, self.points)
        return tuple(dict.fromkeys(min(max(float(v), self.low), self.high) for v in spaced))

    def suggest(self, trial: SuggestsValues, name: str) -> object:
        """Return the value that an Optuna trial suggests."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def encode(self, value: object) -> object:
        """Return Optuna's parameter value for a value."""
        return value

    def decode(self, value: object) -> object:
        """Return the value of Optuna's parameter value."""
        return value

    def to_dict(self) -> dict[str, object]:
        """Return the kind as it stands in YAML."""
        out: dict[str, object] = {"loguniform" if self.log else "uniform": [self.low, self.high]}
        return out if self.points is None else {**out, "points": self.points}

    def describe(self) -> str:
        """Return the kind in words."""
        points = "" if self.points is None else f", {self.points} points"
        return f"{'log-uniform' if self.log else 'uniform'} in [{self.low:g}, {self.high:g}]{points}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """An integer between two bounds.

    Attributes:
        low: lower bound, included; 1 or more when `log`.
        high: upper bound, included.
        log: uniform in the logarithm.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        if self.log and self.low < 1:
            raise ConfigError(f"the lower bound of an integer range with log must be 1 or more, got {self.low}")

    def contains(self, value: object) -> bool:
        """Return whether the value lies in the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def at(self, u: float) -> int:
        """Return the value at the quantile u in [0,1)."""
        if self.log:  # each integer has the cell from half below to half above it
            first, last = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = round(math.exp(first + u * (last - first)))
        else:
            value = self.low + math.floor(u * (self.high - self.low + 1))
        return min(max(value, self.low), self.high)

    def extremes(self) -> tuple[object, ...]:
        """Return values that are all legal only if every value is."""
        return (self.low, self.high)

    def grid(self) -> Sequence[object]:
        """Return every value."""
        return range(self.low, self.high + 1)

    def suggest(self, trial: SuggestsValues, name: str) -> object:
        """Return the value that an Optuna trial suggests."""
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def encode(self, value: object) -> object:
        """Return Optuna's parameter value for a value."""
        return value

    def decode(self, value: object) -> object:
        """Return the value of Optuna's parameter value."""
        return value

    def to_dict(self) -> dict[str, object]:
        """Return the kind as it stands in YAML."""
        out: dict[str, object] = {"int": [self.low, self.high]}
        return {**out, "log": True} if self.log else out

    def describe(self) -> str:
        """Return the kind in words."""
        return f"integer in [{self.low}, {self.high}]{', log' if self.log else ''}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several values, in no order.

    Attributes:
        values: the values, one or more, all different.
    """

    values: tuple[object, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("choice needs at least one value")
        for i, value in enumerate(self.values):
            if value in self.values[:i]:
                raise ConfigError(f"choice holds {show(value)} twice")

    def contains(self, value: object) -> bool:
        """Return whether the value is one of them."""
        return value in self.values

    def at(self, u: float) -> object:
        """Return the value at the quantile u in [0,1)."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def extremes(self) -> tuple[object, ...]:
        """Return values that are all legal only if every value is."""
        return self.values

    def grid(self) -> tuple[object, ...]:
        """Return every value."""
        return self.values

    def suggest(self, trial: SuggestsValues, name: str) -> object:
        """Return the value that an Optuna trial suggests."""
        return self.decode(trial.suggest_categorical(name, [self.encode(v) for v in self.values]))

    def encode(self, value: object) -> object:
        """Return Optuna's parameter value for a value: itself, or its JSON where some value is a list."""
        lists = any(isinstance(v, tuple) for v in self.values)
        return json.dumps(value) if lists else value

    def decode(self, value: object) -> object:
        """Return the value of Optuna's parameter value."""
        for legal in self.values:
            if self.encode(legal) == value:
                return legal
        raise ConfigError(f"{value!r} is none of the choices")

    def to_dict(self) -> dict[str, object]:
        """Return the kind as it stands in YAML."""
        return {"choice": [plain(v) for v in self.values]}

    def describe(self) -> str:
        """Return the kind in words."""
        return f"one of {', '.join(show(v) for v in self.values)}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """One value, which replaces the base's.

    Attributes:
        value: the value.
    """

    value: object


Domain = Interval | Integers | Choice


def parse_domain(data: object, hint: Any) -> Domain | Fixed:
    """Return the kind that one entry of a space asks for; its `when` is read elsewhere.

    Args:
        data: the entry, such as `{loguniform: [0.01, 0.3]}`.
        hint: the type of the parameter.

    Raises:
        ConfigError: for an unknown or missing kind, several kinds, or values that do not fit the type.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"a mapping with a kind is needed, got {data!r}", hint=f"kinds: {', '.join(_KINDS)}")
    for key in data:
        if key not in _KINDS + _OPTIONS:
            raise ConfigError(f"unknown kind or option '{key}'", hint=nearest(str(key), _KINDS + _OPTIONS))
    kinds = [kind for kind in _KINDS if kind in data]
    if len(kinds) != 1:
        raise ConfigError(
            f"one kind is needed, got {' and '.join(kinds) or 'none'}", hint=f"kinds: {', '.join(_KINDS)}"
        )
    kind = kinds[0]
    for option, takers in (("log", ("int",)), ("points", ("uniform", "loguniform")), ("when", _KINDS[:-1])):
        if option in data and kind not in takers:
            raise ConfigError(f"'{kind}' takes no '{option}'", hint=f"only {' and '.join(takers)} do")
    if kind == "fixed":
        return Fixed(value=parsing.convert(hint, data[kind], kind))
    if kind == "choice":
        if not isinstance(data[kind], list | tuple):
            raise ConfigError(f"choice must be a list of values, got {data[kind]!r}")
        return Choice(values=tuple(parsing.convert(hint, v, f"choice[{i}]") for i, v in enumerate(data[kind])))
    if kind == "int":
        _check_takes(hint, int, kind)
        low, high = _bounds(data[kind], int, kind)
        return Integers(low=low, high=high, log=parsing.convert(bool, data.get("log", False), "log"))
    _check_takes(hint, float, kind)
    low, high = _bounds(data[kind], float, kind)
    points = parsing.convert(int | None, data.get("points"), "points")
    return Interval(low=low, high=high, log=kind == "loguniform", points=points)


def plain(value: object) -> object:
    """Return the value with lists for tuples."""
    return [plain(v) for v in value] if isinstance(value, tuple) else value


def show(value: object) -> str:
    """Return the value as it would stand in YAML."""
    return value if isinstance(value, str) else json.dumps(plain(value))


def _check_takes(hint: Any, wanted: type, kind: str) -> None:
    """Check that a parameter of type `hint` (perhaps optional) holds numbers of the kind."""
    if hint == wanted or hint == wanted | None:
        return
    holds = {int: "integers", float: "numbers"}.get(hint, "numbers" if hint == float | None else "no numbers")
    fits = {"integers": "int or choice", "numbers": "uniform, loguniform or choice"}.get(holds, "choice")
    raise ConfigError(f"'{kind}' does not fit a parameter that holds {holds}", hint=f"use {fits}")


def _bounds(value: object, type_: type, kind: str) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigError(f"{kind} must be a list of two bounds, got {value!r}", hint=f"`{kind}: [low, high]`")
    return parsing.convert(type_, value[0], f"{kind}[0]"), parsing.convert(type_, value[1], f"{kind}[1]")


def _check_bounds(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(
            f"the lower bound must be below the upper, got {low:g} and {high:g}",
            hint="a single value is written `fixed: value`",
        )
