"""The choice follows validation alone, by a stated rule."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.selection import Choice, choose
from gansearch import results, schema
from gansearch.errors import ResultsError
from tests.analysis.rows import FULL, PUBLISHED, config, confirm_rows, trial_row, write_run

A, B, C = (config(algorithm__k=k) for k in (1, 2, 3))


def _choose(tmp_path: Path, rows: list[dict[str, Any]]) -> Choice:
    return choose(results.read(write_run(tmp_path / "run", rows), "trials"))


def test_before_confirm_the_best_complete_search_configuration_is_chosen(tmp_path: Path) -> None:
    found = _choose(tmp_path, [trial_row(A, 1, score=10.5), trial_row(B, 2, score=11.25), trial_row(C, 3, score=-4.0)])
    assert (found.stage, found.protocol_id) == ("search", FULL.id)
    assert [(c.config_id, c.valid_ll_mean) for c in found.ranking] == [
        (B.config_id, 11.25),
        (A.config_id, 10.5),
        (C.config_id, -4.0),
    ]
    assert any("optimistic" in note for note in found.notes)


def test_replicates_of_a_search_configuration_are_averaged(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=20.0), trial_row(A, 2, score=0.0), trial_row(B, 3, score=11.0)]
    found = _choose(tmp_path, rows)
    assert found.leader.config_id == B.config_id
    assert found.ranking[1].scores == (20.0, 0.0)


def test_confirm_rows_overrule_the_search(tmp_path: Path) -> None:
    """A led the search by luck; over fresh seeds B is better on average, though A has the best single seed."""
    rows = [trial_row(A, 1, score=99.0), trial_row(B, 2, score=50.0)]
    for seed, score in ((11, 60.0), (12, 20.0), (13, 25.0)):
        rows += confirm_rows(A, seed, score, 0.0)
    for seed, score in ((21, 40.0), (22, 41.0), (23, 45.0)):
        rows += confirm_rows(B, seed, score, 0.0)
    found = _choose(tmp_path, rows)
    assert (found.stage, found.leader.config_id) == ("confirm", B.config_id)
    assert found.leader.scores == (40.0, 41.0, 45.0)
    assert found.leader.valid_ll_mean == 42.0
    # s = sqrt(((-2)^2 + (-1)^2 + 3^2) / 2) = sqrt 7, over sqrt 3 seeds
    assert found.leader.valid_ll_se_seeds == pytest.approx((7 / 3) ** 0.5, rel=1e-15)


def test_the_order_on_test_never_matters(tmp_path: Path) -> None:
    """Test scores contradict validation at both stages."""
    search = [trial_row(A, 1, score=10.0, test_ll_mean=-500.0), trial_row(B, 2, score=9.0, test_ll_mean=500.0)]
    for row in search:
        row |= {"test_ll_se_examples": 1.0, "test_n": 5}
    assert _choose(tmp_path / "search", search).leader.config_id == A.config_id
    confirm = [*confirm_rows(B, 11, 8.0, -500.0), *confirm_rows(A, 12, 7.0, 500.0)]
    assert _choose(tmp_path / "both", search + confirm).leader.config_id == B.config_id


def test_the_choice_is_made_without_any_test_column(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=1.0), *confirm_rows(A, 11, 2.0, 3.0), *confirm_rows(B, 12, 2.5, 1.0)]
    table = results.read(write_run(tmp_path, rows), "trials")
    blind = table[[name for name in table.columns if not name.startswith("test_")]]
    assert choose(blind) == choose(table)


def test_confirm_rows_under_another_protocol_are_not_ranked(tmp_path: Path) -> None:
    """Under published-2014 the order is reversed."""
    rows = [trial_row(A, 1, score=1.0), trial_row(B, 2, score=1.5)]
    for trial, seed, full, published in ((A, 11, 5.0, 1.0), (B, 12, 4.0, 9.0)):
        rows.append(trial_row(trial, seed, "confirm", full))
        rows.append(trial_row(trial, seed, "confirm", published, scored_by=PUBLISHED))
    found = _choose(tmp_path, rows)
    assert (found.leader.config_id, found.leader.scores) == (A.config_id, (5.0,))


def test_a_stopped_trial_never_wins(tmp_path: Path) -> None:
    stopped = trial_row(A, 1, status=schema.STOPPED, report_ll_mean=1e6)
    assert _choose(tmp_path, [stopped, trial_row(B, 2, score=-3.0)]).leader.config_id == B.config_id


def test_lost_seeds_are_counted_and_the_mean_is_over_the_rest(tmp_path: Path) -> None:
    rows = [
        trial_row(A, 1, score=3.0),
        *confirm_rows(A, 11, 6.0, 0.0, collapsed=True),
        *confirm_rows(A, 12, 8.0, 0.0),
        trial_row(A, 13, "confirm", status=schema.DIVERGED),
        trial_row(A, 14, "confirm", status=schema.FAILED),
        trial_row(A, 15, "confirm", status=schema.FAILED),
        trial_row(A, 16, "confirm", status=schema.INTERRUPTED),
    ]
    found = _choose(tmp_path, rows)
    counts = found.leader.counts
    assert found.leader.valid_ll_mean == 7.0
    assert (counts.completed, counts.collapsed, counts.diverged, counts.failed) == (2, 1, 1, 2)
    assert (counts.stopped, counts.unfinished, counts.seeds) == (0, 1, 6)
    assert (counts.ended, counts.bad, counts.bad_share) == (5, 4, 0.8)
    assert "2 of 6 seeds completed (1 diverged, 2 failed, 1 unfinished); the mean is over those" in found.notes
    told = "1 of 2 completed seeds collapsed; the mean includes them, and intervals over scores of two kinds cover less"
    assert f"{told} than they say" in found.notes


LOSSES = tuple(status for status in schema.STATUSES if status != schema.COMPLETE)


@pytest.mark.parametrize("stage", ["search", "confirm"])
@pytest.mark.parametrize("loss", LOSSES)
def test_survivors_do_not_beat_a_configuration_whose_seeds_all_completed(tmp_path: Path, loss: str, stage: str) -> None:
    rows = [trial_row(A, 1, stage, 16.0), *(trial_row(A, s, stage, status=loss) for s in (2, 3))]
    rows += [trial_row(B, 10 + s, stage, score) for s, score in enumerate((15.5, 15.9, 16.1))]
    found = _choose(tmp_path, rows)
    assert [c.config_id for c in found.ranking] == [B.config_id, A.config_id]
    assert found.ranking[1].valid_ll_mean > found.leader.valid_ll_mean
    assert "ranked behind it, with a higher mean but not all seeds completed: 1" in found.notes
    assert found.rule.startswith(f"configurations whose {stage} trials all completed come before those with a STOPPED")


def test_among_survivors_the_mean_decides_and_the_losses_are_told(tmp_path: Path) -> None:
    """No configuration is whole: neither the number of lost seeds nor how they were lost matters before the mean."""
    rows = [trial_row(A, 1, score=16.0), *(trial_row(A, s, status=schema.STOPPED) for s in (2, 3))]
    rows += [trial_row(B, 4, score=15.0), trial_row(B, 5, score=15.5), trial_row(B, 6, status=schema.INTERRUPTED)]
    found = _choose(tmp_path, rows)
    counts = found.leader.counts
    assert found.leader.config_id == A.config_id
    assert (counts.stopped, counts.unfinished, counts.bad, counts.bad_share) == (2, 0, 0, 0.0)
    assert "1 of 3 seeds completed (2 stopped); the mean is over those" in found.notes
    assert found.ranking[1].counts.unfinished == 1


def test_a_tie_needs_the_same_completeness(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=4.5), trial_row(B, 2, score=4.5), trial_row(B, 3, status=schema.STOPPED)]
    assert not any("tied" in note for note in _choose(tmp_path, rows).notes)


def test_fewer_confirm_seeds_than_planned_are_told(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=1.0), *confirm_rows(A, 11, 2.0, 3.0), trial_row(A, 12, "confirm", status=LOSSES[3])]
    table = results.read(write_run(tmp_path, rows), "trials")
    for planned, expected in (
        (3, ("1 of 3 planned confirm seeds completed (1 unfinished); the mean is over those",)),
        (1, ("1 of 2 seeds completed (1 unfinished); the mean is over those",)),
        (None, ("1 of 2 seeds completed (1 unfinished); the mean is over those",)),
    ):
        assert choose(table, planned_confirm_seeds=planned).notes == expected
    whole = table[table["status"] == schema.COMPLETE]
    assert choose(whole, planned_confirm_seeds=1).notes == ()
    assert "1 of 2 planned" in choose(whole, planned_confirm_seeds=2).notes[0]


def test_confirm_trials_that_were_all_interrupted_leave_the_choice_to_the_search(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=1.0), trial_row(B, 2, score=2.0)]
    cut = [trial_row(B, s, "confirm", status=schema.INTERRUPTED) for s in (11, 12)]
    found = _choose(tmp_path / "cut", rows + cut)
    assert (found.stage, found.leader.config_id) == ("search", B.config_id)
    assert found.notes[0].startswith("no confirm trial has ended, so the search chose")
    assert any("optimistic" in note for note in found.notes)
    with pytest.raises(ResultsError, match="no confirm trial completed, so none can be chosen: 2 INTERRUPTED"):
        _choose(tmp_path / "alone", cut)


def test_a_sigma_at_the_end_of_the_grid_is_told(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=3.0, sigma_at_edge=True), trial_row(A, 2, score=4.0), trial_row(B, 3, score=1.0)]
    assert any("end point of the protocol's grid for 1 of 2" in n for n in _choose(tmp_path / "a", rows).notes)
    rows[0]["sigma_at_edge"], rows[2]["sigma_at_edge"] = False, True
    assert not any("grid" in note for note in _choose(tmp_path / "b", rows).notes)


def test_ties_go_to_more_seeds_then_to_the_smaller_id_whatever_the_order(tmp_path: Path) -> None:
    small, large = sorted((A, B), key=lambda c: c.config_id)
    rows = [trial_row(large, 1, score=4.5), trial_row(small, 2, score=4.5), trial_row(C, 3, score=4.5)]
    by_id = sorted(t.config_id for t in (A, B, C))
    assert [c.config_id for c in _choose(tmp_path / "ids", rows).ranking] == by_id
    rows.append(trial_row(large, 4, score=4.5))
    found = _choose(tmp_path / "seeds", rows)
    assert found.leader.config_id == large.config_id
    assert any(f"tied with {min(small.config_id, C.config_id)}" in note for note in found.notes)


def test_the_choice_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    """Values whose plain left-to-right sum depends on the order, so that a tie would break."""
    values = [0.1, 1e16, 0.7, -1e16, 0.3]
    rows = [trial_row(A, i, score=v) for i, v in enumerate(values)]
    rows += [trial_row(B, 10 + i, score=v) for i, v in enumerate(reversed(values))]
    table = results.read(write_run(tmp_path, rows), "trials")
    expected = choose(table)
    assert expected.ranking[0].valid_ll_mean == expected.ranking[1].valid_ll_mean
    order = list(range(len(rows)))
    for seed in range(5):
        random.Random(seed).shuffle(order)
        assert choose(table.iloc[order]) == expected


def test_different_protocols_are_refused_and_the_difference_is_named(tmp_path: Path) -> None:
    other = dataclasses.replace(FULL, num_samples=1_000)
    rows = [trial_row(A, 1, score=1.0), trial_row(B, 2, score=2.0, scored_by=other)]
    with pytest.raises(ResultsError, match=r"differ in num_samples (10000 against 1000|1000 against 10000)"):
        _choose(tmp_path, rows)


def test_confirm_rows_without_the_searchs_protocol_are_refused(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=1.0), trial_row(A, 11, "confirm", 2.0, scored_by=PUBLISHED)]
    with pytest.raises(ResultsError, match=r"differ in refine (True against False|False against True), sigma_min"):
        _choose(tmp_path, rows)


def test_different_validation_images_are_refused(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=1.0), trial_row(B, 2, score=2.0, data_valid_digest="99999999")]
    with pytest.raises(ResultsError, match="digests 22222222 and 99999999"):
        _choose(tmp_path, rows)


def test_nothing_to_choose_from_is_told_with_the_counts(tmp_path: Path) -> None:
    rows = [trial_row(A, s, status=schema.DIVERGED) for s in (1, 2)] + [trial_row(B, 3, status=schema.STOPPED)]
    with pytest.raises(ResultsError, match="no search trial completed, so none can be chosen: 1 STOPPED, 2 DIVERGED"):
        _choose(tmp_path, rows)
    with pytest.raises(ResultsError, match="there are none"):
        choose(pd.DataFrame(columns=[c.name for c in schema.TRIALS.columns]))


def test_confirm_seeds_that_all_diverged_do_not_fall_back_to_the_search(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=1.0), trial_row(A, 11, "confirm", status=schema.DIVERGED)]
    with pytest.raises(ResultsError, match="no confirm trial completed, so none can be chosen: 1 DIVERGED"):
        _choose(tmp_path, rows)


def test_a_trial_that_stands_twice_is_refused(tmp_path: Path) -> None:
    table = results.read(write_run(tmp_path, [trial_row(A, 1, score=1.0)]), "trials")
    with pytest.raises(ResultsError, match=f"2 rows of one trial .config_id {A.config_id}, seed 1"):
        choose(pd.concat([table, table]))


def test_a_complete_row_without_a_finite_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="COMPLETE without a finite score"):
        _choose(tmp_path, [trial_row(A, 1, score=float("inf"))])
