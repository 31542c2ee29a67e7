"""`demo theory`: its table, its numbers as JSON, its picture, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from gansearch import theory
from tests.cli.conftest import Gansearch


@pytest.fixture(autouse=True)
def _short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(theory, "INNER_STEPS", 40)


SAID = """\
before training: 0 updates of D, 0 of G
D trained, G as before: 40 updates of D, 0 of G
G follows D: 45 updates of D, 1 of G
the end: 60 updates of D, 4 of G
"""


def test_the_table_is_that_of_the_game(gansearch: Gansearch) -> None:
    code, out, err = gansearch("demo", "theory", "--iterations", "4", "--seed", "3")
    assert (code, err) == (0, SAID)
    lines = out.splitlines()
    assert lines[0] == "moment                          D       G   V(D, G)      C(G)      JSD  |D - D*|"
    for line, moment in zip(lines[1:5], theory.play(4, seed=3), strict=True):
        assert line == (
            f"{moment.title:24}  {moment.d_updates:7}  {moment.g_updates:6}  {moment.value:8.4f}  "
            f"{moment.best_value:8.4f}  {moment.divergence:7.4f}  {moment.distance:8.4f}"
        )
    assert lines[5] == "p_g = p_data, D = 1/2                       -1.3863   -1.3863   0.0000    0.0000"
    assert lines[-1] == "figure1.png"
    with Image.open("figure1.png") as picture:
        assert picture.format == "PNG"


def test_json_has_every_digit_and_no_curves(gansearch: Gansearch) -> None:
    code, out, _ = gansearch("demo", "theory", "--iterations", "4", "--seed", "3", "--json", "-o", "there.png")
    found = json.loads(out)
    assert code == 0
    assert found["least_value"] == theory.LEAST_VALUE
    for one, moment in zip(found["moments"], theory.play(4, seed=3), strict=True):
        assert one == {
            "title": moment.title,
            "d_updates": moment.d_updates,
            "g_updates": moment.g_updates,
            "value": moment.value,
            "best_value": moment.best_value,
            "divergence": moment.divergence,
            "distance": moment.distance,
        }
    assert Path("there.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["theory", "--iterations", "1"], "--iterations: must be an integer of 2 or more and at most 1000000, got 1"),
        (["theorie"], "WHAT 'theorie' is not known"),
        (
            ["theory", "--iterations", "2", "-o", "no/such/place/figure.png"],
            "cannot write no/such/place/figure.png: Not a directory",
        ),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, gansearch: Gansearch) -> None:
    Path("no").write_text("a file", encoding="utf-8")
    code, out, err = gansearch("demo", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
