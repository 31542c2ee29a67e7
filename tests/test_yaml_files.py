from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gansearch.errors import ConfigError
from gansearch.yaml_files import bare_name, dump_yaml, find_file, find_shipped, load_yaml, parse_yaml, shipped_names

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=25
)


def same(a: Any, b: Any) -> bool:
    """Return whether two plain values are equal in type, content and order, -0.0 told from 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) and (not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b))


@given(st.dictionaries(TEXT, VALUES, max_size=6))
def test_what_is_dumped_loads_back_exactly(mapping: dict[str, Any]) -> None:
    assert same(parse_yaml(dump_yaml(mapping), "text"), mapping)


@given(st.dictionaries(TEXT, VALUES, max_size=6))
def test_what_is_dumped_means_the_same_to_an_ordinary_yaml_reader(mapping: dict[str, Any]) -> None:
    assert same(yaml.safe_load(dump_yaml(mapping)), mapping)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1.5E+3", -1500.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1:30", "1:30"),
        ("2014-06-10", "2014-06-10"),
        ("2.11.0", "2.11.0"),
        ("'1e-4'", "1e-4"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("=", "="),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert same(parse_yaml(f"key: {text}\n", "text"), {"key": value})


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: 1\nb: c: d\n", 2, "not YAML"),
        ("a: \x00\n", 1, "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2, "'!!python/object/apply:os.system' is refused"),
        ("a: !!python/name:os.system\n", 1, "'!!python/name:os.system' is refused"),
        ("a: !mine {b: 1}\n", 1, "'!mine' is refused"),
        ("a: !!set {b}\n", 1, "'!!set' is refused"),
        ("a: !!binary aGk=\n", 1, "'!!binary' is refused"),
        ("a: !!int 1.5\n", 1, "'1.5' is not a value of type !!int"),
        ("a: !!map [1]\n", 1, "is refused"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 1\n", 3, "the key 'b' stands twice"),
        ("a: 1\n2: b\n", 2, "a key must be text, got 2"),
        ("? [1, 2]\n: b\n", 1, "a key must be text"),
        ("a: &x [1]\nb: *x\n", 2, "the alias '*x' is refused"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "the alias '*x' is refused"),
        ("a: .nan\n", 1, "not a finite number"),
        ("a: [1, -.inf]\n", 1, "not a finite number"),
        ("a: 1e999\n", 1, "not a finite number"),
        ("a: " + "9" * 5000 + "\n", 1, "more than 40 characters"),
        ("a: " + "[" * 5000 + "]" * 5000 + "\n", 1, "nested more than 32 deep"),
        ("", 1, "it holds nothing"),
        ("# only a comment\n", 1, "it holds nothing"),
        ("- a\n- b\n", 1, "it holds a list"),
        ("text\n", 1, "it holds a single value"),
    ],
)
def test_refused_text_names_file_and_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert caught.value.message.startswith(f"{path}, line {line}: ")
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_an_alias_bomb_is_refused_at_its_first_alias() -> None:
    bomb = "l0: &l0 [x, x]\n" + "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(ConfigError, match="line 2: the alias"):
        parse_yaml(bomb, "bomb")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        load_yaml(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: é\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="line 2: the file is not UTF-8"):
        load_yaml(latin)
    marked = tmp_path / "marked.yaml"
    marked.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(marked) == {"a": 1}


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load_yaml(Path("x" * 5000))
    with pytest.raises(ConfigError, match="nothing of that name is shipped"):
        find_file("x" * 5000)


def test_the_form_of_what_is_dumped() -> None:
    text = dump_yaml({"b": {"hidden": (128, 64)}, "a": [{"seed": 1}], "long": list(range(20)), "rate": 1e-05})
    assert text.startswith("b:\n  hidden: [128, 64]\na:\n- seed: 1\nlong:\n- 0\n")
    assert text.endswith("rate: 1.0e-05\n")


@pytest.mark.parametrize("text", ["12e456789012", "004711004711", "0o17", "1e-4", ".5", "null", "yes", "1:30", ""])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    # An identifier of hex digits is now and then a number to one reader or the other.
    dumped = dump_yaml({"config_id": text})
    assert parse_yaml(dumped, "text") == yaml.safe_load(dumped) == {"config_id": text}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_not_dumped(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        dump_yaml({"a": [number]})


def test_shipped_files_are_found_by_bare_name() -> None:
    assert {"quickstart", "mnist", "paper/mnist"} <= set(shipped_names())
    for name in shipped_names():
        assert find_shipped(name).is_file()
        assert find_shipped(f"{name}.yaml") == find_shipped(name)
        assert bare_name(find_shipped(name)) == name


@pytest.mark.parametrize("name", ["../pyproject", "/etc/passwd", "", "paper"])
def test_only_shipped_names_are_shipped(name: str) -> None:
    with pytest.raises(ConfigError, match="nothing of that name is shipped"):
        find_shipped(name)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        find_shipped("quikstart")
    assert caught.value.hint == "did you mean 'quickstart'?"


def test_an_existing_file_wins_but_a_directory_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert find_file("quickstart") == find_shipped("quickstart")
    Path("mnist").write_text("a: 1\n")
    assert find_file("mnist") == Path("mnist")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text("a: 1\n")
    assert find_file("base.yaml", Path("sub")) == Path("sub/base.yaml")
    assert bare_name(Path("sub/base.yaml")) == "base"
    with pytest.raises(ConfigError, match=r"there is no file 'base\.yaml'"):
        find_file("base.yaml")
