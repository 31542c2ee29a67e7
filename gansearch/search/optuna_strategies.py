"""The strategies that learn: Optuna's TPE, Gaussian process, CMA-ES and NSGA-II, asked and told directly.

A strategy is made anew from the points that are known, wherever a sweep goes on: each of them is a trial of an
Optuna study in memory, finished or running, and the sampler learns from those.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import warnings
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FixedTrial, TrialState

from gansearch.search.proposals import MAX_REPEATS, Known, Outcome, Point, Proposal, point_key
from gansearch.seeds import stream

if TYPE_CHECKING:
    from gansearch.search.space import Space
    from gansearch.search.study import Study

MAX_ASKS = 10
"""Times that a sampler is asked before a random point is taken, as it only repeats known ones."""
MIN_SOURCE = 10
"""Values from which CMA-ES starts warm: its first distribution is fitted to the best tenth of them."""


class OptunaStrategy:
    """A strategy that one of Optuna's samplers drives.

    A trial's seed follows from its configuration, so a point that is tried twice brings the very same row: a
    proposal that repeats one of this run is not handed out. tpe and gp are asked again; cmaes and nsga2 are
    told the value that is known, for a generation without its repeats would be another one. After MAX_ASKS the
    first random draw that is new takes the place: in a space of few points a sampler settles on one of them.

    What has no value (diverged, failed) counts as the worst: for tpe as a pruned trial without a value, which it
    ranks last; for gp and cmaes, which would forget it and might propose the like for ever, with the lowest value
    that is known by then. nsga2 leaves it out of its population.

    Args:
        study: the study.
        known: what was tried already: finished points are history, unfinished ones count as running.
        first: points to try right after the base.
    """

    def __init__(self, study: Study, known: Sequence[Known], first: Sequence[Point]) -> None:
        self._name, self._space = study.searcher.name, study.space
        # Its warnings are about packages that would make it faster (greenlet, by a tenth) and the like.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna.create_study(
            directions=["maximize", "minimize"] if self._name == "nsga2" else ["maximize"],
            sampler=_sampler(study, known),
        )
        self._trials: dict[int, int] = {}  # a point's number -> its Optuna trial, while it is unfinished
        self._tried: dict[Hashable, Outcome | None] = {}
        self._keys: dict[int, Hashable] = {}
        self._worst: float | None = None
        for k in known:
            trial = self._add(k.point)
            if k.outcome is not None:
                self._finish(trial, k.outcome)
            if k.number is not None:
                self._keys[k.number] = key = point_key(k.point)
                self._tried[key] = k.outcome
                if k.outcome is None:
                    self._trials[k.number] = trial
        self._next = max(self._keys, default=0) + 1
        self._opening = collections.deque([study.space.base_point(), *first])
        self._draws = (study.space.sample(index, study.seed) for index in itertools.count(1))

    def suggest(self) -> Proposal | None:
        """Return the next point, or None when MAX_REPEATS random draws have brought nothing new."""
        while self._opening:
            point = self._opening.popleft()
            if point_key(point) not in self._tried:
                is_base = point == self._space.base_point() and 0 not in self._keys
                return self._propose(point, self._add(point), 0 if is_base else None)
        for _ in range(MAX_ASKS):
            trial, point = self._ask()
            if point_key(point) not in self._tried:
                return self._propose(point, trial.number)
            outcome = self._tried[point_key(point)] if self._name in ("cmaes", "nsga2") else None
            if outcome is not None:
                self._finish(trial.number, outcome)
            else:
                self._optuna.tell(trial.number, state=TrialState.FAIL)
        for point in itertools.islice(self._draws, MAX_REPEATS):
            if point_key(point) not in self._tried:
                return self._propose(point, self._add(point))
        return None

    def tell(self, number: int, outcome: Outcome) -> None:
        """Hear what became of the point of that number."""
        self._tried[self._keys[number]] = outcome
        self._finish(self._trials.pop(number), outcome)

    def _ask(self) -> tuple[optuna.Trial, Point]:
        """Return what the sampler proposes."""
        with _gaussian_process() if self._name == "gp" else contextlib.nullcontext():
            trial = self._optuna.ask()
            return trial, self._space.suggest(trial)

    def _propose(self, point: Point, trial: int, number: int | None = None) -> Proposal:
        """Return the point under a number, by default the next."""
        if number is None:
            number, self._next = self._next, self._next + 1
        self._keys[number] = key = point_key(point)
        self._tried[key] = None
        self._trials[number] = trial
        return Proposal(number=number, point=point)

    def _add(self, point: Point) -> int:
        """Add a running trial of a point that the sampler did not propose; return its number."""
        self._optuna.add_trial(_optuna_trial(self._space, point, TrialState.RUNNING))
        trial = self._optuna.get_trials(deepcopy=False)[-1]
        if isinstance(self._optuna.sampler, NSGAIISampler):
            # Enters the trial in the generation of its place, as it does for points of its own.
            self._optuna.sampler.get_trial_generation(self._optuna, trial)
        return trial.number

    def _finish(self, trial: int, outcome: Outcome) -> None:
        """Tell Optuna what became of one of its trials."""
        value = outcome.value
        if value is not None:
            self._worst = value if self._worst is None else min(value, self._worst)
        elif self._name in ("gp", "cmaes"):
            value = self._worst
        if self._name == "nsga2" and value is not None and outcome.flops is not None:
            self._optuna.tell(trial, [value, outcome.flops])
        elif self._name != "nsga2" and value is not None:
            self._optuna.tell(trial, value)
        else:
            self._optuna.tell(trial, state=TrialState.PRUNED if self._name == "tpe" else TrialState.FAIL)


@contextlib.contextmanager
def _gaussian_process() -> Iterator[None]:
    """Keep PyTorch to one thread, and silent a division by zero that Optuna makes and catches once it has converged.

    On the small matrices of a Gaussian process more threads take three times the CPU time, from the trials.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
            yield
    finally:
        torch.set_num_threads(threads)


