"""The plots of a run's search, as Plotly figures with the words that stand for them.

    from analysis.plots import search_plots
    for plot in search_plots("runs/a"):
        print(plot.title, plot.summary)

`analysis.plots.pages` writes them as HTML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from analysis.costs import costs
from analysis.funnel import funnel
from analysis.plots.plot import Plot, drawn
from analysis.search_rows import read_search, search_reports
from gansearch import results, schema
from gansearch.errors import ResultsError
from gansearch.storage import Location

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.importance import Importance
    from analysis.search_rows import Search

T = TypeVar("T")
TITLES = {
    "history": "What the search found, trial by trial",
    "learning-curves": "Learning curves and rungs",
    "parallel-coordinates": "Trials as lines through their values",
    "importance": "What the outcome depends on",
    "marginals": "The outcome against each hyperparameter",
    "interactions": "Hyperparameters that act on each other",
    "pairs": "The outcome against two hyperparameters",
    "expected-best": "Best value against budget",
    "timeline": "When trials ran",
    "costs": "What it cost",
    "seeds": "Confirmed configurations, seed by seed",
}
"""Titles of the plots by their names, in the order in which they are shown."""


def search_plots(run: Location | str, *, skip_damaged: bool = False) -> tuple[Plot, ...]:
    """Return the plots of a run; one whose data are not there says so in its summary and has no figure.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run's trials cannot be read.
        ConfigError: when its plan file cannot be read.
    """
    stages = results.read(run, schema.TRIALS.name, columns=["config_id", "stage"], skip_damaged=skip_damaged)
    confirmed = frozenset(stages[stages["stage"] == "confirm"]["config_id"])
    draws = _draws(run, confirmed, skip_damaged)
    return tuple(drawn(name, title, draws[name]) for name, title in TITLES.items())


def _draws(
    run: Location | str, confirmed: frozenset[str], skip_damaged: bool
) -> dict[str, Callable[[], tuple[str, go.Figure]]]:
    """Return what draws each plot; each raises the ResultsError of what it lacks."""
    from analysis.plots import history, parameters, seeds, spending

    read = _once(lambda: read_search(run, skip_damaged=skip_damaged))
    matter: Callable[[], Importance] = _once(lambda: _importance(read()))

    def curves() -> tuple[str, go.Figure]:
        search = read()
        return history.learning_curves(search, search_reports(run, skip_damaged=skip_damaged), confirmed)

    return {
        "history": lambda: history.history(read()),
        "learning-curves": curves,
        "parallel-coordinates": lambda: parameters.parallel(read()),
        "importance": lambda: parameters.importances(read(), matter()),
        "marginals": lambda: parameters.marginals(read()),
        "interactions": lambda: parameters.interactions(read(), matter()),
        "pairs": lambda: parameters.pairs(read(), matter()),
        "expected-best": lambda: spending.budget(read()),
        "timeline": lambda: spending.timeline(read()),
        "costs": lambda: spending.spent(costs(run, skip_damaged=skip_damaged)),
        "seeds": lambda: seeds.seeds(funnel(run, skip_damaged=skip_damaged)),
    }


def _importance(search: Search) -> Importance:
    from analysis.importance import importance_of

    return importance_of(search)


def _once(make: Callable[[], T]) -> Callable[[], T]:
    """Return what makes a value when it is first asked for, and then remembers it, or why it could not."""
    made: list[T] = []
    failed: list[ResultsError] = []

    def get() -> T:
        if failed:
            raise failed[0]
        if not made:
            try:
                made.append(make())
            except ResultsError as error:
                failed.append(error)
                raise
        return made[0]

    return get


__all__ = ["TITLES", "Plot", "search_plots"]
