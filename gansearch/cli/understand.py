"""`importance`, `budget`, `costs` and `plots`: what a search says of its space, its budget and its cost."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch.cli.output import deliver, emit, emit_json, say, tell_skipped, to_json
from gansearch.cli.parser import Command, add_json, add_output, add_skip_damaged
from gansearch.storage import location

if TYPE_CHECKING:
    from analysis.costs import Amount, Costs
    from analysis.expected_best import ExpectedBest
    from analysis.importance import Group, Importance

_INTERACTIONS = 8
"""Pairs that are printed, at most."""
_BUDGETS = 16
"""Lines of the budget's table, at most."""
_NONE = "-"


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return aligned columns under a head, the first `left` of them to the left."""
    rows = [head, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    shown = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        shown.append("  ".join(cells).rstrip())
    return [shown[0], "-" * max(map(len, shown)), *shown[1:]]


def _add_importance(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--complete", action="store_true", help="leave out trials that were stopped early")
    add_output(parser, "the table")
    add_json(parser)
    add_skip_damaged(parser)


def run_importance(arguments: argparse.Namespace) -> int:
    """Show what the outcome of a search depends on."""
    from analysis.importance import as_plain, importance

    found = importance(arguments.run_directory, only_complete=arguments.complete, skip_damaged=arguments.skip_damaged)
    tell_skipped(found.skipped)
    deliver(to_json(as_plain(found)) if arguments.json else _importance_text(found), arguments.output)
    return 0


def _importance_text(found: Importance) -> str:
    return "\n\n".join("\n".join(_group_lines(found.run, group)) for group in found.groups)


def _group_lines(run: str, group: Group) -> Iterable[str]:
    from analysis.cells import bullets

    where = f" where {group.where}" if group.where else ""
    yield f"What the validation log-likelihood of {run} depends on{where}, {group.trials} trials"
    yield ""
    by_name = {name: {s.name: s for s in shares} for name, shares in group.shares.items()}
    first = next(iter(by_name.values()))
    lines = []
    for name in first:
        figures = [cell for shares in by_name.values() for cell in _share(shares[name].share, shares[name].sd)]
        above = ", ".join(evaluator for evaluator, shares in by_name.items() if shares[name].stands_out)
        lines.append([name, *figures, above or "none"])
    noise = ["(made up, at most)", *(cell for s in by_name.values() for cell in (_percent(s[next(iter(s))].noise), ""))]
    head = ["parameter", *(cell for name in by_name for cell in (name, "sd")), "stands out by"]
    yield from _table(head, [*lines, [*noise, ""]])
    if group.interactions:
        yield ""
        yield "What two parameters explain beyond each of them, share of the forest's variance"
        yield ""
        pairs = [
            [" x ".join(p.names), *_share(p.share, p.sd), f"{p.h2:.2f}", "yes" if p.stands_out else "no"]
            for p in group.interactions[:_INTERACTIONS]
        ]
        made_up = ["(with a made-up parameter, at most)", _percent(group.interactions[0].noise), "", "", ""]
        yield from _table(["pair", "share", "sd", "H2", "stands out"], [*pairs, made_up])
    yield ""
    known = f"{group.r2:.2f}" if group.r2 > 0 else "nothing"
    yield from bullets(
        [
            f"the forest explains {known} of the variance of trials that it has not seen (R2 out of bag: "
            f"{group.r2:.2f})",
            "fANOVA: share of the variance; PED-ANOVA: how the best trials differ from all; each sums to 1",
            "sd: over bootstrap samples of the trials; made up: values of a real parameter, shuffled, in those samples",
            *group.notes,
        ]
    )


def _share(share: float, sd: float) -> tuple[str, str]:
    return _percent(share), _percent(sd)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _add_budget(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    add_output(parser, "the table")
    add_json(parser)
    add_skip_damaged(parser)


def run_budget(arguments: argparse.Namespace) -> int:
    """Show the expected best value of a random search against its budget."""
    from analysis.expected_best import as_plain, expected_best

    found = expected_best(arguments.run_directory, skip_damaged=arguments.skip_damaged)
    tell_skipped(found.skipped)
    deliver(to_json(as_plain(found)) if arguments.json else _budget_text(found), arguments.output)
    return 0


def _budget_text(found: ExpectedBest) -> str:
    from analysis.cells import bullets

    step = max(1, -(-len(found.curve) // _BUDGETS))
    chosen = [b for i, b in enumerate(reversed(found.curve)) if i % step == 0][::-1]
    lines = [
        [
            str(b.draws),
            f"{b.best:.2f}",
            _NONE if b.band is None else f"[{b.band.low:.2f}, {b.band.high:.2f}]",
            f"{100 * b.none:.1f}%",
            _amount(b.epochs),
            _amount(b.cpu_hours),
            _amount(b.gpu_hours),
        ]
        for b in chosen
    ]
    head = ["draws", "expected best", "95% band", "none", "epochs", "CPU-hours", "GPU-hours"]
    title = f"Expected best of a smaller random search like {found.run}, validation log-likelihood in nats"
    return "\n".join([title, "", *_table(head, lines, left=0), "", *bullets(found.notes)])


def _amount(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _add_costs(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    add_output(parser, "the table")
    add_json(parser)
    add_skip_damaged(parser)


def run_costs(arguments: argparse.Namespace) -> int:
    """Show what a run cost."""
    from analysis.costs import as_plain, costs

    found = costs(arguments.run_directory, skip_damaged=arguments.skip_damaged)
    tell_skipped(found.skipped)
    deliver(to_json(as_plain(found)) if arguments.json else _costs_text(found), arguments.output)
    return 0


def _costs_text(found: Costs) -> str:
    from analysis.cells import bullets

    lines = [_cost_line(line.stage, line.status, line.amount) for line in found.lines]
    head = ["stage", "status", "trials", "epochs", "CPU-hours", "GPU-hours", "scoring"]
    table = _table(head, [*lines, _cost_line("all", "", found.total)], left=2)
    return "\n".join([f"What {found.run} cost", "", *table, "", *bullets(_cost_foot(found))])


def _cost_line(stage: str, status: str, amount: Amount) -> list[str]:
    share = _NONE if amount.score_share is None else f"{100 * amount.score_share:.0f}%"
    hours = [_amount(amount.cpu_hours), _amount(amount.gpu_hours)]
    return [stage, status, str(amount.trials), str(amount.epochs), *hours, share]


def _cost_foot(found: Costs) -> Iterable[str]:
    yield "hours: wall-clock time of the trials times CPU threads, or share of a GPU; scoring: share of it in scores"
    for saved in found.saved:
        hours = f"{_amount(saved.cpu_hours)} CPU-hours, {_amount(saved.gpu_hours)} GPU-hours"
        yield (
            f"{saved.trials} {saved.status} trials, ended by {saved.by}: {saved.epochs} of {saved.planned_epochs} "
            f"epochs were not run, {hours} at those trials' own pace"
        )
    gain = found.gain
    if gain is not None:
        rates = [
            f"{_amount(rate)} nats a {unit}"
            for rate, unit in (
                (gain.nats_per_hour, "wall-clock hour"),
                (gain.nats_per_cpu_hour, "CPU-hour"),
                (gain.nats_per_gpu_hour, "GPU-hour"),
            )
            if rate is not None
        ]
        yield (
            f"the search's best value, {gain.best:.2f} nats, lies {gain.nats:.2f} above that of the configuration that "
            f"it began with (report protocol, optimistic){': ' if rates else ''}{', '.join(rates)}"
        )
    yield from found.notes


def _add_plots(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to (default: <name of RUN>-plots)")
    add_json(parser)
    add_skip_damaged(parser)


def run_plots(arguments: argparse.Namespace) -> int:
    """Write the plots of a run as HTML pages."""
    from analysis.plots import search_plots
    from analysis.plots.pages import INDEX, write_pages

    run = arguments.run_directory
    found = search_plots(run, skip_damaged=arguments.skip_damaged)
    folder: Path = arguments.output or Path(f"{run.resolve().name}-plots")
    write_pages(found, folder, f"Plots of {run.resolve().name}")
    for plot in found:
        if plot.figure is None:
            say(f"{plot.name}: {plot.summary}")
    if arguments.json:
        plain = [{"name": p.name, "title": p.title, "summary": p.summary, "drawn": p.figure is not None} for p in found]
        emit_json({"directory": str(folder), "plots": plain})
    else:
        emit(str(folder / INDEX))
    return 0


COMMANDS = (
    Command(
        name="importance",
        help="which hyperparameters mattered, and which act on each other",
        description="Show what the outcome of a search depends on: fANOVA and PED-ANOVA importances and pairwise\n"
        "interactions, each with its spread and beside what a made-up parameter got.",
        examples=("gansearch importance runs/quickstart",),
        add_arguments=_add_importance,
        run=run_importance,
    ),
    Command(
        name="budget",
        help="the best value to expect of a smaller random search",
        description="Show the expected best value of a random search against the number of configurations drawn, and\n"
        "what so many cost. Refused for searches whose configurations were not drawn independently.",
        examples=("gansearch budget runs/quickstart",),
        add_arguments=_add_budget,
        run=run_budget,
    ),
    Command(
        name="costs",
        help="CPU-hours, GPU-hours, and what early stopping saved",
        description="Show what a run cost by stage and by how its trials ended, what early stopping saved, and what\n"
        "the search gained for it.",
        examples=("gansearch costs runs/quickstart",),
        add_arguments=_add_costs,
        run=run_costs,
    ),
    Command(
        name="plots",
        help="interactive plots of a search",
        description="Write interactive plots of a search as HTML pages that open without a network: what it found,\n"
        "learning curves, parameters, interactions, budget, costs, seeds.",
        examples=("gansearch plots runs/quickstart -o quickstart-plots",),
        add_arguments=_add_plots,
        run=run_plots,
    ),
)
