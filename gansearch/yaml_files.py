"""YAML files: found, read and written.

Read by the rules of YAML 1.2's core schema: `1e-4` is a number, `yes` is text. Only plain values are read:
nodes are turned into text, numbers, true/false, null, lists and mappings here, so that no tag can build an
object, and aliases are refused, so that a short file stays short in memory.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gansearch import storage
from gansearch.errors import ConfigError, UserError, nearest
from gansearch.storage import Location

_TAG = "tag:yaml.org,2002:"
_FIRST = {"null": [*"~nN", ""], "bool": list("tTfF"), "int": list("-+0123456789"), "float": list("-+0123456789.")}
_PLAIN = {  # YAML 1.2, section 10.3.2
    "null": re.compile(r"(?:null|Null|NULL|~|)\Z"),
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
_MAX_DEPTH = 32
_MAX_DIGITS = 40
_SHORT_LIST = 16  # a list of this many scalars, nested or not, is written on one line


@contextlib.contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` before the message of any UserError raised inside."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{where}: {error.message}", hint=error.hint) from error


def shipped_names() -> list[str]:
    """Return the bare names of the shipped files, such as `quickstart` and `paper/mnist`."""
    root = _shipped_root()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def find_shipped(name: str) -> Path:
    """Return the shipped file of a bare name.

    Raises:
        ConfigError: when nothing shipped has that name.
    """
    bare = name.removesuffix(".yaml")
    names = shipped_names()
    if bare not in names:
        raise ConfigError(f"there is no file '{name}', and nothing of that name is shipped", hint=nearest(bare, names))
    return _shipped_root() / f"{bare}.yaml"


def find_file(path_or_name: str | Path, folder: Path | None = None) -> Path:
    """Return the file that is meant: an existing file wins over a shipped name.

    Args:
        path_or_name: a path, or the bare name of a shipped file.
        folder: what a relative path starts from; the current directory by default.

    Raises:
        ConfigError: when there is neither such a file nor such a name.
    """
    path = (folder or Path()) / path_or_name
    # A folder does not win: a run directory may bear the name of the study that it holds.
    with contextlib.suppress(OSError):  # a name too long for a file is the name of none
        if path.is_file() or (path.exists() and str(path_or_name) not in shipped_names()):
            return path
    return find_shipped(str(path_or_name))


def bare_name(path: Path) -> str:
    """Return what a file is called in messages and tables: its shipped name, or its name without the suffix."""
    root = _shipped_root()
    resolved = path.resolve()
    return resolved.relative_to(root).with_suffix("").as_posix() if resolved.is_relative_to(root) else path.stem


def _shipped_root() -> Path:
    return Path(str(resources.files("search_spaces"))).resolve()


def load_yaml(path: Location) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ConfigError: when the file is missing or not UTF-8, is not YAML, holds anything but plain values,
            or holds no mapping of text keys at its top.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"there is no file '{path}'") from None
    except IsADirectoryError:
        raise ConfigError(f"'{path}' is a directory, not a YAML file") from None
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read: {storage.reason(error)}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: the file is not UTF-8 text") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds.

    Args:
        text: the YAML.
        name: what it is called in messages.

    Raises:
        ConfigError: as `load_yaml`.
    """
    try:
        loader = _Loader(text)
        loader.source = name
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{name}, line {line}: not YAML: a character is not allowed") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}, line {line}: not YAML: {error.problem or error.context}") from error
    if not isinstance(node, yaml.MappingNode):
        found = {type(None): "nothing", yaml.SequenceNode: "a list"}.get(type(node), "a single value")
        raise ConfigError(f"{name}, line 1: the file must hold a mapping of names to values, it holds {found}")
    return _mapping(node, name)


class _Loader(yaml.SafeLoader):
    """Composes nodes; the scalars' tags follow YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own class variable; add_implicit_resolver fills it
    source = ""
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, but no alias and none that is nested too deeply."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{self.source}, line {line}: the alias '*{event.anchor}' is refused", hint="write the value out"
            )
        if self.depth == _MAX_DEPTH:
            raise ConfigError(f"{self.source}, line {line}: values are nested more than {_MAX_DEPTH} deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes no aliases; text that YAML 1.1 or 1.2 would read as something else is quoted."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the signature is PyYAML's
        """Write equal objects out each time."""
        return True


for _name in ("null", "bool", "int", "float"):  # int before float: the first match decides
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, _PLAIN[_name], _FIRST[_name])


def _mapping(node: yaml.MappingNode, name: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _value(key_node, name)
        if not isinstance(key, str):
            raise ConfigError(f"{name}, line {line}: a key must be text, got {key!r}")
        if key in out:
            raise ConfigError(f"{name}, line {line}: the key '{key}' stands twice in one mapping")
        out[key] = _value(value_node, name)
    return out


def _value(node: yaml.Node, name: str) -> Any:
    """Return the plain value of a node."""
    line = node.start_mark.line + 1
    tag = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.MappingNode) and tag == "map":
        return _mapping(node, name)
    if isinstance(node, yaml.SequenceNode) and tag == "seq":
        return [_value(item, name) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and tag == "str":
        return node.value
    if not isinstance(node, yaml.ScalarNode) or tag not in _PLAIN:
        shown = node.tag.replace(_TAG, "!!")
        raise ConfigError(
            f"{name}, line {line}: the tag '{shown}' is refused: only plain values are read", hint="remove the tag"
        )
    if not _PLAIN[tag].match(node.value):
        raise ConfigError(f"{name}, line {line}: '{node.value}' is not a value of type !!{tag}")
    return _scalar(tag, node.value, f"{name}, line {line}")


def _scalar(tag: str, text: str, where: str) -> bool | int | float | None:
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if len(text) > _MAX_DIGITS:
        raise ConfigError(f"{where}: a number has more than {_MAX_DIGITS} characters")
    if tag == "int":
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise ConfigError(f"{where}: {text} is not a finite number")
    return number


def dump_yaml(mapping: Mapping[str, Any]) -> str:
    """Return a mapping of plain values as YAML that `load_yaml` reads back exactly.

    Keys keep their order; short lists stand on one line; the text also means the same to a YAML 1.1 reader.

    Raises:
        ValueError: for a number that is not finite.
    """
    return str(yaml.dump(mapping, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def _represent_float(dumper: _Dumper, value: float) -> yaml.Node:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written: numbers in YAML files are finite")
    return yaml.SafeDumper.represent_float(dumper, value)


def _represent_text(dumper: _Dumper, value: str) -> yaml.Node:
    # Unquoted and in single quotes PyYAML folds Unicode's line breaks away; escapes keep them.
    return dumper.represent_scalar(_TAG + "str", value, style=None if value.isprintable() else '"')


def _represent_list(dumper: _Dumper, value: list[Any] | tuple[Any, ...]) -> yaml.Node:
    count = _scalars(value)
    flow = count is not None and count <= _SHORT_LIST
    return dumper.represent_sequence(_TAG + "seq", value, flow_style=flow)


def _scalars(value: object) -> int | None:
    """Count the scalars of a nested list; None when a mapping is in it."""
    if isinstance(value, Mapping):
        return None
    if not isinstance(value, list | tuple):
        return 1
    counts = [_scalars(item) for item in value]
    return None if None in counts else sum(count for count in counts if count is not None)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)
