"""A study: what a sweep is to do, as a YAML file says it.

The space, how it is searched, each trial's budget and share of the machine, how trials are scored and
confirmed, and when to stop. `search_spaces/README.md` documents the file; nothing in it is specific to Ray.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gansearch import config, parsing
from gansearch.config import TrialConfig
from gansearch.config_files import check_acts, load_config_file, read_protocol, read_seed, set_names
from gansearch.errors import ConfigError, nearest
from gansearch.guards import Guards
from gansearch.protocols import Protocol
from gansearch.search import pairings
from gansearch.search.domains import plain
from gansearch.search.sections import (
    Confirm,
    Limits,
    Protocols,
    Resources,
    parse_duration,
    require,
)
from gansearch.search.space import Space
from gansearch.search.strategies import (
    EXECUTORS,
    SCHEDULERS,
    SEARCHERS,
    Executor,
    Scheduler,
    Searcher,
    Strategy,
)
from gansearch.seeds import digest
from gansearch.storage import location
from gansearch.tracking.destinations import tracker_names
from gansearch.yaml_files import bare_name, find_file, find_shipped, load_yaml, located

_EPOCHS = "algorithm.epochs"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A validated study.

    Attributes:
        name: the shipped name, or the file's name without its suffix.
        space: the search space; its base carries the study's overrides and budget.
        num_trials: configurations, 1 or more, the base among them.
        description: what is studied, in words.
        searcher: how points are chosen.
        scheduler: which trials are stopped early.
        executor: how trials are run. Of no effect on what they come to, but for the last bits of sums.
        repeats: seeds a configuration, 1 or more.
        resources: what each trial takes of the machine; under the packed executor, each engine.
        max_concurrent: trials at a time, 1 or more; None for as many as fit.
        protocols: how trials are scored.
        confirm: the stage after the search.
        limits: when to end early.
        guards: what ends a trial of the search before its budget does.
        seed: the sweep's seed; each trial's follows from it.
        start_from: what is tried or known first: absolute paths of configuration files and run directories, and
            shipped names.
        track: trackers that the trials are followed in. Of no effect on what they come to.
    """

    name: str
    space: Space
    num_trials: int
    description: str = ""
    searcher: Searcher = dataclasses.field(default_factory=Searcher)
    scheduler: Scheduler = dataclasses.field(default_factory=Scheduler)
    executor: Executor = dataclasses.field(default_factory=Executor)
    repeats: int = 1
    resources: Resources = dataclasses.field(default_factory=Resources)
    max_concurrent: int | None = None
    protocols: Protocols = dataclasses.field(default_factory=Protocols)
    confirm: Confirm = dataclasses.field(default_factory=Confirm)
    limits: Limits = dataclasses.field(default_factory=Limits)
    guards: Guards = dataclasses.field(default_factory=Guards)
    seed: int = 0
    start_from: tuple[str, ...] = ()
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(self.num_trials >= 1, "num_trials", "1 or more", self.num_trials)
        require(self.repeats >= 1, "repeats", "1 or more", self.repeats)
        most = self.max_concurrent
        require(most is None or most >= 1, "max_concurrent", "1 or more", most)
        pairings.check(self)
        if self.limits.gpu_hours is not None and self.resources.gpu == 0:
            raise ConfigError(
                "limits.gpu_hours is set, but trials take no GPU", hint="set `resources: {gpu: ...}`, or use time_limit"
            )
        if self.confirm.seeds and self.protocols.final.id not in [p.id for p in self.confirm.protocols]:
            raise ConfigError(
                f"confirm.protocols lacks the final protocol {self.protocols.final.id}, so that search and confirm "
                "could not be compared",
                hint=f"add '{self.protocols.final.name}' to confirm.protocols",
            )

    @property
    def base(self) -> TrialConfig:
        """The base configuration, with overrides, budget and fixed values: the first trial."""
        return self.space.base

    @property
    def epochs(self) -> int:
        """The base's budget, in epochs."""
        return self.base.algorithm.epochs

    @property
    def confirm_folds(self) -> range:
        """The folds that each seed of a finalist is trained on."""
        from gansearch.core.datasets import describe  # a plan is read without torch

        return range(describe(self.base.dataset.name).folds if self.confirm.folds == "all" else 1)

    @property
    def digest(self) -> str:
        """Hash of the resolved plan: 12 hex digits, without name, description, executor and trackers."""
        plan = self.to_dict()
        del plan["description"], plan["executor"], plan["track"]
        return digest(plan)

    @classmethod
    def parse(cls, data: Mapping[str, Any], name: str, folder: Path | None = None) -> Study:
        """Return the study that the mapping of a study file describes.

        Args:
            data: the mapping, as read from YAML.
            name: what the study is called.
            folder: what a relative path in `base` or `start_from` starts from; the current directory by default.

        Raises:
            ConfigError: for whatever cannot be run as it is written.
        """
        if "config" in data and "space" not in data:
            raise ConfigError("this is a configuration, not a study", hint="train it with `gansearch train`")
        for key in data:
            if key not in _KEYS:
                raise ConfigError(f"unknown key '{key}'", hint=nearest(str(key), _KEYS))
        for key in ("base", "space"):
            if key not in data:
                raise ConfigError(f"a study needs the key '{key}'")
        given = {key: data[key] for key in _SIMPLE if key in data}
        values = {key: parsing.convert(hint, given[key], key) for key, hint in _SIMPLE.items() if key in given}
        searcher = parsing.build(Searcher, _named(data, "searcher", SEARCHERS), "searcher")
        scheduler = parsing.build(Scheduler, _named(data, "scheduler", SCHEDULERS), "scheduler")
        executor = parsing.build(Executor, _named(data, "executor", EXECUTORS), "executor")
        space = _space(data, folder)
        _check_epochs(data, space)
        protocols = _protocols(data)
        return cls(
            name=name,
            space=space,
            searcher=searcher,
            scheduler=scheduler,
            executor=executor,
            resources=parsing.build(Resources, data.get("resources", {}), "resources"),
            protocols=protocols,
            confirm=_confirm(data, protocols.final),
            limits=_limits(data),
            guards=_guards(data),
            num_trials=_num_trials(data, searcher, space),
            seed=read_seed(data.get("seed")) or 0,
            start_from=_start_from(data.get("start_from", []), folder),
            track=tracker_names(data.get("track", [])),
            **values,
        )

    def with_options(
        self,
        *,
        num_trials: int | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        track: tuple[str, ...] | None = None,
    ) -> Study:
        """Return the study with options of the command line in place of the file's, validated anew.

        Raises:
            ConfigError: when they contradict the rest of the study.
        """
        plan = self.to_dict()
        if self.searcher.name == "grid":
            del plan["num_trials"]  # the grid may be another one with another base
        options = {"num_trials": num_trials, "epochs": epochs, "seed": seed, "track": track}
        plan.update({key: value for key, value in options.items() if value is not None})
        return Study.parse(plan, self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved plan as plain values: `parse` reads it back as the same study."""
        base: dict[str, dict[str, object]] = {}
        for name, _ in config.parameters():
            if self.space.reaches(name):  # whether it acts in the base or not
                section, key = name.split(".")
                base.setdefault(section, {})[key] = plain(self.base.get(name))
        return {
            "description": self.description,
            "base": base,
            "space": self.space.to_dict(),
            "searcher": self.searcher.to_dict(),
            "scheduler": self.scheduler.to_dict(),
            "executor": self.executor.to_dict(),
            "num_trials": self.num_trials,
            "epochs": self.epochs,
            "repeats": self.repeats,
            "resources": dataclasses.asdict(self.resources),
            "max_concurrent": self.max_concurrent,
            "protocols": {"final": self.protocols.final.to_dict(), "report": self.protocols.report.to_dict()},
            "confirm": {
                "top": self.confirm.top,
                "seeds": self.confirm.seeds,
                "folds": self.confirm.folds,
                "protocols": [p.to_dict() for p in self.confirm.protocols],
            },
            "limits": dataclasses.asdict(self.limits),
            "guards": self.guards.to_dict(),
            "seed": self.seed,
            "start_from": list(self.start_from),
            "track": list(self.track),
        }


_SIMPLE: dict[str, Any] = {"description": str, "repeats": int, "max_concurrent": int | None}
_KEYS = (
    *("description", "base", "override", "space", "searcher", "scheduler", "executor", "num_trials", "epochs"),
    "repeats",
    *("resources", "max_concurrent", "protocols", "confirm", "limits", "guards", "seed", "start_from", "track"),
)


def load_study(path_or_name: str | Path) -> Study:
    """Return the study of a path or a shipped name; an existing file wins.

    Raises:
        ConfigError: when there is no such file, or it cannot be run as it is written.
    """
    path = find_file(path_or_name)
    data = load_yaml(path)
    with located(str(path)):
        return Study.parse(data, bare_name(path), path.parent)


def _space(data: Mapping[str, Any], folder: Path | None) -> Space:
    """Return the space; what acts in none of its configurations has its default value."""
    base = _base(data, folder)
    space = Space.parse(data["space"], base)
    if isinstance(data["base"], Mapping):  # what it sets may be replaced, as what a file sets is
        own = TrialConfig.from_dict(data["base"], "base")
        check_acts(set_names(data["base"]), lambda parent: [*space.values_of(parent), own.get(parent)], "base.")
    check_acts(data.get("override") or {}, space.values_of, "override: ")
    check_acts(dict(space.fixed), space.values_of, "space: ")
    default = TrialConfig()
    idle = {name: default.get(name) for name, _ in config.parameters() if not space.reaches(name)}
    return dataclasses.replace(space, base=space.base.replace(idle))


def _base(data: Mapping[str, Any], folder: Path | None) -> TrialConfig:
    """Return the base configuration with the overrides and the budget."""
    if isinstance(data["base"], str):
        with located("base"):
            base = load_config_file(data["base"], folder).config
    else:
        base = TrialConfig.from_dict(data["base"], "base")
    if base.schedule:
        raise ConfigError(
            "base: a configuration with a schedule cannot be varied: it would replace values that are searched",
            hint="remove its schedule, or train it with `gansearch train`",
        )
    override = data.get("override") or {}
    if not isinstance(override, Mapping):
        raise ConfigError(f"override must map parameter names to values, got {override!r}")
    with located("override"):
        base = base.replace(override)
    if data.get("epochs") is None:
        return base
    epochs = parsing.convert(int, data["epochs"], "epochs")
    require(epochs >= 1, "epochs", "1 or more", epochs)
    if override.get(_EPOCHS, epochs) != epochs:
        raise ConfigError(f"epochs is {epochs}, but override sets {_EPOCHS} to {override[_EPOCHS]}", hint="keep one")
    return base.replace({_EPOCHS: epochs})


def _named(data: Mapping[str, Any], key: str, strategies: Mapping[str, Strategy]) -> object:
    """Return the mapping of a searcher or scheduler, which may be given by its name alone.

    An option that the named strategy does not read is refused.
    """
    value = data.get(key, {})
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, list | tuple):
        raise ConfigError(f"{key} must be one strategy, got {list(value)}", hint="run a sweep for each")
    known = {option for strategy in strategies.values() for option in strategy.options}
    if isinstance(value, Mapping):
        named = strategies.get(str(value.get("name")))
        if named is None and "name" in value:
            return value  # the unknown name is the mistake, and is refused where it is read
        for option in value:
            if option in known and (named is None or option not in named.options):
                owners = [name for name, strategy in strategies.items() if option in strategy.options]
                raise ConfigError(
                    f"{key}.{option} is an option of {_any_of(owners)}", hint=f"add `name: {owners[0]}`, or remove it"
                )
    return value


def _any_of(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _protocols(data: Mapping[str, Any]) -> Protocols:
    value = data.get("protocols", {})
    if isinstance(value, Mapping):
        value = {
            k: read_protocol(v, f"protocols.{k}").to_dict() if k in ("final", "report") else v for k, v in value.items()
        }
    return parsing.build(Protocols, value, "protocols")


def _confirm(data: Mapping[str, Any], final: Protocol) -> Confirm:
    """Return the confirm stage; its protocols are by default the final one and the published."""
    value = data.get("confirm", {})
    if isinstance(value, Mapping):
        names = value.get("protocols", [final.to_dict(), "published-2014"])
        if not isinstance(names, list | tuple):
            raise ConfigError(f"confirm.protocols must be a list, got {names!r}")
        protocols = [read_protocol(p, f"confirm.protocols[{i}]") for i, p in enumerate(names)]
        if "protocols" not in value:
            protocols = list({p.id: p for p in protocols}.values())
        value = {**value, "protocols": [p.to_dict() for p in protocols]}
    return parsing.build(Confirm, value, "confirm")


def _limits(data: Mapping[str, Any]) -> Limits:
    value = data.get("limits", {})
    if isinstance(value, Mapping):
        durations = [
            name
            for name in ("time_limit", "heartbeat", "storage_patience", "wait_for_machines")
            if value.get(name) is not None
        ]
        value = {**value, **{name: parse_duration(value[name], f"limits.{name}") for name in durations}}
    return parsing.build(Limits, value, "limits")


def _guards(data: Mapping[str, Any]) -> Guards:
    value = data.get("guards", {})
    if isinstance(value, Mapping) and value.get("trial_time_limit") is not None:
        value = {**value, "trial_time_limit": parse_duration(value["trial_time_limit"], "guards.trial_time_limit")}
    return parsing.build(Guards, value, "guards")


def _start_from(value: object, folder: Path | None) -> tuple[str, ...]:
    """Return the entries: what is there as its absolute path, else a shipped name."""
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise ConfigError(
            f"start_from must be a list of paths or shipped names, got {value!r}", hint="`start_from: [best.yaml]`"
        )
    with located("start_from"):
        return tuple(_entry(entry, folder) for entry in value)


def _entry(entry: str, folder: Path | None) -> str:
    if not isinstance(location(entry), Path):  # a run on an object store
        return entry
    path = (folder or Path()) / entry
    with contextlib.suppress(OSError):  # a name too long for a file is the name of none
        if path.exists():  # a folder is a run
            return str(path.resolve())
    find_shipped(entry)
    return entry


def _num_trials(data: Mapping[str, Any], searcher: Searcher, space: Space) -> int:
    value: int | None = parsing.convert(int | None, data.get("num_trials"), "num_trials")
    if value is not None:
        return value
    if searcher.name == "grid":
        return space.grid_size
    raise ConfigError(f"a study with searcher '{searcher.name}' needs the key 'num_trials'")


def _check_epochs(data: Mapping[str, Any], space: Space) -> None:
    """Check that the space leaves the study's budget as it is."""
    if data.get("epochs") is not None and space.base.algorithm.epochs != data["epochs"]:
        raise ConfigError(f"epochs is {data['epochs']}, but space fixes {_EPOCHS} at {space.base.algorithm.epochs}")
