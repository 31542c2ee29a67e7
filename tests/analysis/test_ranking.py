"""The ranking of arrays is that of a plain reference, ties and all, and a sequence like any other."""

from __future__ import annotations

import collections
import json
import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.ranking import exact_means
from analysis.selection import choose, choose_from
from analysis.trial_columns import COLUMNS, from_arrow, from_pandas
from gansearch import parts, schema
from gansearch.errors import ResultsError
from tests.analysis.rows import FULL, PUBLISHED, config, trial_row

Row = dict[str, Any]

SCORES = st.sampled_from([-7.25, 0.0, 0.1, 0.2, 0.3, 1e16, -1e16])
"""Few, so that ties come; with sums that depend on the order in which plain additions are made."""
SEEDS = st.tuples(
    st.sampled_from("abcde"), st.sampled_from(list(schema.STATUSES)), SCORES, st.booleans(), st.booleans()
)
"""Configuration, status, score, collapsed, sigma at the edge."""


def _rows(drawn: list[tuple[str, str, float, bool, bool]], stage: str) -> list[Row]:
    return [
        {
            "config_id": config_id,
            "seed": seed,
            "stage": stage,
            "fold": 0,
            "protocol_id": FULL.id,
            "status": status,
            "valid_ll_mean": score if status == schema.COMPLETE else None,
            "collapsed": collapsed if status == schema.COMPLETE else None,
            "sigma_at_edge": at_edge,
            "data_valid_digest": "2222" if status == schema.COMPLETE else None,
            "protocol_json": json.dumps(FULL.to_dict()),
        }
        for seed, (config_id, status, score, collapsed, at_edge) in enumerate(drawn)
    ]


def _frame(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*rows[0]])


def reference(rows: list[Row]) -> list[tuple[str, tuple[float, ...], dict[str, int]]]:
    """Return the ranking as the rule says it, in plain Python."""
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda r: r["seed"]):
        groups[row["config_id"]].append(row)
    found = []
    for config_id, own in groups.items():
        complete = [r for r in own if r["status"] == schema.COMPLETE]
        if complete:
            scores = tuple(r["valid_ll_mean"] for r in complete)
            counts = {
                "completed": len(complete),
                "seeds": len(own),
                "collapsed": sum(r["collapsed"] for r in complete),
                "at_edge": sum(r["sigma_at_edge"] for r in complete),
                **{s: sum(r["status"] == s for r in own) for s in (schema.STOPPED, schema.FAILED, schema.DIVERGED)},
            }
            place = (len(complete) < len(own), -statistics.fmean(scores), -len(scores), config_id)
            found.append((place, (config_id, scores, counts)))
    return [told for _, told in sorted(found)]


@given(st.lists(SEEDS, min_size=1, max_size=25), st.sampled_from(["search", "confirm"]), st.randoms())
def test_the_ranking_is_that_of_a_plain_reference(
    drawn: list[tuple[str, str, float, bool, bool]], stage: str, random: Any
) -> None:
    rows = _rows(drawn, stage)
    expected = reference(rows)
    random.shuffle(rows)
    if not expected:
        with pytest.raises(ResultsError, match=f"no {stage} trial completed"):
            choose(_frame(rows))
        return
    found = choose(_frame(rows))
    told = [
        (
            c.config_id,
            c.scores,
            {
                "completed": c.counts.completed,
                "seeds": c.counts.seeds,
                "collapsed": c.counts.collapsed,
                "at_edge": c.sigma_at_edge,
                schema.STOPPED: c.counts.stopped,
                schema.FAILED: c.counts.failed,
                schema.DIVERGED: c.counts.diverged,
            },
        )
        for c in found.ranking
    ]
    assert told == expected
    assert found.ranking.means.tolist() == [c.valid_ll_mean for c in found.ranking]
    assert found.ranking.whole.tolist() == [c.counts.all_completed for c in found.ranking]
    tied = [c for c in expected[1:] if _level(c) == _level(expected[0])]
    assert [n for n in found.notes if n.startswith("tied with ")] == (
        [f"tied with {', '.join(c[0] for c in tied)}; ties: more completed seeds, then the smaller config_id"]
        if tied
        else []
    )


def _level(told: tuple[str, tuple[float, ...], dict[str, int]]) -> tuple[bool, float]:
    return told[2]["completed"] == told[2]["seeds"], statistics.fmean(told[1])


@given(st.lists(st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=6), min_size=1, max_size=7))
def test_means_are_rounded_once(groups: list[list[float]]) -> None:
    values = np.array([value for group in groups for value in group])
    counts = np.array([len(group) for group in groups])
    assert exact_means(values, counts).tolist() == [statistics.fmean(group) for group in groups]


