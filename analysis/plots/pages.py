"""Plots as HTML pages that open without a network: one a plot, one with all, and Plotly's script beside them."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.offline

from analysis.plots.plot import Plot
from analysis.plots.style import CSS
from gansearch import storage
from gansearch.storage import Location

CONFIG = {"responsive": True, "displayModeBar": False}
"""Of each figure: drag to zoom, double click for the whole."""
SCRIPT = "plotly.min.js"
INDEX = "index.html"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }}
body {{ color: #222; background: #fff; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.15rem; margin: 2rem 0 .3rem; }} figure {{ margin: 0; }}
figcaption, .none {{ color: #555; }} figcaption, .none {{ overflow-wrap: anywhere; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #ddd; background: #121212; }} figcaption, .none {{ color: #bbb; }}
}}
{css}</style>
<script src="{script}"></script>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_pages(plots: Sequence[Plot], folder: Location, title: str) -> list[Location]:
    """Write plots to a folder: `<name>.html` each, `index.html` with all, and Plotly's script; return the files.

    Args:
        plots: the plots.
        folder: where to; files of these names are replaced.
        title: of the pages.

    Raises:
        ResultsError: when the folder cannot be written.
    """
    files = {SCRIPT: plotly.offline.get_plotlyjs()}
    for plot in plots:
        files[f"{plot.name}.html"] = page(f"{plot.title} - {title}", fragment(plot, heading=False))
    files[INDEX] = page(title, "\n".join(fragment(plot) for plot in plots))
    written = []
    for name, text in files.items():
        storage.write_text(folder / name, text)
        written.append(folder / name)
    return written


def page(title: str, body: str) -> str:
    """Return a whole HTML page that finds Plotly's script beside itself."""
    return _PAGE.format(title=html.escape(title), body=body, script=SCRIPT, css=CSS)


def fragment(plot: Plot, *, heading: bool = True) -> str:
    """Return a plot as HTML for a page that has Plotly's script: heading, figure and summary."""
    head = f"<h2>{html.escape(plot.title)}</h2>\n" if heading else ""
    summary = html.escape(plot.summary)
    if plot.figure is None:
        return f'<section>\n{head}<p class="none">{summary}</p>\n</section>'
    drawn = plot.figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"plot-{plot.name}", config=CONFIG)
    return (
        f'<section>\n{head}<figure>\n<div role="img" aria-label="{summary}">{drawn}</div>\n'
        f"<figcaption>{summary}</figcaption>\n</figure>\n</section>"
    )
