"""The best configuration's file trains again and carries every digit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.best import best_document, best_full
from gansearch import schema
from gansearch.config import TrialConfig
from gansearch.config_files import parse_config_file
from gansearch.errors import ConfigError, ResultsError
from gansearch.yaml_files import dump_yaml, parse_yaml
from tests.analysis.rows import FULL, REPORT, config, confirm_rows, trial_row, write_plan, write_run

A = config(algorithm__k=2, momentum__lr_g=1e-05, momentum__lr_d=0.1 + 0.2, generator__hidden=[30, 20, 10])
B = config(update__rule="adam", adam__lr_d=1 / 3)
AWKWARD = (math.pi * 1e2, 1e-300, 123456789.123456789)


def _run(tmp_path: Path) -> Path:
    rows = [trial_row(A, 1, score=3.0), trial_row(B, 2, score=2.0)]
    for seed, valid in zip((31, 32, 33), AWKWARD, strict=True):
        rows += confirm_rows(A, seed, valid, valid / 3)
    rows.append(trial_row(A, 34, "confirm", status=schema.DIVERGED, run_device_name="Another processor"))
    rows += confirm_rows(B, 35, -7.0, 1e9)
    rows.append(trial_row(B, 36, "confirm", status=schema.FAILED))
    return write_run(tmp_path / "my-run", rows)


def test_the_yaml_is_a_configuration_file_with_exact_numbers(tmp_path: Path) -> None:
    run = _run(tmp_path)
    document = parse_yaml(dump_yaml(best_document(run)), "best.yaml")
    assert document == best_document(run)
    file = parse_config_file(document, "best")
    file.check_unedited()
    assert file.config == A
    assert (file.protocol, file.report_protocol) == (FULL, REPORT)
    scored = [seed for seed in file.expected if seed["status"] == schema.COMPLETE]
    assert tuple(seed["valid_ll_mean"] for seed in scored) == AWKWARD
    assert [seed["test_ll_mean"] for seed in scored] == [valid / 3 for valid in AWKWARD]
    assert [seed["weights_digest"] for seed in scored] == [f"w{A.config_id}{s}" for s in (31, 32, 33)]


def test_integers_stay_integers_beside_seeds_that_lack_them(tmp_path: Path) -> None:
    """pandas turns scored_epoch into floats here, since the diverged seed has none."""
    seeds = best_document(_run(tmp_path))["seeds"]
    assert [type(seed["scored_epoch"]) for seed in seeds] == [int, int, int, type(None)]
    assert seeds[0]["collapsed"] is False
    assert seeds[3]["valid_ll_mean"] is None
    assert (seeds[3]["status"], seeds[3]["error"]) == (schema.DIVERGED, "ended as DIVERGED")


def test_how_it_was_chosen_and_where_it_ran_are_told(tmp_path: Path) -> None:
    document = best_document(_run(tmp_path))
    chosen, environment = document["chosen"], document["environment"]
    assert document["description"] == "The configuration that validation chose in my-run"
    assert (chosen["stage"], chosen["protocol_id"]) == ("confirm", FULL.id)
    assert (chosen["seeds"], chosen["completed"], chosen["diverged"]) == (4, 3, 1)
    assert chosen["valid_ll_mean"] == math.fsum(AWKWARD) / 3
    low, high = chosen["valid_ll_prediction_95"]
    assert low < chosen["valid_ll_mean"] < high
    assert chosen["notes"] == ["3 of 4 seeds completed (1 diverged); the mean is over those"]
    assert environment["device_name"] == "A processor (AVX2)"
    assert (environment["threads"], environment["data_test_digest"]) == (1, "33333333")
    own = [seed.get("environment") for seed in document["seeds"]]
    assert own == [None, None, None, {"device_name": "Another processor"}]


def test_the_plan_tells_how_many_seeds_are_missing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "cut", [trial_row(A, 1, score=3.0), *confirm_rows(A, 31, 2.0, 1.0)])
    assert best_document(run)["chosen"]["notes"] == []
    write_plan(run, 3)
    (note,) = best_document(run)["chosen"]["notes"]
    assert note == "1 of 3 planned confirm seeds completed; the mean is over those"
    (run / "sweep.yaml").write_text("name: another\n", encoding="utf-8")
    assert best_document(run)["chosen"]["notes"] == []
    (run / "sweep.yaml").write_text("[", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"sweep.yaml"):
        best_document(run)


def test_each_seed_says_whether_its_sigma_is_at_the_end_of_the_grid(tmp_path: Path) -> None:
    rows = [*confirm_rows(A, 31, 2.0, 1.0, sigma_at_edge=True), *confirm_rows(A, 32, 3.0, 1.0)]
    run = write_run(tmp_path, [trial_row(A, 1, score=3.0), *rows])
    document = best_document(run)
    assert [seed["sigma_at_edge"] for seed in document["seeds"]] == [True, False]
    assert any("1 of 2 completed seeds" in note for note in document["chosen"]["notes"])
    assert [seed["sigma_at_edge"] for seed in parse_config_file(document, "best").expected] == [True, False]


def test_a_search_choice_says_so_and_has_no_test_score(tmp_path: Path) -> None:
    document = best_document(write_run(tmp_path, [trial_row(B, 2, score=2.0)]))
    assert TrialConfig.from_dict(document["config"]) == B
    assert document["chosen"]["stage"] == "search"
    assert document["chosen"]["valid_ll_se_seeds"] is None
    assert document["seeds"][0]["test_ll_mean"] is None


def test_the_full_variant_is_json_with_the_ranking(tmp_path: Path) -> None:
    run = _run(tmp_path)
    full = best_full(run)
    assert json.loads(json.dumps(full, allow_nan=False)) == full
    assert [r["config_id"] for r in full["ranking"]] == [A.config_id, B.config_id]
    assert full["skipped"] == []
    assert {k: full[k] for k in best_document(run)} == best_document(run)


def test_a_damaged_part_stops_it_unless_skipped(tmp_path: Path) -> None:
    run = _run(tmp_path)
    part = next((run / "trials").glob(f"{A.config_id}-31-confirm-0-{FULL.id}.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(ResultsError, match="is damaged"):
        best_document(run)
    document = best_document(run, skip_damaged=True)
    assert document["chosen"]["completed"] == 2
    assert "damaged part files left out: 1" in document["chosen"]["notes"]
    assert best_full(run, skip_damaged=True)["skipped"] == [str(part)]


def test_flags_are_of_the_leaders_ranked_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    measures: dict[str, Any] = {"coverage": 0.2, "coverage_real": 0.6}
    rows = [*confirm_rows(A, 31, 2.0, 1.0, **measures), *confirm_rows(A, 32, 3.0, 1.0)]
    run = write_run(tmp_path / "run", [trial_row(A, 1, score=3.0, **measures), trial_row(B, 2, score=2.0), *rows])
    chosen = best_document(run)["chosen"]
    text = "1 of 2 seeds (seed 31): the samples cover 0.20 of the validation images, as many real images cover 0.60"
    assert chosen["flags"] == [{"name": "less-diverse", "text": text}]
    (note,) = chosen["not_judged"]
    assert note == f"what real images score under {FULL.id} is not known here: `gansearch calibrate {run}` computes it"


def test_the_prediction_is_of_seeds_that_did_not_collapse(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=3.0)]
    for seed, score, collapsed in ((31, 200.0, False), (32, 205.0, False), (33, -50.0, True), (34, 198.0, False)):
        rows += confirm_rows(A, seed, score, score - 5, collapsed=collapsed)
    chosen = best_document(write_run(tmp_path / "run", rows))["chosen"]
    low, high = chosen["valid_ll_prediction_95"]
    assert 170 < low < 198
    assert 205 < high < 235


def test_trials_on_folds_are_not_seeds(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=3.0)]
    for fold in range(5):
        rows += confirm_rows(A, 31, 900.0 + 20 * fold, 890.0, fold=fold, data_valid_digest=f"v{fold}")
    run = write_run(tmp_path / "run", rows)
    chosen = best_document(run)["chosen"]
    assert (chosen["seeds"], chosen["folds"], chosen["completed"]) == (1, 5, 5)
    assert chosen["valid_ll_mean"] == 940.0
    assert chosen["valid_ll_se_seeds"] is None
    assert chosen["valid_ll_prediction_95"] is None
    assert "the mean is over 5 folds, and the counts are of trials, a seed on a fold each" in chosen["notes"]


def test_an_executor_of_packs_is_part_of_the_environment(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [trial_row(A, 1, score=3.0), *confirm_rows(A, 31, 2.0, 1.0)])
    (run / "sweep.yaml").write_text("study: {executor: {name: packed, slots: 8}}\n", encoding="utf-8")
    assert best_document(run)["environment"]["executor"] == "packed"
    (run / "sweep.yaml").write_text("study: {executor: {name: tune}}\n", encoding="utf-8")
    assert "executor" not in best_document(run)["environment"]
