"""Which searcher, scheduler and space go together; what does not is refused with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansearch.errors import ConfigError
from gansearch.schedule import CHANGEABLE
from gansearch.search.domains import Choice

if TYPE_CHECKING:
    from gansearch.search.study import Study

POPULATION = ("pbt", "pb2")
"""Schedulers that change values while trials run."""
PAUSING = ("hyperband", *POPULATION)
"""Schedulers that let trials wait for others."""
INDEXED = ("random", "sobol", "grid")
"""Searchers that learn nothing: point i is known before the sweep starts."""

_EPOCHS = "algorithm.epochs"


def check(study: Study) -> None:
    """Raise ConfigError unless the study's searcher, scheduler and space go together."""
    _check_trials(study)
    _check_model(study)
    if study.start_from and study.searcher.name == "grid":
        raise ConfigError(
            "searcher 'grid' tries all its points, so start_from would change nothing but their order",
            hint="remove start_from, or use searcher: random, which tries the named configurations first",
        )
    if study.scheduler.name != "none":
        _check_scheduler(study)
    if study.scheduler.name in POPULATION:
        _check_population(study)
    if study.executor.name == "packed" and study.scheduler.name in PAUSING:
        raise ConfigError(
            f"the packed executor cannot drive scheduler '{study.scheduler.name}', which lets trials wait for others",
            hint="use scheduler: asha, median or none; or executor: tune",
        )


def _check_trials(study: Study) -> None:
    """Check the number of trials against the number of points."""
    if study.searcher.name == "grid":
        size = study.space.grid_size
        if study.num_trials != size:
            raise ConfigError(
                f"num_trials is {study.num_trials}, but the grid has {size} points, the base among them",
                hint="leave num_trials out, or use searcher: random",
            )
    elif study.space.finite:
        size = study.space.count(study.num_trials)
        if size < study.num_trials:
            raise ConfigError(
                f"num_trials is {study.num_trials}, but the space holds only {size} configurations",
                hint="use searcher: grid, which tries each once, or `repeats` for several seeds each",
            )


def _check_model(study: Study) -> None:
    """Check that the searcher can model the space."""
    name, parameters = study.searcher.name, study.space.parameters
    if name not in ("gp", "cmaes"):
        return
    conditional = next((p.name for p in parameters if p.when), None)
    if conditional is not None:
        raise ConfigError(
            f"searcher '{name}' models parameters that always act, but {conditional} is conditional",
            hint="use searcher: tpe, or fix what it depends on",
        )
    if name == "cmaes":
        choice = next((p.name for p in parameters if isinstance(p.domain, Choice)), None)
        if choice is not None:
            raise ConfigError(
                f"searcher 'cmaes' models numbers, but {choice} is a choice in no order",
                hint="use searcher: tpe, or fix it",
            )
        if len(parameters) < 2:
            raise ConfigError("searcher 'cmaes' needs two parameters or more", hint="use searcher: tpe")


def _check_scheduler(study: Study) -> None:
    """Check that trials can be compared on their way."""
    scheduler = study.scheduler
    names = {p.name: p.domain for p in study.space.parameters}
    if study.searcher.name == "nsga2":
        raise ConfigError(
            f"{scheduler.name} ranks trials by their likelihood alone, but searcher 'nsga2' has two objectives",
            hint="use scheduler: none, or searcher: tpe",
        )
    if _EPOCHS in names:
        raise ConfigError(
            f"{scheduler.name} compares trials at equal epochs, but the space searches {_EPOCHS}",
            hint="use scheduler: none, or fix the epochs",
        )
    every = study.base.score.report_every
    if "score.report_every" in names:
        every = max(every, *(int(str(v)) for v in names["score.report_every"].extremes()))
    for option, first in (("grace_epochs", scheduler.grace_epochs), ("interval_epochs", scheduler.interval_epochs)):
        if option not in scheduler.to_dict():
            continue
        if first > study.epochs:
            raise ConfigError(
                f"scheduler.{option} is {first}, above the budget of {study.epochs} epochs",
                hint=f"lower {option}, or raise epochs",
            )
        if option == "interval_epochs" and first == study.epochs:
            raise ConfigError(
                f"scheduler.interval_epochs is {first}, the whole budget, so {scheduler.name} would change nothing",
                hint="lower interval_epochs, or raise epochs",
            )
        if every > first:
            raise ConfigError(
                f"a trial reports every {every} epochs, so {scheduler.name} would see nothing by "
                f"scheduler.{option}, {first}",
                hint=f"lower score.report_every, or raise {option}",
            )


def _check_population(study: Study) -> None:
    """Check that the scheduler may change everything that the space searches."""
    scheduler, searcher = study.scheduler.name, study.searcher.name
    if searcher not in INDEXED:
        raise ConfigError(
            f"{scheduler} changes the values itself, so searcher '{searcher}' would learn from values that were "
            "not its own",
            hint="use searcher: random or sobol, which draw the first population",
        )
    for p in study.space.parameters:
        if p.name not in CHANGEABLE:
            raise ConfigError(
                f"{scheduler} changes values while trials run, but {p.name} is structural: no member could continue "
                "from another's checkpoint",
                hint=f"fix it, or use scheduler: asha; what {scheduler} can change: {', '.join(CHANGEABLE)}",
            )
        if p.when or isinstance(p.domain, Choice):
            raise ConfigError(
                f"{scheduler} changes numbers that always act, but {p.name} is {p.describe()}",
                hint="give it a range without `when`, or use scheduler: asha",
            )
    if study.repeats > 1:
        raise ConfigError(
            f"repeats is {study.repeats}, but the members of {scheduler}'s population are not independent",
            hint="leave repeats out; run the sweep with several seeds instead",
        )
    if study.num_trials < 4:
        raise ConfigError(f"num_trials is {study.num_trials}, but {scheduler} needs a population of 4 or more")
