"""Mappings to dataclasses: what is accepted, what is refused, and what users are told; errors; file names."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch import errors, schema
from gansearch.errors import ConfigError, DataError, ResourceError, ResultsError, UserError, nearest
from gansearch.parsing import build, convert
from gansearch.paths import RunPaths, TrialKey, safe_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    rate: float | None = None
    flag: bool = False
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    weights: dict[str, float] = dataclasses.field(default_factory=dict)


def test_a_mapping_becomes_nested_dataclasses() -> None:
    built = build(
        Outer, {"name": "a", "rate": 2, "inner": {"size": 5}, "many": [{"size": 7}, {}], "weights": {"x": 1}}, "top"
    )
    assert built == Outer(name="a", rate=2.0, inner=Inner(size=5), many=(Inner(size=7), Inner()), weights={"x": 1.0})
    assert type(built.rate) is float
    assert type(built.weights["x"]) is float
    assert build(Outer, {"name": "a", "rate": None}, "top").rate is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "top lacks the key 'name'"),
        ({"name": "a", 7: 1}, "top has an unknown key '7'"),
        ({"name": None}, "top.name must be text, got nothing"),
        ({"name": "a", "flag": 1}, "top.flag must be true or false, got 1"),
        ({"name": "a", "rate": True}, "top.rate must be a number, got True"),
        ({"name": "a", "many": [{"size": 1}, {"size": "s"}]}, "top.many[1].size must be an integer, got 's'"),
        ({"name": "a", "weights": {"x": "y"}}, "top.weights.x must be a number, got 'y'"),
        ({"name": "a", "weights": [1]}, "top.weights must be a mapping, got [1]"),
        ({"name": "x" * 99, "flag": "y" * 99}, f"top.flag must be true or false, got '{'y' * 56}..."),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(data: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Outer, data, "top")
    assert caught.value.message == message


def test_an_integer_beyond_every_float_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^top\.rate is too large for a float: 1000.*\.\.\.$"):
        convert(float, 10**400, "top.rate")


NUMBERS = st.integers(-(2**1023), 2**1023) | st.floats(allow_nan=False)


@given(st.none() | st.booleans() | NUMBERS | st.text() | st.lists(st.integers(), max_size=2))
def test_a_value_keeps_its_type_or_is_refused(value: Any) -> None:
    for kind, accepted in ((int, (int,)), (float, (int, float)), (bool, (bool,)), (str, (str,))):
        if type(value) in accepted:
            found = convert(kind, value, "it")
            assert type(found) is kind
            assert found == kind(value)
        else:
            with pytest.raises(ConfigError, match=r"^it must be "):
                convert(kind, value, "it")


@pytest.mark.parametrize("kind", [UserError, ConfigError, DataError, ResultsError, ResourceError])
@pytest.mark.parametrize("hint", [None, "mend it"])
def test_errors_survive_pickling_and_show_their_hint(kind: type[UserError], hint: str | None) -> None:
    error = kind("it is wrong", hint=hint)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.hint, str(again)) == (error.message, error.hint, str(error))
    assert str(error) == ("it is wrong (hint: mend it)" if hint else "it is wrong")
    assert issubclass(kind, errors.UserError)


def test_the_nearest_name_is_offered_or_all_of_them() -> None:
    assert nearest("momentun", ["adam", "momentum"]) == "did you mean 'momentum'?"
    assert nearest("zzz", ["b", "a"]) == "known names: a, b"


@given(st.text(max_size=12))
def test_a_safe_name_stays_inside_its_folder(name: str) -> None:
    try:
        assert safe_name(name) == name
    except ResultsError:
        return
    path = Path("/folder") / name
    assert path.parent == Path("/folder")
    assert path.resolve().parent == Path("/folder")
    assert not name.startswith((".", "_"))  # readers skip those


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "_a", "a/b", "/a", "a\\b", "a\n", "a b", "a\0", "é"])
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(ResultsError, match="cannot be a file name"):
        safe_name(name)
    with pytest.raises(ResultsError, match="cannot be a file name"):
        RunPaths(Path("run")).checkpoint(TrialKey(name + "/x", 1, "search"))


def test_each_trial_and_protocol_has_files_of_its_own() -> None:
    paths = RunPaths(Path("run"))
    keys = [TrialKey("c1", seed, stage) for seed in (2, 3) for stage in schema.STAGES]
    keys.append(TrialKey("c1", 2, "search", 4))
    files = [paths.part(table, key, suffix) for table in schema.TABLES for key in keys for suffix in ("p", "q")]
    files += [place(key) for key in keys for place in (paths.checkpoint, paths.weights)]
    assert len(set(files)) == len(files) == 9 * (5 * 2 + 2)
    assert paths.part("trials", keys[-1], "full-1") == Path("run/trials/c1-2-search-4-full-1.parquet")
