"""`demo`: what the paper proves, seen on a game small enough to measure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch.cli.output import emit, emit_json, say
from gansearch.cli.parser import Command, add_json, integer

if TYPE_CHECKING:
    from gansearch.theory import Moment

_ITERATIONS = 2_000
_MOST_ITERATIONS = 1_000_000


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("theory",), metavar="WHAT", help="theory: Figure 1 and section 4 of the paper")
    parser.add_argument(
        "--iterations",
        type=integer(2, _MOST_ITERATIONS),
        default=_ITERATIONS,
        metavar="N",
        help=f"of Algorithm 1 (default: {_ITERATIONS:,})",
    )
    parser.add_argument("--seed", type=integer(0), default=0, metavar="S", help="of all draws (default: 0)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("figure1.png"), metavar="FILE", help="default: figure1.png"
    )
    add_json(parser)


def run_demo(arguments: argparse.Namespace) -> int:
    """Play the game in one dimension; write its figure, and its numbers beside those of the theory."""
    import torch

    from gansearch import storage
    from gansearch.theory import LEAST_VALUE, play
    from gansearch.theory_figure import draw

    torch.set_num_threads(1)  # for networks of a few units; and so that a seed gives the same whatever there is
    moments: list[Moment] = []
    for moment in play(arguments.iterations, arguments.seed):
        moments.append(moment)
        say(f"{moment.title}: {moment.d_updates:,} updates of D, {moment.g_updates:,} of G")
    storage.write_bytes(arguments.output, draw(moments))
    if arguments.json:
        emit_json({"least_value": LEAST_VALUE, "moments": [_numbers(moment) for moment in moments]})
        return 0
    lines = [f"{'moment':24}  {'D':>7}  {'G':>6}  {'V(D, G)':>8}  {'C(G)':>8}  {'JSD':>7}  {'|D - D*|':>8}"]
    for one in moments:
        updates = f"{one.d_updates:7}  {one.g_updates:6}"
        numbers = f"{one.value:8.4f}  {one.best_value:8.4f}  {one.divergence:7.4f}  {one.distance:8.4f}"
        lines.append(f"{one.title:24}  {updates}  {numbers}")
    lines += [
        f"{'p_g = p_data, D = 1/2':24}  {'':7}  {'':6}  {LEAST_VALUE:8.4f}  {LEAST_VALUE:8.4f}  {0:7.4f}  {0:8.4f}",
        "",
        "D, G: updates so far. V(D, G): the game's value in nats; C(G): its value under the best D for this G,",
        "-log 4 + 2 JSD(p_data || p_g) (Theorem 1). |D - D*|: mean distance of D from p_data / (p_data + p_g)",
        "(Proposition 1) over an equal mixture of both densities.",
        str(arguments.output),
    ]
    emit("\n".join(lines))
    return 0


def _numbers(moment: Moment) -> dict[str, object]:
    """Return a moment's numbers by name, without its curves."""
    names = ("title", "d_updates", "g_updates", "value", "best_value", "divergence", "distance")
    return {name: getattr(moment, name) for name in names}


COMMANDS = (
    Command(
        name="demo",
        help="the paper's Figure 1: a game in one dimension, measured",
        description="Play the adversarial game on a line, where densities can be measured, and show section 4 of the\n"
        "paper at work: D approaches p_data / (p_data + p_g), the game's value approaches -log 4. Writes\n"
        "Figure 1 as a PNG; takes less than a minute.",
        examples=("gansearch demo theory", "gansearch demo theory --iterations 200 --seed 1 -o theory.png"),
        add_arguments=_add_demo,
        run=run_demo,
    ),
)
