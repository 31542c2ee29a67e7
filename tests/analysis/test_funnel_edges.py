"""What a hostile reader of the comparison would try: few seeds, no spread, one finalist, the paper's in front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from analysis.finalists import Comparison, Finalist, Funnel
from analysis.funnel import as_plain, funnel
from analysis.funnel_table import render
from gansearch import schema
from gansearch.config import TrialConfig
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, completed, lost, write_funnel
from tests.analysis.rows import trial_row

Rows = list[dict[str, Any]]


def _seeds(trial: TrialConfig, first: int, valids: Sequence[float], **values: object) -> Rows:
    return [row for i, v in enumerate(valids) for row in completed(trial, first + i, v, v - 2.0, **values)]


def _funnel(folder: Path, *groups: Rows, **how: Any) -> Funnel:
    search = [trial_row(trial, i + 1, score=50.0) for i, trial in enumerate((PAPER, QUICK, SLOW))]
    found = funnel(write_funnel(folder / "run", [*search, *(row for rows in groups for row in rows)], **how))
    for form in ("text", "markdown", "csv"):
        assert render(found, form)
    assert as_plain(found)
    return found


def _finalist(found: Funnel, trial: TrialConfig) -> Finalist:
    return next(f for f in found.finalists if f.config_id == trial.config_id)


def _to_leader(found: Funnel, trial: TrialConfig) -> Comparison:
    comparison = _finalist(found, trial).to_leader
    assert comparison is not None
    return comparison


def _told(found: Funnel, text: str) -> bool:
    return any(text in note for note in found.notes)


def test_one_finalist_alone(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(PAPER, 10, (1.0, 2.0, 4.0)))
    assert (found.leader.to_leader, found.leader.to_paper, found.leader.tied) == (None, None, False)
    assert _told(found, "one configuration has a score")
    assert _told(found, "the study's base leads")
    assert "Differences" not in render(found, "text")


def test_where_the_papers_configuration_leads_the_two_families_are_one(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(PAPER, 10, (9.0, 9.5, 9.2)), _seeds(QUICK, 20, (1.0, 2.0, 4.0)))
    other = _finalist(found, QUICK)
    assert other.to_leader == other.to_paper
    assert found.paper is found.leader
    assert "leader, paper" in render(found, "text")
    assert render(found, "text").count("Differences") == 1
    assert "  paper    valid" not in render(found, "text")


def test_a_comparison_without_a_p_value_is_tied_and_does_not_count(tmp_path: Path) -> None:
    """QUICK has one seed: the correction of the paper's p-value is by 1, not by 2."""
    slow, paper = (9.0, 9.5, 9.2), (1.0, 2.0, 4.0)
    found = _funnel(tmp_path, _seeds(SLOW, 30, slow), _seeds(PAPER, 10, paper), _seeds(QUICK, 20, (1.0,)))
    single = _to_leader(found, QUICK).valid
    assert (single.seeds.p, single.p_holm, single.seeds.interval) == (None, None, None)
    assert single.bootstrap is not None
    assert single.bootstrap.interval is None
    assert _finalist(found, QUICK).tied
    expected: Any = scipy.stats.ttest_ind(paper, slow, equal_var=False)
    assert _to_leader(found, PAPER).valid.p_holm == pytest.approx(expected.pvalue, rel=1e-8)
    assert _told(found, f"one completed seed has no spread, so no interval and no p-value: {QUICK.config_id}")
    assert f"{QUICK.config_id}: 1 of 3 seeds completed (2 not run yet); its mean is over those" in found.notes


def test_two_seeds_are_told_to_say_little(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(SLOW, 30, (90.0, 95.0)), _seeds(PAPER, 10, (74.0, 80.0)))
    assert _finalist(found, PAPER).tied  # 15.5 nats apart, four standard errors
    assert _told(found, "the interval of a mean of 2 seeds is 12.7 standard errors")


def test_seeds_of_one_score_are_no_evidence(tmp_path: Path) -> None:
    """Equal scores of independent seeds do not happen: a p-value of 0 would be nonsense."""
    slow, paper = (_seeds(t, s, (v,) * 3, valid_ll_mean=v) for t, s, v in ((SLOW, 30, 9.0), (PAPER, 10, 1.0)))
    found = _funnel(tmp_path / "both", slow, paper)
    contrast = _to_leader(found, PAPER).valid
    assert (contrast.seeds.mean, contrast.seeds.se, contrast.seeds.p, contrast.p_holm) == (-8.0, 0.0, None, None)
    assert _finalist(found, PAPER).tied
    assert sum("have one and the same score" in note for note in found.notes) == 2
    one_sided = _funnel(tmp_path / "one", slow, _seeds(PAPER, 10, (1.0, 2.0, 4.0)))
    assert _to_leader(one_sided, PAPER).valid.seeds.df == 2.0
    assert _told(one_sided, f"{SLOW.config_id}: its seeds have one and the same score")


