"""The page in a real browser: it opens in silence and without a network, and everything on it that moves works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.report.page import report
from tests import browser as browsers
from tests.analysis import report_runs
from tests.browser import DESKTOP, PHONE, Browser

pytestmark = [pytest.mark.slow, browsers.needs_browser]

TEXT_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3 (AA), for text of ordinary size."""
THOUSANDS = 10_000

Made = Callable[[str], Path]

# Contrast of an element's text against the nearest background behind it; WCAG 2.2, definition of relative luminance.
CONTRAST = """
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parsed = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => {
  const [r, g, b] = parsed(colour).map(channel);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor, parts = parsed(colour);
    if (parts.length < 4 || parts[3] === 1) return colour;
  }
  return "rgb(255, 255, 255)";
};
const contrast = (element) => {
  const pair = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (own && !element.closest(".canvas, script, style, noscript") && element.checkVisibility()) {
    found.push([contrast(element), element.outerHTML.slice(0, 80)]);
  }
}
return found.sort((a, b) => a[0] - b[0]);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Run one browser for all tests."""
    with browsers.browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what gives the page of a kind of run, made once."""
    folder = tmp_path_factory.mktemp("pages")
    makers: dict[str, Callable[[], Path]] = {
        "full": lambda: report_runs.full(folder / "digits-run"),
        "one-trial": lambda: report_runs.one_trial(folder / "one-trial"),
        "failed-only": lambda: report_runs.failed_only(folder / "failed-only"),
        "hostile": lambda: report_runs.hostile(folder),
        "thousands": lambda: report_runs.thousands(folder / "thousands", THOUSANDS),
    }

    def make(kind: str) -> Path:
        path = folder / f"{kind}.html"
        if not path.exists():
            path.write_text(report(makers[kind]()), encoding="utf-8")
        return path

    return make


def _draw_everything(browser: Browser) -> int:
    """Scroll to every figure and wait until it is drawn; return how many there are."""
    figures = browser.all(".canvas")
    for figure in figures:
        browser.js("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", figure)
        browser.wait("Boolean(arguments[0].querySelector('.main-svg'))", figure)
    return len(figures)


def _heads(browser: Browser) -> list[str]:
    code = "return [...document.querySelectorAll('#trials-table thead button')].map(b => b.textContent)"
    return [str(name) for name in browser.js(code)]


def _column(browser: Browser, label: str) -> list[str]:
    """Return the cells of a column of the table of trials, as they stand there."""
    rows = "[...document.querySelectorAll('#trials-table tbody tr')]"
    cells = browser.js(f"return {rows}.map(row => row.cells[arguments[0]].textContent)", _heads(browser).index(label))
    return [str(cell) for cell in cells]


def _numbers(cells: list[str]) -> list[float]:
    return [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in cells if cell]


@pytest.mark.parametrize("kind", ["full", "one-trial", "failed-only", "hostile", "thousands"])
def test_it_opens_in_silence_without_a_network_and_is_not_blank(kind: str, browser: Browser, made: Made) -> None:
    browser.open(made(kind))
    drawn = _draw_everything(browser)
    assert drawn > 3 or kind in ("one-trial", "failed-only")
    browser.wait("document.querySelectorAll('#trials-table tbody tr').length > 0")
    assert browser.said() == []
    assert browser.asked_for() == []
    sections = browser.js("return [...document.querySelectorAll('main section')].map(s => s.innerText.trim().length)")
    assert len(sections) == 9
    assert min(sections) > 40
    assert browser.js("return window.pwned") is None


def test_hostile_texts_stand_there_as_text(browser: Browser, made: Made) -> None:
    browser.open(made("hostile"))
    name = browser.js("return document.querySelector('h1').textContent")
    assert name == '"><img src=x onerror="window.pwned=5">\\u202e'
    assert browser.js("return document.title").startswith(name)
    cells = {cell for label in _heads(browser) for cell in _column(browser, label)}
    assert report_runs.HOSTILE[0] in cells


def test_a_script_that_is_not_the_pages_own_does_not_run(browser: Browser, made: Made, tmp_path: Path) -> None:
    """The policy is a second wall behind escaping: here the first one is torn down."""
    text = made("one-trial").read_text(encoding="utf-8")
    picture = "<img src='https://example.org/a.png'>"
    broken = f"<script>window.pwned = 6</script><img src=x onerror='window.pwned = 7'>{picture}"
    path = tmp_path / "broken.html"
    path.write_text(text.replace("</main>", f"{broken}</main>"), encoding="utf-8")
    browser.open(path)
    assert browser.js("return window.pwned") is None
    refused = browser.said()
    assert len([line for line in refused if "Content Security Policy" in line]) >= 3


def test_a_figure_tells_what_lies_under_the_pointer(browser: Browser, made: Made) -> None:
    browser.open(made("full"))
    _draw_everything(browser)
    figure = browser.find("#plot-seeds .canvas")
    browser.js("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", figure)
    x, y = browser.js(
        "const box = arguments[0].querySelector('.scatterlayer .point').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]",
        figure,
    )
    browser.move_to(x, y)
    shown = "[...arguments[0].querySelectorAll('.hoverlayer text')].map(t => t.textContent).join(' ')"
    text = browser.wait(shown, figure)
    assert "nats" in text


def test_filters_and_sorting(browser: Browser, made: Made) -> None:
    browser.open(made("full"))
    count = browser.find("#trials-count")
    assert count.text == "17 trials"
    assert (count.get_attribute("role"), count.get_attribute("aria-live")) == ("status", "polite")
    scores = _numbers(_column(browser, "Validation, nats"))
    assert scores == sorted(scores, reverse=True)

    browser.choose("#trials-stage", "confirm")
    assert count.text == "12 of 17 trials fit"
    assert set(_column(browser, "Stage")) == {"confirm"}
    browser.choose("#trials-status", "DIVERGED")
    assert count.text == "3 of 17 trials fit"
    browser.write("#trials-text", "no such text")
    assert count.text == "No trial fits the filters."
    assert not browser.all("#trials-table tbody tr")
    browser.find(".filters button[type=reset]").click()
    browser.wait("document.getElementById('trials-count').textContent === '17 trials'")
    browser.write("#trials-text", "algorithm.k=2 SEARCH")
    assert count.text == "2 of 17 trials fit"
    assert set(_column(browser, "algorithm.k")) == {"2"}
    browser.find(".filters button[type=reset]").click()
    browser.wait("document.getElementById('trials-count').textContent === '17 trials'")

    for label, first in (("momentum.lr_g", "ascending"), ("Validation, nats", "descending")):
        for direction in (first, "ascending" if first == "descending" else "descending"):
            head = browser.all("#trials-table thead th")[_heads(browser).index(label)]
            browser.js("arguments[0].querySelector('button').click()", head)
            values = _numbers(_column(browser, label))
            assert values == sorted(values, reverse=direction == "descending")
            assert head.get_attribute("aria-sort") == direction
            assert len(browser.all("#trials-table thead th[aria-sort]")) == 1
    assert len(_numbers(_column(browser, "Validation, nats"))) < 17
    assert not any(_column(browser, "Validation, nats")[-3:]), "what has no value stands last"


def test_ten_thousand_trials_can_be_looked_through(browser: Browser, made: Made) -> None:
    browser.open(made("thousands"))
    count = browser.find("#trials-count")
    assert count.text == "10,000 trials; the first 100 are shown"
    assert len(browser.all("#trials-table tbody tr")) == 100
    browser.js("document.getElementById('trials-more').click()")
    assert count.text == "10,000 trials; the first 600 are shown"
    assert len(browser.all("#trials-table tbody tr")) == 600
    browser.choose("#trials-status", "STOPPED")
    assert count.text == "3,334 of 10,000 trials fit; the first 100 are shown"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_is_read_on_light_and_on_dark(dark: bool, browser: Browser, made: Made) -> None:
    browser.open(made("full"), dark=dark)
    background = browser.js("return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
    assert max(background) < 60 if dark else min(background) > 240
    browser.js("for (const details of document.querySelectorAll('details')) details.open = true")
    found = browser.js(CONTRAST)
    assert len(found) > 200
    assert [entry for entry in found if entry[0] < TEXT_CONTRAST] == []


def test_figures_follow_the_scheme_when_it_changes(browser: Browser, made: Made) -> None:
    browser.open(made("full"))
    _draw_everything(browser)
    ink = "getComputedStyle(document.querySelector('#plot-history .xtick text')).fill"
    light = browser.js(f"return {ink}")
    browser.emulate(dark=True)
    browser.wait(f"{ink} !== arguments[0]", light)
    dark = browser.js(f"return {ink}")
    assert sum(map(int, re.findall(r"\d+", light)[:3])) < 200
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) > 600
    assert browser.said() == []


@pytest.mark.parametrize("kind", ["full", "failed-only", "hostile"])
def test_on_a_phone_nothing_is_wider_than_the_screen(kind: str, browser: Browser, made: Made) -> None:
    browser.open(made(kind), PHONE)
    assert browser.js("return innerWidth") == PHONE[0]
    assert _draw_everything(browser) or kind != "full"
    browser.js("for (const details of document.querySelectorAll('details')) details.open = true")
    assert browser.js("return document.documentElement.scrollWidth") <= PHONE[0]
    svgs = "[...document.querySelectorAll('.canvas .main-svg')]"
    assert all(right <= PHONE[0] for right in browser.js(f"return {svgs}.map(s => s.getBoundingClientRect().right)"))
    assert browser.said() == []


def test_it_prints_with_every_figure_on_paper_that_is_light(browser: Browser, made: Made) -> None:
    browser.open(made("full"), dark=True)
    browser.wait("document.readyState === 'complete'")
    pdf = browser.print()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1
    figures = len(browser.all(".canvas"))
    assert len(browser.all(".canvas.js-plotly-plot")) == figures > 3, "printing draws what was not scrolled to"
    browser.wait("document.querySelectorAll('details[open]').length === 0")
    assert browser.said() == []


def test_the_keyboard_reaches_what_can_be_done(browser: Browser, made: Made) -> None:
    browser.open(made("full"), DESKTOP)
    reached = []
    for _ in range(3):
        browser.press_tab()
        reached.append(browser.js("return document.activeElement.textContent.trim()"))
    assert reached == ["Skip to the report", "Summary", "Table 1"]
    assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert browser.js("return [...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0)")
    names = browser.js(
        "return [...document.querySelectorAll('button, a, input, select')]"
        ".filter(e => e.checkVisibility() && !e.closest('.canvas'))"
        ".map(e => e.textContent.trim() || (e.labels && e.labels[0] ? e.labels[0].textContent.trim() : ''))"
    )
    assert all(names)
