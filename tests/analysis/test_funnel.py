"""The comparison of finalists: every number again with pandas and SciPy, and the decisions blind to test."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis.finalists import Comparison, Estimate, Finalist, Funnel
from analysis.funnel import as_plain, funnel
from gansearch import schema
from gansearch.errors import ResultsError
from tests.analysis.funnel_runs import (
    N_TEST,
    PAPER,
    QUICK,
    SLOW,
    WIDE,
    completed,
    four_finalists,
    lost,
    write_funnel,
)
from tests.analysis.rows import FULL, PUBLISHED, trial_row, write_run

# Sums of a few scores of some hundred nats, by two routes in double precision.
SAME = 1e-10
# Five standard errors of the standard error of 2,000 replicates.
BOOTSTRAP = 5 / np.sqrt(4_000)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of four finalists. Not to be written into."""
    return write_funnel(tmp_path_factory.mktemp("funnel") / "run", four_finalists())


def _by_id(found: Funnel) -> dict[str, Finalist]:
    return {f.config_id: f for f in found.finalists}


def _check_estimate(found: Estimate, rows: pd.DataFrame, split: str) -> None:
    values = rows[f"{split}_ll_mean"]
    assert found.mean == pytest.approx(values.mean(), rel=SAME)
    assert found.se_seeds == pytest.approx(values.sem(), rel=1e-9)
    assert found.se_examples == pytest.approx(rows[f"{split}_ll_se_examples"].mean(), rel=SAME)
    ends = scipy.stats.t.interval(0.95, len(values) - 1, values.mean(), values.sem())
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(ends, rel=1e-9)


def _holm(p: list[float]) -> list[float]:
    """Return what statsmodels' `multipletests(method="holm")` does: sort, multiply by m - i, running maximum, clip."""
    order = np.argsort(p)
    steps = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.clip(np.maximum.accumulate(steps), None, 1.0)
    return list(out)


def test_every_number_again_with_pandas_and_scipy(run: Path) -> None:
    found = funnel(run)
    trials = pd.read_parquet(run / "trials").query("protocol_id == @FULL.id", local_dict={"FULL": FULL})
    confirm, search = trials[trials["stage"] == "confirm"], trials[trials["stage"] == "search"]
    done = confirm[confirm["status"] == "COMPLETE"]
    for f in found.finalists:
        own, scored = (t[t["config_id"] == f.config_id] for t in (confirm, done))
        bad = int((own["status"] != "COMPLETE").sum() + scored["collapsed"].eq(True).sum())
        ends = (
            scipy.stats.beta.ppf(0.025, bad, len(own) - bad + 1) if bad else 0.0,
            scipy.stats.beta.ppf(0.975, bad + 1, len(own) - bad) if bad < len(own) else 1.0,
        )
        assert (f.counts.seeds, f.counts.completed, f.counts.bad) == (len(own), len(scored), bad)
        interval = f.counts.bad_share_interval
        assert (interval.low, interval.high) == pytest.approx(ends, rel=1e-9)
        if scored.empty:
            assert (f.valid, f.test, f.rank) == (None, None, None)
            continue
        assert f.valid is not None
        assert f.test is not None
        _check_estimate(f.valid, scored, "valid")
        _check_estimate(f.test, scored, "test")
        promised = search[(search["config_id"] == f.config_id) & (search["status"] == "COMPLETE")]["valid_ll_mean"]
        assert f.search_valid == pytest.approx(promised.mean(), rel=SAME)
        assert f.optimism == pytest.approx(promised.mean() - scored["valid_ll_mean"].mean(), rel=1e-9)
    _check_differences(found, done)


def _check_differences(found: Funnel, done: pd.DataFrame) -> None:
    scored = [f for f in found.finalists if f.valid is not None]
    assert found.paper is not None
    for name, other in (("to_leader", found.leader), ("to_paper", found.paper)):
        for split in ("valid", "test"):
            of = {c: own[f"{split}_ll_mean"] for c, own in done.groupby("config_id")}
            rest = [f for f in scored if f is not other]
            expected: Any = [scipy.stats.ttest_ind(of[f.config_id], of[other.config_id], equal_var=False) for f in rest]
            adjusted = _holm([e.pvalue for e in expected])
            for f, e, p_holm in zip(rest, expected, adjusted, strict=True):
                contrast = getattr(getattr(f, name), split)
                seeds, ends = contrast.seeds, e.confidence_interval(0.95)
                assert getattr(f, name).other == other.config_id
                assert seeds.mean == pytest.approx(of[f.config_id].mean() - of[other.config_id].mean(), rel=1e-9)
                assert (seeds.p, seeds.df, contrast.p_holm) == pytest.approx((e.pvalue, e.df, p_holm), rel=1e-8)
                assert (seeds.interval.low, seeds.interval.high) == pytest.approx(tuple(ends), rel=1e-8)
            assert getattr(other, name) is None


