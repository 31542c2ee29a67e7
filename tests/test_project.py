"""The project's own files: versions that agree, distributions that are whole, shapes that are checked."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gansearch
from gansearch.core.parzen import log_likelihood

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)")


def _requirements() -> dict[str, Requirement]:
    project = PYPROJECT["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    found: dict[str, Requirement] = {canonicalize_name(r.name): r for r in map(Requirement, lines)}
    del found[canonicalize_name("gansearch")]  # an extra that gathers the others
    return found


def _pins(name: str) -> dict[str, str]:
    """Return a constraints file's versions; every line is a comment or one exact version, so no index is named."""
    pins: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line.startswith("#"):
            pin = PIN.fullmatch(line)
            assert pin, f"{name}: {line}"
            pins[canonicalize_name(pin[1])] = pin[2]
    return pins


def test_ci_pins_every_requirement_within_its_bounds() -> None:
    pins = _pins("constraints.txt")
    for name, requirement in _requirements().items():
        assert requirement.specifier.contains(pins[name]), name


def test_every_lower_bound_is_installed_by_test_lowest() -> None:
    bounds = {name: str(r.specifier) for name, r in _requirements().items() if r.specifier}
    assert bounds == {name: f">={version}" for name, version in _pins("constraints-lowest.txt").items()}


def test_every_runtime_requirement_has_a_lower_bound() -> None:
    for line in PYPROJECT["project"]["dependencies"]:
        assert Requirement(line).specifier, line


def test_the_version_is_written_once() -> None:
    assert "version" not in PYPROJECT["project"]
    assert re.search(rf"^## \[?{re.escape(gansearch.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_make_targets_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
    code = re.compile(r"(?:`|^ *(?:\$ )?)make ([a-z][a-z-]*)", re.MULTILINE)
    named = {name for page in pages for name in code.findall(page.read_text())}
    assert {"quickstart", "test"} <= named
    assert named <= targets


def test_the_core_checks_shapes_while_tests_run() -> None:
    """Where the import hook came too late, a wrong shape would reach the arithmetic."""
    with pytest.raises(jaxtyping.TypeCheckError):
        log_likelihood(torch.zeros(5, 3), torch.zeros(4, 2), 0.2)


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an sdist of this tree and the wheel that is built from that sdist, both built offline."""
    folder = tmp_path_factory.mktemp("distributions")
    tree = folder / "tree"
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "data", "runs")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    _run(sys.executable, "-c", build, cwd=tree)
    (sdist,) = folder.glob("*.tar.gz")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    _run(sys.executable, "-m", "pip", "wheel", *offline, sdist, cwd=folder)
    (built,) = folder.glob("*.whl")
    return sdist, built


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_every_search_space(distributions: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(distributions[1]).namelist())
    packages = ("analysis", "gansearch", "search_spaces")
    kinds = ("*.py", "*.yaml", "*.typed", "*.html", "*.css", "*.js")
    shipped = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for kind in kinds
        for path in (ROOT / package).rglob(kind)
    }
    assert any(name.startswith("search_spaces/paper/") and name.endswith(".yaml") for name in shipped)
    assert shipped | {"search_spaces/README.md"} <= names
    info = f"gansearch-{gansearch.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {*packages, info}
    assert f"{info}/licenses/LICENSE" in names


@pytest.mark.slow
def test_the_sdist_holds_no_tests(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "analysis", "gansearch", "pyproject.toml", "search_spaces"} <= top
    assert not top & {"tests", "benchmarks", "data", "docs", "runs"}


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    """Its packages come first on the path, so the checkout's cannot stand in for them."""
    zipfile.ZipFile(distributions[1]).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, '.'); import analysis, gansearch, search_spaces; from gansearch import cli; "
        "print(*(m.__file__ for m in (analysis, gansearch, search_spaces, cli)), sep='\\n')"
    )
    places = _run(sys.executable, "-P", "-c", code, cwd=tmp_path).split()
    assert all((tmp_path / place).resolve().is_relative_to(tmp_path.resolve()) for place in places)
