"""What must hold of a search space as a whole: every point is legal, every parameter can act, the base is a point."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gansearch.config import Need, need
from gansearch.errors import ConfigError
from gansearch.search.domains import show
from gansearch.yaml_files import located

if TYPE_CHECKING:
    from gansearch.search.space import Space


def check_space(space: Space) -> None:
    """Check that every point is legal, that every parameter can act, and that the base is a point."""
    _check_can_act(space)
    for p in space.parameters:
        for value in p.domain.extremes():
            space.base.replace({p.name: value})
    # Rules between two parameters of a section: as they are linear, the corners decide.
    for a, b in itertools.combinations(space.parameters, 2):
        if a.name.split(".")[0] == b.name.split(".")[0]:
            for value_a, value_b in itertools.product(a.domain.extremes(), b.domain.extremes()):
                with located(f"{a.name} at {show(value_a)} with {b.name} at {show(value_b)}"):
                    space.base.replace({a.name: value_a, b.name: value_b})
    domains = {p.name: p.domain for p in space.parameters}
    for name, value in space.base_point().items():
        if not domains[name].contains(value):
            raise ConfigError(
                f"the base's {name} is {show(value)}, outside the space: {domains[name].describe()}",
                hint="widen the range, or set the base's value with `override`",
            )


def _check_can_act(space: Space) -> None:
    needs: dict[str, dict[str, set[object]]] = {}
    for p in space.parameters:
        mine: dict[str, set[object]] = {}
        sources = [p.when, *(tuple(needs[parent].items()) for parent, _ in p.when)]
        for parent, values in itertools.chain.from_iterable(sources):
            mine[parent] = mine[parent] & set(values) if parent in mine else set(values)
            if not mine[parent]:
                raise ConfigError(f"{p.name}: its conditions on {parent} contradict each other, so it could never act")
        needs[p.name] = mine
        if (needed := need(p.name)) is not None:
            _check_needed(space, p.name, needed, mine.get(needed.parent))


def _check_needed(space: Space, name: str, needed: Need, values: set[object] | None) -> None:
    """Check that a parameter is searched only where it has an effect."""
    parent = needed.parent
    possible = values or set(space.values_of(parent))
    wanted = sorted(show(value) for value in possible if needed.met(value))
    if not wanted:
        never = "always set" if needed.unset else f"never {needed.value}" if needed.value else "never set"
        raise ConfigError(f"{name} has no effect: {parent} is {never}", hint=f"search {parent}, or remove it")
    if len(wanted) < len(possible):
        listed = wanted[0] if len(wanted) == 1 else f"[{', '.join(wanted)}]"
        raise ConfigError(
            f"{name} has no effect unless {needed.describe()}", hint=f"add `when: {{{parent}: {listed}}}` to it"
        )