def test_the_bootstrap_again_from_the_images(run: Path) -> None:
    """The variance of its replicates, by moments: seeds, images common to both, and what is left of each value."""
    found = _by_id(funnel(run))[SLOW.config_id].to_leader
    assert found is not None
    assert found.test is not None
    table = pd.read_parquet(run / "examples").query("protocol_id == @FULL.id", local_dict={"FULL": FULL})
    for split, contrast in (("valid", found.valid), ("test", found.test)):
        x, y = (
            table[(table["config_id"] == c.config_id) & (table["split"] == split)].pivot_table("ll", "seed", "index")
            for c in (SLOW, QUICK)
        )
        n, m = x.shape
        seeds = sum(one.mean(axis=1).var() / n for one in (x, y))
        images = (x.mean() - y.mean()).var(ddof=0) / m
        residuals = [one.sub(one.mean(axis=1), axis=0).sub(one.mean() - one.to_numpy().mean()) for one in (x, y)]
        both = sum((r.to_numpy() ** 2).sum() for r in residuals) / (n * (n - 1) * m**2)
        assert contrast.bootstrap is not None
        assert contrast.bootstrap.se == pytest.approx(np.sqrt(seeds + images + both), rel=BOOTSTRAP)
        assert contrast.bootstrap.mean == pytest.approx(contrast.seeds.mean, abs=1e-9)
        assert contrast.bootstrap.df == pytest.approx(contrast.seeds.df, rel=1e-9)


def test_who_is_who(run: Path) -> None:
    found = funnel(run)
    ids = [QUICK.config_id, SLOW.config_id, PAPER.config_id, WIDE.config_id]
    assert [f.config_id for f in found.finalists] == ids
    assert [f.rank for f in found.finalists] == [1, 2, 3, None]
    assert [f.is_paper for f in found.finalists] == [False, False, True, False]
    assert [f.tied for f in found.finalists] == [False, True, False, False]
    assert found.finalists[0].values == {
        "algorithm.k": 2,
        "momentum.lr_g": 0.0312,
        "generator.hidden": "1200-1200",
    }
    assert found.finalists[3].search_valid is None  # it was STOPPED
    assert found.test_evaluations == 16  # 8 completed seeds under two protocols
    paper = found.finalists[2].to_leader
    assert paper is not None
    assert paper.over_survivors
    slow = found.finalists[1].to_leader
    assert slow is not None
    assert not slow.over_survivors


def test_other_protocols_stand_beside(run: Path) -> None:
    found = funnel(run)
    (other,) = found.others
    assert other.protocol_id == PUBLISHED.id
    assert list(other.test) == [f.config_id for f in found.finalists[:3]]
    for f in found.finalists[:3]:
        assert f.test is not None
        assert other.test[f.config_id].mean == pytest.approx(f.test.mean - 3.5, rel=SAME)


def _to_leader(finalist: Finalist) -> Comparison:
    assert finalist.to_leader is not None
    return finalist.to_leader


def _decisions(found: Funnel) -> list[Any]:
    """Return all that rests on validation."""
    return [
        (f.config_id, f.rank, f.tied, f.valid, f.optimism, *(c and c.valid for c in (f.to_leader, f.to_paper)))
        for f in found.finalists
    ]


