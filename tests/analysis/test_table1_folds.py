"""Means over folds in Table 1: what they are over, how two of them are held against each other, and what is told."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.plan import planned_folds
from analysis.table1 import Score, Table1, TableRow, table1
from analysis.table1_cells import columns, foot, sections
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.yaml_files import dump_yaml
from tests.analysis.rows import FULL, config, trial_row, write_run

TRIAL = config(dataset__name="lfwcrop48")
CONDITIONAL = config(dataset__name="mnist", condition__on="labels")
PLAIN = config(dataset__name="mnist")
FOLDS = 5
LEVEL = (870.0, 905.0, 934.0, 846.0, 961.0)
"""What the folds' images are worth: they differ by more than configurations do."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _run(
    folder: Path, offsets: tuple[float, ...], *, seed: int = 1, seeds: int = 1, lost: Collection[tuple[int, int]] = ()
) -> Path:
    """Write a run of five folds, whose scores are those of the folds' images and an offset."""
    rows = [trial_row(TRIAL, 900, score=3.0)]
    for fold, (level, offset) in enumerate(zip(LEVEL, offsets, strict=True)):
        for s in range(seed, seed + seeds):
            status = schema.DIVERGED if (s, fold) in lost else schema.COMPLETE
            scores = {"test_ll_mean": level + offset + s - seed, "test_ll_se_examples": 8.0, "test_n": 30}
            done = status == schema.COMPLETE
            rows.append(
                trial_row(TRIAL, s, "confirm", level + offset + s - seed + 1 if done else None, status=status)
                | {"fold": fold, "weights_digest": f"{folder.name}{s}{fold}", "collapsed": done}
                | {f"data_{split}_digest": f"{split}{fold}" for split in ("train", "valid", "test")}
                | (scores | {"test_evaluation": "made"} if done else {})
            )
    run = write_run(folder, rows)
    digests = {f"{split}_fold_{fold}": f"{split}{fold}" for fold in range(1, FOLDS) for split in ("valid", "test")}
    plan = {"data": {"test": "test0", **digests}, "study": {"confirm": {"seeds": seeds, "folds": "all"}}}
    RunPaths(run).plan.write_text(dump_yaml(plan), encoding="utf-8")
    return run


def _row(table: Table1, run: str) -> tuple[TableRow, Score]:
    (row,) = (row for row in table.section(FULL.id) if row.run == run)
    return row, next(iter(row.scores.values()))


def _cells(table: Table1, run: str) -> dict[str, str]:
    (cells,) = (
        cells for section in sections(table) for cells in section.rows if cells[0] == f"Adversarial nets, {run}"
    )
    return dict(zip(columns(table), cells, strict=True))


def test_two_runs_on_the_same_folds_differ_fold_by_fold(tmp_path: Path) -> None:
    """Folds are worth 40 nats more or less to both: what is between the runs is not drowned in that."""
    high = _run(tmp_path / "high", (10.0, 11.0, 9.5, 10.5, 10.0))
    low = _run(tmp_path / "low", (0.0, 0.5, 0.25, -0.5, 0.0), seed=50)
    table = table1([high, low])
    leader, other = _row(table, "high")[1], _row(table, "low")[1]
    assert leader.leads
    found = other.to_leader
    assert found is not None
    differences = np.array(other.per_seed) - np.array(leader.per_seed)
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.test.seeds.mean == pytest.approx(differences.mean())
    assert found.test.seeds.interval is not None
    assert (found.test.seeds.interval.low, found.test.seeds.interval.high) == pytest.approx(tuple(interval))
    assert not found.tied
    assert any("are of the differences fold by fold" in line for line in foot(table))


