"""`best` and `table1` on a real run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from analysis.best import best_document, best_full
from analysis.render import render
from analysis.table1 import as_plain, table1
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import CONFIG, FULL, SEEDS, Gansearch, Place


@pytest.fixture(autouse=True)
def _no_calibrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _notes(place: Place) -> str:
    """Return what `best` says beside the file."""
    chosen = best_full(place.run)["chosen"]
    lines = [f"note: {note}" for note in (*chosen["notes"], *chosen["not_judged"])]
    return "".join(f"{line}\n" for line in (*lines, *(f"flag: {f['name']}: {f['text']}" for f in chosen["flags"])))


def test_best_tells_why_its_scores_may_be_doubted(place: Place, gansearch: Gansearch) -> None:
    """The run's nets were trained for 4 epochs: their samples are next to one image."""
    flags = best_document(place.run)["chosen"]["flags"]
    assert "less-diverse" in {flag["name"] for flag in flags} or "collapsed" in {flag["name"] for flag in flags}
    _, out, err = gansearch("best", place.run, "--json")
    assert json.loads(out)["chosen"]["flags"] == flags
    told = [line for line in err.splitlines() if line.startswith("flag: ")]
    assert told == [f"flag: {flag['name']}: {flag['text']}" for flag in flags]
    assert f"`gansearch calibrate {place.run}` computes it" in err


def test_what_real_images_score_is_held_against_it_once_it_is_known(place: Place, gansearch: Gansearch) -> None:
    assert gansearch("calibrate", place.run, "--protocol", "full")[0] == 0  # not the run's own
    assert "computes it" in gansearch("best", place.run)[2]
    assert gansearch("calibrate", place.run)[0] == 0
    code, _, err = gansearch("best", place.run)
    assert (code, "computes it" in err) == (0, False)


def test_best_writes_the_file_to_stdout(place: Place, gansearch: Gansearch) -> None:
    assert gansearch("best", place.run) == (0, dump_yaml(best_document(place.run)), _notes(place))


def test_best_writes_a_file_where_asked(place: Place, gansearch: Gansearch, tmp_path: Path) -> None:
    target = tmp_path / "new" / "best.yaml"
    assert gansearch("best", place.run, "-o", target) == (0, "", f"{_notes(place)}written to {target}\n")
    assert target.read_text() == dump_yaml(best_document(place.run))


def test_best_as_json_has_the_ranking_and_every_digit(place: Place, gansearch: Gansearch) -> None:
    _, out, _ = gansearch("best", place.run, "--json")
    found = json.loads(out)
    assert found == json.loads(json.dumps(best_full(place.run)))
    assert found["config_id"] == CONFIG.config_id
    assert [entry["seed"] for entry in found["seeds"]] == list(SEEDS)


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html", "csv"])
def test_table1_in_every_form(form: str, place: Place, gansearch: Gansearch) -> None:
    expected = render(table1([place.run]), form)
    code, out, err = gansearch("table1", place.run, "--format", form)
    assert (code, out.rstrip("\n"), err) == (0, expected.rstrip("\n"), "")


def test_table1_as_csv_is_read_by_a_csv_reader(place: Place, gansearch: Gansearch) -> None:
    _, out, _ = gansearch("table1", place.run, "--format", "csv")
    rows = [row for row in csv.DictReader(io.StringIO(out)) if row["run"]]
    assert {row["protocol_id"] for row in rows} >= {FULL.id}
    assert all(row["config_id"] == CONFIG.config_id for row in rows)


def test_table1_as_json(place: Place, gansearch: Gansearch) -> None:
    _, out, _ = gansearch("table1", place.run, "--json")
    assert json.loads(out) == json.loads(json.dumps(as_plain(table1([place.run]))))


def test_a_damaged_part_is_refused_and_may_be_skipped(place: Place, gansearch: Gansearch, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    part = next((run / "trials").glob(f"{CONFIG.config_id}-{SEEDS[0]}-confirm-0-{FULL.id}.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    code, out, err = gansearch("best", run)
    assert (code, out) == (2, "")
    assert part.name in err
    code, out, err = gansearch("best", run, "--skip-damaged")
    assert code == 0
    assert "note: damaged part files left out: 1" in err
    assert f"seed: {SEEDS[0]}\n" not in out
    assert gansearch("table1", run)[0] == 2
    code, _, err = gansearch("table1", run, "--skip-damaged")
    assert (code, err) == (0, "note: damaged part files left out: 1\n")


@pytest.mark.parametrize("command", ["best", "table1"])
def test_tables_are_read_wherever_the_data_are(command: str, place: Place, gansearch: Gansearch) -> None:
    plain = gansearch(command, place.run)
    assert plain[0] == 0
    assert gansearch(command, place.run, "--data-dir", "nowhere", "--no-download") == plain


@pytest.mark.parametrize("command", ["best", "table1", "status", "stop", "sample", "export"])
def test_a_run_that_is_not_there(command: str, gansearch: Gansearch, tmp_path: Path) -> None:
    code, out, err = gansearch(command, tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "nowhere" in err.splitlines()[0]
