"""The plugin that ends a test run in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [f"test_{letter}.py" for letter in "abcdefgh"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of eight files of two tests, the second of which fails in one of them."""
    for name in FILES:
        fails = "assert False" if name == "test_c.py" else "pass"
        (tmp_path / name).write_text(f"def test_1():\n    pass\n\ndef test_2():\n    {fails}\n")
    return tmp_path


def run(folder: Path, until: float, order: str) -> tuple[int, list[str], str]:
    """Return the exit code, the order of the files, and what was said."""
    command = [*(sys.executable, "-m", "pytest"), "-p", "tests.time_limit", f"--until={until}", f"--order={order}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [*command, *("-v", "-ra", "-p", "no:cacheprovider", f"--rootdir={folder}")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    files = [line.partition("::")[0] for line in done.stdout.splitlines() if line.startswith("test_") and "::" in line]
    return done.returncode, files, done.stdout + done.stderr


def test_files_run_whole_in_an_order_of_their_revision(folder: Path) -> None:
    code, files, said = run(folder, time.time() + 3600, "one")
    assert code == 1, said
    assert "1 failed, 15 passed" in said
    assert sorted(files) == sorted(FILES * 2)
    assert files[::2] == files[1::2]
    assert files == run(folder, time.time() + 3600, "one")[1]
    assert files != run(folder, time.time() + 3600, "two")[1]


def test_what_was_not_run_in_time_is_told_and_fails_nothing(folder: Path) -> None:
    code, _, said = run(folder, time.time() - 1, "one")
    assert code == 0
    assert "16 skipped" in said
    for name in FILES:
        assert f"the time was over before all of {name} had run" in said
