"""What the search cost, and what it may be expected to find for less."""

from __future__ import annotations

import datetime
import math

import numpy as np
import optuna
import plotly.graph_objects as go

from analysis.cells import counted
from analysis.costs import SECONDS_AN_HOUR, Costs
from analysis.expected_best import ExpectedBest, best_so_far, draws, expected_best_of
from analysis.optuna_studies import STATES, frozen_trial, silent, study_of
from analysis.plots import style
from analysis.search_rows import Search
from gansearch import schema
from gansearch.errors import ResultsError

MOST_TIMED = 400
"""Trials in the timeline, at most."""
_SEED = 20140610
_STATE_COLOURS = {"COMPLETE": style.BLUE, "PRUNED": style.GREY, "FAIL": style.RED}
_AXIS = "best validation log-likelihood, nats"


def budget(search: Search) -> tuple[str, go.Figure]:
    """Return summary and figure of the expected best against the number of draws.

    For a search that is not of independent draws: of the best so far, in the order of this very search, so labelled.

    Raises:
        ResultsError: when no trial has a value.
    """
    try:
        found = expected_best_of(search)
    except ResultsError as error:
        return _as_it_went(search, error.message)
    return _expected(found, search)


def _expected(found: ExpectedBest, search: Search) -> tuple[str, go.Figure]:
    curve = [b for b in found.curve if b.band is not None]
    x = style.numbers([b.draws for b in curve])
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    actual: list[float | None] = []
    for draw in draws(search):
        actual.append(max((v for v in (draw.value, actual[-1] if actual else None) if v is not None), default=None))
    figure = style.figure(
        go.Scatter(x=x, y=style.numbers([b.band.high for b in curve if b.band]), showlegend=False, **band),
        go.Scatter(
            x=x,
            y=style.numbers([b.band.low for b in curve if b.band]),
            fill="tonexty",
            fillcolor="rgba(47, 134, 197, 0.25)",
            name="95% bootstrap over the draws, at each budget",
            **band,
        ),
        go.Scatter(
            x=x,
            y=style.numbers([b.best for b in curve]),
            mode="lines",
            line={"color": style.BLUE, "width": 3},
            name="expected best",
            customdata=[[_amount(b.epochs), _amount(b.cpu_hours), _amount(b.gpu_hours), b.none] for b in curve],
            hovertemplate="%{x} draws: %{y:.5g} nats<br>%{customdata[0]} epochs, %{customdata[1]} CPU-hours, "
            "%{customdata[2]} GPU-hours<br>all go bad: %{customdata[3]:.1%}<extra></extra>",
        ),
        go.Scatter(
            x=style.numbers(range(1, len(actual) + 1)),
            y=style.numbers(actual),
            mode="lines",
            line={"color": style.ORANGE, "width": 2, "shape": "hv", "dash": "dot"},
            name="best so far, as it went",
            hovertemplate="draw %{x}: %{y:.5g} nats<extra></extra>",
        ),
        xaxis={"title": "configurations drawn", "type": "log" if len(actual) > 50 else "linear"},
        yaxis={"title": _AXIS},
    )
    half, whole = found.at_half, found.curve[-1]
    words = (
        f"{whole.draws} independent draws found {whole.best:.4g} nats; {half.draws} of them would be expected to find "
        f"{half.best:.4g}."
    )
    notes = [note for note in found.notes if not note.startswith("band:")]  # the legend names the band
    return " ".join([words, *(f"{note[0].upper()}{note[1:]}." for note in notes)]), figure


