"""Small plans, as study files hold them."""

from __future__ import annotations

import copy
from typing import Any

SMALL: dict[str, Any] = {
    "base": {"dataset": {"name": "digits"}, "algorithm": {"epochs": 12}},
    "space": {"algorithm.k": {"int": [1, 4]}, "momentum.lr_g": {"loguniform": [0.01, 1]}},
    "num_trials": 7,
}
GRID: dict[str, Any] = {
    "base": {},
    "space": {"algorithm.k": {"int": [1, 4]}, "momentum.lr_g": {"uniform": [0.05, 0.2], "points": 2}},
    "searcher": "grid",
}
ASHA = {"name": "asha", "grace_epochs": 5}


def changed(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(data), **changes}
