"""What the search found, trial after trial and epoch after epoch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.cells import counted
from analysis.expected_best import best_so_far
from analysis.plots import style
from analysis.search_rows import BAD, Reports, Search, SearchTrial
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.paths import TrialKey

MOST_CURVES = 300
"""Learning curves that are drawn, at most."""
_FINALISTS = 5
_SEED = 20140610
_AXIS = "validation log-likelihood, nats"


def history(search: Search) -> tuple[str, go.Figure]:
    """Return summary and figure of the values by the trials' order, with the best so far.

    Raises:
        ResultsError: when no trial has ended.
    """
    ended = [t for t in search.trials if t.status not in schema.UNFINISHED]
    if not ended:
        raise ResultsError(f"no search trial of {search.run} has ended: {search.counts}")
    order = {t.key: i for i, t in enumerate(search.trials)}
    bad = [t for t in ended if t.status in BAD]
    figure = make_subplots(
        rows=2 if bad else 1,
        shared_xaxes=True,
        row_heights=[0.86, 0.14] if bad else [1.0],
        vertical_spacing=0.03,
    )
    hidden, low = 0, 0.0
    if search.valued:
        low, high, hidden = style.view([t.value for t in search.valued if t.value is not None])
        for status, symbol in ((schema.STOPPED, "circle-open"), (schema.COMPLETE, "circle")):
            own = [t for t in search.valued if t.status == status]
            if own:
                figure.add_trace(_dots(own, order, status, symbol, style.scatter(len(search.trials))), row=1, col=1)
        figure.add_trace(
            style.scatter(len(search.trials))(
                x=np.arange(len(search.trials), dtype=np.int32),
                y=style.numbers(best_so_far(search)),
                mode="lines",
                line={"shape": "hv", "color": style.ORANGE, "width": 2},
                name="best so far",
                hoverinfo="skip",
            ),
            row=1,
            col=1,
        )
        figure.update_yaxes(title_text=_AXIS, range=[low, high], row=1, col=1)
    for status in BAD:
        own = [t for t in bad if t.status == status]
        if own:
            figure.add_trace(_lost(own, order, status, style.scatter(len(search.trials))), row=2, col=1)
    if bad:
        figure.update_yaxes(showgrid=False, showticklabels=False, row=2, col=1)
    figure.update_xaxes(title_text="trial, in the order tried", row=2 if bad else 1, col=1)
    return _history_words(search) + style.below(hidden, low), style.styled(figure, height=460)


def _history_words(search: Search) -> str:
    words = f"{counted(len(search.trials), 'trial')}: {search.counts}."
    if not search.valued:
        return f"{words} None has a value."
    best = max(search.valued, key=lambda t: t.value or 0.0)
    return (
        f"{words} The highest value under the report protocol is {best.value:.4g} nats, of trial {best.number} "
        f"({best.key.config_id}); it is the highest of many, and optimistic."
    )


def _dots(own: Sequence[SearchTrial], order: Mapping[TrialKey, int], status: str, symbol: str, kind: type[Any]) -> Any:
    return kind(
        x=np.array([order[t.key] for t in own], dtype=np.int32),
        y=style.numbers([t.value for t in own]),
        mode="markers",
        marker={"color": style.STATUS[status], "symbol": symbol, "size": 8, "opacity": 0.9},
        name=status,
        customdata=[[t.key.config_id, _epochs(t)] for t in own],
        hovertemplate="trial %{x} · %{customdata[0]}<br>%{y:.5g} nats · %{customdata[1]}<extra></extra>",
    )


def _lost(own: Sequence[SearchTrial], order: Mapping[TrialKey, int], status: str, kind: type[Any]) -> Any:
    return kind(
        x=np.array([order[t.key] for t in own], dtype=np.int32),
        y=[status] * len(own),
        mode="markers",
        marker={"color": style.STATUS[status], "symbol": "x", "size": 7},
        name=status,
        customdata=[[t.key.config_id, _epochs(t)] for t in own],
        hovertemplate=f"trial %{{x}} · %{{customdata[0]}}<br>{status} · %{{customdata[1]}}<extra></extra>",
    )


def _epochs(trial: SearchTrial) -> str:
    return f"{'?' if trial.epochs is None else trial.epochs} of {trial.budget} epochs"


def learning_curves(search: Search, reports: Reports, confirmed: Collection[str]) -> tuple[str, go.Figure]:
    """Return summary and figure of the reports by epoch: finalists strong, trials stopped early thin, with the rungs.

    Args:
        search: the search.
        reports: its reports.
        confirmed: config_ids of the finalists; without any the best trials take their place.

    Raises:
        ResultsError: when no trial has a report.
    """
    reported = [t for t in search.trials if reports.get(t.key)]
    if not reported:
        raise ResultsError(f"no search trial of {search.run} has a report with a value")
    ranked = sorted(search.valued, key=lambda t: -(t.value or 0.0))
    named = [t for t in ranked if t.key.config_id in confirmed] or ranked
    strong = [t for t in named if reports.get(t.key)][:_FINALISTS]
    apart = {t.key for t in strong}
    rest = [t for t in reported if t.key not in apart]
    shown = _thinned(rest)
    values = [value for t in (*shown, *strong) for _, value in reports[t.key]]
    low, high, hidden = style.view(values)
    figure = style.figure(
        *_bundles(shown, reports),
        *(_strong(t, reports, colour) for t, colour in zip(strong, style.LINES, strict=False)),
        height=460,
        xaxis={"title": "epoch"},
        yaxis={"title": _AXIS, "range": [low, high]},
    )
    rungs = search.plan.rungs if search.plan else ()
    for rung in rungs:
        figure.add_vline(x=rung, line={"color": style.GREY, "width": 1, "dash": "dot"})
    words = f"Reports of {counted(len(reported), 'trial')} by epoch"
    if len(shown) < len(rest):
        words += f", of which {len(shown)} chosen at random and the {len(strong)} strong ones are drawn"
    words += f"; strong lines are {'finalists' if named is not ranked else 'the best trials'}."
    if rungs and search.plan:
        words += f" Dotted: epochs at which {search.plan.scheduler} decides, {', '.join(f'{r:g}' for r in rungs)}."
    return words + style.below(hidden, low), figure


def _thinned(trials: list[SearchTrial]) -> list[SearchTrial]:
    if len(trials) <= MOST_CURVES:
        return trials
    chosen = np.random.default_rng(_SEED).choice(len(trials), MOST_CURVES, replace=False)
    return [trials[i] for i in sorted(chosen)]


def _bundles(trials: Sequence[SearchTrial], reports: Reports) -> list[go.Scatter]:
    """Return one trace a status, with gaps between its trials: a trace each would make a heavy figure."""
    traces = []
    for status, colour in style.STATUS.items():
        x: list[float | None] = []
        y: list[float | None] = []
        names: list[str] = []
        for trial in trials:
            if trial.status == status:
                epochs, values = zip(*reports[trial.key], strict=True)
                x += [*epochs, None]
                y += [*values, None]
                names += [trial.key.config_id] * (len(epochs) + 1)
        if x:
            traces.append(
                go.Scatter(
                    x=style.numbers(x),
                    y=style.numbers(y),
                    mode="lines",
                    line={"color": colour, "width": 1.5},
                    opacity=min(0.8, max(0.2, 20 / len(trials))),
                    name=status,
                    customdata=names,
                    hovertemplate="%{customdata}<br>epoch %{x}: %{y:.5g} nats<extra></extra>",
                )
            )
    return traces


def _strong(trial: SearchTrial, reports: Reports, colour: str) -> go.Scatter:
    epochs, values = zip(*reports[trial.key], strict=True)
    return go.Scatter(
        x=style.numbers(epochs),
        y=style.numbers(values),
        mode="lines+markers",
        marker={"size": 6},
        line={"color": colour, "width": 3},
        name=trial.key.config_id,
        hovertemplate=f"{trial.key.config_id}<br>epoch %{{x}}: %{{y:.5g}} nats<extra></extra>",
    )
