"""The actors behind Tune's trials: what Ray Tune has no public way to, all in one place."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray._private import state
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController

from gansearch.search.replacing import replaced

if TYPE_CHECKING:
    from ray.actor import ActorHandle
    from ray.tune.experiment import Trial as TuneTrial

OUT_OF_MEMORY = "its machine ran out of memory"
"""What a loss by Ray's memory monitor begins with."""
_MEASURED = re.compile(r"was (\S+ used / \S+ limit)")


class LostActorError(ActorDiedError):
    """An actor that was lost by what Ray does not call an actor's death."""

    def __init__(self, text: str) -> None:
        RayActorError.__init__(self, error_msg=text)
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text,)


def actor_of(trial: TuneTrial) -> ActorHandle[Any] | None:
    """Return the actor that runs a trial now, or None."""
    actor: ActorHandle[Any] | None = trial.temporary_state.ray_actor
    return actor


def machine_of(actor: ActorHandle[Any]) -> str | None:
    """Return the id of the node that an actor runs on, or ran on; None where Ray does not know."""
    found = state.actors(actor._actor_id.hex()).get("Address", {}).get("NodeID")
    return str(found) if found else None


@contextlib.contextmanager
def any_loss_survived() -> Iterator[None]:
    """Let Tune restart trials whatever their actor was lost by, and whenever, for the time of the block.

    Ray 2.60 alone does not:
    - The memory monitor's kills reach Tune as `ray.exceptions.OutOfMemoryError`, which is none of the errors that it
      knows: it raises it, and so ends the sweep.
    - An actor that dies while it is made ready for its next trial is told of twice. The second time Tune gives the
      trial up; would it not, it would wait forever for the actor to get ready.
    """
    with contextlib.ExitStack() as stack:
        for name in ("_actor_task_failed", "_actor_start_failed"):
            stack.enter_context(replaced(RayActorManager, name, _known))
        stack.enter_context(replaced(TuneController, "_trial_task_failure", _once))
        yield


def _known(method: Any) -> Any:
    def call(*where: Any, exception: Exception, **which: Any) -> None:
        method(*where, exception=as_actor_loss(exception), **which)

    return call


def _once(method: Any) -> Any:
    told: dict[str, Exception] = {}

    def call(controller: TuneController, trial: TuneTrial, exception: Exception) -> None:
        if told.get(trial.trial_id) is exception:
            return
        told[trial.trial_id] = exception
        controller._resetting_trials.discard(trial)
        method(controller, trial, exception=exception)

    return call


def as_actor_loss(error: Exception) -> Exception:
    """Return an error as Tune knows it: raised by the trial, or the loss of its actor."""
    if isinstance(error, RayActorError | RayTaskError):
        return error
    text = str(error)
    if isinstance(error, OutOfMemoryError):
        measured = _MEASURED.search(text)
        return LostActorError(OUT_OF_MEMORY + (f": {measured[1]}" if measured else ""))
    return LostActorError(f"{type(error).__name__}: {text}")
