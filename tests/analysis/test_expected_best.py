"""The expected best value against budget, held against enumeration, closed form and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.expected_best import (
    Budget,
    best_so_far,
    draws,
    expected_best,
    expected_best_of,
    expected_maximum,
    log_weights,
)
from analysis.search_rows import Search
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.yaml_files import dump_yaml, load_yaml
from tests.analysis.rows import config
from tests.analysis.search_runs import mixed_rows, planned, search_of, search_row, tried, write_search

ROUNDING = 1e-12
"""Of sums of a dozen weights, relatively."""
LOG_GAMMA = 1e-10
"""Of weights from the gamma function's logarithm, which is near 1e5 for 10,000 and known to 1e-16 of itself."""
STUDIES = 4000
"""Simulated searches. The standard error of their mean is a seventieth or less of what the tests tell apart."""


def _values(count: int) -> list[float | None]:
    return [float(v) for v in np.random.default_rng(3).normal(100, 20, count)]


def test_without_bad_draws_it_is_the_mean_over_all_subsets() -> None:
    values = _values(9)
    best, none = expected_maximum(values, range(1, 10))
    for n in range(1, 10):
        subsets = [max(v for v in s if v is not None) for s in itertools.combinations(values, n)]
        assert best[n - 1] == pytest.approx(math.fsum(subsets) / len(subsets), rel=ROUNDING)
    assert none.tolist() == pytest.approx([0.0] * 9, abs=ROUNDING)


def test_with_bad_draws_it_is_the_mean_over_the_subsets_with_a_value() -> None:
    values = [*_values(6), None, None, None]
    best, none = expected_maximum(values, range(1, 10))
    for n in range(1, 10):
        subsets = list(itertools.combinations(values, n))
        found = [max(v for v in s if v is not None) for s in subsets if any(v is not None for v in s)]
        assert best[n - 1] == pytest.approx(math.fsum(found) / len(found), rel=ROUNDING)
        assert none[n - 1] == pytest.approx(1 - len(found) / len(subsets), abs=ROUNDING)
    assert none[3] == pytest.approx(0.0, abs=ROUNDING)  # three are bad: of four draws one is not


def test_where_no_draw_has_a_value_nothing_is_expected() -> None:
    best, none = expected_maximum([None, None], [1, 2])
    assert np.isnan(best).all()
    assert none.tolist() == [1.0, 1.0]


def test_it_grows_with_the_budget_and_ends_at_the_maximum() -> None:
    values = _values(40)
    best, _ = expected_maximum(values, range(1, 41))
    assert (np.diff(best) > 0).all()
    assert best[0] == pytest.approx(np.mean([v for v in values if v is not None]), rel=ROUNDING)
    assert best[-1] == pytest.approx(max(v for v in values if v is not None), rel=ROUNDING)


@pytest.mark.parametrize("sizes", [[], [0], [4]])
def test_sizes_out_of_range_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="sizes must lie from 1 to 3"):
        expected_maximum([1.0, 2.0, 3.0], sizes)


def test_weights_of_large_samples_are_those_of_exact_binomials() -> None:
    total, n = 2100, 700
    weights = np.exp(log_weights(total, [n])[0])
    assert weights.sum() == pytest.approx(1.0, rel=LOG_GAMMA)
    assert (weights[: n - 1] == 0).all()
    for i in (n, 1500, total):
        exact = math.comb(i - 1, n - 1) / math.comb(total, n)
        assert weights[i - 1] == pytest.approx(exact, rel=LOG_GAMMA)


def _with_replacement(values: np.ndarray, n: int) -> float:
    """Return the estimate of Dodge et al. 2019: the expected maximum of n draws with replacement."""
    ranks = np.arange(len(values) + 1) / len(values)
    return float(np.sort(values) @ np.diff(ranks**n))


