"""`executor` in a study, on the command line: what is refused, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import Gansearch
from tests.cli.small_study import STUDY

NOTE = "executor packed without a GPU: an iteration of the base configuration takes "


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**changes: Any) -> Path:
    """Write the small study, changed; return its file."""
    path = Path("mine.yaml")
    path.write_text(dump_yaml({**STUDY, **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"executor": "packed", "scheduler": "hyperband"},
            "the packed executor cannot drive scheduler 'hyperband', which lets trials wait for others",
            "use scheduler: asha, median or none; or executor: tune",
        ),
        ({"executor": "paked"}, "executor.name is 'paked', which is not known", "did you mean 'packed'?"),
        (
            {"executor": {"name": "tune", "slots": 4}},
            "executor.slots is an option of 'packed' and 'auto'",
            "add `name: packed`, or remove it",
        ),
    ],
    ids=["scheduler", "name", "option"],
)
def test_what_an_executor_cannot_do_is_refused_with_a_hint(
    gansearch: Gansearch, changes: dict[str, Any], message: str, hint: str
) -> None:
    code, out, err = gansearch("sweep", write(**changes), "--out", "run")
    assert (code, out) == (2, "")
    assert err == f"error: mine.yaml: {message}\nhint: {hint}\n"
    assert not Path("run").exists()


def test_a_dry_run_shows_the_executor(gansearch: Gansearch) -> None:
    code, out, _ = gansearch("sweep", write(executor={"name": "packed", "slots": 6}), "--dry-run")
    assert code == 0
    assert "executor    packed (slots 6)" in out.splitlines()


@pytest.mark.slow
def test_a_packed_sweep_says_why_it_is_slower_here_and_status_shows_how_it_ended(gansearch: Gansearch) -> None:
    code, out, err = gansearch("sweep", write(executor={"name": "packed", "slots": 3}, num_trials=3), "--out", "run")
    assert code == 0
    assert err.count(NOTE) == 1
    assert out == "run: done; trials: 9 COMPLETE\n"
    code, out, _ = gansearch("status", "run", "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["stage"], said["running"], said["ended"]) == ("done", 0, {"COMPLETE": 9})
