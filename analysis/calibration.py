"""What images themselves score under a protocol: the marks between which a model's score is read.

Three sets of images stand where a model's samples would, scored by the same estimator with as many of them:

- real training images, the honest ceiling: what a model scores whose samples are draws from the data itself;
- k-means centroids, which lie above it: no model, yet a better score (Theis et al. 2015);
- the mean image alone, the floor: a model that has learnt nothing but one blurred image.

As for a model, sigma is chosen on validation images and the test images are scored at that sigma. Reading the test
split here is reading data, not evaluating a model: nothing that is searched for can be selected by it, and the
ledgers of runs, which count evaluations of models, have no entry of it.

It takes minutes on MNIST, so it is computed once and kept in the user's cache, `$XDG_CACHE_HOME/gansearch` or
`~/.cache/gansearch`, in a file named by the data set, the protocol and a digest of the data and of the settings.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch import storage
from gansearch.errors import ResultsError
from gansearch.paths import safe_name
from gansearch.seeds import digest

if TYPE_CHECKING:
    from gansearch.core.datasets import Dataset
    from gansearch.protocols import Protocol

REAL = "Real training images"
KMEANS = "k-means centroids"
MEAN_IMAGE = "Mean image"
MODELS = (REAL, KMEANS, MEAN_IMAGE)

KMEANS_ITERATIONS = 10
"""Of Lloyd's algorithm. Each costs 2 n k d operations, 8e11 on MNIST with 10,000 centroids: ten are minutes."""
SETTINGS: Mapping[str, object] = {"version": 1, "kmeans": "lloyd from the real images", "iterations": KMEANS_ITERATIONS}
"""What a calibration follows from beside data and protocol; raise `version` when anything else about it changes."""
SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """What one set of images scores.

    Attributes:
        model: `REAL`, `KMEANS` or `MEAN_IMAGE`.
        num_samples: images that carry the kernels. One image repeated has the density of one, so the mean image
            has as many as the protocol asks for.
        comparable: whether that is the protocol's number, so that models' scores can be held against this one.
        sigma: bandwidth chosen on validation images, in score-space units.
        sigma_at_edge: whether it is an end point of the protocol's grid.
        valid_ll_mean: mean log-likelihood of the protocol's validation images, in nats.
        valid_ll_se_examples: its standard error over images, in nats.
        test_ll_mean: the same of the test images.
        test_ll_se_examples: its standard error over images, in nats.
        valid_n: validation images scored.
        test_n: test images scored.
    """

    model: str
    num_samples: int
    comparable: bool
    sigma: float
    sigma_at_edge: bool
    valid_ll_mean: float
    valid_ll_se_examples: float
    test_ll_mean: float
    test_ll_se_examples: float
    valid_n: int
    test_n: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a data set's own images score under a protocol.

    Attributes:
        dataset: name of the data set.
        protocol_id: the score protocol.
        digests: digest of each split: `train`, `valid` and `test`.
        rows: one of each of `MODELS`, in their order.
    """

    dataset: str
    protocol_id: str
    digests: Mapping[str, str]
    rows: tuple[CalibrationRow, ...]

    def row(self, model: str) -> CalibrationRow | None:
        """Return the row of `REAL`, `KMEANS` or `MEAN_IMAGE`; None where there is none."""
        return next((row for row in self.rows if row.model == model), None)


def folder() -> Path:
    """Return where calibrations are kept on this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "gansearch" / "calibration"


def find_calibration(dataset: str, protocol_id: str, digests: Mapping[str, str]) -> Calibration | None:
    """Return what was computed before for these very data under a protocol; nothing is computed.

    Args:
        dataset: name of the data set.
        protocol_id: the score protocol.
        digests: digest of each split: `train`, `valid` and `test`.

    Returns:
        The calibration; None where the cache holds none of these data and this version's settings, or where its file
        is damaged, which is as if there were none.
    """
    try:
        document = json.loads(_place(dataset, protocol_id, digests).read_text(encoding="utf-8"))
        content = document["content"]
        if document["digest"] != digest(content):
            return None
        found = Calibration(
            dataset=content["dataset"],
            protocol_id=content["protocol_id"],
            digests=content["digests"],
            rows=tuple(CalibrationRow(**row) for row in content["rows"]),
        )
    except (OSError, ResultsError, ValueError, LookupError, TypeError):
        return None
    asked = (dataset, protocol_id, {split: digests.get(split) for split in SPLITS})
    same = (found.dataset, found.protocol_id, dict(found.digests)) == asked
    return found if same and all(map(_is_sound, found.rows)) else None


def calibrate(data: Dataset, protocol: Protocol) -> Calibration:
    """Return what a data set's own images score under a protocol: from the cache, else computed and kept there.

    Args:
        data: the data set, with its test images.
        protocol: how to score.

    Raises:
        DataError: when the test images are locked away, or there are fewer than 2 training images.
        ResultsError: when the cache cannot be written, which is found out before anything is computed.
        ConfigError: when it is to be computed under another version of the estimator.
    """
    there = find_calibration(data.name, protocol.id, data.digests)
    if there is not None:
        return there
    from analysis.calibration_scores import scores

    protocol.check_current()
    storage.probe(folder())
    digests = {split: data.digests[split] for split in SPLITS}
    made = Calibration(dataset=data.name, protocol_id=protocol.id, digests=digests, rows=scores(data, protocol))
    content = dataclasses.asdict(made)
    storage.write_json(_place(data.name, protocol.id, digests), {"content": content, "digest": digest(content)})
    return made


def as_plain(found: Calibration) -> dict[str, Any]:
    """Return a calibration as JSON-able values, with every digit."""
    return dataclasses.asdict(found)


def _place(dataset: str, protocol_id: str, digests: Mapping[str, str]) -> Path:
    """Return the file of a calibration.

    Raises:
        ResultsError: when a name from a damaged table cannot be part of a file's name.
    """
    of = digest({"data": {split: digests.get(split) for split in SPLITS}, "settings": dict(SETTINGS)})
    return folder() / safe_name(f"{dataset}-{protocol_id}-{of}.json")


def _is_sound(row: CalibrationRow) -> bool:
    """Return whether a row's values are such as are written."""
    numbers: tuple[Any, ...] = (
        row.sigma,
        row.valid_ll_mean,
        row.valid_ll_se_examples,
        row.test_ll_mean,
        row.test_ll_se_examples,
    )
    return row.model in MODELS and all(isinstance(x, float) and math.isfinite(x) for x in numbers)
