"""Interactive figures as data that the page's script draws when they are scrolled to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from analysis.report.embedding import inert
from analysis.report.section import Content
from analysis.report.sources import Sources

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.plots import Plot

_CURVES, FINALISTS, COSTS = "learning-curves", "seeds", "costs"
_FONTS = ("labelfont", "tickfont")
"""What a trace says of colours of text, which are the page's."""
_HEIGHT = 440
"""Pixels, where a figure does not say."""
_MOST_POINTS_IN_SVG = 5_000
"""With more, drawing on the graphics card (WebGL) is faster; up to here SVG is sharper and prints."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure as the page holds it.

    Attributes:
        name: part of its id.
        title: its heading.
        summary: what it shows, in sentences: below it, and in its place for who cannot see it.
        height: in pixels.
        json: data and layout for Plotly, safe inside a script element; None where there is nothing to draw.
    """

    name: str
    title: str
    summary: str
    height: int
    json: str | None


def search(sources: Sources) -> Content:
    """Return the figures of the search, but for those that stand in sections of their own.

    Raises:
        UserError: when there are none.
    """
    own = (_CURVES, FINALISTS, COSTS)
    return {"drawings": [_drawing(plot) for name, plot in sources.plots.get().items() if name not in own]}


def curves(sources: Sources) -> Content:
    """Return the learning curves.

    Raises:
        UserError: when there are none.
    """
    return {"drawings": [_drawing(sources.plots.get()[_CURVES])]}


def drawing(sources: Sources, name: str) -> Drawing | None:
    """Return a figure by its name; None where no figure can be made."""
    return None if sources.plots.value is None else _drawing(sources.plots.value[name])


def _drawing(plot: Plot) -> Drawing:
    """Return a figure as the page holds it; its colours are those of the page, so its template is left out."""
    height = _HEIGHT if plot.figure is None else int(plot.figure.layout.height or _HEIGHT)
    json = None if plot.figure is None else inert(_json(plot.figure))
    return Drawing(name=plot.name, title=plot.title, summary=plot.summary, height=height, json=json)


def _json(figure: go.Figure) -> str:
    from plotly.io.json import to_json_plotly

    plain: dict[str, Any] = figure.to_plotly_json()
    layout = {key: value for key, value in plain["layout"].items() if key not in ("template", "title")}
    for trace in plain["data"]:
        for name in _FONTS:
            trace.pop(name, None)
    if not _is_large(figure):
        for trace in plain["data"]:
            trace["type"] = trace.get("type", "scatter").removesuffix("gl")
    return str(to_json_plotly({"data": plain["data"], "layout": layout}, engine="json"))


def _is_large(figure: go.Figure) -> bool:
    return sum(0 if getattr(trace, "x", None) is None else len(trace.x) for trace in figure.data) > _MOST_POINTS_IN_SVG


def needs_webgl(sources: Sources) -> bool:
    """Return whether a figure is drawn by the graphics card, for which Plotly compiles code in the page."""
    found = [] if sources.plots.value is None else list(sources.plots.value.values())
    return any(
        trace.type == "parcoords" or (trace.type.endswith("gl") and _is_large(plot.figure))
        for plot in found
        if plot.figure is not None
        for trace in plot.figure.data
    )
