"""The pages of plots in a real browser: nothing is asked of a network, nothing is complained of, nothing is blank."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.plots import search_plots
from analysis.plots.pages import write_pages
from tests.analysis.search_runs import mixed_rows, write_search
from tests.browser import PHONE, Browser, browser, needs_browser

pytestmark = [pytest.mark.slow, needs_browser]

_MARKS = "document.querySelectorAll('#{id} svg path, #{id} svg rect, #{id} canvas').length"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_of_all_plots(dark: bool, tmp_path: Path) -> None:
    rows, curves = mixed_rows(20)
    plots = search_plots(write_search(tmp_path / "run", rows, curves=curves))
    write_pages(plots, tmp_path / "plots", "Plots of a run")
    drawn = [p for p in plots if p.figure is not None]
    with browser(tmp_path / "profile") as page:
        page.open(tmp_path / "plots" / "index.html", dark=dark)
        page.wait(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {len(drawn)}")
        assert page.said() == []
        assert [url.rpartition("/")[2] for url in page.asked_for()] == ["plotly.min.js"]
        for plot in drawn:
            assert page.js(f"return {_MARKS.format(id=f'plot-{plot.name}')}") > 10, plot.name
        _hover(page)
        page.resize(PHONE)
        assert page.wait("document.documentElement.scrollWidth <= window.innerWidth")
        colour = page.js("return getComputedStyle(document.querySelector('#plot-history .ytick text')).fill")
        assert colour == ("rgb(204, 204, 204)" if dark else "rgb(85, 85, 85)")


def _hover(page: Browser) -> None:
    place = page.js(
        "const p = document.querySelector('#plot-history .scatterlayer .point'); p.scrollIntoView({block: 'center'});"
        "const b = p.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2];"
    )
    page.move_to(*place)
    assert page.wait("document.querySelector('#plot-history .hoverlayer .hovertext')?.textContent").startswith("trial ")
