"""The paper's Figure 1 from a game that was played: densities and discriminator in four panels, as a PNG.

Colours and lines are those of the paper: the data's density dotted in black, the generator's solid in green, the
discriminator dashed in blue; below, the lines of z and x, and arrows from z to x = G(z). The best discriminator D*
(Proposition 1) is added in grey.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gansearch.theory import LEAST_VALUE, Moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = (-1.5, 3.5)
_Z_LINE, _X_LINE = -0.75, -0.25
_TOP = 1.3
_GREEN, _BLUE, _GREY = "#117733", "#0055cc", "#999999"


def draw(moments: Sequence[Moment]) -> bytes:
    """Return the figure of some moments, side by side, as a PNG.

    Args:
        moments: of one game, in their order.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(moments), 4.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(moments), sharey=True, squeeze=False)[0]
    for panel, letter, moment in zip(panels, "abcdefgh", moments, strict=False):
        _panel(panel, f"({letter}) {moment.title}", moment)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Title": "Figure 1: adversarial nets in one dimension"})
    return out.getvalue()


def _panel(panel: Axes, title: str, moment: Moment) -> None:
    x = moment.x.numpy()
    panel.plot(x, moment.p_data.numpy(), color="black", linestyle=":", label="p_data")
    panel.plot(x, moment.p_g.numpy(), color=_GREEN, linewidth=1, label="p_g")
    panel.plot(x, moment.d_star.numpy(), color=_GREY, linewidth=1, label="D* = p_data / (p_data + p_g)")
    panel.plot(x, moment.d.numpy(), color=_BLUE, linestyle="--", label="D")
    panel.set_title(title, fontsize=10)
    numbers = f"V(D, G) = {moment.value:.3f}\nC(G) = {moment.best_value:.3f}\n-log 4 = {LEAST_VALUE:.3f}"
    panel.text(0.98, 0.98, numbers, transform=panel.transAxes, ha="right", va="top", fontsize=8)

    low, high = _SHOWN
    place = (moment.z - moment.z[0]) / (moment.z[-1] - moment.z[0])  # z's own range, drawn under the same middle part
    for start, end in zip((low + 1 + place * (high - low - 2)).tolist(), moment.g.tolist(), strict=True):
        if low <= end <= high:
            arrow = {"arrowstyle": "->", "color": "black", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
            panel.annotate("", xy=(end, _X_LINE), xytext=(start, _Z_LINE), arrowprops=arrow)
    for height, name in ((_X_LINE, "x"), (_Z_LINE, "z")):
        panel.axhline(height, color="black", linewidth=0.8)
        panel.text(low, height + 0.02, name, fontsize=9)
    panel.axhline(0, color=_GREY, linewidth=0.5)
    panel.set_xlim(*_SHOWN)
    panel.set_ylim(_Z_LINE - 0.08, _TOP)
    panel.set_yticks([0, 0.5, 1])
    panel.tick_params(labelsize=8)
