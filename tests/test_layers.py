"""What each layer loads: the core runs on torch and NumPy alone, a trial runs without Ray."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gansearch

ROOT = Path(__file__).parents[1]
CORE = ROOT / "gansearch" / "core"

# Imported by a fresh interpreter in which the blocked packages look as if they were not installed.
BLOCKED_IMPORT = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
for module in {modules!r}:
    importlib.import_module(module)
print(*sorted(sys.modules))
"""


def _modules_loaded(modules: list[str], blocked: tuple[str, ...] = ()) -> set[str]:
    """Return the names in sys.modules after a fresh interpreter imported `modules`; fail if it could not."""
    code = BLOCKED_IMPORT.format(modules=modules, blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def _present(*modules: str) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module)]


def _core_modules() -> list[str]:
    return ["gansearch.core", *(f"gansearch.core.{m.name}" for m in pkgutil.iter_modules([str(CORE)]))]


@pytest.mark.parametrize("module", _present("gansearch", "gansearch.cli"))
def test_the_package_and_its_command_line_load_light(module: str) -> None:
    heavy = {"numpy", "pandas", "pyarrow", "ray", "torch"}
    assert not heavy & _modules_loaded([module])


def test_the_core_loads_with_torch_and_numpy_alone() -> None:
    modules = _core_modules()
    blocked = ("beartype", "jaxtyping", "optuna", "pandas", "pyarrow", "ray", "scipy", "sklearn", "torchvision", "yaml")
    assert set(modules) <= _modules_loaded(modules, blocked)


def test_a_trial_loads_without_ray_and_pandas() -> None:
    modules = _present("gansearch.results", "gansearch.trial")
    assert set(modules) <= _modules_loaded(modules, ("ray", "pandas"))


def test_everything_below_search_loads_without_ray() -> None:
    above = {"gansearch.search", "gansearch.cli"}
    modules = [f"gansearch.{m.name}" for m in pkgutil.iter_modules(gansearch.__path__)]
    modules = [m for m in modules if m not in above] + ["analysis"]
    assert "gansearch.config" in modules
    assert set(modules) <= _modules_loaded(modules, ("ray",))


@pytest.mark.parametrize("name", ["pandas", "ray.tune"])
def test_blocking_works(name: str) -> None:
    with pytest.raises(AssertionError, match=f"{name.partition('.')[0]}.* is blocked"):
        _modules_loaded([name], (name.partition(".")[0],))


# Beyond the standard library and gansearch itself.
CORE_NEEDS = {"numpy", "torch"}
CORE_MAY_NEED = {
    "shapes": {"jaxtyping"},
    "datasets": {"sklearn"},
    "idx_files": {"torchvision"},
    "cifar_files": {"torchvision"},
    "tfd_files": {"scipy"},
}


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_the_core_imports_nothing_else(path: Path) -> None:
    """Imports inside functions count too, unlike in the tests that load modules."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            imported.add(str(node.module).partition(".")[0])
    allowed = CORE_NEEDS | CORE_MAY_NEED.get(path.stem, set()) | {"gansearch"} | sys.stdlib_module_names
    assert imported <= allowed
