"""A search space: dotted parameter names over a base configuration.

A *point* is a mapping from the names of the searched parameters that act there to their values. Parameters
may be conditional (`when`): such a one is in a point only under the named values of another, and never when
that other is itself absent. Parents stand before their children everywhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import typing
from collections.abc import Container, Iterator, Mapping
from typing import Any

from gansearch import config, parsing
from gansearch.config import TrialConfig
from gansearch.errors import ConfigError, nearest
from gansearch.search.domains import Domain, Fixed, Interval, SuggestsValues, parse_domain, plain, show
from gansearch.search.space_checks import check_space
from gansearch.yaml_files import located

MAX_GRID = 100_000

Conditions = tuple[tuple[str, tuple[object, ...]], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A searched parameter.

    Attributes:
        name: its dotted name.
        domain: the values it takes.
        when: (name, values) pairs: it acts only where each named parameter has one of the values.
    """

    name: str
    domain: Domain
    when: Conditions = ()

    def describe(self) -> str:
        """Return the values and conditions in words."""
        conditions = " and ".join(f"{name} is {' or '.join(map(show, values))}" for name, values in self.when)
        return self.domain.describe() + (f", when {conditions}" if conditions else "")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A validated search space.

    Attributes:
        base: the configuration that is varied, with the fixed values set.
        parameters: the searched ones, parents before children, else in the order of the file.
        fixed: (name, value) pairs that replaced values of the base.
    """

    base: TrialConfig
    parameters: tuple[Parameter, ...]
    fixed: tuple[tuple[str, object], ...] = ()

    @classmethod
    def parse(cls, data: object, base: TrialConfig, where: str = "space") -> Space:
        """Return the space that a mapping of dotted names to kinds describes.

        Args:
            data: the mapping, as read from YAML.
            base: the configuration that is varied.
            where: what the mapping is called in messages.

        Raises:
            ConfigError: when any point of the space would break a rule, the base lies outside, a parameter
                could never act, or nothing is searched.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"{where} must be a mapping of parameter names to kinds, got {data!r}")
        types = dict(config.parameters())
        entries: dict[str, Domain | Fixed] = {}
        for name, entry in data.items():
            if name not in types:
                raise ConfigError(f"{where}: no parameter is called '{name}'", hint=nearest(str(name), types))
            with located(f"{where}.{name}"):
                entries[name] = parse_domain(entry, types[name])
        fixed = {name: entry.value for name, entry in entries.items() if isinstance(entry, Fixed)}
        domains = {name: entry for name, entry in entries.items() if not isinstance(entry, Fixed)}
        if not domains:
            raise ConfigError(f"{where} is empty: no parameter is searched", hint="give at least one parameter a range")
        with located(where):
            base = base.replace(fixed)
        parameters = []
        for name, domain in domains.items():
            with located(f"{where}.{name}"):
                parameters.append(
                    Parameter(name=name, domain=domain, when=_conditions(data[name].get("when"), domains, base))
                )
        with located(where):
            space = cls(base=base, parameters=_parents_first(parameters), fixed=tuple(fixed.items()))
            check_space(space)
        return space

    @property
    def finite(self) -> bool:
        """Whether the space holds finitely many points."""
        return not any(isinstance(p.domain, Interval) for p in self.parameters)

    @property
    def grid_size(self) -> int:
        """Number of points in `grid`."""
        return len(self.grid())

    def base_point(self) -> dict[str, object]:
        """Return the base as a point: the first trial of every sweep."""
        return self.point(self.base)

    def point(self, trial_config: TrialConfig) -> dict[str, object]:
        """Return the values that a configuration has for the searched parameters that act in it."""
        out: dict[str, object] = {}
        for p in self.parameters:
            if self._acts(p, out):
                out[p.name] = trial_config.get(p.name)
        return out

    def locate(self, trial_config: TrialConfig) -> dict[str, object]:
        """Return the point of a configuration, whoever made it.

        Raises:
            ConfigError: unless it is a configuration of this space: what is searched lies in its range, and the
                rest is the base's. Names the first parameter that does not.
        """
        point = self.point(trial_config)
        for p in self.parameters:
            if p.name in point and not p.domain.contains(point[p.name]):
                raise ConfigError(
                    f"{p.name} is {show(point[p.name])}, outside the space: {p.domain.describe()}",
                    hint="widen the range",
                )
        theirs, ours = _flat(trial_config), _flat(self.config(point))
        for name in (*theirs, *ours):
            if theirs.get(name) != ours.get(name):
                here = f"but it is not searched, and the base has {show(ours[name])}" if name in ours else "here none"
                there = show(theirs[name]) if name in theirs else "not set"
                raise ConfigError(
                    f"{name} is {there}, {here}", hint="search it, or set the base's value with `override`"
                )
        return point

    def config(self, point: Mapping[str, object]) -> TrialConfig:
        """Return the configuration of a point.

        Raises:
            ConfigError: when the point holds a name that is not a parameter, or a value out of range.
        """
        return self.base.replace(point)

    def values_of(self, name: str) -> list[object]:
        """Return the values that a parameter takes in the space, of a range its ends."""
        domain = next((p.domain for p in self.parameters if p.name == name), None)
        if domain is None:
            return [self.base.get(name)]
        return list(domain.extremes())

    def corners(self, names: tuple[str, ...]) -> Iterator[dict[str, object]]:
        """Yield the points of all combinations of some parameters' values, of ranges the ends.

        The combinations of each two come first, for there may be more of all together than anybody has time for.

        Args:
            names: the parameters that vary, or sections of them, such as `pretraining.`; the others have their first
                value, but for those that conditions stand on.
        """
        whens: dict[str, set[str]] = {}
        for p in self.parameters:  # those that conditions stand on come first
            parents = {parent for parent, _ in p.when}
            whens[p.name] = parents.union(*(whens[parent] for parent in parents))
        chosen = [p.name for p in self.parameters if is_among(p.name, names)]
        pairs = [{a, b} | whens[a] | whens[b] for a, b in itertools.combinations(chosen, 2)]
        for varied in (*pairs, {*chosen, *itertools.chain.from_iterable(whens.values())}):
            values = {p.name: self.values_of(p.name)[: None if p.name in varied else 1] for p in self.parameters}
            yield from self._walk(0, {}, values)

    def reaches(self, name: str) -> bool:
        """Return whether a parameter has an effect in any configuration of the space."""
        needed = config.need(name)
        return needed is None or any(map(needed.met, self.values_of(needed.parent)))

    def contains(self, point: Mapping[str, object]) -> bool:
        """Return whether the point holds the parameters that act there, no others, and legal values."""
        seen: dict[str, object] = {}
        for p in self.parameters:
            if self._acts(p, seen):
                value = _tuples(point.get(p.name))
                if p.name not in point or not p.domain.contains(value):
                    return False
                seen[p.name] = value
        return len(seen) == len(point)

    def sample(self, index: int, seed: int) -> dict[str, object]:
        """Return random point `index` of a seed, independent of all other points.

        Each parameter's draw follows from (seed, index, name), so that a parameter added to the space leaves
        the draws of the others as they were.
        """
        return self.at({p.name: _uniform(seed, index, p.name) for p in self.parameters})

    def at(self, quantiles: Mapping[str, float]) -> dict[str, object]:
        """Return the point at a place of the unit cube.

        Args:
            quantiles: each parameter's place in its range, in [0, 1); one that does not act there is ignored.
        """
        out: dict[str, object] = {}
        for p in self.parameters:
            if self._acts(p, out):
                out[p.name] = p.domain.at(quantiles[p.name])
        return out

    def grid(self) -> list[dict[str, object]]:
        """Return the base's point, then every other combination of the parameters' grid values.

        Raises:
            ConfigError: when a continuous parameter has no `points`, or the grid has more than MAX_GRID.
        """
        values = {}
        for p in self.parameters:
            with located(f"space.{p.name}"):
                values[p.name] = p.domain.grid()
        found = list(itertools.islice(self._walk(0, {}, values), MAX_GRID + 1))
        if len(found) > MAX_GRID:
            raise ConfigError(f"the grid has more than {MAX_GRID:,} points", hint="search fewer values, or use tpe")
        base = self.base_point()
        return [base, *(point for point in found if point != base)]

    def count(self, limit: int) -> int:
        """Return the number of points of a finite space, or `limit` when it has more."""
        values = {p.name: p.domain.grid() for p in self.parameters}
        return sum(1 for _ in itertools.islice(self._walk(0, {}, values), limit))

    def suggest(self, trial: SuggestsValues) -> dict[str, object]:
        """Return the point that an Optuna trial suggests, asking only for the parameters that act."""
        out: dict[str, object] = {}
        for p in self.parameters:
            if self._acts(p, out):
                out[p.name] = p.domain.suggest(trial, p.name)
        return out

    def encode(self, point: Mapping[str, object]) -> dict[str, object]:
        """Return a point as Optuna's parameters, to enqueue or to record it."""
        domains = {p.name: p.domain for p in self.parameters}
        return {name: domains[name].encode(_tuples(value)) for name, value in point.items()}

    def decode(self, params: Mapping[str, object]) -> dict[str, object]:
        """Return the point of Optuna's parameters."""
        domains = {p.name: p.domain for p in self.parameters}
        return {name: domains[name].decode(value) for name, value in params.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the space as it stands in YAML."""
        out: dict[str, Any] = {name: {"fixed": plain(value)} for name, value in self.fixed}
        for p in self.parameters:
            out[p.name] = p.domain.to_dict()
            if p.when:
                out[p.name]["when"] = {parent: [plain(v) for v in values] for parent, values in p.when}
        return out

    def describe(self) -> list[str]:
        """Return one line a parameter: name, values, and the base's value where it acts."""
        base = self.base_point()
        width = max(len(name) for name in (*(p.name for p in self.parameters), *(name for name, _ in self.fixed)))
        lines = [f"{name:{width}}  fixed at {show(value)}" for name, value in self.fixed]
        for p in self.parameters:
            at_base = f"base {show(base[p.name])}" if p.name in base else "absent in the base"
            lines.append(f"{p.name:{width}}  {p.describe()}; {at_base}")
        return lines

    def _acts(self, p: Parameter, point: Mapping[str, object]) -> bool:
        """Return whether a parameter acts, given its parents' values in the point."""
        return all(parent in point and point[parent] in values for parent, values in p.when)

    def _walk(self, i: int, point: dict[str, object], values: Mapping[str, Any]) -> Iterator[dict[str, object]]:
        if i == len(self.parameters):
            yield point
            return
        p = self.parameters[i]
        if not self._acts(p, point):
            yield from self._walk(i + 1, point, values)
            return
        for value in values[p.name]:
            yield from self._walk(i + 1, {**point, p.name: value}, values)


def is_among(name: str, names: Container[str]) -> bool:
    """Return whether a parameter, or its section, such as `pretraining.`, is among these names."""
    return name in names or f"{name.partition('.')[0]}." in names


def _flat(trial_config: TrialConfig) -> dict[str, object]:
    """Return the acting values by dotted name, and the schedule where there is one."""
    sections = trial_config.to_dict()
    schedule = {"schedule": sections.pop("schedule")} if "schedule" in sections else {}
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()} | schedule


