"""Which code ran: the revision inside and outside a Git checkout, and the columns that say where."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from gansearch import provenance, schema


@pytest.fixture(autouse=True)
def _own_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Git sees neither the user's settings nor a checkout around the temporary folder."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@x.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def package(folder: Path) -> Path:
    """Return a copy of the module in a folder of its own, as if it were the package."""
    copy = folder / "gansearch" / "provenance.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(provenance.__file__, copy)
    return copy


def revision(copy: Path) -> str | None:
    """Return what the copy says of itself when it is imported anew."""
    spec = importlib.util.spec_from_file_location("provenance_copy", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: str | None = module.code_revision()
    return found


def test_the_revision_of_a_checkout_says_when_files_differ(tmp_path: Path) -> None:
    copy = package(tmp_path)
    (tmp_path / "notes.txt").write_text("not part of the package")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "gansearch")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert revision(copy) == head[:12]
    copy.write_text(copy.read_text() + "\n# changed\n")
    assert revision(copy) == head[:12] + "-dirty"
    git(tmp_path, "commit", "-qam", "second")
    second = git(tmp_path, "rev-parse", "HEAD")
    assert revision(copy) == second[:12] != head[:12]
    (copy.parent / "new.py").write_text("")
    assert revision(copy) == second[:12] + "-dirty"


def test_there_is_no_revision_outside_a_checkout(tmp_path: Path) -> None:
    assert revision(package(tmp_path)) is None


def test_a_checkout_that_does_not_hold_the_code_says_nothing_about_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "theirs.py").write_text("")
    git(tmp_path, "add", "theirs.py")
    git(tmp_path, "commit", "-qm", "theirs")
    assert revision(package(tmp_path / "site-packages")) is None


def test_without_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = package(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision(copy) is None


def test_the_environment_is_columns_of_the_trials() -> None:
    environment = provenance.environment(torch.device("cpu"), 3)
    assert set(environment) <= {c.name for c in schema.TRIALS.columns}
    assert (environment["run_device"], environment["run_threads"]) == ("cpu", 3)
    assert environment["run_torch_version"] == torch.__version__
    assert torch.backends.cpu.get_cpu_capability() in provenance.device_name(torch.device("cpu"))
    # Plain text, for PyTorch's own version is an object that YAML refuses.
    versions = provenance.versions()
    assert {type(v) for v in (*versions.values(), environment["run_torch_version"])} <= {str, type(None)}
    assert versions["torch"] == environment["run_torch_version"]
