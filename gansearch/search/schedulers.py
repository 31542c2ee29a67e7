"""Tune's schedulers: which trials are stopped early, wait for others, or go on as copies of better ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from gansearch.search.population import Explorer
from gansearch.search.searchers import CURRENT
from gansearch.search.strategies import Scheduler

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial as TuneTrial


def make_scheduler(scheduler: Scheduler, epochs: int, explorer: Explorer | None = None) -> TrialScheduler:
    """Return Tune's scheduler for a study whose trials have a budget of so many epochs.

    Args:
        scheduler: what the study asks for.
        epochs: the budget.
        explorer: what changes a population's values; pbt and pb2 need it, the others take none.
    """
    ranked_by: dict[str, Any] = {"time_attr": "epoch", "metric": CURRENT, "mode": "max"}
    if scheduler.name == "asha":
        return ASHAScheduler(
            max_t=epochs,
            grace_period=scheduler.grace_epochs,
            reduction_factor=scheduler.reduction_factor,
            **ranked_by,
        )
    if scheduler.name == "median":
        return MedianStoppingRule(
            grace_period=scheduler.grace_epochs,
            min_samples_required=scheduler.min_trials,
            hard_stop=True,
            # No trial waits until enough others have come as far.
            **ranked_by | {"min_time_slice": math.inf},
        )
    if scheduler.name == "hyperband":
        # The last rung may come before the budget does: who passes it trains to the end.
        inner = HyperBandScheduler(
            max_t=epochs, reduction_factor=scheduler.reduction_factor, stop_last_trials=False, **ranked_by
        )
        return HyperBand(inner)
    if scheduler.name == "none":
        return FIFOScheduler()
    if explorer is None:
        raise ValueError(f"{scheduler.name} needs an explorer")
    population: dict[str, Any] = {
        "perturbation_interval": scheduler.interval_epochs,
        "quantile_fraction": scheduler.quantile,
        "custom_explore_fn": explorer,
        "log_config": False,
        "require_attrs": False,  # a member that diverged or failed has no value
        **ranked_by,
    }
    if scheduler.name == "pb2":
        from ray.tune.schedulers.pb2 import PB2  # imports scikit-learn

        return PB2(hyperparam_bounds={**explorer.bounds}, **population)
    return PopulationBasedTraining(**population)


def pauses(scheduler: TrialScheduler) -> bool:
    """Return whether a scheduler lets trials wait, so that they must be saved and gone on with elsewhere."""
    return isinstance(scheduler, HyperBand | PopulationBasedTraining)


class HyperBand(TrialScheduler):
    """Tune's HyperBand, in whose brackets trials may end on their own.

    Tune's ranks every trial of a bracket by its last report, which a trial that diverged or failed does not
    have; here that one is the worst. And once a bracket was halved for the first time, Tune takes no notice of
    its trials that end, so that those which wait for them would wait for ever (ray 2.60: nothing sets
    `is_being_processed` back); here a bracket is open to such news whenever it is not being halved. At last,
    Tune's counts only live trials when it asks whether a bracket is full, so that with few workers the first one,
    which halves nothing, takes every trial there is; here a bracket is full once it was given all its trials.

    Args:
        inner: Tune's scheduler.
    """

    def __init__(self, inner: HyperBandScheduler) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray is typed in part
        self._inner = inner
        self._depth = 0

    @contextlib.contextmanager
    def _processing(self, trial: TuneTrial) -> Iterator[None]:
        """Open the trial's bracket when the outermost of nested calls is over: halving stops trials."""
        bracket, _ = self._inner._trial_info[trial]
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                bracket.is_being_processed = False

    def on_trial_add(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Hear of a trial."""
        bracket: Any = self._inner._state["bracket"]
        if bracket is not None and len(bracket._all_trials) == bracket._n0:
            self._inner._state["bracket"] = None  # which makes it open the next one
        self._inner.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Return the decision on a report."""
        with self._processing(trial):
            return str(self._inner.on_trial_result(tune_controller, trial, {CURRENT: -math.inf, **result}))

    def on_trial_complete(self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Hear that a trial has ended."""
        with self._processing(trial):
            self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Hear that a trial was lost."""
        with self._processing(trial):
            self._inner.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Hear that a trial was removed."""
        with self._processing(trial):
            self._inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: TuneController) -> TuneTrial | None:
        """Return the trial that runs next."""
        return self._inner.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Return the scheduler's own account of itself."""
        return str(self._inner.debug_string())
