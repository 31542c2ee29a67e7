"""`sweep --dry-run`: what a study would do here and what it would cost; nothing is written or started."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch.cli.output import emit, emit_json, say

if TYPE_CHECKING:
    from gansearch.search.estimate import Estimate
    from gansearch.search.study import Study
    from gansearch.search.warm_start import WarmStart

_FIRST = 5
"""Configurations that are shown."""


def show_plan(study: Study, arguments: argparse.Namespace) -> int:
    """Check what a sweep would check before it starts, and show its plan."""
    import torch

    from gansearch.search.estimate import estimate
    from gansearch.search.run_directory import check_run_directory
    from gansearch.search.sweep import check_study_fits

    if arguments.out is not None:
        check_run_directory(arguments.out)
    check_study_fits(study)
    there, warm_start = _beginning(study, arguments.data_dir)
    if study.resources.gpu and not torch.cuda.is_available():
        say("note: trials take a GPU, and PyTorch sees none on this machine")
    else:
        say("measuring the base configuration on this machine")
    cost = estimate(study, data_dir=arguments.data_dir)
    data = _data(study, arguments.data_dir, there=there)
    first = first_configurations(study, warm_start)
    if arguments.json:
        emit_json(
            {
                "name": study.name,
                "study": study.to_dict(),
                "data": data,
                "first": first,
                "estimate": None if cost is None else dataclasses.asdict(cost),
            }
        )
    else:
        lines = first_lines(study, first, warm_start)
        parts = (plan_lines(study), _data_lines(data), lines, estimate_lines(study, cost))
        emit("\n\n".join("\n".join(part) for part in parts))
    return 0


def _beginning(study: Study, data_dir: Path | None) -> tuple[bool, WarmStart]:
    """Return whether the data set is there, and what `start_from` holds, for which it is needed."""
    from gansearch.core.datasets import load
    from gansearch.errors import DataError
    from gansearch.search.warm_start import WarmStart, read_warm_start

    try:
        data = load(study.base.dataset.name, data_dir=data_dir, download=False)
    except DataError:
        if study.start_from:
            say("note: start_from is not looked at while the data set is not there")
        return False, WarmStart()
    warm_start = read_warm_start(study, data.digests["valid"])
    for note in warm_start.notes:
        say(f"note: {note}")
    return True, warm_start


def first_configurations(study: Study, warm_start: WarmStart) -> list[dict[str, object]]:
    """Return the searched values of the first trials, as far as they are known before any has ended."""
    from gansearch.search.proposals import make_strategy

    strategy = make_strategy(study, warm_start.history, warm_start.first)
    proposals = [strategy.suggest() for _ in range(min(_FIRST, _known(study, warm_start)))]
    points = [proposal.point for proposal in proposals if proposal is not None]
    return [{"config_id": study.space.config(point).config_id, **point} for point in points]


def _known(study: Study, warm_start: WarmStart) -> int:
    """Return how many configurations follow from the seed: all but those that a model suggests."""
    options = study.searcher.to_dict()
    drawn = options.get("startup_trials", options.get("population_size"))
    if drawn is None:
        return study.num_trials
    opening = 1 + len(warm_start.first)
    return min(max(int(drawn) - len(warm_start.history), opening), study.num_trials)


def plan_lines(study: Study) -> list[str]:
    """Return the plan in words."""
    searcher, scheduler, limits = study.searcher, study.scheduler, study.limits
    facts = [
        ("study", f"{study.name}: {study.description}" if study.description else study.name),
        ("searcher", _options(searcher.to_dict())),
        ("scheduler", _options(scheduler.to_dict())),
        ("executor", _options(study.executor.to_dict())),
        ("trials", f"{study.num_trials} configurations, {study.repeats} seed{_s(study.repeats)} each"),
        ("budget", f"{study.epochs} epochs, a report every {study.base.score.report_every}"),
        ("resources", f"{study.resources.cpu:g} CPU and {study.resources.gpu:g} GPU a trial"),
        ("at a time", str(study.max_concurrent or "as many as fit")),
        ("report by", study.protocols.report.describe()),
        ("score by", study.protocols.final.describe()),
        *_confirm(study),
        ("limits", ", ".join(f"{k} {v}" for k, v in dataclasses.asdict(limits).items() if v is not None)),
        ("seed", str(study.seed)),
    ]
    space = [("space", study.space.describe()[0]), *(("", line) for line in study.space.describe()[1:])]
    return [f"{name:10}  {value}".rstrip() for name, value in itertools.chain(facts[:1], space, facts[1:])]


def _confirm(study: Study) -> list[tuple[str, str]]:
    seeds = study.confirm.seeds
    if not seeds:
        return [("confirm", "none: the chosen configuration is not trained again, and the test set is not read")]
    folds = len(study.confirm_folds)
    on_folds = f" on {folds} folds" if folds > 1 else ""
    return [
        (
            "confirm",
            f"the best {study.confirm.top} and the base, {seeds} seed{_s(seeds)} each{on_folds}, scored by:",
        ),
        *(("", p.describe()) for p in study.confirm.protocols),
    ]


def _options(values: dict[str, Any]) -> str:
    rest = ", ".join(f"{key} {value}" for key, value in values.items() if key != "name")
    return f"{values['name']} ({rest})" if rest else str(values["name"])


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _data(study: Study, data_dir: Path | None, *, there: bool) -> dict[str, Any]:
    """Return what is known of the data set: `there` says whether it is where it is looked for."""
    from gansearch.core.datasets import data_directory, describe

    info = describe(study.base.dataset.name)
    place = str(data_directory(data_dir)) if info.needs_files else None
    return {**dataclasses.asdict(info), "data_dir": place, "there": there}


def _data_lines(data: dict[str, Any]) -> list[str]:
    sizes = f"{data['n_train']:,} train, {data['n_valid']:,} valid, {data['n_test']:,} test"
    where = "needs no files"
    if data["data_dir"]:
        where = f"{'found' if data['there'] else 'not there yet, to be downloaded'} in {data['data_dir']}"
    return [f"{'data':10}  {data['name']}: {data['description']}", f"{'':10}  {sizes}; {where}"]


def first_lines(study: Study, first: list[dict[str, object]], warm_start: WarmStart) -> list[str]:
    """Return the first configurations and what comes after them, in words."""
    lines = ["first configurations"]
    for point in first:
        values = ", ".join(f"{k}={_short(v)}" for k, v in point.items() if k != "config_id")
        lines.append(f"  {point['config_id']}  {values}")
    known = _known(study, warm_start)
    more, suggested = known - len(first), study.num_trials - known
    kind = {"grid": "point{} of the grid", "sobol": "point{} of the sequence"}.get(study.searcher.name, "random draw{}")
    rest = [f"{more} {kind.format(_s(more))}"] if more > 0 else []
    rest += [f"{suggested} suggestion{_s(suggested)} of {study.searcher.name}"] if suggested else []
    return [*lines, f"  then {', then '.join(rest)}"] if rest else lines


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def estimate_lines(study: Study, cost: Estimate | None) -> list[str]:
    """Return the cost in words."""
    if cost is None:
        return [
            "cost: trials take a GPU, and PyTorch sees none here, so nothing could be measured",
            "  a sweep on this machine alone would be refused; --address connects to a cluster that has GPUs",
        ]
    speed = cost.speed
    alone = (
        f"{_seconds(speed.epoch)} an epoch, {_seconds(speed.report)} a report, {_seconds(speed.score)} a final score"
    )
    least, most = cost.search
    search = f"at most {_hours(most)} of trial time"
    if study.scheduler.name == "asha":
        search += f", at least {_hours(least)} if ASHA stops all it can"
    fastest, slowest = map(_hours, cost.wall)
    wall = slowest if fastest == slowest else f"{fastest} to {slowest}"
    return [
        "cost: an estimate from the base configuration, measured for a moment on this machine",
        f"  measured  {alone} ({speed.device}, {speed.data} data)",
        f"  search    {search}",
        f"  confirm   {_hours(cost.confirm)} of trial time" if study.confirm.seeds else "  confirm   none",
        f"  in all    {wall} on this machine, {cost.concurrent} trial{_s(cost.concurrent)} at a time",
    ]


def _hours(hours: float) -> str:
    from gansearch.search.progress import duration

    return duration(hours * 3600)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
