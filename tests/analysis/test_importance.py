"""Importances and interactions of functions whose own are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import surrogates
from analysis.importance import (
    EVALUATORS,
    FANOVA,
    PED_ANOVA,
    as_plain,
    best_trials,
    importance,
    importance_of,
    importances,
    interactions,
)
from analysis.planned_search import Parameter
from analysis.search_rows import Search
from gansearch import schema
from gansearch.errors import ResultsError
from tests.analysis.search_runs import A, B, C, mixed_rows, planned, search_of, tried, write_search

SHARE = 0.1
"""Of a forest of 32 trees on 200 points: it smooths, and its splits are few."""
FEW = 3
"""Bootstrap samples in tests: enough for a standard deviation."""

Function = Callable[[float, float, float], float]


def additive(a: float, b: float, _: float) -> float:
    """Return a function whose variances by a and b are as 9 to 1; c does not act."""
    return 3 * a + b


def xor(a: float, b: float, _: float) -> float:
    """Return a function that neither a nor b explains alone, and both together do."""
    return float((a > 0.5) != (b > 0.5))


def _points(function: Function, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    places = np.random.default_rng(8).uniform(size=(count, 3))
    return places, np.array([function(*row) for row in places])


def _search(function: Function, count: int = 40, **plan: Any) -> Search:
    places, values = _points(function, count)
    names = [p.name for p in (A, B, C)]
    trials = [
        tried(i, float(value), values=dict(zip(names, map(float, row), strict=True)))
        for i, (row, value) in enumerate(zip(places, values, strict=True))
    ]
    return search_of(trials, planned(**plan))


def test_fanova_finds_the_shares_of_an_additive_function() -> None:
    shares = importances(FANOVA, (A, B, C), *_points(additive), resamples=FEW)
    assert [s.name for s in shares] == ["x.a", "x.b", "x.c"]
    assert [s.share for s in shares] == pytest.approx([0.9, 0.1, 0.0], abs=SHARE)
    assert sum(s.share for s in shares) == pytest.approx(1.0, rel=1e-12)
    assert shares[0].stands_out
    assert not shares[2].stands_out


def test_ped_anova_finds_what_the_best_have_in_common() -> None:
    shares = importances(PED_ANOVA, (A, B, C), *_points(additive), resamples=FEW)
    assert shares[0].name == "x.a"
    assert shares[0].share > 0.5
    assert shares[0].stands_out


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_importances_are_the_same_each_time(evaluator: str) -> None:
    points = _points(additive, 25)
    assert importances(evaluator, (A, B, C), *points, resamples=2) == importances(
        evaluator, (A, B, C), *points, resamples=2
    )


@pytest.mark.parametrize(
    ("values", "best"),
    [
        (range(12), 5),
        (range(36), 5),
        (range(54), 6),
        (range(200), 20),
        ([0] * 40 + [1] * 17, 17),
        ([3] * 7 + [1] * 9, 7),
    ],
)
def test_the_best_are_a_share_rounded_up_with_what_ties(values: Sequence[int], best: int) -> None:
    """As Optuna takes them: a tenth, or 5 where that is more, and all that are as high as the lowest of those."""
    assert best_trials(np.array(values, dtype=np.float64)) == best


def test_pure_noise_does_not_stand_out_in_fanova() -> None:
    places, _ = _points(additive, 60)
    values = np.random.default_rng(5).normal(size=60)
    shares = importances(FANOVA, (A, B, C), places, values)
    assert sum(s.stands_out for s in shares) <= 1
    assert max(s.sd for s in shares) > 0.05


def test_a_logarithmic_parameter_is_judged_on_its_own_scale() -> None:
    """The outcome is the logarithm of one parameter and half as much of a uniform one: variances as 4 to 1."""
    log = Parameter(name="x.log", kind="float", low=0.001, high=1.0, log=True)
    generator = np.random.default_rng(2)
    places = np.column_stack([generator.uniform(*log.ends, 200), generator.uniform(size=200)])
    span = log.ends[1] - log.ends[0]
    values = (places[:, 0] - log.ends[0]) / span + places[:, 1] / 2
    shares = importances(FANOVA, (log, A), places, values, resamples=FEW)
    assert [s.share for s in shares] == pytest.approx([0.8, 0.2], abs=SHARE)


def test_choices_and_integers_are_judged_too() -> None:
    choice = Parameter(name="x.choice", kind="choice", values=("a", None, (1, 2)))
    whole = Parameter(name="x.int", kind="int", low=1, high=4)
    generator = np.random.default_rng(3)
    places = np.column_stack([generator.integers(0, 3, 90), generator.integers(1, 5, 90)]).astype(float)
    values = np.where(places[:, 0] == 1, 5.0, 0.0) + generator.normal(0, 0.1, 90)
    for evaluator in EVALUATORS:
        shares = importances(evaluator, (choice, whole), places, values, resamples=FEW)
        assert shares[0].name == "x.choice", evaluator
        assert shares[0].share > 0.6


def test_the_parts_of_exclusive_or_act_on_each_other() -> None:
    pairs = interactions((A, B, C), *_points(xor), resamples=FEW)
    assert pairs[0].names == ("x.a", "x.b")
    assert pairs[0].share > 0.5  # 1 of the function; the forest, which must split by chance first, is smoother
    assert pairs[0].h2 > 0.8
    assert pairs[0].stands_out
    assert [p.stands_out for p in pairs[1:]] == [False, False]


def test_terms_that_add_up_do_not_act_on_each_other() -> None:
    pairs = interactions((A, B, C), *_points(additive), resamples=FEW)
    assert max(p.share for p in pairs) < 0.02
    by_names = {p.names: p for p in pairs}
    assert by_names["x.a", "x.b"].h2 < 0.02


def test_a_product_splits_as_functional_anova_says() -> None:
    """(a - 1/2) (b - 1/2) + a / 4: variances 1/144 together and 1/192 by a alone."""
    pairs = interactions((A, B, C), *_points(lambda a, b, _: (a - 0.5) * (b - 0.5) + a / 4), resamples=FEW)
    assert pairs[0].names == ("x.a", "x.b")
    assert pairs[0].h2 == pytest.approx((1 / 144) / (1 / 144 + 1 / 192), abs=0.2)


def test_a_search(tmp_path: Path) -> None:
    found = importance_of(_search(additive))
    (group,) = found.groups
    assert (group.where, group.trials, set(group.shares)) == ("", 40, set(EVALUATORS))
    assert group.r2 > 0.5
    assert len(group.interactions) == 3
    assert any("PED-ANOVA compares the best 5 of 40 trials" in note for note in group.notes)
    plain = as_plain(found)
    assert plain["groups"][0]["shares"][FANOVA][0]["stands_out"] is True


def test_notes_tell_what_the_trials_were() -> None:
    search = _search(additive, 30, searcher="tpe", scheduler="asha")
    stopped = [tried(t.number, t.value, values=t.values, status=schema.STOPPED) for t in search.trials[:8]]
    bad = [tried(40, None, values=search.trials[0].values, status=schema.DIVERGED)]
    found = search_of([*stopped, *search.trials[8:], *bad], search.plan)
    notes = " ".join(importance_of(found).groups[0].notes)
    assert "8 of 30 trials were stopped early by asha" in notes
    assert "1 trials went bad" in notes
    assert "tpe chose most trials" in notes
    assert importance_of(found, only_complete=True).groups[0].trials == 22


def test_seeds_of_a_configuration_are_no_trials_of_their_own() -> None:
    """20 configurations of 4 seeds, whose values no parameter explains: a seed must not tell of its fellows."""
    rng = np.random.default_rng(8)
    trials = []
    for number, level in enumerate(10 * rng.normal(size=20)):
        values = {name: float(rng.uniform()) for name in ("x.a", "x.b", "x.c")}
        seeds = (level + rng.normal(size=4)).tolist()
        trials += [tried(number, v, values=values, replicate=r) for r, v in enumerate(seeds)]
    search = search_of(trials, planned())
    (sample,) = surrogates.samples(search)
    assert len(sample.trials) == 20
    assert sample.values[0] == pytest.approx(np.mean([t.value for t in trials[:4]]))
    assert surrogates.fit(sample).r2 < 0.3
    assert any("with the mean of its seeds" in note for note in surrogates.notes(search, sample))
    with pytest.raises(ResultsError, match="has 9 configurations with a value, and 10 are needed"):
        surrogates.samples(search_of(trials[:36], planned()))


def test_survivors_alone_are_told_to_be_such() -> None:
    values = [{"x.a": i / 1300, "x.b": 0.5, "x.c": 0.5} for i in range(1300)]
    trials = [
        tried(i, float(i % 7), values=v, status=schema.STOPPED if i % 2 else schema.COMPLETE)
        for i, v in enumerate(values)
    ]
    search = search_of(trials, planned(scheduler="asha"))
    (sample,) = surrogates.samples(search, only_complete=True)
    notes = " ".join(surrogates.notes(search, sample))
    assert len(sample.trials) == 650
    assert "650 trials that were stopped early are left out" in notes
    assert "chosen at random" not in notes


def test_a_heavy_tail_is_told() -> None:
    search = _search(additive, 20)
    trials = [tried(t.number, -900.0 if t.number == 3 else t.value, values=t.values) for t in search.trials]
    notes = " ".join(importance_of(search_of(trials, search.plan)).groups[0].notes)
    assert "the lowest tenth of the values holds" in notes


def test_conditional_parameters_are_judged_where_they_act(tmp_path: Path) -> None:
    rows, curves = mixed_rows(42)
    found = importance(write_search(tmp_path / "run", rows, curves=curves))
    everywhere, conditional = found.groups
    names = {s.name for s in everywhere.shares[FANOVA]}
    assert names == {"algorithm.k", "update.rule", "generator.hidden", "discriminator.dropout_hidden"}
    assert everywhere.trials == 38
    assert (conditional.where, conditional.conditional) == ("update.rule is momentum", ("momentum.lr_g",))
    assert {s.name for s in conditional.shares[FANOVA]} == (names - {"update.rule"}) | {"momentum.lr_g"}
    assert any("one value only, and so left out: update.rule" in note for note in conditional.notes)
    assert conditional.trials < everywhere.trials


def _same(values: Sequence[float], count: int = 12) -> Search:
    trials = [tried(i, values[i % len(values)], values={"x.a": 0.05 * i, "x.b": 0.5, "x.c": 0.5}) for i in range(count)]
    return search_of(trials, planned())


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ResultsError, match="has 9 trials with a value, and 10 are needed to learn from: 9 COMPLETE"):
        importance_of(_same([1.0, 2.0], 9))
    with pytest.raises(ResultsError, match="all 12 trials with a value of searched have the same value"):
        importance_of(_same([4.0]))
    search = _same([1.0, 2.0])
    with pytest.raises(
        ResultsError, match="no searched parameter of searched takes more than one value in its 12 trials"
    ):
        importance_of(search_of(search.trials, planned((B, C))))
    with pytest.raises(ResultsError, match="what was searched is not known"):
        importance_of(search_of(search.trials, None))
    narrow = Parameter(name="x.a", kind="float", low=0.2, high=1.0)
    with pytest.raises(ResultsError, match="c00000 of searched lies outside the plan's space"):
        importance_of(search_of(search.trials, planned((narrow, B, C))))


def test_one_parameter_alone_has_no_interactions() -> None:
    (group,) = importance_of(_same([1.0, 2.0, 4.0])).groups
    assert group.interactions == ()
    assert group.shares[FANOVA][0].share == pytest.approx(1.0, rel=1e-12)
    assert any("one value only, and so left out: x.b, x.c" in note for note in group.notes)