def test_copies_are_told(tmp_path: Path) -> None:
    rows = _seeds(SLOW, 30, (9.0, 9.5, 9.2), weights_digest="same")
    again = _seeds(PAPER, 1, (1.0, 2.0, 4.0))  # the search tried PAPER with seed 1
    found = _funnel(tmp_path, rows, again)
    assert _told(found, f"{SLOW.config_id}: seeds share the same weights")
    assert _told(found, f"{PAPER.config_id}: 1 of its confirm seeds were used by the search already")


def test_many_images_do_not_stand_for_seeds(tmp_path: Path) -> None:
    """However small the error over images, two configurations whose seeds overlap are tied."""
    tiny = {"valid_ll_se_examples": 1e-6, "test_ll_se_examples": 1e-6}
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 5.0, 7.5), **tiny), _seeds(PAPER, 10, (6.0, 7.0, 6.5), **tiny))
    p = _to_leader(found, PAPER).valid.p_holm
    assert p is not None
    assert p > 0.5
    assert _finalist(found, PAPER).tied


def test_unequal_shares_of_collapse_are_told(tmp_path: Path) -> None:
    """Collapsed seeds count in the mean; those without a score make the comparison one over survivors."""
    bad = [*completed(PAPER, 13, -280.0, -282.0, collapsed=True), *lost(PAPER, 14, schema.FAILED)]
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5, 9.2)), _seeds(PAPER, 10, (11.0, 12.0)), bad, planned=4)
    paper = _finalist(found, PAPER)
    assert paper.valid is not None
    assert paper.valid.mean == pytest.approx((11 + 12 - 280) / 3)
    assert (paper.counts.bad, paper.counts.ended) == (2, 4)
    assert _to_leader(found, PAPER).over_survivors
    assert _told(found, "completed seeds that collapsed count in means and intervals")
    assert _told(found, "shares of bad seeds differ")
    assert "over survivors" in render(found, "text")


def test_a_better_mean_over_survivors_does_not_lead(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5, 9.2)), _seeds(QUICK, 20, (30.0, 31.0)), lost(QUICK, 22))
    assert found.leader.config_id == SLOW.config_id
    comparison = _to_leader(found, QUICK)
    assert comparison.over_survivors
    assert comparison.valid.seeds.mean > 0
    assert _told(found, "ranked behind it, with a higher mean but not all seeds completed: 1")


def test_seeds_that_still_run_are_no_losses(tmp_path: Path) -> None:
    running = lost(QUICK, 22, schema.RUNNING)
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5, 9.2)), _seeds(QUICK, 20, (8.0, 9.9)), running)
    assert not _to_leader(found, QUICK).over_survivors
    assert f"{QUICK.config_id}: 2 of 3 seeds completed (1 unfinished); its mean is over those" in found.notes


def test_a_configuration_of_which_nothing_has_ended(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5, 9.2)), lost(PAPER, 10, schema.INTERRUPTED))
    paper = _finalist(found, PAPER)
    assert (paper.rank, paper.valid, paper.to_leader) == (None, None, None)
    assert as_plain(found)["finalists"][1]["counts"]["bad_share"] is None
    assert _told(found, "none of 3 seeds completed (1 unfinished, 2 not run yet); it has no score and no rank")
    assert _told(found, "no confirm seed of the study's base completed")


def test_without_a_plan_the_papers_configuration_is_not_known(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5)), _seeds(PAPER, 10, (1.0, 2.0)), base=None)
    assert found.paper is None
    assert {f.to_paper for f in found.finalists} == {None}
    assert found.leader.values == {"momentum.lr_g": 0.7}  # what differs between the finalists
    assert _told(found, "which configuration is the study's base is not known")


def test_a_base_that_was_not_confirmed_is_told(tmp_path: Path) -> None:
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5)), _seeds(QUICK, 20, (1.0, 2.0)))
    assert _told(found, f"the study's base {PAPER.config_id} was not confirmed")


def test_other_test_images_are_not_compared(tmp_path: Path) -> None:
    other = _seeds(PAPER, 10, (1.0, 2.0), data_test_digest="44444444")
    found = _funnel(tmp_path, _seeds(SLOW, 30, (9.0, 9.5)), other)
    assert _to_leader(found, PAPER).test is None
    assert _to_leader(found, PAPER).valid.seeds.p is not None
    assert "test scores are of different test images: they are not compared" in found.notes


def test_a_search_on_other_images_promises_nothing(tmp_path: Path) -> None:
    rows = _seeds(SLOW, 30, (9.0, 9.5), data_valid_digest="44444444")
    found = _funnel(tmp_path, rows)
    assert (found.leader.search_valid, found.leader.optimism) == (None, None)


def test_a_sigma_at_the_grids_end_is_told_of_every_finalist(tmp_path: Path) -> None:
    found = _funnel(
        tmp_path, _seeds(SLOW, 30, (9.0, 9.5)), _seeds(PAPER, 10, (1.0, 2.0), sigma_at_edge=True), planned=2
    )
    assert _told(found, f"{PAPER.config_id}: sigma is an end point of the protocol's grid for 2 of 2")
