"""What docs/security.md promises and can be seen without a cluster: no pickle, no name that leaves a run, no secret."""

from __future__ import annotations

import ast
import contextlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.best import best
from gansearch import provenance
from gansearch.config_files import load_config_file
from gansearch.errors import UserError
from gansearch.kept_models import load_model
from gansearch.paths import RunPaths, TrialKey
from gansearch.search.plan_files import read_plan
from gansearch.search.study import Study, load_study
from gansearch.search.sweep import check_study_fits
from tests.ray_processes import ROOT
from tests.search.small_studies import FINAL, plan

SOURCES = sorted(
    path for package in ("gansearch", "analysis", "search_spaces") for path in (ROOT / package).rglob("*.py")
)

# Modules whose loaders run what a file says, and functions that do so unless they are told not to.
PICKLING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
LOADERS = {
    "torch.load",
    "torch.save",
    "torch.jit.load",
    "np.load",
    "numpy.load",
    "pd.read_pickle",
    "pandas.read_pickle",
}
LOADERS |= {
    f"yaml.{name}" for name in ("load", "load_all", "full_load", "unsafe_load", "Loader", "UnsafeLoader", "FullLoader")
}
LOADERS |= {"eval", "exec", "os.system", "__import__"}
BY_VALUE = ("register_pickle_by_value", "unregister_pickle_by_value")
ALLOWED = {
    ROOT / "gansearch/search/machines.py": {"ray.cloudpickle", "cloudpickle", *(f"cloudpickle.{n}" for n in BY_VALUE)}
}
"""What is asked of a cluster's machines is sent through Ray, to those who hold its token; nothing is read."""


def _named(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported, and all dotted names that are used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)


def _unsafe(source: str) -> set[str]:
    names = set(_named(ast.parse(source)))
    return {name for name in names if name in LOADERS or PICKLING & set(name.split("."))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_loads_what_could_run(path: Path) -> None:
    assert _unsafe(path.read_text()) <= ALLOWED.get(path, set())


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x', weights_only=False)",
        "import yaml\nyaml.load('x', Loader=yaml.Loader)",
        "from joblib import load",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "from ray import cloudpickle",
        "eval('1')",
    ],
)
def test_the_rule_finds(source: str) -> None:
    assert _unsafe(source)


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_pickle_in_the_place_of_weights_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists(), "it works where it is loaded"
    mark.unlink()
    for content in (pickle.dumps(Bomb(mark)), _torch_file(Bomb(mark), tmp_path)):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content)
        with pytest.raises(UserError, match="safetensors"):
            load_model(path)
    assert not mark.exists()


def _torch_file(value: object, folder: Path) -> bytes:
    torch.save(value, folder / "file.pt")
    return (folder / "file.pt").read_bytes()


def test_pickle_in_the_place_of_a_table_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "part.parquet").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(UserError, match=r"part\.parquet"):
        best(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/name:os.system", "!mine"])
def test_yaml_builds_no_objects(tag: str, tmp_path: Path) -> None:
    mark = tmp_path / "made"
    text = f"config: {tag} ['{mark}']\n"
    (tmp_path / "sweep.yaml").write_text(text)
    for read in (load_study, load_config_file):
        with pytest.raises(UserError):
            read(str(tmp_path / "sweep.yaml"))
    with pytest.raises(UserError):
        read_plan(tmp_path)
    assert not mark.exists()


HOSTILE = [
    "../../out",
    "/out",
    "..",
    ".hidden",
    "_hidden",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "",
    "~/out",
    "$HOME",
    "s3://b/out",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["final", "confirm", "dataset", "space", "searcher"])
def test_hostile_name_in_a_study_is_refused(name: str, place: str) -> None:
    """Before anything is written; the names of protocols are the only ones that become parts of file names."""
    changes: dict[str, dict[str, Any]] = {
        "final": {"protocols": {"final": {**FINAL, "name": name}, "report": FINAL}},
        "confirm": {"confirm": {"top": 1, "seeds": 2, "protocols": [{**FINAL, "name": name}]}},
        "dataset": {"base": {**plan()["base"], "dataset": {"name": name}}},
        "space": {"space": {name: {"int": [1, 3]}}},
        "searcher": {"searcher": name},
    }
    with pytest.raises(UserError):
        check_study_fits(Study.parse(plan(**changes[place]), "small"))


NAMES = st.text(alphabet="a1.-_/\\~ \0\n", max_size=8)


@given(config_id=NAMES, stage=NAMES, suffix=NAMES)
def test_no_name_leaves_the_run(config_id: str, stage: str, suffix: str) -> None:
    """Rows and plans that somebody else wrote name trials, too."""
    paths, key = RunPaths(Path("/runs/a")), TrialKey(config_id, 5, stage)
    made = []
    with contextlib.suppress(UserError):
        made.append(paths.part("trials", key, suffix))
    with contextlib.suppress(UserError):
        made += [paths.checkpoint(key), paths.weights(key)]
    with contextlib.suppress(UserError):
        made.append(paths.claim(suffix))
    for place in made:
        assert os.path.normpath(str(place)) == str(place)
        assert Path(str(place)).is_relative_to("/runs/a")


def test_rows_say_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row tells of its place is a fixed list; what tells of a plan, too."""
    secret = "never-in-a-row"
    for name in ("RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PASSWORD"):
        monkeypatch.setenv(name, secret)
    assert secret not in str(provenance.environment(torch.device("cpu"), 1))
    assert secret not in str(provenance.versions())