def test_a_fold_without_a_score_is_told(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole", (0.0,) * FOLDS)
    part = _run(tmp_path / "part", (5.0,) * FOLDS, seed=2, lost=[(2, 3)])
    table = table1([whole, part])
    assert planned_folds(part) == FOLDS
    row, score = _row(table, "part")
    assert (score.folds, score.planned_folds) == ((0, 1, 2, 4), FOLDS)
    known = np.array([level + 5 for fold, level in enumerate(LEVEL) if fold != 3])
    assert score.mean == pytest.approx(known.mean())
    assert score.se_folds == pytest.approx(known.std(ddof=1) / math.sqrt(4))
    assert score.se_seeds is None
    assert _row(table, "whole")[1].leads  # a mean over fewer folds comes after
    assert score.to_leader is not None
    assert score.to_leader.test.seeds.mean == pytest.approx(5.0)  # of the folds that both have
    assert score.to_leader.over_survivors
    assert _cells(table, "part")["seeds"] == "4/5 folds"
    assert _cells(table, "whole")["seeds"] == "5 folds"
    assert any("1 of 5 folds have no score" in note for note in table.notes)
    assert row.counts is not None
    assert row.counts.diverged == 1


def test_a_single_fold_that_is_left_is_no_mean_over_seeds(tmp_path: Path) -> None:
    lost = [(s, fold) for s in (1, 2, 3) for fold in range(1, FOLDS)]
    _, score = _row(table1([_run(tmp_path / "run", (0.0,) * FOLDS, seeds=3, lost=lost)]), "run")
    assert (score.folds, score.se_seeds, score.se_folds, score.interval) == ((0,), None, None, None)


def test_a_run_that_has_one_of_five_folds_so_far_is_not_held_against_one_of_a_fold(tmp_path: Path) -> None:
    begun, single = (_run(tmp_path / name, (0.0,) * FOLDS, seed=s) for name, s in (("begun", 1), ("single", 2)))
    for run in (begun, single):
        for table in ("trials", "test_evaluations"):
            for part in RunPaths(run).table(table).iterdir():
                if "-confirm-" in part.name and "-confirm-0" not in part.name:
                    part.unlink()
    RunPaths(single).plan.write_text(
        dump_yaml({"study": {"confirm": {"seeds": 1, "folds": "first"}}}), encoding="utf-8"
    )
    with pytest.raises(ResultsError, match="begun was scored on fold 0 of 5, single on fold 0"):
        table1([begun, single])


def test_a_fold_that_lost_seeds_is_told(tmp_path: Path) -> None:
    table = table1([_run(tmp_path / "run", (0.0,) * FOLDS, seeds=3, lost=[(2, 4)])])
    assert any("seeds with a score, of 3: fold 4 2;" in note for note in table.notes)


def test_trials_of_one_seed_have_no_interval_of_bad_seeds(tmp_path: Path) -> None:
    """Five folds of a seed share its start and its noise: five of five bad ones are one bad seed."""
    table = table1([_run(tmp_path / "run", (0.0,) * FOLDS)])
    assert _cells(table, "run")["bad seeds"] == "5/5 trials"
    assert any("training and validation images may be other folds' test images" in note for note in table.notes)


def test_a_run_without_a_plan_has_the_folds_that_are_there(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", (0.0,) * FOLDS)
    RunPaths(run).plan.unlink()
    assert planned_folds(run) == 1
    assert _row(table1([run]), "run")[1].planned_folds == FOLDS


def test_conditional_nets_are_not_held_against_others(tmp_path: Path) -> None:
    runs: list[Path] = []
    for name, trial, score in (("plain", PLAIN, 180.0), ("other", PLAIN, 170.0), ("labels", CONDITIONAL, 200.0)):
        scores = {"test_ll_mean": score - 5, "test_ll_se_examples": 1.0, "test_n": 30, "test_evaluation": "made"}
        rows = [trial_row(trial, 900, score=3.0)]
        rows += [
            trial_row(trial, s, "confirm", score + s % 3) | scores | {"weights_digest": f"{name}{s}"}
            for s in range(len(runs) * 10, len(runs) * 10 + 3)
        ]
        runs.append(write_run(tmp_path / name, rows))
    table = table1(runs)
    found = {row.run: row.scores["MNIST"] for row in table.section(FULL.id)}
    assert found["plain"].leads
    assert found["other"].to_leader is not None
    assert not found["labels"].leads
    assert found["labels"].to_leader is None
    assert any("are not held against nets that are not" in line for line in foot(table))