def test_test_scores_decide_nothing(tmp_path: Path) -> None:
    """The order on test contradicts that on validation at both stages; then test scores are shuffled, and deleted."""
    rows = four_finalists()
    for row in rows:
        if row["stage"] == "search" and row["status"] == schema.COMPLETE:
            row |= {"test_ll_mean": -row["valid_ll_mean"], "test_ll_se_examples": 1.0, "test_n": N_TEST}
    expected = funnel(write_funnel(tmp_path / "run", rows))
    scored = [f for f in expected.finalists if f.test is not None and f.valid is not None]
    on_test = [f.test.mean for f in scored if f.test is not None]
    assert on_test == sorted(set(on_test))
    assert {f.tied for f in scored} == {True, False}

    shuffled = [dict(row) for row in rows]
    for scored_by in (FULL, PUBLISHED):
        own = [r for r in shuffled if r["protocol_id"] == scored_by.id and r.get("test_ll_mean") is not None]
        values = [r["test_ll_mean"] for r in own]
        random.Random(4).shuffle(values)
        for row, value in zip(own, values, strict=True):
            row["test_ll_mean"] = value
    moved = funnel(write_funnel(tmp_path / "shuffled", shuffled))
    assert _decisions(moved) == _decisions(expected)
    assert [f.test for f in moved.finalists] != [f.test for f in expected.finalists]

    for row in shuffled:
        for name in [n for n in row if n.startswith("test_")]:
            del row[name]
    bare = funnel(write_funnel(tmp_path / "bare", shuffled))
    assert _decisions(bare) == _decisions(expected)
    assert {f.test for f in bare.finalists} == {None}
    assert bare.test_evaluations is None
    assert f"{QUICK.config_id}: 0 of 3 completed seeds have a test score" in bare.notes


def test_a_damaged_part_is_refused_and_may_be_skipped(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run, tmp_path / "run")
    part = run / "examples" / f"{SLOW.config_id}-30-confirm-0.parquet"
    part.write_bytes(part.read_bytes()[:80])
    with pytest.raises(ResultsError, match="damaged"):
        funnel(run)
    found = funnel(run, skip_damaged=True)
    assert found.skipped == (str(part),)
    assert _to_leader(_by_id(found)[SLOW.config_id]).valid.bootstrap is None
    assert any(f"no bootstrap for {SLOW.config_id}" in note and "on valid" in note for note in found.notes)


def test_a_run_that_was_not_confirmed_is_refused(tmp_path: Path) -> None:
    search = [trial_row(PAPER, 1, score=3.0)]
    with pytest.raises(ResultsError, match="no confirm row") as caught:
        funnel(write_funnel(tmp_path / "search", search))
    assert caught.value.hint == f"gansearch confirm {tmp_path / 'search'}"
    with pytest.raises(ResultsError, match="none of its confirm trials has ended"):
        funnel(write_funnel(tmp_path / "cut", [*search, *lost(PAPER, 11, schema.RUNNING)]))
    with pytest.raises(ResultsError, match="no confirm trial completed"):
        funnel(write_funnel(tmp_path / "bad", [*search, *lost(PAPER, 11)]))


def test_as_json_every_number_is_there(run: Path) -> None:
    found = funnel(run)
    plain = json.loads(json.dumps(as_plain(found)))
    first, second = plain["finalists"][:2]
    valid = found.leader.valid
    assert valid is not None
    assert valid.interval is not None
    assert first["valid"]["mean"] == valid.mean
    assert first["valid"]["mean_95"] == list(dataclasses.astuple(valid.interval))
    assert (first["tied"], second["tied"], first["to_leader"]) == (False, True, None)
    assert second["to_leader"]["valid"]["p_holm"] == _to_leader(found.finalists[1]).valid.p_holm
    assert plain["finalists"][3]["counts"]["bad_share"] == 1.0


def test_without_a_table_of_images_there_is_no_bootstrap(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(run / "examples")
    found = funnel(run)
    assert _to_leader(found.finalists[1]).valid.bootstrap is None
    assert "the run has no table of scores image by image: there is no bootstrap" in found.notes


def test_scores_that_are_not_those_of_the_images_are_told(tmp_path: Path) -> None:
    rows = four_finalists()
    run = write_funnel(tmp_path / "run", rows)
    changed = [r | {"valid_ll_mean": r["valid_ll_mean"] + 0.01} for r in rows if r["config_id"] == SLOW.config_id]
    write_run(run, [row for row in changed if row["stage"] == "confirm"])
    found = funnel(run)
    assert _to_leader(found.finalists[1]).valid.bootstrap is None
    on_test = _to_leader(found.finalists[1]).test
    assert on_test is not None
    assert on_test.bootstrap is not None
    assert any("do not average to a seed's score" in note for note in found.notes)


def test_seeds_of_a_later_part_are_in_the_order_of_the_replicates(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=9.0)]
    for seed, valid in ((13, 1.0), (11, 2.0), (12, 3.0)):
        rows += completed(PAPER, seed, valid, 0.0)
    found = funnel(write_funnel(tmp_path / "run", rows))
    assert found.leader.valid is not None
    assert found.leader.valid.per_seed == pytest.approx((2.0, 3.0, 1.0))