def _amount(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _as_it_went(search: Search, why: str) -> tuple[str, go.Figure]:
    best = best_so_far(search)
    if best[-1] is None:
        raise ResultsError(why)
    figure = style.figure(
        go.Scatter(
            x=style.numbers(range(1, len(best) + 1)),
            y=style.numbers(best),
            mode="lines",
            line={"color": style.ORANGE, "width": 3, "shape": "hv"},
            name="best so far, as this one search went",
            showlegend=True,
            hovertemplate="trial %{x}: %{y:.5g} nats<extra></extra>",
        ),
        xaxis={"title": "trials, in the order tried"},
        yaxis={"title": _AXIS},
    )
    return f"The best so far as this one search went, not an expectation: {why}.", figure


def timeline(search: Search) -> tuple[str, go.Figure]:
    """Return summary and figure of when each trial of the search ran, by Optuna.

    Raises:
        ResultsError: when no trial has ended that says when it ran.
    """
    timed = tuple(t for t in search.trials if t.started is not None and t.seconds is not None and t.status in STATES)
    if not timed:
        raise ResultsError(f"no search trial of {search.run} that has ended says when it ran")
    spans = [(t.started, t.started + datetime.timedelta(seconds=t.seconds)) for t in timed if t.started and t.seconds]
    drawn = timed
    if len(timed) > MOST_TIMED:
        chosen = np.random.default_rng(_SEED).choice(len(timed), MOST_TIMED, replace=False)
        drawn = tuple(timed[i] for i in sorted(chosen))
    with silent():
        made = optuna.visualization.plot_timeline(study_of(frozen_trial(t, (), STATES[t.status]) for t in drawn))
    for trace in made.data:
        trace.marker.color = _STATE_COLOURS.get(trace.name, style.GREY)
        trace.text, trace.hovertemplate = None, f"{trace.name}<extra></extra>"
    made.update_layout(title=None, xaxis={"title": None}, yaxis={"title": "trials, in their order"}, showlegend=True)
    shown = f" ({len(drawn)} of them drawn, chosen at random)" if len(drawn) < len(timed) else ""
    elapsed = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds() if spans else 0.0
    busy = math.fsum((end - start).total_seconds() for start, end in spans)
    ran = f", {busy / elapsed:.2g} at a time on average" if elapsed else ""
    words = f"{counted(len(timed), 'trial')}{shown} ran within {elapsed / SECONDS_AN_HOUR:.3g} hours{ran}."
    words += " PRUNED is STOPPED; FAIL is any other end without a score."
    return words, style.styled(made, height=min(700, 160 + 14 * len(drawn)))


def spent(found: Costs) -> tuple[str, go.Figure]:
    """Return summary and figure of the time by stage and status, with what early stopping saved."""
    gpu = found.gpu_hours > 0
    name, unit = ("gpu_hours", "GPU-hours") if gpu else ("cpu_hours", "CPU-hours")
    stages = list(found.stages)
    traces = []
    for status in schema.STATUSES:
        by_stage = {line.stage: line.amount for line in found.lines if line.status == status}
        if by_stage:
            traces.append(
                go.Bar(
                    y=stages,
                    x=style.numbers([getattr(by_stage[s], name) if s in by_stage else 0.0 for s in stages]),
                    orientation="h",
                    name=status,
                    marker={"color": style.STATUS[status]},
                    customdata=[by_stage[s].trials if s in by_stage else 0 for s in stages],
                    hovertemplate=f"%{{y}} · {status}<br>%{{x:.3g}} {unit}, %{{customdata}} trials<extra></extra>",
                )
            )
    for saved in found.saved:
        traces.append(
            go.Bar(
                y=["search"],
                x=style.numbers([getattr(saved, name)]),
                orientation="h",
                name=f"not run: ended by {saved.by}",
                marker={
                    "color": "rgba(0,0,0,0)",
                    "pattern": {"shape": "/", "fgcolor": style.STATUS[saved.status], "size": 6},
                    "line": {"color": style.STATUS[saved.status], "width": 1},
                },
                hovertemplate=f"not run: %{{x:.3g}} {unit}, {saved.epochs} epochs<extra></extra>",
            )
        )
    figure = style.figure(
        *traces,
        height=180 + 60 * len(stages),
        barmode="stack",
        xaxis={"title": unit},
        yaxis={"autorange": "reversed"},
    )
    return _cost_words(found), figure


def _cost_words(found: Costs) -> str:
    total = found.total
    trials = counted(total.trials, "trial")
    words = [f"{trials} took {total.cpu_hours:.3g} CPU-hours and {total.gpu_hours:.3g} GPU-hours"]
    if total.score_share is not None:
        words[0] += f", {total.score_share:.0%} of the time in reports and scoring"
    words += [
        f"Trials ended by {s.by} left out {s.epochs} of {s.planned_epochs} epochs: {s.cpu_hours:.3g} CPU-hours and "
        f"{s.gpu_hours:.3g} GPU-hours at their own pace"
        for s in found.saved
    ]
    if found.gain is not None and found.gain.nats_per_cpu_hour is not None:
        words.append(
            f"The search's best lies {found.gain.nats:.3g} nats above the configuration that it began with: "
            f"{found.gain.nats_per_cpu_hour:.3g} nats a CPU-hour"
        )
    words += [f"{note[0].upper()}{note[1:]}" for note in found.notes]
    return ". ".join(words) + "."
