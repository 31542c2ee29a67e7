"""gansearch: distributed hyperparameter search for the adversarial nets of Goodfellow et al. 2014.

Light on purpose: importing it loads neither torch nor Ray; `sweep` and the others load them when first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gansearch.search.study import load_study
    from gansearch.search.sweep import confirm, resume, sweep

__version__ = "0.1.0"

__all__ = ["__version__", "confirm", "load_study", "resume", "sweep"]

_HOMES = {"load_study": "study", "sweep": "sweep", "resume": "sweep", "confirm": "sweep"}


def __getattr__(name: str) -> Any:
    """Load a function of `gansearch.search` when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"gansearch.search.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'gansearch' has no attribute '{name}'")
