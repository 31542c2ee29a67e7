"""What the search says of its hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import surrogates
from analysis.dependence import Marginal, dependence, parameters_named, surface
from analysis.importance import EVALUATORS, FANOVA, Group, Importance
from analysis.planned_search import Parameter
from analysis.plots import style
from analysis.search_rows import Search, SearchTrial
from analysis.surrogates import Sample, Surrogate
from gansearch import schema
from gansearch.errors import ResultsError

MOST_LINES = 1000
"""Lines in parallel coordinates, at most."""
MOST_PAIRS = 4
MOST_POINTS = 400
"""Trials that each panel shows as points, at most."""
_MOST_INTERACTIONS = 10
_COLUMNS = 2
_SEED = 20140610
_WHOLE = 10
"""Integers on an axis, at most, that are each named."""
_ABSENT = 0.15
"""How far below an axis those stand that have no value on it, in lengths of the axis."""
_POOR = 0.2
"""R2 out of bag below which a forest is called poor."""


def parallel(search: Search) -> tuple[str, go.Figure]:
    """Return summary and figure of the trials as lines through their parameters' values, which can be chosen by ranges.

    Optuna's own has no such choice, and draws its best or its worst trials in white.

    Raises:
        ResultsError: when the run has no plan, or fewer than two trials have a value.
    """
    plan = search.need_plan()
    trials = search.valued
    if len(trials) < 2:
        raise ResultsError(f"{search.run} has {len(trials)} trials with a value, and a line alone shows nothing")
    if len(trials) > MOST_LINES:
        chosen = np.random.default_rng(_SEED).choice(len(trials), MOST_LINES, replace=False)
        trials = tuple(trials[i] for i in sorted(chosen))
    values = [t.value for t in trials if t.value is not None]
    low, high, hidden = style.view(values)
    figure = style.figure(
        go.Parcoords(
            dimensions=[
                *(_dimension(p, plan.parameters, trials) for p in plan.parameters),
                {"label": "nats", "values": style.numbers(np.maximum(values, low)), "range": [low, high]},
            ],
            line={
                "color": style.numbers(values),
                "colorscale": style.SCALE,
                "cmin": low,
                "cmax": high,
                "showscale": True,
                "colorbar": {"title": {"text": "nats"}, "thickness": 12},
            },
            labelfont={"color": style.INK, "size": 13},
            tickfont={"color": style.INK, "size": 11},
            rangefont={"color": "rgba(0,0,0,0)", "size": 1},
            labelangle=-20,
            unselected={"line": {"opacity": 0.05}},
        ),
        height=460,
        margin={"l": 60, "r": 60, "t": 90, "b": 24},
    )
    drawn = f"{len(trials)} of {len(search.valued)}" if len(trials) < len(search.valued) else str(len(trials))
    best = max(search.valued, key=lambda t: t.value or 0.0)
    shown = ", ".join(f"{n} {_shown(search, n, v)}" for n, v in best.values.items())
    words = f"{drawn} trials, a line each; drag along an axis to choose some. The best one has {shown}."
    return words + style.below(hidden, low), figure


def _dimension(parameter: Parameter, parameters: Sequence[Parameter], trials: Sequence[SearchTrial]) -> dict[str, Any]:
    """Return a parameter's axis; trials in which it does not act stand below its lowest value, at `none`."""
    first, last = parameter.ends
    absent = first - _ABSENT * (last - first)
    places = [
        parameter.place(t.values[parameter.name])
        if parameter.name in t.values and parameter.holds(t.values[parameter.name])
        else absent
        for t in trials
    ]
    if parameter.kind == "choice":
        ticks = {float(i): style.label(parameter.show(v)) for i, v in enumerate(parameter.values)}
    elif parameter.log:
        ticks = {parameter.place(v): f"{v:g}" for v in style.ticks(parameter.low, parameter.high)}
    elif parameter.kind == "int" and last - first <= _WHOLE:
        ticks = {float(v): f"{v}" for v in range(int(first), int(last) + 1)}
    else:
        ticks = {float(v): f"{v:.3g}" for v in np.linspace(first, last, 5)}
    missing = absent in places
    if missing:
        ticks = {absent: "none", **ticks}
    return {
        "label": _short(parameters, parameter.name),
        "values": style.numbers(places),
        "range": [absent if missing else first, last if last > first else first + 1],
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
    }


