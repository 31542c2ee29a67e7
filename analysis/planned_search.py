"""What a run's plan says of its search: the space, the searcher, the scheduler and the budget.

A value of a parameter is a plain one here: a number, a text, a truth value, None, or a tuple where the plan has a list.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from gansearch import schema
from gansearch.config import parameters
from gansearch.paths import RunPaths
from gansearch.storage import Location, location
from gansearch.yaml_files import load_yaml

_ROUNDING = 1e-9
"""Epochs by which two rungs must differ: a product of factors is not quite whole."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A searched parameter, as the plan has it.

    Attributes:
        name: its dotted name.
        kind: `float`, `int` or `choice`.
        low: lower bound of a number; 0 of a choice.
        high: upper bound of a number; 0 of a choice.
        log: whether the number is uniform in the logarithm.
        values: what is chosen from; empty for a number.
        when: (name, values) pairs: it acts only where each named parameter has one of the values.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[object, ...] = ()
    when: tuple[tuple[str, tuple[object, ...]], ...] = ()

    @property
    def column(self) -> str:
        """The column of `trials` that holds it."""
        return schema.cfg_column(self.name)

    def acts(self, values: Mapping[str, object]) -> bool:
        """Return whether it acts beside these values of the others."""
        return all(parent in values and values[parent] in wanted for parent, wanted in self.when)

    def read(self, cell: object) -> object:
        """Return the value that a cell of its column stands for; the cell itself where that is none of the choices."""
        return next((value for value in self.values if _cell(value) == cell), cell)

    def holds(self, value: object) -> bool:
        """Return whether a value lies in the range or is one of the choices."""
        if self.kind == "choice":
            return value in self.values
        return isinstance(value, int | float) and self.low <= value <= self.high

    def place(self, value: Any) -> float:
        """Return where a value stands: its logarithm where the search drew that, the number of a choice from 0."""
        if self.kind == "choice":
            return float(self.values.index(value))
        return math.log(value) if self.log else float(value)

    def at(self, place: float) -> object:
        """Return the value that stands at a place."""
        if self.kind == "choice":
            return self.values[round(place)]
        return math.exp(place) if self.log else place

    @property
    def ends(self) -> tuple[float, float]:
        """Places of its lowest and its highest value."""
        if self.kind == "choice":
            return 0.0, float(len(self.values) - 1)
        return self.place(self.low), self.place(self.high)

    def show(self, value: object) -> str:
        """Return a value in few characters."""
        if isinstance(value, float):
            return f"{value:.3g}"
        return value if isinstance(value, str) else json.dumps(value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSearch:
    """A run's search as its plan describes it.

    Attributes:
        searcher: name of what chose the configurations, such as `random`.
        scheduler: name of what stopped trials early, such as `asha`; `none` where nothing did.
        grace_epochs: epochs that every trial is given; None where the scheduler has no such option.
        reduction_factor: one in this many trials goes on at each rung; None where the scheduler has no such option.
        epochs: budget of a trial.
        first: configurations that were not drawn: the base, and those of `start_from`.
        parameters: the searched ones, parents before children.
        widened: whether the search began in a narrower space.
    """

    searcher: str
    scheduler: str
    grace_epochs: int | None
    reduction_factor: float | None
    epochs: int | None
    first: int
    parameters: tuple[Parameter, ...]
    widened: bool = False

    @property
    def rungs(self) -> tuple[float, ...]:
        """Epochs at which `asha` decides who goes on, the last one before the budget (Li et al. 2020, algorithm 2)."""
        if self.scheduler != "asha" or not self.grace_epochs or not self.reduction_factor or not self.epochs:
            return ()
        found, rung = [], float(self.grace_epochs)
        while rung < self.epochs - _ROUNDING:
            found.append(rung)
            rung *= self.reduction_factor
        return tuple(found)

    def values(self, row: Mapping[str, Any]) -> dict[str, object]:
        """Return the values of the searched parameters that act in a row of `trials`."""
        found: dict[str, object] = {}
        for parameter in self.parameters:
            if parameter.acts(found):
                found[parameter.name] = parameter.read(row.get(parameter.column))
        return found


def planned_search(run: Location | str) -> PlannedSearch | None:
    """Return what a run's plan says of its search; None where the run has no plan file, or the plan no space.

    Args:
        run: the run directory.

    Raises:
        ConfigError: when the plan file cannot be read.
    """
    path = RunPaths(location(run)).plan
    if not path.exists():
        return None
    content: Any = load_yaml(path)
    study = _mapping(_mapping(content).get("study"))
    if not isinstance(study.get("space"), Mapping):
        return None
    scheduler = _named(study.get("scheduler"), "none")
    first = study.get("start_from")
    return PlannedSearch(
        searcher=str(_named(study.get("searcher"), "random")["name"]),
        scheduler=str(scheduler["name"]),
        grace_epochs=_number(scheduler.get("grace_epochs"), int),
        reduction_factor=_number(scheduler.get("reduction_factor"), float),
        epochs=_number(study.get("epochs"), int),
        first=1 + (len(first) if isinstance(first, list) else 0),
        parameters=_parents_first(_parameters(study["space"])),
        widened=_widened(content),
    )


def _widened(content: object) -> bool:
    extended = _mapping(content).get("extended")
    return isinstance(extended, list) and any("space" in _mapping(change) for change in extended)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _named(value: object, default: str) -> Mapping[str, Any]:
    """Return a strategy's section, which may be a bare name."""
    section = {"name": value} if isinstance(value, str) else _mapping(value)
    return {"name": default, **section}


def _number(value: object, type_: type) -> Any:
    return type_(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _parameters(space: Mapping[str, Any]) -> list[Parameter]:
    """Return the searched parameters of a plan's space; those that the tables do not know are left out."""
    known = {name for name, _ in parameters()}
    found = []
    for name, entry in space.items():
        kind = next((k for k in ("uniform", "loguniform", "int", "choice") if k in _mapping(entry)), None)
        if name not in known or kind is None:
            continue
        when = tuple((p, tuple(map(_plain, values))) for p, values in _mapping(entry.get("when")).items())
        if kind == "choice":
            values = tuple(map(_plain, entry[kind]))
            found.append(Parameter(name=name, kind="choice", values=values, when=when))
            continue
        low, high = entry[kind]
        log = kind == "loguniform" or entry.get("log") is True
        type_ = "int" if kind == "int" else "float"
        found.append(Parameter(name=name, kind=type_, low=low, high=high, log=log, when=when))
    return found


def _parents_first(found: list[Parameter]) -> tuple[Parameter, ...]:
    """Return the parameters with parents before children, else in their order; those without their parents last."""
    ordered: list[Parameter] = []
    waiting = list(found)
    while waiting:
        placed = {p.name for p in ordered}
        ready = next((p for p in waiting if all(parent in placed for parent, _ in p.when)), waiting[0])
        ordered.append(ready)
        waiting.remove(ready)
    return tuple(ordered)


def _plain(value: object) -> object:
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _cell(value: object) -> object:
    """Return a value as its column holds it: the members of a list with dashes between them."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value
