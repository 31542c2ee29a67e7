"""`top` on a real run."""

from __future__ import annotations

import json

import pytest

from analysis.top import as_plain, top
from analysis.top_table import render
from tests.cli.conftest import CONFIG, OTHER, Gansearch, Place


@pytest.mark.parametrize("form", ["text", "markdown", "csv"])
def test_top_in_every_form(form: str, place: Place, gansearch: Gansearch) -> None:
    assert gansearch("top", place.run, "--format", form) == (0, render(top(place.run), form), "")


def test_top_as_json_has_every_digit(place: Place, gansearch: Gansearch) -> None:
    _, out, _ = gansearch("top", place.run, "-n", "1", "--stage", "search", "--by", "report", "--json")
    found = json.loads(out)
    assert found == json.loads(json.dumps(as_plain(top(place.run, 1, stage="search", by="report"))))
    assert found["rows"][0]["config_id"] in {CONFIG.config_id, OTHER.config_id}


def test_mistakes_are_told(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("top", place.run, "-n", "0")
    assert (code, out) == (2, "")
    assert "must be an integer of 1 or more, got 0" in err
    code, _, err = gansearch("top", place.folder)
    assert code == 2
    assert err.startswith("error: ")
    assert "is not a run directory" in err
