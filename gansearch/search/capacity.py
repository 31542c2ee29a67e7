"""How many trials the cluster has room for, now and when it has grown."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import ray

from gansearch.errors import ResourceError
from gansearch.search.autoscaler import HEAD, Autoscaler, read_autoscaler
from gansearch.search.pairings import PAUSING
from gansearch.search.progress import duration
from gansearch.search.sections import GIGABYTE, Resources
from gansearch.search.study import Study

LOOK_SECONDS = 5.0
"""Least time between two looks at the cluster's machines."""


class Room:
    """How many trials of a study run at a time, as machines come and go.

    On a cluster without an autoscaler as many as fit on the machines that are there, those that joined after the
    sweep began among them. With one, as many as all the machines can hold that may be started: trials that wait
    for room are what it starts machines for. Where it does not say what it may start, one more than fit.

    Args:
        resources: what each trial takes.
        max_concurrent: the study's limit, 1 or more; None for none.
        autoscaler: what starts machines; None where nothing does.
    """

    def __init__(
        self, resources: Resources, max_concurrent: int | None = None, autoscaler: Autoscaler | None = None
    ) -> None:
        self._resources, self._most, self._autoscaler = resources, max_concurrent, autoscaler
        self._reach = autoscaler.reach(resources) if autoscaler else None
        self._looked = self._last = time.monotonic()
        self._machines = machines()
        self._there = self._fit()

    @property
    def limit(self) -> int:
        """Trials at a time, 1 or more: those that run, and those that wait for room."""
        self._look()
        limit = self._there
        if self._reach is not None:
            head = sum(self._resources.fit_on(machine) for machine in self._machines if HEAD in machine)
            limit = max(limit, head + self._reach)
        elif self._autoscaler is not None:
            limit += 1
        return max(min(limit, self._most or limit), 1)

    @property
    def there(self) -> int:
        """Trials that fit on the machines that are there."""
        self._look()
        return self._there

    @property
    def waited(self) -> float:
        """Seconds for which no machine has been there that a trial fits on."""
        self._look()
        return 0.0 if self._there else time.monotonic() - self._last

    @property
    def note(self) -> str | None:
        """What a user should know of the cluster: that no machine is there; None where one is."""
        waited = self.waited
        return f"waits for a machine that a trial fits on, for {duration(waited)} so far" if waited else None

    def check(self) -> None:
        """Raise ResourceError unless some machine that is there, or may be started, can give a trial what it takes."""
        starts_unknown = self._autoscaler is not None and self._reach is None
        if self._there or self._reach or starts_unknown:
            return
        kinds = [kind.resources for kind in (self._autoscaler.types or ()) if kind.most] if self._autoscaler else []
        asked = self._resources.bundle()
        for name in sorted(asked, key=["GPU", "CPU", *asked].index):
            there, may_be = _most(self._machines, name), _most(kinds, name)
            if asked[name] > max(there, may_be):
                raise ResourceError(
                    f"each trial asks for {_in_words(name, asked[name])}, but no machine of the cluster has more than "
                    f"{_amount(name, there):g}"
                    + (
                        f", and no node type that may be started has more than {_amount(name, may_be):g}"
                        if kinds
                        else ""
                    ),
                    hint=f"lower resources.{_key(name)} in the study, or connect to a larger cluster with --address",
                )
        raise ResourceError(
            f"each trial asks for {' and '.join(_in_words(name, amount) for name, amount in asked.items())}, but no "
            f"machine has {'both' if len(asked) == 2 else 'all of it'}"
            + (", and no node type that may be started has" if kinds else ""),
            hint="lower resources in the study, or connect to a larger cluster with --address",
        )

    def _look(self) -> None:
        """Look at the machines again, but not too often."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked, self._machines = now, machines()
            self._there = self._fit()
        if self._there:
            self._last = now

    def _fit(self) -> int:
        return sum(self._resources.fit_on(machine) for machine in self._machines)


def machines() -> list[Mapping[str, float]]:
    """Return what each machine of the cluster has, by Ray's names."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def check_resources(resources: Resources) -> int:
    """Return how many trials the cluster has room for, on the machines that may be started among them.

    Raises:
        ResourceError: when no machine that is there or may be started can give one trial what it takes.
    """
    room = Room(resources, autoscaler=read_autoscaler())
    room.check()
    return room.limit


def room_now(resources: Resources) -> int:
    """Return how many trials fit on the machines that are there."""
    return sum(resources.fit_on(machine) for machine in machines())


def open_room(study: Study) -> Room:
    """Return the room that the cluster has, or may come to have, for a study's trials.

    Raises:
        ResourceError: when no machine that is there or may be started can give one trial what it takes, or the
            study's limit cannot be held there.
    """
    autoscaler = read_autoscaler()
    room = Room(study.resources, study.max_concurrent, autoscaler)
    room.check()
    if autoscaler is not None and study.max_concurrent is not None and study.scheduler.name in PAUSING:
        raise ResourceError(
            f"max_concurrent cannot be held under {study.scheduler.name} on a cluster that starts machines by itself: "
            "it would start them for the trials that wait, too",
            hint="leave max_concurrent out, and bound the machines with max_workers in the cluster file",
        )
    return room


def _most(machines: Iterable[Mapping[str, float]], name: str) -> float:
    return max((machine.get(name, 0.0) for machine in machines), default=0.0)


def _amount(name: str, amount: float) -> float:
    """Return an amount as a study gives it."""
    return amount / GIGABYTE if name == "memory" else amount


def _in_words(name: str, amount: float) -> str:
    return f"{_amount(name, amount):g} {'GB of memory' if name == 'memory' else name}"


def _key(name: str) -> str:
    """Return the key of a study's resources that asks for what Ray calls by a name."""
    return name.lower() if name in ("CPU", "GPU", "memory") else f"custom.{name}"
