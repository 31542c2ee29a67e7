"""One plot of a search: a Plotly figure with the words that stand for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from gansearch.errors import ResultsError

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot of a search.

    Attributes:
        name: a slug, such as `learning-curves`.
        title: what it shows, in words.
        summary: one to three sentences with the numbers: its text alternative; without a figure, why there is none.
        figure: a figure with a transparent background; None where there is nothing to draw.
    """

    name: str
    title: str
    summary: str
    figure: go.Figure | None


def drawn(name: str, title: str, draw: Callable[[], tuple[str, go.Figure | None]]) -> Plot:
    """Return the plot of what `draw` gives; where its data are not there, the sentence that says so.

    Args:
        name: its slug.
        title: what it shows.
        draw: returns summary and figure, or raises a ResultsError.
    """
    try:
        summary, figure = draw()
    except ResultsError as error:
        summary, figure = f"Not drawn: {error.message}.", None
    return Plot(name=name, title=title, summary=summary, figure=figure)