def test_it_is_unbiased_where_drawing_with_replacement_is_not() -> None:
    """The highest of n uniform draws is n / (n + 1) on average."""
    total, n = 11, 7
    generator = np.random.default_rng(20190905)
    drawn = generator.uniform(size=(STUDIES, total))
    unbiased = np.array([expected_maximum(one.tolist(), [n])[0][0] for one in drawn])
    biased = np.array([_with_replacement(one, n) for one in drawn])
    error = unbiased.std(ddof=1) / math.sqrt(STUDIES)
    assert abs(unbiased.mean() - n / (n + 1)) < 4 * error
    assert n / (n + 1) - biased.mean() > 10 * error


def _search(values: Sequence[float | None], *, searcher: str = "random", scheduler: str = "none") -> Search:
    trials = [tried(i, v, status=schema.COMPLETE if v is not None else schema.DIVERGED) for i, v in enumerate(values)]
    return search_of(trials, planned(searcher=searcher, scheduler=scheduler))


def test_the_curve_of_a_search() -> None:
    values = [*_values(12), None]
    found = expected_best_of(_search(values))
    best, none = expected_maximum(values, range(1, 14))
    assert [b.draws for b in found.curve] == list(range(1, 14))
    assert [b.best for b in found.curve] == pytest.approx(best.tolist(), rel=ROUNDING)
    assert [b.none for b in found.curve] == pytest.approx(none.tolist(), abs=ROUNDING)
    # 13 trials of 36 s with 2 threads and a quarter of a GPU, and 12 epochs each.
    last = found.curve[-1]
    assert (last.epochs, last.cpu_hours, last.gpu_hours) == pytest.approx((156, 0.26, 0.0325), rel=ROUNDING)
    assert (found.curve[0].epochs, found.curve[0].cpu_hours) == pytest.approx((12, 0.02), rel=ROUNDING)
    for b in found.curve:
        assert isinstance(b, Budget)
        assert b.band is not None
        assert b.band.low <= b.best <= b.band.high + 1e-9
    assert any("1 of 13 draws have no value (1 DIVERGED)" in note for note in found.notes)


def test_the_band_covers_the_truth_of_small_budgets_about_as_often_as_it_says() -> None:
    """A percentile bootstrap of 30 draws; nominal 95%, and a few points less for so few."""
    covered = []
    for study in range(60):
        values = np.random.default_rng(study).uniform(size=30).tolist()
        curve = {b.draws: b for b in expected_best_of(_search(values)).curve}
        band = curve[3].band
        assert band is not None
        covered.append(band.low <= 3 / 4 <= band.high)
    assert np.mean(covered) >= 0.85


def test_what_was_not_drawn_is_left_out() -> None:
    trials = [tried(i, float(v)) for i, v in enumerate((900, 800, 1, 5, 3))]
    trials.append(tried(5, None, status=schema.RUNNING))
    found = expected_best_of(search_of(trials, planned(first=2)))
    assert [d.value for d in found.draws] == [1.0, 5.0, 3.0]
    assert found.curve[-1].best == pytest.approx(5.0, rel=ROUNDING)
    assert any("1 trials are unfinished" in note for note in found.notes)


def test_a_draw_is_a_configuration_with_the_mean_of_its_replicates() -> None:
    trials = [tried(i, v, replicate=r) for i, r, v in ((0, 0, 1.0), (0, 1, 4.0), (1, 0, 2.0), (2, 0, 3.0), (2, 1, 5.0))]
    trials[3:] = [tried(2, None, status=schema.FAILED), tried(2, 5.0, replicate=1)]
    found = draws(search_of(trials, planned()))
    assert [(d.number, d.value) for d in found] == [(0, 2.5), (1, 2.0), (2, 5.0)]
    assert found[0].cpu_hours == pytest.approx(0.04, rel=ROUNDING)


def test_trials_that_were_stopped_early_are_told() -> None:
    trials = [tried(i, float(i), status=schema.STOPPED if i % 2 else schema.COMPLETE) for i in range(6)]
    found = expected_best_of(search_of(trials, planned(scheduler="asha")))
    assert any("3 of 6 trials were stopped early by asha" in note for note in found.notes)