def _short(parameters: Sequence[Parameter], name: str) -> str:
    """Return a name without its section where that is plain."""
    ending = name.rpartition(".")[2]
    return ending if sum(p.name.endswith(f".{ending}") for p in parameters) == 1 else name


def _shown(search: Search, name: str, value: object) -> str:
    return next(p for p in search.parameters if p.name == name).show(value)


def marginals(search: Search) -> tuple[str, go.Figure]:
    """Return summary and figure of the outcome against each parameter: the trials, and a forest's partial dependence.

    Raises:
        ResultsError: as `dependence`.
    """
    found = dependence(search)
    panels = [(surrogate, m) for surrogate, own in found for m in own]
    rows = math.ceil(len(panels) / _COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=_COLUMNS,
        subplot_titles=[_title(surrogate, m) for surrogate, m in panels],
        horizontal_spacing=0.12,
        vertical_spacing=min(0.28 / rows, 0.2),
    )
    low, high, hidden = style.view(np.concatenate([s.sample.values for s, _ in found]))
    for i, (surrogate, m) in enumerate(panels):
        row, column = divmod(i, _COLUMNS)
        for trace in _marginal(surrogate, m, first=i == 0):
            figure.add_trace(trace, row=row + 1, col=column + 1)
        figure.update_xaxes(**_axis(m.parameter), row=row + 1, col=column + 1)
        figure.update_yaxes(range=[low, high], title_text="nats" if column == 0 else None, row=row + 1, col=column + 1)
    style.styled(figure, height=110 + 220 * rows, margin={"t": 76})
    spans = sorted(((float(np.ptp(m.values)), m.parameter.name) for _, m in panels), reverse=True)
    words = f"The forest's mean moves most along {spans[0][1]}, by {spans[0][0]:.3g} nats. {_trust(found[0][0])}"
    return words + style.below(hidden, low), figure


def _title(surrogate: Surrogate, m: Marginal) -> str:
    where = f" (where {surrogate.sample.where})" if surrogate.sample.where else ""
    return style.label(f"{_short(surrogate.sample.parameters, m.parameter.name)}{where}")


def _trust(surrogate: Surrogate) -> str:
    """Return what the forest is worth, in a sentence."""
    trials = len(surrogate.sample.trials)
    words = f"Of trials that it has not seen the forest explains {max(surrogate.r2, 0.0):.0%} of the variance"
    words += f" (R² out of bag {surrogate.r2:.2f}, {trials} trials)"
    return f"{words}: too little to believe its lines." if surrogate.r2 < _POOR else f"{words}."


def _marginal(surrogate: Surrogate, m: Marginal, first: bool) -> list[Any]:
    sample = surrogate.sample
    column = sample.parameters.index(m.parameter)
    traces: list[Any] = []
    for status, symbol in ((schema.STOPPED, "circle-open"), (schema.COMPLETE, "circle")):
        chosen = [i for i in _drawn(sample) if sample.trials[i].status == status]
        if chosen:
            traces.append(
                go.Scatter(
                    x=_values(m.parameter, sample.places[chosen, column]),
                    y=style.numbers(sample.values[chosen]),
                    mode="markers",
                    marker={"color": style.STATUS[status], "symbol": symbol, "size": 6, "opacity": 0.75},
                    name=status,
                    legendgroup=status,
                    showlegend=first,
                    customdata=[sample.trials[i].key.config_id for i in chosen],
                    hovertemplate="%{customdata}<br>%{x}: %{y:.5g} nats<extra></extra>",
                )
            )
    traces.append(
        go.Scatter(
            x=_values(m.parameter, m.places),
            y=style.numbers(m.values),
            mode="lines+markers" if m.parameter.kind != "float" else "lines",
            line={"color": style.ORANGE, "width": 3},
            name="partial dependence",
            legendgroup="dependence",
            showlegend=first,
            hovertemplate="%{x}: %{y:.5g} nats<extra>partial dependence</extra>",
        )
    )
    return traces


def _drawn(sample: Sample) -> list[int]:
    """Return which trials are drawn as points: all of them, or some chosen at random."""
    if len(sample.trials) <= MOST_POINTS:
        return list(range(len(sample.trials)))
    return sorted(np.random.default_rng(_SEED).choice(len(sample.trials), MOST_POINTS, replace=False).tolist())


