"""`calibrate`: what it computes, what it keeps, and what it says of what it cannot use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.calibration import MODELS, find_calibration, folder
from analysis.rounding import decimal_place, rounded
from gansearch.core.datasets import load
from gansearch.protocols import PROTOCOLS
from tests.analysis.rows import config, trial_row, write_run
from tests.cli.conftest import FULL, PUBLISHED, Gansearch, Place


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _digests() -> Mapping[str, str]:
    return load("digits", data_dir=None, download=False).digests


def test_a_data_set_is_calibrated_under_both_protocols_once(gansearch: Gansearch) -> None:
    code, out, err = gansearch("calibrate", "digits")
    ids = [PROTOCOLS[name].id for name in ("full", "published-2014")]
    kept = f"kept in {folder()}; `gansearch table1` shows it beside runs on the same data"
    assert code == 0
    assert err.splitlines() == [*(f"calibrating digits under {p}: seconds" for p in ids), kept]
    tables = out.split("\n\n")
    for table, protocol_id in zip(tables, ids, strict=True):
        found = find_calibration("digits", protocol_id, _digests())
        assert found is not None
        title, head, *rows, unit, mark = table.splitlines()
        assert title.startswith(f"digits under {protocol_id}: 10,000 samples, ")
        assert head.split() == ["model", "samples", "valid", "test", "sigma"]
        for line, row in zip(rows, found.rows, strict=True):
            assert line.startswith(row.model)
            assert f" {row.num_samples:,} {'' if row.comparable else '*'}" in line
            assert f" {rounded(row.test_ll_mean, decimal_place([row.test_ll_se_examples]))} ± " in line
            assert line.endswith(f"{row.sigma:.4f}")
        assert unit == "nats: mean log-likelihood ± standard error over images"
        assert mark.startswith("* not comparable with models' scores: too few training images for 10,000 samples")
    assert gansearch("calibrate", "digits") == (0, out, f"{kept}\n")


def test_as_json_with_every_digit(gansearch: Gansearch) -> None:
    code, out, _ = gansearch("calibrate", "digits", "digits", "--protocol", "full", "--json")
    (found,) = json.loads(out)
    kept = find_calibration("digits", PROTOCOLS["full"].id, _digests())
    assert kept is not None
    assert (code, found["dataset"], found["protocol_id"]) == (0, "digits", kept.protocol_id)
    assert [row["model"] for row in found["rows"]] == list(MODELS)
    assert [row["test_ll_mean"] for row in found["rows"]] == [row.test_ll_mean for row in kept.rows]


def test_a_run_is_calibrated_under_its_own_protocols_and_table1_shows_it(place: Place, gansearch: Gansearch) -> None:
    code, before, _ = gansearch("table1", place.run)
    assert (code, f"`gansearch calibrate {place.run}`" in " ".join(before.split())) == (0, True)
    code, out, _ = gansearch("calibrate", place.run)
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if " under " in line] == [f"{FULL.id}:", f"{PUBLISHED.id}:"]
    assert "not comparable" not in out
    code, after, _ = gansearch("table1", place.run)
    assert code == 0
    assert "is not computed yet" not in after
    for protocol_id in (FULL.id, PUBLISHED.id):
        assert f"calibration under {protocol_id}: images of the data, no model" in after


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["digts"], "'digts' is neither a data set nor a run directory", "did you mean 'digits'?"),
        (["digits", "--protocol", "fulll"], "no score protocol is called 'fulll'", "did you mean 'full'?"),
        (["digits", "--protocol", "no.yaml"], "no.yaml", ""),
        ([], "the following arguments are required: DATASET|RUN", "gansearch calibrate --help"),
        (["mnist", "--data-dir", "nowhere", "--no-download"], "nowhere", ""),
    ],
    ids=" ".join,
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str], message: str, hint: str, gansearch: Gansearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = gansearch("calibrate", *arguments)
    first, *others = err.splitlines()
    assert (code, out) == (2, "")
    assert first.startswith("error: ")
    assert message in first
    assert hint in "\n".join(others)
    assert "Traceback" not in err


def test_runs_that_do_not_say_what_they_were_scored_on_are_told(gansearch: Gansearch, tmp_path: Path) -> None:
    (tmp_path / "empty" / "trials").mkdir(parents=True)
    mixed = [trial_row(config(dataset__name=name), i, score=3.0) for i, name in enumerate(("digits", "mnist"))]
    strange = [trial_row(config(), 1, score=3.0, protocol_json="[]")]
    unnamed = [trial_row(config(), 1, score=3.0, data_test_digest=None)]
    cases = {
        "empty": "has no trials yet, so it is not known what they are scored on",
        "mixed": "holds trials on 2 data sets, where one is needed: 'digits', 'mnist'",
        "strange": "is not one that this version knows",
        "unnamed": "holds trials on 0 data sets, where one is needed: none that is named in full",
    }
    for name, rows in (("mixed", mixed), ("strange", strange), ("unnamed", unnamed)):
        write_run(tmp_path / name, rows)
    for name, message in cases.items():
        code, out, err = gansearch("calibrate", tmp_path / name)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err


def test_a_run_on_other_data_is_refused(gansearch: Gansearch, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [trial_row(config(), 1, score=3.0)])
    code, out, err = gansearch("calibrate", run)
    assert (code, out) == (2, "")
    assert err.startswith("error: the train split of 'digits' here has the digest ")
    assert "in " + str(run) + " it is 11111111: scores on different data do not compare" in err
    assert "--data-dir" in err
    assert not folder().exists()


def test_a_damaged_part_is_refused_and_may_be_skipped(gansearch: Gansearch, tmp_path: Path) -> None:
    digests: dict[str, Any] = {f"data_{split}_digest": value for split, value in _digests().items()}
    run = write_run(tmp_path / "run", [trial_row(config(), seed, score=3.0, **digests) for seed in (1, 2)])
    part = next((run / "trials").glob("*-2-search-*"))
    part.write_bytes(part.read_bytes()[:100])
    code, out, err = gansearch("calibrate", run)
    assert (code, out) == (2, "")
    assert part.name in err
    code, out, _ = gansearch("calibrate", run, "--skip-damaged")
    assert (code, out.startswith("digits under full-")) == (0, True)


def test_a_protocol_of_another_space_is_refused(gansearch: Gansearch) -> None:
    code, _, err = gansearch("calibrate", "digits", "--protocol", "full-contrast")
    assert code == 2
    assert err.startswith("error: protocol full-contrast scores images in the space 'contrast', and those of 'digits'")
