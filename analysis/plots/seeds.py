"""What the confirmed configurations scored, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.finalists import Estimate, Finalist, Funnel
from analysis.plots import style
from gansearch.errors import ResultsError


def seeds(found: Funnel) -> tuple[str, go.Figure]:
    """Return summary and figure of each confirm seed's validation score, with t intervals of the means.

    Raises:
        ResultsError: when no seed has a score.
    """
    scored = [(f, f.valid) for f in found.finalists if f.valid is not None]
    if not scored:
        raise ResultsError(f"no confirm seed of {found.run} has a score")
    traces: list[Any] = []
    for i, (f, valid) in enumerate(scored):
        traces += _row(style.label(_label(f)), valid, first=i == 0)
    figure = style.figure(
        *traces,
        height=150 + 56 * len(scored),
        xaxis={"title": "validation log-likelihood, nats"},
        yaxis={"autorange": "reversed", "type": "category"},
    )
    return _words(found, scored), figure


def _row(name: str, valid: Estimate, *, first: bool) -> list[Any]:
    interval = valid.interval
    half = None if interval is None else (interval.high - interval.low) / 2
    return [
        go.Scatter(
            x=style.numbers(valid.per_seed),
            y=[name] * len(valid.per_seed),
            mode="markers",
            marker={"color": style.SKY, "size": 9, "opacity": 0.8},
            name="a seed",
            legendgroup="seed",
            showlegend=first,
            hovertemplate="%{y}<br>seed: %{x:.5g} nats<extra></extra>",
        ),
        go.Scatter(
            x=style.numbers([valid.mean]),
            y=[name],
            mode="markers",
            marker={"color": style.ORANGE, "symbol": "diamond", "size": 11},
            error_x=None if half is None else {"array": [half], "color": style.ORANGE, "width": 6},
            name="mean, 95% t interval over seeds",
            legendgroup="mean",
            showlegend=first,
            hovertemplate="%{y}<br>mean: %{x:.5g} nats<extra></extra>",
        ),
    ]


def _label(f: Finalist) -> str:
    marks = ["leader"] * (f.rank == 1) + ["tied"] * f.tied + ["paper"] * f.is_paper
    return f"{f.config_id}{' (' + ', '.join(marks) + ')' if marks else ''}"


def _words(found: Funnel, scored: Sequence[tuple[Finalist, Estimate]]) -> str:
    parts = []
    for f, valid in scored:
        interval = valid.interval
        ends = "one seed, no interval" if interval is None else f"95% [{interval.low:.4g}, {interval.high:.4g}]"
        lost = f", {f.counts.bad} of {f.counts.ended} seeds bad" if f.counts.bad else ""
        parts.append(f"{_label(f)} {valid.mean:.4g}, {ends}{lost}")
    return f"Mean validation log-likelihood in nats over training seeds, under {found.protocol_id}: {'; '.join(parts)}."
