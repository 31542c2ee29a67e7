"""Draw the replayed searches: quality of the incumbent against epochs spent.

    python -m benchmarks.search.figure

Colour says the searcher (Okabe and Ito's palette), the line's style the scheduler.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.search.points import EPOCHS
from benchmarks.search.replay import CURVES, REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "search_replay.png"
COLOURS = {
    **{"random": "#000000", "sobol": "#E69F00", "tpe": "#0072B2", "gp": "#009E73", "cmaes": "#CC79A7"},
    "nsga2": "#D55E00",
}
STYLES = {"none": "-", "asha": "--", "hyperband": "-.", "median": ":"}
BANDS = ("random", "tpe + asha")
"""Strategies whose interval is drawn; those of the others are in the table."""
TITLES = {"nearest": "nearest table point", "surrogate": "random-forest surrogate"}
LEAST_GAP = 0.047
"""Between two labels, as a share of the axis."""
HEADROOM = 0.25
"""Above the highest curve, as a share of the range of the curves: room for the labels."""
SHOWN_FROM = 6
"""Whole trials from whose epochs on every curve is inside the axes."""


def spread(places: Mapping[str, float], gap: float) -> dict[str, float]:
    """Return places that keep their order and are at least a gap apart, as near to the wanted ones as may be.

    Args:
        places: wanted place of each label.
        gap: least distance between two.
    """
    order = sorted(places, key=lambda name: places[name])
    clusters: list[tuple[list[str], float]] = []  # labels, and the centre of their block
    for name in order:
        names, centre = [name], places[name]
        while clusters and clusters[-1][1] + gap * (len(clusters[-1][0]) + len(names)) / 2 > centre:
            before, _ = clusters.pop()
            names = before + names
            centre = sum(places[n] for n in names) / len(names)
        clusters.append((names, centre))
    return {
        name: centre + gap * (i - (len(names) - 1) / 2) for names, centre in clusters for i, name in enumerate(names)
    }


def draw(frame: pd.DataFrame, workers: int) -> Figure:
    """Return the figure of one number of workers, a panel for each world."""
    frame = frame[(frame["workers"] == workers) & ~frame["strategy"].str.contains(",")]
    found = [world for world in TITLES if (frame["world"] == world).any()]
    figure = Figure(figsize=(6.2 * len(found), 4.8), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for ax, world in zip(axes, found, strict=True):
        _panel(ax, frame[frame["world"] == world])
        ax.set_title(f"curves from the {TITLES[world]}", fontsize=10, loc="left")
    axes[0].set_ylabel("true quality of the best trial so far (nats)")
    return figure


def _panel(ax: Axes, frame: pd.DataFrame) -> None:
    end = int(frame["epochs"].max())
    last = frame[frame["epochs"] == end].set_index("strategy")["mean"]
    target = float(last[REFERENCE])
    low = float(frame.loc[frame["epochs"] >= EPOCHS * SHOWN_FROM, "mean"].min())
    high = float(frame["mean"].max())
    ax.set_ylim(low, high + HEADROOM * (high - low))
    ax.set_xlim(0, end)
    for strategy, curve in frame.groupby("strategy", sort=False):
        searcher, _, scheduler = str(strategy).partition(" + ")
        colour, style = COLOURS[searcher], STYLES[scheduler or "none"]
        ax.plot(curve["epochs"], curve["mean"], color=colour, linestyle=style, linewidth=1.7)
        if strategy in BANDS:
            below, above = curve["mean"] - curve["half"], curve["mean"] + curve["half"]
            ax.fill_between(curve["epochs"], below, above, color=colour, alpha=0.15, linewidth=0)
    bottom, top = ax.get_ylim()
    places = spread({str(name): float(value) for name, value in last.items()}, LEAST_GAP * (top - bottom))
    for name, y in places.items():
        ax.annotate(
            name,
            xy=(end, float(last[name])),
            xytext=(end * 1.035, y),
            fontsize=8.5,
            color=COLOURS[name.partition(" + ")[0]],
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": "0.7",
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
    ax.axhline(target, color="0.6", linewidth=0.8, zorder=0)
    ax.axvline(end / 3, color="0.6", linewidth=0.8, zorder=0)
    ax.text(end / 3 + end * 0.01, bottom + 0.02 * (top - bottom), "a third of the budget", fontsize=8, color="0.35")
    ax.text(end * 0.01, target, "random search at the end", fontsize=8, color="0.35", va="bottom")
    ax.set_xlabel("epochs spent, over all trials")
    ax.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw the figure of the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--curves", type=Path, default=CURVES, help="what `benchmarks.search.replay` wrote")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture")
    parser.add_argument("--workers", type=int, default=4, help="simulated workers")
    options = parser.parse_args()
    mpl.use("agg")
    draw(pd.read_parquet(options.curves), options.workers).savefig(options.out, dpi=120)
    print(options.out)


if __name__ == "__main__":
    main()
