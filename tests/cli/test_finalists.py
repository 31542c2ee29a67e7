"""`finalists` on a real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.funnel import as_plain, funnel
from analysis.funnel_table import render
from tests.cli.conftest import CONFIG, Gansearch, Place


@pytest.mark.parametrize("form", ["text", "markdown", "csv"])
def test_in_every_form(form: str, place: Place, gansearch: Gansearch) -> None:
    expected = render(funnel(place.run), form)
    assert gansearch("finalists", place.run, "--format", form) == (0, expected, "")


def test_as_json(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("finalists", place.run, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(as_plain(funnel(place.run))))
    assert [f["config_id"] for f in json.loads(out)["finalists"]] == [CONFIG.config_id]


def test_to_a_file(place: Place, gansearch: Gansearch, tmp_path: Path) -> None:
    target = tmp_path / "table.txt"
    assert gansearch("finalists", place.run, "-o", target) == (0, "", f"written to {target}\n")
    assert target.read_text(encoding="utf-8") == render(funnel(place.run), "text")


def test_a_run_that_is_not_there(gansearch: Gansearch, tmp_path: Path) -> None:
    code, out, err = gansearch("finalists", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {tmp_path / 'nowhere'} is not a run directory")
