"""How a search's outcome depends on one parameter and on two: partial dependence of a random forest (Friedman 2001).

It is the forest's mean prediction over the trials, with one or two parameters set to each of their values: the forest's
word, to be held against the trials themselves and its R2 out of bag.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from analysis import surrogates
from analysis.comparison import Array
from analysis.planned_search import Parameter
from analysis.search_rows import Search
from analysis.surrogates import Sample, Surrogate, partial_dependence

POINTS = 25
"""Values of a number at which its dependence is computed, at most."""
PAIR_POINTS = 14
"""The same for each of two."""
_BACKGROUND = 150


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Marginal:
    """The outcome against one parameter.

    Attributes:
        parameter: the parameter.
        places: places of its values, of shape (points,).
        values: the forest's mean prediction at each, in nats, of shape (points,).
    """

    parameter: Parameter
    places: Array
    values: Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The outcome against two parameters.

    Attributes:
        parameters: the parameters.
        places: places of the values of each, of shape (first,) and (second,).
        values: the forest's mean prediction at each pair, in nats, of shape (first, second).
    """

    parameters: tuple[Parameter, Parameter]
    places: tuple[Array, Array]
    values: Array


def dependence(search: Search) -> tuple[tuple[Surrogate, tuple[Marginal, ...]], ...]:
    """Return the forests of a search and the outcome against each parameter.

    Args:
        search: the search.

    Returns:
        The forest of all trials and its parameters; then one for each condition, with the parameters that act under it
        alone.

    Raises:
        ResultsError: when the run has no plan, too few trials have a value, all have the same, or no parameter takes
            several values.
    """
    found = []
    for sample in surrogates.samples(search):
        fitted = surrogates.fit(sample)
        own = [p for p in sample.parameters if not sample.where or p.when]
        found.append((fitted, tuple(marginal(fitted, p) for p in own)))
    return tuple(found)


def marginal(surrogate: Surrogate, parameter: Parameter) -> Marginal:
    """Return the outcome against one parameter of a forest's sample."""
    sample = surrogate.sample
    column = sample.parameters.index(parameter)
    places = grid(sample, parameter, POINTS)
    behind = surrogates.background(sample.places, _BACKGROUND)
    values = partial_dependence(surrogate.forest, behind, [column], places[:, None])
    return Marginal(parameter=parameter, places=places, values=values)


def surface(surrogate: Surrogate, first: Parameter, second: Parameter) -> Surface:
    """Return the outcome against two parameters of a forest's sample."""
    sample = surrogate.sample
    columns = [sample.parameters.index(p) for p in (first, second)]
    axes = (grid(sample, first, PAIR_POINTS), grid(sample, second, PAIR_POINTS))
    points = np.array(list(itertools.product(*axes)))
    behind = surrogates.background(sample.places, _BACKGROUND)
    values = partial_dependence(surrogate.forest, behind, columns, points)
    return Surface(parameters=(first, second), places=axes, values=values.reshape(len(axes[0]), len(axes[1])))


def grid(sample: Sample, parameter: Parameter, most: int) -> Array:
    """Return places of a parameter to look at: its own values where they are few, else equal steps between its ends.

    The ends are those of the trials, not of the plan: a forest knows nothing beyond.
    """
    own = np.unique(sample.places[:, sample.parameters.index(parameter)])
    if len(own) <= most:
        return own
    steps: Array = np.linspace(own[0], own[-1], most)
    return steps


def parameters_named(sample: Sample, names: Sequence[str]) -> tuple[Parameter, ...]:
    """Return a sample's parameters of these names, in their order."""
    by_name = {p.name: p for p in sample.parameters}
    return tuple(by_name[name] for name in names)
