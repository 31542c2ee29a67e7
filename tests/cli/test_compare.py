"""`compare` as it is called: every form, a file, and mistakes told in one sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from analysis.comparing import as_plain, compare
from analysis.comparing_text import render
from gansearch.paths import RunPaths
from gansearch.storage import location, write_bytes
from tests.analysis.funnel_runs import QUICK, SLOW, four_finalists, write_funnel
from tests.analysis.rows import PUBLISHED
from tests.cli.conftest import Gansearch
from tests.object_store import ObjectStore


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a plan and three configurations that have a score. Not to be written into."""
    return write_funnel(tmp_path_factory.mktemp("compare") / "run", four_finalists())


@pytest.mark.parametrize("form", ["text", "markdown", "csv"])
def test_in_every_form(form: str, run: Path, gansearch: Gansearch) -> None:
    items = [f"{run}:paper", f"{run}:leader", f"{run}:momentum.lr_g=0.7"]
    found = compare(items)
    assert [item.config_id for item in found.items][1:] == [QUICK.config_id, SLOW.config_id]
    assert gansearch("compare", *items, "--format", form) == (0, render(found, form), "")


def test_as_json_with_another_protocol(run: Path, gansearch: Gansearch) -> None:
    items = [f"{run}:paper", str(run)]
    code, out, err = gansearch("compare", *items, "--protocol", "published-2014", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(as_plain(compare(items, protocol=PUBLISHED.id))))
    assert json.loads(out)["protocol_id"] == PUBLISHED.id


def test_to_a_file(run: Path, gansearch: Gansearch, tmp_path: Path) -> None:
    target = tmp_path / "new" / "compared.csv"
    items = [f"{run}:paper", f"{run}:#2"]
    assert gansearch("compare", *items, "--format", "csv", "-o", target) == (0, "", f"written to {target}\n")
    assert len(list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))) == 4


@pytest.mark.parametrize(
    ("items", "error", "hint"),
    [
        (["{run}"], "a comparison takes 2 items or more", "such as runs/quickstart:paper runs/quickstart"),
        (["{run}:papr", "{run}"], "'{run}:papr': 'papr' is no rule", "did you mean 'paper'?"),
        (["{run}:paper", "{run}:k=2"], "'{run}:k=2': no parameter is called 'k'", "did you mean 'algorithm.k'?"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_hint(
    items: list[str], error: str, hint: str, run: Path, gansearch: Gansearch
) -> None:
    code, out, err = gansearch("compare", *(item.format(run=run) for item in items))
    assert (code, out) == (2, "")
    assert err == f"error: {error.format(run=run)}\nhint: {hint}\n"


def test_runs_on_an_object_store_are_named_by_uris(run: Path, gansearch: Gansearch, store: ObjectStore) -> None:
    """The rule stands behind the last colon, not behind that of `s3://`; what is said is what is said of folders."""
    there = f"{store.uri}/runs/a"
    for path in sorted(run.rglob("*")):
        if path.is_file():
            write_bytes(location(f"{there}/{path.relative_to(run)}"), path.read_bytes())
    expected = as_plain(compare([f"{run}:paper", f"{run}", f"{run}:#2"]))
    code, out, err = gansearch("compare", f"{there}:paper", there, f"{there}:#2", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [item["given"] for item in found["items"]] == [f"{there}:paper", there, f"{there}:#2"]
    assert found["against"] == json.loads(json.dumps(expected["against"]))


def test_damaged_parts_are_refused_and_may_be_skipped(gansearch: Gansearch, tmp_path: Path) -> None:
    run = write_funnel(tmp_path / "run", four_finalists())
    part = next(RunPaths(run).table("trials").glob(f"{QUICK.config_id}-20-confirm-0-full-*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    code, out, err = gansearch("compare", f"{run}:paper", run)
    assert (code, out) == (2, "")
    assert part.name in err
    code, out, err = gansearch("compare", f"{run}:paper", run, "--skip-damaged")
    assert (code, err) == (0, "note: damaged part files left out: 1\n")
    assert "over 2 and 2 seeds" in " ".join(out.split())
