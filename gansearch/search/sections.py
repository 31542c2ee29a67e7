"""The sections of a study file that are no strategy: resources, protocols, confirm, limits."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

from gansearch.errors import ConfigError
from gansearch.protocols import PROTOCOLS, Protocol

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z")
_SECONDS = (86_400, 3_600, 60, 1)
_OF_RAY = ("cpu", "gpu", "memory", "object_store_memory")
OUT_OF_MEMORY = ("retry", "fail")
"""What may become of a trial that ran out of memory."""
GIGABYTE = 1e9
"""Bytes in a unit of `resources.memory`."""
_ROUNDING = 1e-9
"""Shares that fall short of a whole trial by no more than this count as one: 1 // 0.2 is 4, for 0.2 is not a fifth."""


def require(ok: bool, where: str, rule: str, value: object) -> None:
    """Raise ConfigError unless `ok`: `where` must be `rule`, got `value`."""
    if not ok:
        raise ConfigError(f"{where} must be {rule}, got {value}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What each trial takes of the machine.

    Attributes:
        cpu: processor cores, above 0, fractions allowed.
        gpu: GPUs, 0 or more; a fraction shares one, above 1 it must be whole.
        memory: GB (10^9 bytes) of memory that Ray sets aside on the machine, 0 or more; a trial that takes more is
            not stopped by it.
        custom: amounts, above 0, of resources that the machines were started with, by name: a limit for each machine.
    """

    cpu: float = 1.0
    gpu: float = 0.0
    memory: float = 0.0
    custom: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 < self.cpu < math.inf, "resources.cpu", "above 0", self.cpu)
        require(0 <= self.gpu < math.inf, "resources.gpu", "0 or more", self.gpu)
        require(self.gpu <= 1 or float(self.gpu).is_integer(), "resources.gpu", "whole when above 1", self.gpu)
        require(0 <= self.memory < math.inf, "resources.memory", "0 or more", self.memory)
        for name, amount in self.custom.items():
            ours = name and name.lower() not in _OF_RAY and ":" not in name
            require(bool(ours), "a name in resources.custom", "other than Ray's own resources", repr(name))
            require(0 < amount < math.inf, f"resources.custom.{name}", "above 0", amount)
            whole = amount <= 1 or float(amount).is_integer()
            require(whole, f"resources.custom.{name}", "whole when above 1", amount)

    def bundle(self) -> dict[str, float]:
        """Return what a trial takes, by Ray's names; memory in bytes."""
        taken = {"CPU": self.cpu, "GPU": self.gpu, "memory": self.memory * GIGABYTE, **self.custom}
        return {name: amount for name, amount in taken.items() if amount}

    def fit(self, cpus: float, gpus: float) -> int:
        """Return how many trials fit on a machine's CPUs and GPUs; a trial's share lies on one GPU."""
        fit = _shares(cpus, self.cpu)
        if 0 < self.gpu <= 1:
            fit = min(fit, int(gpus) * _shares(1, self.gpu))
        elif self.gpu:
            fit = min(fit, _shares(gpus, self.gpu))
        return fit

    def fit_on(self, machine: Mapping[str, float]) -> int:
        """Return how many trials fit on a machine.

        Args:
            machine: amounts of what it has, by Ray's names.
        """
        others = [_shares(machine.get(n, 0.0), a) for n, a in self.bundle().items() if n not in ("CPU", "GPU")]
        return min([self.fit(machine.get("CPU", 0.0), machine.get("GPU", 0.0)), *others])


def _shares(amount: float, share: float) -> int:
    return math.floor(amount / share + _ROUNDING)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Protocols:
    """How trials are scored.

    Attributes:
        final: the score of record.
        report: the cheap score that searcher, scheduler and display see.
    """

    final: Protocol = PROTOCOLS["full"]
    report: Protocol = PROTOCOLS["report"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The stage that trains the finalists again and scores them on the test set.

    Attributes:
        top: configurations that validation chooses, 1 or more; the base is confirmed beside them.
        seeds: fresh seeds, 0 or more; 0 leaves the stage out.
        protocols: protocols of the test scores, the study's final one among them.
        folds: `first`, the fold that the search used, or `all` folds of the data set, each seed trained on each.
    """

    top: int = 3
    seeds: int = 3
    folds: str = "first"
    protocols: tuple[Protocol, ...] = (PROTOCOLS["full"], PROTOCOLS["published-2014"])

    def __post_init__(self) -> None:
        require(self.top >= 1, "confirm.top", "1 or more", self.top)
        require(self.seeds >= 0, "confirm.seeds", "0 or more", self.seeds)
        require(self.folds in ("first", "all"), "confirm.folds", "first or all", repr(self.folds))
        ids = [p.id for p in self.protocols]
        require(len(set(ids)) == len(ids) > 0, "confirm.protocols", "one or more, all different", ids)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a search ends before all its trials are done, and what a crash may cost.

    The confirm stage runs after the search, and is not bounded. A sweep that is resumed starts its clocks anew.

    Attributes:
        time_limit: seconds of wall-clock time of the search, above 0; None for no limit.
        gpu_hours: GPU hours of the search's trials together, above 0; None for no limit.
        stop_if_first_fail: end when this many trials have run and all failed, 1 or more; None for never.
        storage_patience: seconds for which a trial waits and tries again while the run directory's storage is away, 0
            or more; its rows wait on its machine's disk meanwhile.
        max_failures: times that a trial is restarted after its worker was lost, 0 or more.
        checkpoint_seconds: least time between two checkpoints of a trial, in seconds, 0 or more: the most that a
            crash costs it, but for the report that it was working on.
        wait_for_machines: seconds to wait while no machine is there that a trial fits on, above 0; None for ever.
        heartbeat: seconds without a report after which a trial's worker is taken for lost, and killed, above 0; None
            for ten times the longest wait for a report of the stage so far, at least a quarter of an hour and half as
            long again as `storage_patience`.
        out_of_memory: what becomes of a trial that ran out of its machine's or its GPU's memory: `retry` restarts it
            as one whose worker was lost, and keeps room of one more trial idle on that machine until it has ended;
            `fail` ends it.
    """

    time_limit: float | None = None
    gpu_hours: float | None = None
    stop_if_first_fail: int | None = 5
    max_failures: int = 2
    storage_patience: float = 600.0
    checkpoint_seconds: float = 30.0
    wait_for_machines: float | None = 1800.0
    heartbeat: float | None = None
    out_of_memory: str = "retry"

    def __post_init__(self) -> None:
        for name in ("time_limit", "gpu_hours", "heartbeat", "wait_for_machines"):
            value = getattr(self, name)
            require(value is None or 0 < value < math.inf, f"limits.{name}", "above 0", value)
        first = self.stop_if_first_fail
        require(first is None or first >= 1, "limits.stop_if_first_fail", "1 or more", first)
        require(self.max_failures >= 0, "limits.max_failures", "0 or more", self.max_failures)
        for name in ("checkpoint_seconds", "storage_patience"):
            require(0 <= getattr(self, name) < math.inf, f"limits.{name}", "0 or more", getattr(self, name))
        require(
            self.out_of_memory in OUT_OF_MEMORY,
            "limits.out_of_memory",
            " or ".join(OUT_OF_MEMORY),
            repr(self.out_of_memory),
        )


def parse_duration(value: object, where: str) -> float:
    """Return the seconds of `90m`, `1h30m`, `2d`, `45s`, or of a plain number of seconds.

    Raises:
        ConfigError: when the value is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.match(value) if isinstance(value, str) else None
    if not match or not value:
        raise ConfigError(f"{where} must be a duration, got {value!r}", hint="such as 90m, 1h30m, 2d or 5400 (seconds)")
    return float(sum(int(count or 0) * unit for count, unit in zip(match.groups(), _SECONDS, strict=True)))
