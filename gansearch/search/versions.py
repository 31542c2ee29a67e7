"""Whether all machines of a cluster run the same: Python, packages and gansearch's own code."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from gansearch.errors import ResourceError
from gansearch.search.machines import ask, listed, machines
from gansearch.search.probes import ask_versions

PACKAGES = ("ray", "torch", "numpy", "pandas", "pyarrow", "optuna", "scipy", "scikit-learn", "safetensors")
"""What trials and the driver compute, read and write with."""
HERE = "here"
HINT = "install the same versions on all machines, such as those of constraints.txt, then start Ray there again"


def check_versions() -> None:
    """Compare this process with the machines of the cluster that it is connected to: one task each.

    Machines that come up later are not compared, nor are those that do not answer: each row says with which versions
    its trial ran.

    Raises:
        ResourceError: when versions differ.
    """
    answers = ask(machines(), ask_versions, PACKAGES)
    found = {machine.name: answer.value for machine, answer in answers.items() if answer.value is not None}
    different = differences({HERE: ask_versions(PACKAGES), **found})
    if different:
        raise ResourceError(f"the machines of the cluster differ: {'; '.join(different)}", hint=HINT)


def differences(versions: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Return what is not the same everywhere, such as `numpy 2.4.6 here, 2.1.0 on 10.0.0.7`.

    Args:
        versions: of each machine by name, the version of each package; `HERE` is this process.
    """
    different = []
    for package in next(iter(versions.values())):
        places = collections.defaultdict(list)
        for place, found in versions.items():
            places[found.get(package)].append(place)
        if len(places) > 1:
            texts = [f"{version or 'missing'} {_where(names)}" for version, names in places.items()]
            different.append(f"{package} {', '.join(texts)}")
    return different


def _where(names: list[str]) -> str:
    others = [name for name in names if name != HERE]
    on = f"on {listed(others)}" if others else ""
    return " and ".join(filter(None, [HERE if HERE in names else "", on]))
