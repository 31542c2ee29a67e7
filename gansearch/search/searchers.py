"""A stage's trials as a searcher that Ray Tune drives.

`SpecSearcher` turns each point that a strategy proposes into the specs of its replicates, so that a worker is
handed a whole trial and Tune never sees a nested configuration.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from gansearch.paths import TrialKey
from gansearch.search.history import Tried
from gansearch.search.proposals import Outcome, Proposal, Strategy, row_outcome
from gansearch.spec import TrialSpec

METRIC = "objective"
"""Name of the reported value: validation log-likelihood in nats under the report protocol."""
CURRENT = "current"
"""Name of the current report's value, which schedulers compare trials by: an early report of a generator that
has hardly moved from the mean image often stays the best for many epochs, whatever training has come to."""
SPEC = "spec"
"""Name under which a Tune trial's configuration holds the trial's spec."""
REPEAT = "repeat"
"""Name under which it says that a trial which goes on makes its last report once more, for the scheduler to decide."""


class SpecSearcher(Searcher):
    """Hands Tune the specs of a stage's trials, `repeats` of each point.

    What is left of points that were tried before comes first. The strategy hears what became of a point when
    its last replicate has ended. A trial that equals a running one waits for it, and then finds its rows.

    Args:
        strategy: where points come from; knows of those tried before.
        num_points: how many there are to be, those tried before among them.
        repeats: replicates of each point.
        make_spec: (proposal, replicate) -> the trial.
        tried: what the stage tried before.
        limit: how many trials there may be at a time now; without one, as many as Tune asks for.
    """

    def __init__(
        self,
        strategy: Strategy,
        num_points: int,
        repeats: int,
        make_spec: Callable[[Proposal, int], TrialSpec],
        tried: Sequence[Tried] = (),
        limit: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._strategy, self._num_points, self._repeats, self._make_spec = strategy, num_points, repeats, make_spec
        self._limit = limit
        self._begun = frozenset(one.number for one in tried)
        self._taken, self._exhausted = len(tried), False
        self._waiting = collections.deque((one.number, spec) for one in tried for spec in one.todo)
        self._left = {one.number: len(one.todo) for one in tried if one.todo}
        self._outcomes = {one.number: [row_outcome([row]) for row in one.ended] for one in tried if one.todo}
        self._running: dict[str, tuple[int, TrialKey]] = {}
        self._last: dict[str, dict[str, Any]] = {}

    @property
    def num_trials(self) -> int:
        """Trials that all points give."""
        return self._num_points * self._repeats

    @property
    def handed_out(self) -> bool:
        """Whether every trial was handed out."""
        return not self._waiting and (self._exhausted or self._taken >= self._num_points)

    def take(self) -> TrialSpec | None:
        """Return the next trial, whoever runs it; None after the last."""
        if not self._waiting and not self._propose():
            return None
        return self._waiting.popleft()[1]

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's configuration, None while it must wait, or FINISHED after the last."""
        if len(self._running) >= self._limit():
            return None
        if not self._waiting and not self._propose():
            return Searcher.FINISHED
        number, spec = self._waiting[0]
        key = spec.key  # a hash of the configuration: once, not for each that runs
        if any(key == other for _, other in self._running.values()):
            return None
        self._waiting.popleft()
        self._running[trial_id] = number, key
        return {SPEC: spec.to_dict(), REPEAT: number in self._begun}

    def _propose(self) -> bool:
        """Take the strategy's next point; return whether there was one."""
        proposal = self._strategy.suggest() if self._taken < self._num_points else None
        if proposal is None:
            self._exhausted = True
            return False
        self._taken += 1
        specs = [self._make_spec(proposal, replicate) for replicate in range(self._repeats)]
        self._waiting.extend((proposal.number, spec) for spec in specs)
        self._left[proposal.number], self._outcomes[proposal.number] = len(specs), []
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep a trial's latest result."""
        self._last[trial_id] = result

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Gather a replicate's outcome; tell the strategy when it was the point's last."""
        number, _ = self._running.pop(trial_id)
        last = self._last.pop(trial_id, None)  # Tune gives none for a trial that is stopped while it waits
        self._outcomes[number].append(_outcome(None if error else result or last))
        self._left[number] -= 1
        if self._left[number] == 0:
            del self._left[number]
            self._strategy.tell(number, _together(self._outcomes.pop(number)))

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles what it is given, but a searcher's history is rebuilt from the tables."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


def _outcome(result: dict[str, Any] | None) -> Outcome:
    """Return what a trial's last result says."""
    if not result:
        return Outcome(value=None, flops=None)
    return Outcome(value=result.get(METRIC), flops=result["draft"][0].get("flops"))


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the mean over a point's replicates."""
    values = [o.value for o in outcomes if o.value is not None]
    flops = [o.flops for o in outcomes if o.flops is not None]
    return Outcome(
        value=sum(values) / len(values) if values else None, flops=sum(flops) / len(flops) if flops else None
    )