def _uniform(seed: int, index: int, name: str) -> float:
    """Return a draw from [0,1) with 53 bits that is a function of its arguments."""
    digest = hashlib.blake2b(f"{seed}/{index}/{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _conditions(when: object, domains: Mapping[str, Domain], base: TrialConfig) -> Conditions:
    """Return the conditions on searched parents; those that the base meets for good are dropped."""
    if when is None:
        return ()
    if not isinstance(when, Mapping):
        raise ConfigError(f"when must map parameter names to values, got {when!r}", hint="`when: {update.rule: adam}`")
    types = dict(config.parameters())
    out = []
    for parent, wanted in when.items():
        if parent not in types:
            raise ConfigError(f"when: no parameter is called '{parent}'", hint=nearest(str(parent), types))
        values = _condition_values(wanted, types[parent], f"when.{parent}")
        if parent not in domains:
            if base.get(parent) not in values:
                raise ConfigError(
                    f"when: {parent} is always {show(base.get(parent))}, so the parameter could never act",
                    hint=f"search {parent} as well, or leave the parameter out",
                )
            continue
        domain = domains[parent]
        if isinstance(domain, Interval):
            raise ConfigError(f"when: {parent} is continuous, so a condition on single values of it never holds")
        for value in values:
            if not domain.contains(value):
                raise ConfigError(f"when: {parent} never takes the value {show(value)}", hint=domain.describe())
        out.append((parent, values))
    return tuple(out)


def _condition_values(wanted: object, hint: Any, where: str) -> tuple[object, ...]:
    """Return the values of a condition: one value, or a list of them."""
    takes_lists = typing.get_origin(hint) is tuple
    several = isinstance(wanted, list | tuple) and (
        not takes_lists or any(isinstance(item, list | tuple) for item in wanted)
    )
    values = wanted if several and isinstance(wanted, list | tuple) else [wanted]
    if not values:
        raise ConfigError(f"{where} lists no value")
    return tuple(parsing.convert(hint, value, where) for value in values)


def _parents_first(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Return the parameters with parents before children, else in their order."""
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        placed = {p.name for p in ordered}
        ready = next((p for p in waiting if all(parent in placed for parent, _ in p.when)), None)
        if ready is None:
            names = ", ".join(p.name for p in waiting)
            raise ConfigError(f"the conditions of {names} wait for each other", hint="remove one `when`")
        ordered.append(ready)
        waiting.remove(ready)
    return tuple(ordered)
