"""`rescore`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from gansearch.paths import RunPaths, TrialKey
from gansearch.search.lease import held
from tests.cli.conftest import CONFIG, PUBLISHED, SEEDS, Gansearch, Place

COARSE = "name: coarse\nnum_samples: 190\nsigma_points: 6\nrefine: false\n"


@pytest.fixture(autouse=True)
def run(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a folder with a copy of the run and a protocol's file the current one."""
    shutil.copytree(place.run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    Path("coarse.yaml").write_text(COARSE, encoding="utf-8")


def rows(protocol: str) -> pd.DataFrame:
    frame = pd.read_parquet("run/trials")
    return frame[frame["protocol_id"].str.startswith(protocol)].sort_values("replicate")


def test_a_line_a_trial_and_how_often_the_test_set_was_read(gansearch: Gansearch) -> None:
    code, out, err = gansearch("rescore", "run", "--protocol", "coarse.yaml")
    told = rows("coarse-")
    lines = ["config_id                    seed  valid_ll_mean  test_ll_mean   sigma  test set"]
    for _, row in told.iterrows():
        edge = " (sigma at the edge of the grid)" if row["sigma_at_edge"] else ""
        lines.append(
            f"{CONFIG.config_id}  {row['seed']:19}  {row['valid_ll_mean']:13.2f}  {row['test_ll_mean']:12.2f}  "
            f"{row['sigma']:6.4f}  made{edge}"
        )
    assert told["seed"].tolist() == list(SEEDS)
    assert (code, out.splitlines()) == (0, [*lines, "test evaluations: 3 made, 0 reused"])
    assert err.startswith("scoring under coarse-")
    assert "190 samples, sigma of 6 in [0.03, 1] (not refined) on all validation images" in err
    code, again, _ = gansearch("rescore", "run", "--protocol", "coarse.yaml")
    assert code == 0
    assert again == out.replace("  made", "  reused").replace("3 made, 0 reused", "0 made, 3 reused")
    assert len(pd.read_parquet("run/test_evaluations")) == 3 * 3
    code, table, _ = gansearch("table1", "run")
    assert (code, "190 samples" in table) == (0, True)
    assert gansearch("best", "run")[0] == 0


def test_a_shipped_protocol_as_json(gansearch: Gansearch) -> None:
    code, out, _ = gansearch("rescore", "run", "--protocol", "published-2014", "--json")
    found = json.loads(out)
    told = rows("published-2014-")
    assert (code, found["run"], found["test_evaluations_made"]) == (0, "run", 3)
    assert [found["protocol_id"]] == told["protocol_id"].unique().tolist()
    for trial, (_, row) in zip(found["trials"], told.iterrows(), strict=True):
        assert (trial["test_evaluation"], trial["problem"], trial["elsewhere"]) == ("made", None, None)
        for name in ("config_id", "seed", "stage", "fold", "replicate", "valid_ll_mean", "sigma", "test_ll_mean"):
            assert trial[name] == row[name]


def test_missing_weights_are_named_and_make_the_exit_code_1(gansearch: Gansearch) -> None:
    weights = RunPaths(Path("run")).weights(TrialKey(CONFIG.config_id, SEEDS[1], "confirm"))
    weights.unlink()
    code, out, err = gansearch("rescore", "run", "--protocol", "coarse.yaml")
    assert (code, out.splitlines()[-1]) == (1, "test evaluations: 2 made, 0 reused")
    assert f"not scored: {CONFIG.config_id}, confirm seed {SEEDS[1]}: {weights} is not a readable checkpoint" in err
    assert err.splitlines()[-1] == "1 of 3 confirm trials could not be scored"
    assert rows("coarse-")["seed"].tolist() == [SEEDS[0], SEEDS[2]]
    code, out, _ = gansearch("rescore", "run", "--protocol", "coarse.yaml", "--json")
    assert [trial["valid_ll_mean"] is None for trial in json.loads(out)["trials"]] == [False, True, False]
    assert code == 1


def test_another_run_directory_than_meant(gansearch: Gansearch) -> None:
    for part in Path("run/trials").glob("*-confirm-*"):
        part.unlink()
    code, out, err = gansearch("rescore", "run", "--protocol", "coarse.yaml")
    assert (code, out) == (2, "")
    assert "error: run has no confirm trials, and no others are scored on the test set" in err
    assert "hint: let `gansearch sweep` run to its end" in err
    code, _, err = gansearch("rescore", "nothing", "--protocol", "coarse.yaml")
    assert (code, "error: nothing is not a run directory" in err) == (2, True)


@pytest.mark.parametrize(
    ("protocol", "message", "hint"),
    [
        ("ful", "error: --protocol: no score protocol is called 'ful'", "did you mean 'full'?"),
        ("missing.yaml", "error: there is no file 'missing.yaml'", None),
        ("bad.yaml", "error: bad.yaml has an unknown key 'num_sample'", "did you mean 'num_samples'?"),
    ],
)
def test_protocols_that_are_none(gansearch: Gansearch, protocol: str, message: str, hint: str | None) -> None:
    Path("bad.yaml").write_text("name: bad\nnum_sample: 100\n", encoding="utf-8")
    code, out, err = gansearch("rescore", "run", "--protocol", protocol)
    assert (code, out) == (2, "")
    assert message in err.splitlines()
    assert hint is None or f"hint: {hint}" in err.splitlines()


def test_a_protocol_must_be_named(gansearch: Gansearch) -> None:
    code, _, err = gansearch("rescore", "run")
    assert (code, "--protocol" in err) == (2, True)


def test_a_protocol_that_was_asked_for_already_keeps_its_rows(gansearch: Gansearch) -> None:
    before = rows(PUBLISHED.id)
    Path("smaller.yaml").write_text(
        "name: smaller\nnum_samples: 210\nsigma_points: 5\nrefine: false\n", encoding="utf-8"
    )
    code, out, _ = gansearch("rescore", "run", "--protocol", "smaller.yaml")
    assert (code, out.splitlines()[-1]) == (0, "test evaluations: 0 made, 3 reused")
    pd.testing.assert_frame_equal(rows(PUBLISHED.id), before)


def test_a_run_that_a_driver_holds_is_refused(gansearch: Gansearch) -> None:
    """Both would write the per-example values of a trial, which are one file."""
    before = sorted(path.name for path in Path("run/trials").iterdir())
    with held(Path("run")):
        code, _, err = gansearch("rescore", "run", "--protocol", "coarse.yaml")
    assert (code, "run is held by another driver: process" in err) == (2, True)
    assert sorted(path.name for path in Path("run/trials").iterdir()) == before
    assert list(RunPaths(Path("run")).claims.iterdir()) == []
