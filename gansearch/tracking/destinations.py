"""The trackers that there are, by their names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

from gansearch.errors import ConfigError, ResourceError, nearest
from gansearch.storage import Location
from gansearch.tracking.interface import Destination
from gansearch.tracking.mlflow import Mlflow
from gansearch.tracking.tensorboard import TensorBoard
from gansearch.tracking.wandb import Wandb

_BACKENDS: dict[str, Callable[[Location], Destination]] = {
    "tensorboard": TensorBoard.of,
    "mlflow": Mlflow.of,
    "wandb": Wandb.of,
}
NAMES = tuple(_BACKENDS)
"""Names of all trackers; each is also that of its package."""


def tracker_names(value: object) -> tuple[str, ...]:
    """Return the names of trackers, each once.

    Args:
        value: a list of names, or text with commas between them.

    Raises:
        ConfigError: when it is neither, or a name is unknown.
    """
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f"track must be a list of trackers, got {value!r}", hint="such as track: [tensorboard]")
    names = [name.strip() for name in given]
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"there is no tracker '{name}'", hint=nearest(name, NAMES))
    return tuple(dict.fromkeys(names))


def destinations(names: Iterable[str], run: Location) -> tuple[Destination, ...]:
    """Return where the trials of a run are followed, as this process's environment says.

    Args:
        names: of `NAMES`.
        run: the run directory.

    Raises:
        ResourceError: when a tracker's package is not installed.
        ResultsError: when a tracker cannot follow a run that lies there.
    """
    found = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name in the current directory is no package
            raise ResourceError(
                f"trials cannot be followed in {name}: the package is not installed",
                hint="pip install 'gansearch[tracking]'",
            )
        found.append(_BACKENDS[name](run.absolute() if isinstance(run, Path) else run))
    return tuple(found)