def _values(parameter: Parameter, places: Any) -> Any:
    """Return values at places; of a choice their labels."""
    if parameter.kind == "choice":
        return [style.label(parameter.show(parameter.at(place))) for place in places]
    return style.numbers([parameter.at(place) for place in places])


def _axis(parameter: Parameter) -> dict[str, Any]:
    if parameter.kind == "choice":
        names = [style.label(parameter.show(value)) for value in parameter.values]
        return {"type": "category", "categoryorder": "array", "categoryarray": names}
    if parameter.log:
        values = style.ticks(parameter.low, parameter.high)
        return {"type": "log", "tickvals": values, "ticktext": [f"{v:g}" for v in values]}
    whole = parameter.kind == "int" and parameter.high - parameter.low <= _WHOLE
    return {"type": "linear", "dtick": 1 if whole else None}


def pairs(search: Search, found: Importance) -> tuple[str, go.Figure]:
    """Return summary and figure of the outcome against two parameters, for the pairs that act on each other most.

    Raises:
        ResultsError: as `dependence`, or when there is one parameter only.
    """
    surrogate = surrogates.fit(surrogates.samples(search)[0])
    strongest = [p for p in found.groups[0].interactions if p.names[0] != p.names[1]][:MOST_PAIRS]
    if not strongest:
        raise ResultsError(f"{search.run} has no two parameters that take several values")
    rows = math.ceil(len(strongest) / _COLUMNS)
    figure = make_subplots(rows=rows, cols=_COLUMNS, horizontal_spacing=0.16, vertical_spacing=0.26 / rows)
    surfaces = []
    for pair in strongest:
        first, second = parameters_named(surrogate.sample, pair.names)
        surfaces.append(surface(surrogate, first, second))
    for i, made in enumerate(surfaces):
        row, column = divmod(i, _COLUMNS)
        first, second = made.parameters
        figure.add_trace(
            go.Contour(
                x=_values(first, made.places[0]),
                y=_values(second, made.places[1]),
                z=made.values.T.astype(np.float32),
                coloraxis="coloraxis",
                contours={"showlines": False},
                opacity=0.85,
                hovertemplate="%{x}, %{y}: %{z:.5g} nats<extra>partial dependence</extra>",
            ),
            row=row + 1,
            col=column + 1,
        )
        points = _drawn(surrogate.sample)
        places = surrogate.sample.places[points]
        figure.add_trace(
            go.Scatter(
                x=_values(first, places[:, surrogate.sample.parameters.index(first)]),
                y=_values(second, places[:, surrogate.sample.parameters.index(second)]),
                mode="markers",
                marker={"color": "#111", "size": 4, "line": {"color": "#fff", "width": 1}},
                showlegend=False,
                customdata=[[t.key.config_id, t.value] for t in (surrogate.sample.trials[i] for i in points)],
                hovertemplate="%{customdata[0]}: %{customdata[1]:.5g} nats<extra></extra>",
            ),
            row=row + 1,
            col=column + 1,
        )
        names = [style.label(_short(search.parameters, p.name)) for p in (first, second)]
        figure.update_xaxes(title_text=names[0], **_axis(first), row=row + 1, col=column + 1)
        figure.update_yaxes(title_text=names[1], **_axis(second), row=row + 1, col=column + 1)
    style.styled(
        figure,
        height=80 + 340 * rows,
        coloraxis={"colorscale": style.SCALE, "colorbar": {"title": "nats", "thickness": 12, "len": 0.6}},
    )
    named = "; ".join(" and ".join(p.names) for p in strongest)
    none = "" if any(p.stands_out for p in strongest) else ", none of them more than a pair with a made-up parameter"
    words = f"Partial dependence on the pairs that act on each other most: {named}{none}"
    return f"{words}. {_trust(surrogate)}", figure


