"""What a run's plan file says of the study, beside what its tables hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gansearch.config import TrialConfig
from gansearch.paths import RunPaths
from gansearch.storage import Location, location
from gansearch.yaml_files import load_yaml, located


def planned_confirm_seeds(run: Location | str) -> int | None:
    """Return how many confirm seeds a run's plan asks for.

    Args:
        run: the run directory.

    Returns:
        The number; None where the run has no plan file, as after `gansearch train`, or the plan does not say.

    Raises:
        ConfigError: when the plan file cannot be read.
    """
    value = _planned(run, "confirm", "seeds")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def planned_folds(run: Location | str) -> int:
    """Return on how many folds of the data set a run's plan trains each confirm seed.

    Args:
        run: the run directory.

    Returns:
        The number; 1 where the run has no plan file, or the plan does not say.

    Raises:
        ConfigError: when the plan file cannot be read.
    """
    path = RunPaths(location(run)).plan
    if _planned(run, "confirm", "folds") != "all":
        return 1
    data = load_yaml(path).get("data")
    return 1 + sum(str(name).startswith("test_fold_") for name in data) if isinstance(data, Mapping) else 1


def planned_executor(run: Location | str) -> str | None:
    """Return the executor that a run's plan names; None where there is no plan file, or it does not say.

    Args:
        run: the run directory.

    Raises:
        ConfigError: when the plan file cannot be read.
    """
    value = _planned(run, "executor", "name")
    return value if isinstance(value, str) else None


def planned_base(run: Location | str) -> TrialConfig | None:
    """Return the base of a run's study: its own base, with the study's overrides and budget.

    Args:
        run: the run directory.

    Returns:
        The configuration; None where the run has no plan file, or the plan does not say.

    Raises:
        ConfigError: when the plan file cannot be read, or its base is no configuration.
    """
    value = _planned(run, "base")
    if value is None:
        return None
    with located(str(RunPaths(location(run)).plan)):
        return TrialConfig.from_dict(value, "study.base")


def searched_parameters(run: Location | str) -> tuple[str, ...] | None:
    """Return the dotted names of the parameters that a run's study varies, in the plan's order.

    Args:
        run: the run directory.

    Returns:
        The names; None where the run has no plan file, or the plan does not say.

    Raises:
        ConfigError: when the plan file cannot be read.
    """
    space = _planned(run, "space")
    if not isinstance(space, Mapping):
        return None
    return tuple(name for name, kind in space.items() if not (isinstance(kind, Mapping) and "fixed" in kind))


def _planned(run: Location | str, *keys: str) -> Any:
    """Return a value of the plan's study; None where there is no plan file or no such key."""
    path = RunPaths(location(run)).plan
    if not path.exists():
        return None
    value: Any = load_yaml(path)
    for key in ("study", *keys):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
