"""What a run's plan file says of the stages that its tables may not hold yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gansearch.paths import RunPaths
from gansearch.yaml_files import load_yaml


def planned_confirm_seeds(run: Path | str) -> int | None:
    """Return how many confirm seeds a run's plan asks for.

    Args:
        run: the run directory.

    Returns:
        The number; None where the run has no plan file, as after `gansearch train`, or the plan does not say.

    Raises:
        ConfigError: when the plan file cannot be read.
    """
    path = RunPaths(Path(run)).plan
    if not path.exists():
        return None
    value: Any = load_yaml(path)
    for key in ("study", "confirm", "seeds"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
