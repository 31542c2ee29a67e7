"""How the plots look: on a light page and a dark one, with colours that the colour-blind tell apart.

Colours are those of Okabe and Ito 2008, the blue lighter, to be seen on black. Text is of a grey that is read on white
and on black. A page may include `CSS`, which gives the text more contrast under a dark scheme.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from analysis.cells import counted
from gansearch import schema

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#2f86c5", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY, PALE = "#8c8c8c", "#b5b5b5"
INK = "#737373"
"""Of text: 4.7 to 1 against white, 4.4 to 1 against black."""
FAINT = "rgba(128, 128, 128, 0.25)"
LINES = (ORANGE, GREEN, PURPLE, RED, SKY)
"""Of what is to stand out, in this order."""
STATUS = {
    schema.COMPLETE: BLUE,
    schema.STOPPED: GREY,
    schema.COLLAPSED: PURPLE,
    schema.DIVERGED: RED,
    schema.FAILED: ORANGE,
    schema.INTERRUPTED: PALE,
    schema.RUNNING: PALE,
}
SCALE = [[0.0, "#22577e"], [0.5, "#8c8c8c"], [1.0, "#e8a317"]]
"""From low to high; each end is seen on white and on black."""
CSS = """\
.js-plotly-plot text { fill: #555 !important; }
.js-plotly-plot .hovertext text, .js-plotly-plot .legend text { font-size: 12px; }
.js-plotly-plot .hovertext text { fill: #fff !important; }
.js-plotly-plot .parcoords text { text-shadow: none !important; }
.js-plotly-plot .parcoords .axis path { stroke: #8c8c8c !important; }
@media (prefers-color-scheme: dark) {
  .js-plotly-plot text { fill: #ccc !important; }
  .js-plotly-plot .hovertext text { fill: #fff !important; }
}
"""
MOST_SVG = 3000
"""Points that a figure draws as SVG, at most; beyond they are drawn by WebGL."""
_TAILS = 3.0
_HEIGHT = 420


def template() -> go.layout.Template:
    """Return the template of all figures."""
    axis = {
        "gridcolor": FAINT,
        "zeroline": False,
        "linecolor": FAINT,
        "ticks": "outside",
        "ticklen": 5,
        "tickcolor": "rgba(0,0,0,0)",
        "automargin": True,
        "title": {"standoff": 8},
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": INK, "family": "system-ui, sans-serif", "size": 13},
            "colorway": [BLUE, ORANGE, GREEN, RED, SKY, PURPLE],
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "yref": "container", "yanchor": "top", "y": 1, "x": 0},
            "margin": {"l": 56, "r": 16, "t": 44, "b": 48},
            "hoverlabel": {"bgcolor": "#333", "font": {"color": "#fff"}, "bordercolor": "#333"},
            "hovermode": "closest",
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        }
    )


def figure(*traces: Any, height: int = _HEIGHT, **layout: Any) -> go.Figure:
    """Return a figure of traces in the house's template."""
    return styled(go.Figure(data=list(traces)), height=height, **layout)


def styled(made: go.Figure, height: int = _HEIGHT, **layout: Any) -> go.Figure:
    """Return a figure with the house's template in place of its own."""
    made.update_layout(template=template(), height=height, **layout)
    return made


def scatter(points: int) -> type[Any]:
    """Return the kind of trace for so many points: SVG, which prints and needs no graphics driver, while quick."""
    kind: type[Any] = go.Scatter if points <= MOST_SVG else go.Scattergl
    return kind


def label(text: object) -> str:
    """Return a text so that Plotly, which reads some HTML in labels, shows it as it stands."""
    return html.escape(str(text), quote=False)


def numbers(values: Sequence[float | None] | Any) -> Any:
    """Return values as an array of 32-bit floats, which a figure holds in few bytes: None is NaN, a gap."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float32)


def ticks(low: float, high: float) -> list[float]:
    """Return round values for a logarithmic axis between two values above 0: 1, 2 and 5 times the powers of ten."""
    exponents = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    found = [digit * 10.0**e for e in exponents for digit in (1, 2, 5)]
    return [value for value in found if low <= value <= high] or [low, high]


def spread(shares: Sequence[float], sds: Sequence[float]) -> dict[str, Any]:
    """Return error bars of shares, which end at 0."""
    down = [min(share, sd) for share, sd in zip(shares, sds, strict=True)]
    return {"array": numbers(sds), "arrayminus": numbers(down), "color": GREY, "width": 3}


def view(values: Sequence[float] | npt.NDArray[np.float64]) -> tuple[float, float, int]:
    """Return the ends of an axis that shows the bulk of some values, and how many lie below it.

    A few trials that go astray score thousands of nats below the others. The upper end is always shown.
    """
    found = np.asarray(values, dtype=np.float64)
    high, lower, upper = float(found.max()), *np.quantile(found, (0.25, 0.75))
    # Upwards from the lower quartile there may be little: half the trials may be bad.
    low = max(float(found.min()), float(lower - _TAILS * max(upper - lower, high - upper)))
    margin = 0.06 * (high - low) or max(abs(high) * 0.05, 0.5)
    return low - margin, high + margin, int((found < low).sum())


def below(count: int, low: float) -> str:
    """Return the sentence on values below an axis; empty when there are none."""
    return f" {counted(count, 'value')} below {low:.4g} nats: out of view." if count else ""