def importances(search: Search, found: Importance) -> tuple[str, go.Figure]:
    """Return summary and figure of the importances, with what a made-up parameter got."""
    traces: list[Any] = []
    rows = [(g, name) for g in found.groups for name in _named(g)]
    order = [_row(search, g, name) for g, name in rows]
    for evaluator, colour in zip(EVALUATORS, (style.BLUE, style.ORANGE), strict=True):
        shares = {_row(search, g, s.name): s for g in found.groups for s in g.shares[evaluator] if s.name in _named(g)}
        traces.append(
            go.Bar(
                y=order,
                x=style.numbers([shares[row].share for row in order]),
                error_x=style.spread([shares[row].share for row in order], [shares[row].sd for row in order]),
                orientation="h",
                name=evaluator,
                marker={"color": colour},
                hovertemplate=f"%{{y}}<br>{evaluator}: %{{x:.1%}}<extra></extra>",
            )
        )
        traces.append(
            go.Scatter(
                y=order,
                x=style.numbers([shares[row].noise for row in order]),
                mode="markers",
                marker={"symbol": "line-ns", "size": 22, "line": {"color": colour, "width": 2}},
                name=f"{evaluator}: a made-up parameter",
                hovertemplate="a made-up parameter got up to %{x:.1%}<extra></extra>",
            )
        )
    figure = style.figure(
        *traces,
        height=140 + 52 * len(order),
        barmode="group",
        xaxis={"title": "share", "tickformat": ".0%", "rangemode": "tozero"},
        yaxis={"autorange": "reversed"},
    )
    return " ".join(_importance_words(g) for g in found.groups), figure


def _named(group: Group) -> list[str]:
    """Return the parameters of a group that are shown; under a condition those that every trial has are known."""
    names = [s.name for s in group.shares[FANOVA]]
    return [n for n in names if n in group.conditional] if group.where else names


def _row(search: Search, group: Group, name: str) -> str:
    short = _short(search.parameters, name)
    return style.label(f"{short} (where {group.where})" if group.where else short)


def _importance_words(group: Group) -> str:
    where = f"Where {group.where}: " if group.where else ""
    words = []
    for evaluator in EVALUATORS:
        out = [f"{s.name} {s.share:.0%} ± {s.sd:.0%}" for s in group.shares[evaluator] if s.stands_out]
        words.append(f"{evaluator}: {', '.join(out) or 'none'}")
    return (
        f"{where}Over {group.trials} trials these stand above what a made-up parameter got (± standard deviation over "
        f"bootstrap samples): {'; '.join(words)}. Of searches in which nothing matters, about a quarter show one."
    )


def interactions(search: Search, found: Importance) -> tuple[str, go.Figure]:
    """Return summary and figure of the strongest interactions among all trials.

    Raises:
        ResultsError: when there is one parameter only.
    """
    group = found.groups[0]
    shown = group.interactions[:_MOST_INTERACTIONS]
    if not shown:
        raise ResultsError(f"{found.run} has no two parameters that take several values")
    names = [style.label(" x ".join(_short(search.parameters, n) for n in p.names)) for p in shown]
    figure = style.figure(
        go.Bar(
            y=names,
            x=style.numbers([p.share for p in shown]),
            error_x=style.spread([p.share for p in shown], [p.sd for p in shown]),
            orientation="h",
            marker={"color": style.GREEN},
            name="share of the forest's variance",
            customdata=style.numbers([p.h2 for p in shown]),
            hovertemplate="%{y}<br>%{x:.2%} of the variance, H² %{customdata:.2f}<extra></extra>",
        ),
        go.Scatter(
            y=names,
            x=style.numbers([p.noise for p in shown]),
            mode="markers",
            marker={"symbol": "line-ns", "size": 22, "line": {"color": style.GREY, "width": 2}},
            name="a pair with a made-up parameter",
            hovertemplate="such a pair got up to %{x:.2%}<extra></extra>",
        ),
        height=130 + 34 * len(shown),
        xaxis={"title": "share of the forest's variance", "tickformat": ".1%", "rangemode": "tozero"},
        yaxis={"autorange": "reversed"},
    )
    out = [f"{' x '.join(p.names)} {p.share:.1%}" for p in shown if p.stands_out]
    words = f"Of {len(group.interactions)} pairs these explain more together than a pair with a made-up parameter did: "
    return f"{words}{', '.join(_few(out)) or 'none'}.", figure


def _few(items: Sequence[str], most: int = 5) -> list[str]:
    return [*items[:most], *([f"and {len(items) - most} more"] if len(items) > most else [])]
