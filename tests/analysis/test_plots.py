"""The plots of a search: what they hold, and that no run breaks them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from analysis.costs import costs
from analysis.expected_best import expected_best
from analysis.funnel import funnel
from analysis.importance import importance_of
from analysis.planned_search import Parameter
from analysis.plots import TITLES, Plot, search_plots
from analysis.plots.history import MOST_CURVES, history, learning_curves
from analysis.plots.pages import fragment, page, write_pages
from analysis.plots.parameters import MOST_LINES, importances, marginals, pairs, parallel
from analysis.plots.spending import MOST_TIMED, budget, timeline
from analysis.plots.style import ticks, view
from analysis.search_rows import read_search, search_reports
from gansearch import schema
from tests.analysis.funnel_runs import PAPER, QUICK, four_finalists, write_funnel
from tests.analysis.rows import config
from tests.analysis.search_runs import mixed_rows, planned, search_of, search_row, tried, write_search

HOSTILE = "</script><script>document.title='broken'</script><b>&\"'%{x}"
SINGLE = 1e-6
"""Figures hold 32-bit floats."""
SMALL = 3_000_000
"""Bytes of all figures of a search of 10,000 trials, at most."""


def _figure(plots: Sequence[Plot], name: str) -> go.Figure:
    figure = next(p.figure for p in plots if p.name == name)
    assert figure is not None
    return figure


def _trace(figure: go.Figure, name: str) -> Any:
    (trace,) = (t for t in figure.data if t.name == name)
    return trace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, curves = mixed_rows(20)
    return write_search(tmp_path_factory.mktemp("runs") / "searched", rows, curves=curves)


@pytest.fixture(scope="module")
def plots(run: Path) -> tuple[Plot, ...]:
    return search_plots(run)


def test_every_plot_is_there_in_its_order_with_words(plots: tuple[Plot, ...]) -> None:
    assert {p.name: p.title for p in plots} == TITLES
    assert [p.name for p in plots] == list(TITLES)
    for p in plots:
        assert p.summary.endswith(".")
        assert "\n" not in p.summary
    assert [p.name for p in plots if p.figure is None] == ["seeds"]


def test_backgrounds_are_transparent(plots: tuple[Plot, ...]) -> None:
    for p in plots:
        if p.figure is not None:
            layout = p.figure.layout.template.layout
            assert (layout.paper_bgcolor, layout.plot_bgcolor) == ("rgba(0,0,0,0)", "rgba(0,0,0,0)")
            assert p.figure.layout.paper_bgcolor is None
            assert p.figure.layout.plot_bgcolor is None


def test_history_shows_each_trial_where_it_ended(run: Path, plots: tuple[Plot, ...]) -> None:
    figure, search = _figure(plots, "history"), read_search(run)
    complete = _trace(figure, "COMPLETE")
    wanted = [t for t in search.trials if t.status == schema.COMPLETE]
    assert list(complete.x) == [t.number for t in wanted]
    np.testing.assert_allclose(complete.y, [t.value for t in wanted if t.value is not None], rtol=SINGLE)
    assert list(_trace(figure, "DIVERGED").x) == [4]
    best = _trace(figure, "best so far").y
    assert best[-1] == pytest.approx(max(t.value for t in search.valued if t.value is not None), rel=SINGLE)
    assert (np.diff(best) >= 0).all()


def test_learning_curves_show_finalists_strong_and_the_rungs(run: Path) -> None:
    search, reports = read_search(run), search_reports(run)
    chosen = search.trials[2].key.config_id
    words, figure = learning_curves(search, reports, {chosen})
    strong = _trace(figure, chosen)
    assert [(int(x), float(y)) for x, y in zip(strong.x, strong.y, strict=True)] == reports[search.trials[2].key]
    assert strong.line.width > _trace(figure, "STOPPED").line.width
    assert [shape.x0 for shape in figure.layout.shapes] == [3.0, 6.0]
    assert "asha decides, 3, 6" in words


def test_the_expected_best_is_that_of_the_estimator(run: Path, plots: tuple[Plot, ...]) -> None:
    found, figure = expected_best(run), _figure(plots, "expected-best")
    np.testing.assert_allclose(_trace(figure, "expected best").y, [b.best for b in found.curve], rtol=SINGLE)
    actual = _trace(figure, "best so far, as it went").y
    assert actual[-1] == pytest.approx(found.curve[-1].best, rel=SINGLE)


def test_an_adaptive_search_shows_what_it_found_with_the_label(tmp_path: Path) -> None:
    rows, _ = mixed_rows(9)
    words, figure = budget(read_search(write_search(tmp_path / "run", rows, searcher="tpe")))
    assert "not an expectation" in words
    assert "searched by tpe" in words
    (trace,) = figure.data
    assert trace.name == "best so far, as this one search went"


def test_costs_show_every_hour(run: Path, plots: tuple[Plot, ...]) -> None:
    figure, found = _figure(plots, "costs"), costs(run)
    spent = sum(float(np.sum(t.x)) for t in figure.data if t.name in schema.STATUSES)
    assert spent == pytest.approx(found.cpu_hours, rel=SINGLE)
    (saved,) = (t for t in figure.data if t.name == "not run: ended by the scheduler")
    assert saved.x[0] == pytest.approx(found.saved[0].cpu_hours, rel=SINGLE)


def test_importances_show_shares_spreads_and_noise() -> None:
    search = search_of((tried(i, i % 7 + 0.1 * i, values=_abc(i)) for i in range(20)), planned())
    found = importance_of(search)
    _, figure = importances(search, found)
    (group,) = found.groups
    bars = _trace(figure, "fANOVA")
    assert list(bars.y) == [s.name.removeprefix("x.") for s in group.shares["fANOVA"]]
    np.testing.assert_allclose(bars.x, [s.share for s in group.shares["fANOVA"]], rtol=SINGLE)
    np.testing.assert_allclose(bars.error_x.array, [s.sd for s in group.shares["fANOVA"]], rtol=SINGLE)
    noise = _trace(figure, "PED-ANOVA: a made-up parameter").x
    assert set(noise.tolist()) == {np.float32(group.shares["PED-ANOVA"][0].noise)}


def _abc(i: int) -> dict[str, object]:
    return {"x.a": (i % 5) / 5, "x.b": (i % 11) / 11, "x.c": (7 * i % 20) / 20}


def test_seeds_of_the_confirmed_configurations(tmp_path: Path) -> None:
    run = write_funnel(tmp_path / "run", four_finalists())
    seeds = next(p for p in search_plots(run) if p.name == "seeds")
    assert seeds.figure is not None
    quick = funnel(run).leader
    assert quick.config_id == QUICK.config_id
    assert quick.valid is not None
    assert quick.valid.interval is not None
    points, mean = seeds.figure.data[:2]
    np.testing.assert_allclose(points.x, quick.valid.per_seed, rtol=SINGLE)
    half = (quick.valid.interval.high - quick.valid.interval.low) / 2
    assert mean.error_x.array[0] == pytest.approx(half, rel=SINGLE)
    assert f"{PAPER.config_id} (tied, paper)" in seeds.summary or f"{PAPER.config_id} (paper)" in seeds.summary
    assert "1 of 3 seeds bad" in seeds.summary


def test_a_run_without_a_plan_says_what_is_missing(tmp_path: Path) -> None:
    rows, curves = mixed_rows(12)
    found = {p.name: p for p in search_plots(write_search(tmp_path / "run", rows, curves=curves, space=None))}
    drawn = {name for name, p in found.items() if p.figure is not None}
    assert drawn == {"history", "learning-curves", "expected-best", "timeline", "costs"}
    for name in set(found) - drawn - {"seeds"}:
        assert "no plan file" in found[name].summary
    assert "no plan file" in found["expected-best"].summary
    assert "not an expectation" in found["expected-best"].summary


ENDS: Mapping[str, Mapping[str, Any]] = {
    "one completed": {},
    "one failed": {"status": schema.FAILED, "valid_ll_mean": None, "report_ll_mean": None},
    "one without a report that is a number": {"report_ll_mean": math.nan, "report_last_ll_mean": None},
    "one that runs": {"status": schema.RUNNING, "valid_ll_mean": None, "report_ll_mean": None, "run_seconds": None},
    "one without times": {"run_seconds": None, "run_started": None, "run_threads": None, "epochs": None},
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_of_one_trial_breaks_nothing(end: str, tmp_path: Path) -> None:
    run = write_search(tmp_path / "run", [{**search_row(0, 3.0, config()), **ENDS[end]}], curves={0: [None, 2.0]})
    for plot in search_plots(run):
        assert plot.summary.endswith(".")
        assert plot.figure is not None or plot.summary.startswith("Not drawn: ")


def test_a_run_of_failed_trials_breaks_nothing(tmp_path: Path) -> None:
    bad = {"status": schema.FAILED, "valid_ll_mean": None, "report_ll_mean": None, "error": HOSTILE}
    rows = [search_row(i, None, config(algorithm__k=1 + i), **bad) for i in range(5)]
    found = {p.name: p for p in search_plots(write_search(tmp_path / "run", rows))}
    assert {name for name, p in found.items() if p.figure is not None} == {"history", "timeline", "costs"}
    assert "5 trials: 5 FAILED. None has a value." in found["history"].summary
    assert "0 trials with a value" in found["importance"].summary


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    parameter = Parameter(name="x.choice", kind="choice", values=(HOSTILE, "plain"))
    trials = [tried(i, float(i % 5), values={"x.choice": (HOSTILE, "plain")[i % 2], "x.a": i / 14}) for i in range(14)]
    both = (parameter, Parameter(name="x.a", kind="float", low=0.0, high=1.0))
    search = search_of(trials, planned(both))
    drawn = [
        parallel(search),
        marginals(search),
        importances(search, importance_of(search)),
        pairs(search, importance_of(search)),
        history(search),
    ]
    for i, (words, figure) in enumerate(drawn):
        html = page(HOSTILE, fragment(Plot(name=f"p{i}", title=HOSTILE, summary=words, figure=figure)))
        assert "<script>document" not in html
        assert "<b>" not in html


def test_ten_thousand_trials_are_drawn_in_little_space() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(100, 20, 10_000)
    trials = [
        tried(
            i,
            float(value),
            values={name: float(v) for name, v in zip(("x.a", "x.b", "x.c"), generator.uniform(size=3), strict=True)},
            status=(schema.COMPLETE, schema.STOPPED, schema.DIVERGED)[i % 3],
        )
        for i, value in enumerate(values)
    ]
    search = search_of(trials, planned(scheduler="asha"))
    reports = {t.key: [(e, float(e)) for e in range(3, 13, 3)] for t in search.valued}
    found = importance_of(search_of(search.trials[:40], search.plan))
    drawn = {
        "history": history(search),
        "curves": learning_curves(search, reports, ()),
        "parallel": parallel(search),
        "marginals": marginals(search),
        "pairs": pairs(search, found),
        "importance": importances(search, found),
        "budget": budget(search),
        "timeline": timeline(search),
    }
    sizes = {name: len(figure.to_json()) for name, (_, figure) in drawn.items()}
    assert sum(sizes.values()) < SMALL, sizes
    assert f"of which {MOST_CURVES} chosen at random" in drawn["curves"][0]
    assert f"{MOST_LINES} of 6667 trials" in drawn["parallel"][0]
    assert f"({MOST_TIMED} of them drawn" in drawn["timeline"][0]


def test_a_view_shows_the_bulk_and_counts_the_rest() -> None:
    values = [*np.linspace(90, 110, 50).tolist(), -4000.0, -900.0]
    low, high, hidden = view(values)
    assert hidden == 2
    assert 0 < low < 90
    assert high > 110
    assert view([5.0])[2] == 0
    assert view([5.0])[0] < 5 < view([5.0])[1]


def test_ticks_of_a_logarithmic_axis_are_round() -> None:
    assert ticks(0.015, 0.4) == pytest.approx([0.02, 0.05, 0.1, 0.2], rel=1e-12)
    assert ticks(0.21, 0.22) == [0.21, 0.22]


def test_pages_open_beside_their_script(plots: tuple[Plot, ...], tmp_path: Path) -> None:
    files = write_pages(plots, tmp_path / "plots", "Plots of <run>")
    assert [f.name for f in files] == ["plotly.min.js", *(f"{name}.html" for name in TITLES), "index.html"]
    index = (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Plots of &lt;run&gt;</h1>" in index
    assert index.count("<figure>") == len([p for p in plots if p.figure is not None])
    assert 'role="img" aria-label="20 trials: ' in index
    assert b"plotly.js v" in (tmp_path / "plots" / "plotly.min.js").read_bytes()[:400]