def test_what_a_time_limit_stopped_is_not_said_of_a_scheduler() -> None:
    limit = "guards.trial_time_limit: it has taken 60 s, of 50 s at most"
    trials = [tried(i, float(i)) for i in range(4)] + [tried(4, 4.0, status=schema.STOPPED, error=limit)]
    found = expected_best_of(search_of(trials, planned()))
    assert any("1 of 5 trials were stopped early by the time limit of a trial" in note for note in found.notes)
    both = [*trials, tried(5, 4.0, status=schema.STOPPED)]
    assert search_of(both, planned(scheduler="asha")).stopped_by == "asha and the time limit of a trial"
    assert search_of(both[-1:], planned(scheduler="asha")).stopped_by == "asha"


def test_a_space_that_was_widened_is_told(tmp_path: Path) -> None:
    rows, _ = mixed_rows()
    run = write_search(tmp_path / "run", rows)
    assert not any("widened" in note for note in expected_best(run).notes)
    plan = RunPaths(run).plan
    content = load_yaml(plan)
    content["extended"] = [{"at": "2026-01-01", "num_trials": 20}, {"at": "2026-01-02", "space": "wider.yaml"}]
    plan.write_text(dump_yaml(content), encoding="utf-8")
    assert any("widened on the way" in note for note in expected_best(run).notes)


def test_seeds_that_were_lost_are_told_apart_from_draws_that_were() -> None:
    trials = [tried(i, float(i)) for i in range(4)]
    trials += [tried(3, None, replicate=1, status=schema.DIVERGED), tried(4, None, status=schema.FAILED)]
    trials.append(tried(5, None, status=schema.STOPPED))
    notes = " ".join(expected_best_of(search_of(trials, planned())).notes)
    assert "2 of 6 draws have no value (1 STOPPED, 1 FAILED)" in notes
    assert "1 draws lost some of their seeds" in notes


@pytest.mark.parametrize("searcher", ["tpe", "sobol", "grid", "nsga2"])
def test_draws_that_are_not_independent_are_refused(searcher: str) -> None:
    with pytest.raises(ResultsError, match=f"independent draws, and searched was searched by {searcher}") as refused:
        expected_best_of(_search(_values(8), searcher=searcher))
    assert "gansearch plots" in str(refused.value.hint)


def test_a_population_is_refused() -> None:
    with pytest.raises(ResultsError, match="copied each other under pbt"):
        expected_best_of(_search(_values(8), scheduler="pbt"))


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ResultsError, match="2 random draws with a value, and 3 are needed: 2 COMPLETE, 2 DIVERGED"):
        expected_best_of(_search([1.0, 2.0, None, None]))


def test_times_that_are_not_known_are_none() -> None:
    trials = [tried(i, float(i), seconds=None if i == 2 else 36.0) for i in range(4)]
    found = expected_best_of(search_of(trials, planned()))
    assert {b.cpu_hours for b in found.curve} == {None}
    assert found.curve[-1].epochs == 48


def test_a_run_from_its_tables(tmp_path: Path) -> None:
    rows, _ = mixed_rows()
    found = expected_best(write_search(tmp_path / "run", rows))
    told = [r["report_ll_mean"] for r in rows[1:] if r["status"] in (schema.COMPLETE, schema.STOPPED)]
    assert len(found.draws) == 12  # of 14, without the base and the one that was interrupted
    assert found.curve[-1].best == pytest.approx(max(told), rel=ROUNDING)
    alone = write_search(tmp_path / "other", [search_row(0, 1.0, config())], space=None)
    with pytest.raises(ResultsError, match="has no plan file with a space"):
        expected_best(alone)


def test_best_so_far_passes_over_what_has_no_value() -> None:
    trials = [tried(0, None, status=schema.FAILED), tried(1, 2.0), tried(2, 1.0), tried(3, 5.0)]
    assert best_so_far(search_of(trials, None)) == (None, 2.0, 2.0, 5.0)
