"""gansearch: distributed hyperparameter search for the adversarial nets of Goodfellow et al. 2014.

Light on purpose: importing it loads neither torch nor Ray; `sweep` loads them when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gansearch.search.study import load_study
    from gansearch.search.sweep import sweep

__version__ = "0.1.0"

__all__ = ["__version__", "load_study", "sweep"]


def __getattr__(name: str) -> Any:
    """Load `sweep` and `load_study` when they are first asked for."""
    if name == "sweep":
        from gansearch.search.sweep import sweep

        return sweep
    if name == "load_study":
        from gansearch.search.study import load_study

        return load_study
    raise AttributeError(f"module 'gansearch' has no attribute '{name}'")
