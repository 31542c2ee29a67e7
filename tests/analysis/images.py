"""Small made-up data sets for the analysis tests."""

from __future__ import annotations

import numpy as np

from gansearch.core.datasets import Dataset

DIGESTS = {"train": "11111111", "valid": "22222222", "test": "33333333"}
"""Those of the rows that `tests.analysis.rows` makes."""
LEVELS = 200


def dataset(name: str = "mnist", n_train: int = 31, n_valid: int = 13, n_test: int = 17, d: int = 6) -> Dataset:
    """Return images around three centres, drawn from a seed; none is equal to another."""
    rng = np.random.default_rng(2014)
    centres = rng.uniform(40, 160, (3, d))
    splits = [
        np.clip(centres[rng.integers(0, 3, n)] + rng.normal(0, 12, (n, d)), 0, LEVELS).astype(np.uint8)
        for n in (n_train, n_valid, n_test)
    ]
    for split in splits:
        split.setflags(write=False)
    train, valid, test = splits
    return Dataset(name=name, shape=(1, 1, d), levels=LEVELS, train=train, valid=valid, test=test, digests=DIGESTS)