def _optuna_trial(
    space: Space, point: Point, state: TrialState, value: float | None = None
) -> optuna.trial.FrozenTrial:
    """Return a point as a trial of an Optuna study."""
    asked = FixedTrial(space.encode(point))
    space.suggest(asked)
    return optuna.trial.create_trial(state=state, value=value, params=asked.params, distributions=asked.distributions)


def _sampler(study: Study, known: Sequence[Known]) -> BaseSampler:
    """Return the sampler that a study asks for.

    Its seed follows from the number of known points too: a sweep that is resumed would else draw its random
    points again.
    """
    searcher, space = study.searcher, study.space
    seed = stream(study.seed, f"search/{searcher.name}", len(known)) % 2**32
    with warnings.catch_warnings():
        # Optuna calls some arguments experimental; its bounds in pyproject.toml are tested.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if searcher.name == "gp":
            return GPSampler(seed=seed, n_startup_trials=searcher.startup_trials, deterministic_objective=False)
        if searcher.name == "cmaes":
            values = [(k.point, k.outcome.value) for k in known if k.outcome and k.outcome.value is not None]
            source = [_optuna_trial(space, point, TrialState.COMPLETE, value) for point, value in values]
            return CmaEsSampler(
                seed=seed,
                n_startup_trials=searcher.startup_trials,
                warn_independent_sampling=False,
                source_trials=source if len(source) >= MIN_SOURCE else None,
            )
        if searcher.name == "nsga2":
            return NSGAIISampler(seed=seed, population_size=searcher.population_size)
        return TPESampler(
            seed=seed,
            n_startup_trials=searcher.startup_trials,
            multivariate=searcher.multivariate,
            # Parameters that act together are modelled together; without it, conditional ones are not at all.
            group=searcher.multivariate and any(p.when for p in space.parameters),
            constant_liar=True,
        )
