"""What Ray Tune does before its first trial trains: no more than is needed here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ray.air._internal import usage
from ray.tune.execution import class_cache

from gansearch.search.replacing import replaced


@contextlib.contextmanager
def started_at_once() -> Iterator[None]:
    """Spare Tune's start what no trial here needs, for the time of the block.

    Ray 2.60 alone
    - looks what callbacks are there, for its statistics of usage, and imports MLflow and Weights & Biases to know
      them by, where those are installed: two seconds;
    - gives each trial's process an environment variable for PyTorch Lightning. The processes that it holds ready have
      none, so it starts another one for each trial: one more second, and what those have imported is in vain.
    """
    with (
        replaced(usage, "tag_callbacks", lambda _: _not_counted),
        replaced(class_cache, "DEFAULT_ENV_VARS", lambda _: {}),
    ):
        yield


def _not_counted(_callbacks: object) -> bool:
    return False
