"""Partial dependence, held against scikit-learn's own and against functions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import inspection

from analysis import surrogates
from analysis.dependence import POINTS, dependence, marginal, surface
from analysis.planned_search import Parameter
from analysis.search_rows import Search
from tests.analysis.search_runs import A, B, C, planned, search_of, tried

SAME = 1e-12
"""Means of the same predictions, added up in another order."""
FOREST = 0.12
"""Of a forest's mean on 400 points of a function that goes from 0 to 1."""


def _search(count: int = 400) -> Search:
    places = np.random.default_rng(11).uniform(size=(count, 3))
    trials = [
        tried(i, float(a**2 + 0.5 * b), values={"x.a": float(a), "x.b": float(b), "x.c": float(c)})
        for i, (a, b, c) in enumerate(places)
    ]
    return search_of(trials, planned())


def test_it_is_the_mean_that_scikit_learn_computes() -> None:
    (sample,) = surrogates.samples(_search(60))
    fitted = surrogates.fit(sample)
    reference = inspection.partial_dependence(
        fitted.forest, sample.places, [(0, 2)], grid_resolution=7, percentiles=(0, 1), method="brute", kind="average"
    )
    axes = reference["grid_values"]
    points = np.array([(x, y) for x in axes[0] for y in axes[1]])
    found = surrogates.partial_dependence(fitted.forest, sample.places, (0, 2), points)
    np.testing.assert_allclose(found.reshape(7, 7), reference["average"][0], rtol=SAME)


def test_marginals_follow_the_function() -> None:
    ((fitted, marginals),) = dependence(_search())
    assert [m.parameter for m in marginals] == [A, B, C]
    a, b, c = marginals
    assert len(a.places) == POINTS
    np.testing.assert_allclose(a.values - a.values.mean(), a.places**2 - (a.places**2).mean(), atol=FOREST)
    np.testing.assert_allclose(b.values - b.values.mean(), 0.5 * (b.places - b.places.mean()), atol=FOREST)
    assert np.ptp(c.values) < FOREST
    assert fitted.r2 > 0.9


def test_a_surface_follows_the_function() -> None:
    (sample,) = surrogates.samples(_search())
    made = surface(surrogates.fit(sample), A, B)
    truth = made.places[0][:, None] ** 2 + 0.5 * made.places[1][None, :]
    np.testing.assert_allclose(made.values, truth, atol=FOREST)


def test_a_forest_of_noise_is_told_by_its_r2() -> None:
    search = _search(80)
    noise = np.random.default_rng(4).normal(size=80)
    trials = [tried(t.number, float(v), values=t.values) for t, v in zip(search.trials, noise, strict=True)]
    ((fitted, _),) = dependence(search_of(trials, search.plan))
    assert fitted.r2 < 0.2


def test_few_values_are_looked_at_each() -> None:
    whole = Parameter(name="x.int", kind="int", low=1, high=9)
    choice = Parameter(name="x.choice", kind="choice", values=("a", "b", "c"))
    trials = [tried(i, float(i % 4), values={"x.int": (1, 2, 5, 9)[i % 4], "x.choice": "ab"[i % 2]}) for i in range(24)]
    ((fitted, (first, second)),) = dependence(search_of(trials, planned((whole, choice))))
    assert first.places.tolist() == [1, 2, 5, 9]
    assert second.places.tolist() == [0, 1]  # c was never tried, and a forest knows nothing of it
    assert marginal(fitted, whole).values.tolist() == pytest.approx(first.values.tolist(), rel=SAME)


def test_many_trials_are_thinned_and_it_is_told() -> None:
    trials = [tried(i, float(i % 7), values={"x.a": (i % 97) / 97, "x.b": 0.5, "x.c": 0.5}) for i in range(1200)]
    search = search_of(trials, planned())
    (sample,) = surrogates.samples(search)
    assert len(sample.trials) == surrogates.MOST_TRIALS == len(sample.places)
    assert any("1000 of 1200 trials with a value were used" in note for note in surrogates.notes(search, sample))