def test_a_ranking_is_a_sequence() -> None:
    rows = _rows([("a", "COMPLETE", 0.1, False, False), ("b", "COMPLETE", 0.3, False, True)], "search")
    rows += [row | {"config_id": "c", "seed": 7, "valid_ll_mean": 0.2} for row in rows[:1]]
    ranking = choose(_frame(rows)).ranking
    assert [c.config_id for c in ranking] == ["b", "c", "a"]
    assert [c.config_id for c in ranking[1:]] == ["c", "a"]
    assert ranking[:2] == (ranking[0], ranking[1])
    assert ranking[-1].config_id == "a"
    assert (len(ranking), ranking[0].sigma_at_edge) == (3, 1)
    assert ranking.config_ids([2, 0]) == ["a", "b"]
    with pytest.raises(IndexError):
        ranking[3]
    again = choose(_frame(rows)).ranking
    assert ranking == again
    assert hash(ranking) == hash(again)
    assert "3 configurations" in repr(ranking)
    assert ranking != choose(_frame(rows[:2])).ranking
    assert ranking != "abc"


def test_what_a_choice_is_made_from_holds_no_test_score() -> None:
    assert not [name for name in COLUMNS if name.startswith("test")]


@pytest.mark.parametrize("coded", [False, True])
def test_texts_may_be_dictionaries_of_other_places(coded: bool) -> None:
    """Chunks whose dictionaries hold the same texts in another order."""
    rows = _rows([("a", "COMPLETE", 0.1, False, False), ("b", "STOPPED", 0.1, False, False)], "search")
    rows += _rows([("x", "FAILED", 0.1, False, False)] * 2 + [("b", "COMPLETE", 0.3, True, False)], "search")[2:]
    target = parts.arrow_schema(schema.TRIALS)
    chunks = [
        pa.table({name: pa.array([row[name] for row in chunk], target.field(name).type) for name in rows[0]})
        for chunk in (rows[:2], rows[2:])
    ]
    if coded:
        names = ("status", "stage", "protocol_id", "protocol_json", "data_valid_digest")
        chunks = [
            pa.table(
                [chunk[n].dictionary_encode() if n in names else chunk[n] for n in chunk.column_names],
                chunk.column_names,
            )
            for chunk in chunks
        ]
    found = choose_from(from_arrow(pa.concat_tables(chunks)))
    assert [(c.config_id, c.scores, c.counts.stopped) for c in found.ranking] == [("a", (0.1,), 0), ("b", (0.3,), 1)]
    assert found.ranking[1].counts.collapsed == 1


def test_columns_of_an_older_table_are_null_and_missing_ones_are_named() -> None:
    frame = _frame(_rows([("a", "COMPLETE", 0.5, True, True)], "search"))
    old = choose(frame.drop(columns=["sigma_at_edge", "collapsed", "data_valid_digest"]))
    assert (old.leader.sigma_at_edge, old.leader.counts.collapsed) == (0, 0)
    with pytest.raises(ResultsError, match="lacks the columns seed, status"):
        choose(frame.drop(columns=["status", "seed"]))


def test_a_status_of_a_later_version_is_told() -> None:
    frame = _frame(_rows([("a", "COMPLETE", 0.5, True, True)], "search")).replace("COMPLETE", "ADJOURNED")
    with pytest.raises(ResultsError, match="the status ADJOURNED, which this version does not know"):
        choose(frame)


def test_a_nan_is_no_finite_score() -> None:
    rows = _rows([("a", "COMPLETE", math.nan, False, False), ("b", "COMPLETE", 1.0, False, False)], "search")
    with pytest.raises(ResultsError, match="trial a with seed 0 is COMPLETE without a finite score"):
        choose(_frame(rows))


def test_a_stage_can_be_asked_for_whatever_the_other_says() -> None:
    A, B = config(algorithm__k=1), config(algorithm__k=2)
    rows = [trial_row(A, 1, score=5.0), trial_row(B, 2, score=4.0), trial_row(B, 3, "confirm", 2.0)]
    columns = from_pandas(pd.DataFrame(rows))
    assert (choose_from(columns).stage, choose_from(columns).leader.config_id) == ("confirm", B.config_id)
    searched = choose_from(columns, stage="search")
    assert (searched.stage, searched.leader.config_id) == ("search", A.config_id)
    assert searched.notes == ("the best of many search trials is optimistic, and has no test score",)
    with pytest.raises(ResultsError, match="no confirm trial completed, so none can be chosen: there are none"):
        choose_from(from_pandas(pd.DataFrame(rows[:2])), stage="confirm")


def test_protocols_of_search_rows_that_were_not_read_count() -> None:
    A = config(algorithm__k=1)
    confirm = [trial_row(A, 3, "confirm", 2.0), trial_row(A, 3, "confirm", 9.0, scored_by=PUBLISHED)]
    columns = from_pandas(pd.DataFrame(confirm))
    with pytest.raises(ResultsError, match="different score protocols"):
        choose_from(columns)
    found = choose_from(columns, searched_under={FULL.id: json.dumps(FULL.to_dict())})
    assert (found.protocol_id, found.leader.scores) == (FULL.id, (2.0,))
    assert found == choose(pd.DataFrame([trial_row(A, 1, score=5.0), *confirm]))
