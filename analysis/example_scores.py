"""The confirmed trials' scores image by image, as matrices over seeds and images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.comparison import Array
from gansearch import results, schema
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from numpy.typing import NDArray

TrialKey = tuple[str, int, int]
"""config_id, seed and fold."""

_COLUMNS = ("config_id", "seed", "stage", "fold", "protocol_id", "split", "index", "ll")
# The sums of a table's mean and of this one run in another order: n units in the last place, for 10,000 images.
_SAME_MEAN = 1e-9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExampleScores:
    """What the table `examples` holds of a run's confirm trials under one protocol.

    Attributes:
        trials: index and log-likelihood of each image, in the order of the index, by split and trial.
        missing: whether the run has no such table.
        skipped: damaged parts that were left out.
    """

    trials: Mapping[tuple[str, TrialKey], tuple[NDArray[np.int64], Array]]
    missing: bool = False
    skipped: tuple[str, ...] = ()

    def matrix(self, split: str, keys: Sequence[TrialKey], means: Sequence[float]) -> Array | None:
        """Return a configuration's log-likelihoods [seeds, images].

        Args:
            split: `valid` or `test`.
            keys: its trials, one a seed, 1 or more.
            means: what each of them scored, in nats.

        Returns:
            The matrix; None where a trial's images are missing or are not those of the others, or do not average
            to its score.
        """
        found = [self.trials.get((split, key)) for key in keys]
        rows = [entry for entry in found if entry is not None]
        if not rows or len(rows) < len(found):
            return None
        index = rows[0][0]
        for (own, lls), mean in zip(rows, means, strict=True):
            agrees = np.array_equal(own, index) and abs(lls.mean() - mean) <= _SAME_MEAN * max(1.0, abs(mean))
            if not agrees:
                return None
        return np.stack([lls for _, lls in rows])

    def images(self, split: str, key: TrialKey) -> bytes:
        """Return what names the images that a trial was scored on: equal for equal images only."""
        return self.trials[split, key][0].tobytes()


def read_example_scores(run: Location | str, protocol_id: str, *, skip_damaged: bool = False) -> ExampleScores:
    """Return the confirm trials' scores image by image.

    Args:
        run: the run directory.
        protocol_id: the score protocol.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the table cannot be read.
    """
    if not (location(run) / schema.EXAMPLES.name).is_dir():
        return ExampleScores(trials={}, missing=True)
    frame = results.read(run, schema.EXAMPLES.name, columns=_COLUMNS, skip_damaged=skip_damaged)
    skipped = tuple(frame.attrs["skipped"])
    frame = frame[(frame["stage"] == "confirm") & (frame["protocol_id"] == protocol_id)].sort_values("index")
    trials = {}
    for _, group in frame.groupby(["split", "config_id", "seed", "fold"], sort=False):
        first = group.iloc[0]
        key = (str(first["config_id"]), int(first["seed"]), int(first["fold"]))
        trials[str(first["split"]), key] = (group["index"].to_numpy(np.int64), group["ll"].to_numpy(np.float64))
    return ExampleScores(trials=trials, skipped=skipped)
