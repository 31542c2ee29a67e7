"""Configuration files: one `TrialConfig` in YAML, with what is known of it.

`gansearch train` needs `config` alone. `gansearch best` writes the rest beside it: how the configuration was
chosen, the score protocols, what each seed scored, and where, so that `gansearch reproduce` can compare.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gansearch import parsing, protocols
from gansearch.config import TrialConfig, need
from gansearch.errors import ConfigError, nearest
from gansearch.protocols import Protocol
from gansearch.yaml_files import bare_name, find_file, load_yaml, located

MAX_SEED = 2**63 - 1
_KEYS = (
    "description",
    "config_id",
    "config",
    "seed",
    "chosen",
    "protocol",
    "report_protocol",
    "seeds",
    "environment",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a configuration file says.

    Attributes:
        name: the shipped name, or the file's name without its suffix.
        config: the configuration.
        description: what it is, in words.
        seed: the seed to train with, 0 or more; None when the file leaves it open.
        config_id: the hash that the file states for `config`; None when it states none.
        protocol: the protocol of the score of record; None when the file names none.
        report_protocol: the protocol of the reports; None when the file names none.
        expected: what each seed scored, one mapping a seed (the file's key `seeds`).
        chosen: how the configuration was chosen.
        environment: versions, device and data behind `expected`.
    """

    name: str
    config: TrialConfig
    description: str = ""
    seed: int | None = None
    config_id: str | None = None
    protocol: Protocol | None = None
    report_protocol: Protocol | None = None
    expected: tuple[Mapping[str, Any], ...] = ()
    chosen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def check_unedited(self) -> None:
        """Check that `expected` still belongs to `config`.

        Raises:
            ConfigError: when the stated config_id is not that of the configuration.
        """
        if self.config_id is not None and self.config_id != self.config.config_id:
            raise ConfigError(
                f"{self.name}: the file states config_id {self.config_id}, but its configuration has "
                f"{self.config.config_id}: it was changed, and its expected values no longer belong to it",
                hint="restore the file, or train the changed configuration with `gansearch train`",
            )


def load_config_file(path_or_name: str | Path, folder: Path | None = None) -> ConfigFile:
    """Return the configuration file of a path or a shipped name.

    Args:
        path_or_name: a path, or a bare name such as `paper/mnist`; an existing file wins.
        folder: what a relative path starts from; the current directory by default.

    Raises:
        ConfigError: when there is no such file, or it breaks a rule.
    """
    path = find_file(path_or_name, folder)
    data = load_yaml(path)
    with located(str(path)):
        return parse_config_file(data, bare_name(path))


def parse_config_file(data: Mapping[str, Any], name: str) -> ConfigFile:
    """Return what the mapping of a configuration file says.

    Raises:
        ConfigError: for an unknown key, a wrong type or a value out of range.
    """
    if "config" not in data and ("space" in data or "base" in data):
        raise ConfigError("this is a study, not a configuration", hint="run it with `gansearch sweep`")
    for key in data:
        if key not in _KEYS:
            raise ConfigError(f"unknown key '{key}'", hint=nearest(str(key), _KEYS))
    if "config" not in data:
        raise ConfigError("a configuration file needs the key 'config'")
    return ConfigFile(
        name=name,
        config=_config(data["config"]),
        description=parsing.convert(str, data.get("description", ""), "description"),
        seed=read_seed(data.get("seed")),
        config_id=parsing.convert(str | None, data.get("config_id"), "config_id"),
        protocol=_protocol(data, "protocol"),
        report_protocol=_protocol(data, "report_protocol"),
        expected=_expected(data.get("seeds")),
        chosen=_notes(data, "chosen"),
        environment=_notes(data, "environment"),
    )


def check_acts(names: Iterable[str], values_of: Callable[[str], Collection[object]], where: str) -> None:
    """Check that nothing is set that never has any effect.

    Args:
        names: what is set: names of sections, or dotted names of parameters.
        values_of: dotted name of a parameter -> the values that it takes.
        where: what stands before a name in the message, such as `config.`.

    Raises:
        ConfigError: when one of them has no effect.
    """
    for name in names:
        needed = need(name)
        if needed is None or needed.parent.startswith(f"{name}."):  # a section that holds what it needs
            continue
        values = values_of(needed.parent)
        if not any(map(needed.met, values)):
            shown = " or ".join(sorted({"-".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values}))
            raise ConfigError(
                f"{where}{name} has no effect: {needed.parent} is {shown or 'empty'}",
                hint=f"set {needed.parent}{f': {needed.value}' if needed.value else ''}, or remove it",
            )


def set_names(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the sections of a configuration set: their names, and the dotted names of their parameters."""
    for section, keys in data.items():
        yield section
        if isinstance(keys, Mapping):
            yield from (f"{section}.{key}" for key in keys)


def read_protocol(value: object, where: str) -> Protocol:
    """Return the protocol that a shipped name or an inline mapping of its fields stands for.

    Raises:
        ConfigError: when it is neither, breaks a rule of `Protocol`, or is of another version of the estimator.
    """
    if isinstance(value, str):
        with located(where):
            return protocols.protocol(value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be the name of a score protocol or a mapping of its fields, got {value!r}")
    found = parsing.build(Protocol, value, where)
    with located(where):
        found.check_current()
    return found


def read_seed(value: object) -> int | None:
    """Return a seed, 0 to 2**63 - 1, or None where there is none.

    Raises:
        ConfigError: for anything else.
    """
    seed: int | None = parsing.convert(int | None, value, "seed")
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must be in 0 to 2**63 - 1, got {seed}")
    return seed


def _config(data: object) -> TrialConfig:
    config = TrialConfig.from_dict(data)
    if isinstance(data, Mapping):
        check_acts(set_names(data), lambda parent: [config.get(parent)], "config.")
    return config


def _protocol(data: Mapping[str, Any], key: str) -> Protocol | None:
    return None if data.get(key) is None else read_protocol(data[key], key)


def _expected(value: object) -> tuple[Mapping[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise ConfigError("seeds must be a list with a mapping for each seed")
    return tuple(dict(item) for item in value)


def _notes(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a mapping, got {value!r}")
    return dict(value)
