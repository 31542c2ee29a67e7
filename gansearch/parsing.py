"""Plain mappings to frozen dataclasses and back, with every mistake named.

Used for whatever a user writes: configurations, studies, protocols. Unknown keys are refused with the
nearest legal name; types are checked strictly (an integer is accepted where a float is asked for, a
boolean never stands for a number).
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from gansearch.errors import ConfigError, nearest

T = TypeVar("T")


def build(cls: type[T], data: object, where: str) -> T:
    """Return the dataclass `cls` built from a mapping.

    Args:
        cls: a dataclass whose fields are scalars, tuples of scalars, optionals or dataclasses, or tuples of
            (name, value) pairs, which a mapping stands for.
        data: the mapping, as read from YAML or JSON.
        where: what the mapping is called in messages, such as `base.generator`.

    Raises:
        ConfigError: when a key is unknown or missing or a value has the wrong type.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} must be a mapping of names to values, got {_show(data)}")
    made: Any = cls  # a dataclass, which its type does not say
    fields = {f.name: f for f in dataclasses.fields(made)}
    for key in data:
        if key not in fields:
            raise ConfigError(f"{where} has an unknown key '{key}'", hint=nearest(str(key), fields))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ConfigError(f"{where} lacks the key '{name}'")
    hints = _hints(made)
    return cls(**{key: convert(hints[key], value, f"{where}.{key}") for key, value in data.items()})


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields: to work them out takes longer than all else that `build` does."""
    return typing.get_type_hints(cls)


def convert(hint: Any, value: object, where: str) -> Any:
    """Return `value` as the type `hint` asks for, or raise ConfigError naming `where`."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [h for h in typing.get_args(hint) if h is not type(None)]
        return None if value is None else convert(inner[0], value, where)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    pairs = origin is tuple and typing.get_origin(typing.get_args(hint)[0]) is tuple
    if origin is tuple and not pairs:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, got {_show(value)}")
        item = typing.get_args(hint)[0]
        return tuple(convert(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict or pairs:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a mapping, got {_show(value)}")
        of = typing.get_args(typing.get_args(hint)[0] if pairs else hint)[1]
        out = {str(k): convert(of, v, f"{where}.{k}") for k, v in value.items()}
        return tuple(sorted(out.items())) if pairs else out
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where} is too large for a float: {_show(value)}") from None
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    kind = {float: "a number", int: "an integer", bool: "true or false", str: "text"}[hint]
    raise ConfigError(f"{where} must be {kind}, got {_show(value)}")


def _show(value: object) -> str:
    """Return a short rendering of a value for a message."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
