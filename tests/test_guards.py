"""When guards speak, held against the rules as they are written, and which rules are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch.errors import ConfigError
from gansearch.guards import Collapse, Guards


def curve(*reports: tuple[float, float]) -> list[dict[str, Any]]:
    """Return rows of `curves`: a report is D(x) and the coverage relative to that of real images, here 0.5."""
    return [
        {"epoch": 2 * n, "d_real": d_real, "coverage": share * 0.5, "coverage_real": 0.5}
        for n, (d_real, share) in enumerate(reports, start=1)
    ]


BAD, GOOD, WON, THIN = (0.97, 0.01), (0.6, 0.8), (0.97, 0.8), (0.6, 0.01)


@pytest.mark.parametrize(
    ("reports", "ends"),
    [
        ((BAD, BAD, BAD), True),
        ((GOOD, GOOD, BAD, BAD, BAD), True),
        ((BAD, BAD), False),
        ((BAD, BAD, BAD, GOOD), False),
        ((BAD, BAD, GOOD, BAD), False),
        ((WON, WON, WON), False),
        ((THIN, THIN, THIN), False),
        ((), False),
    ],
)
def test_collapse_takes_both_signs_at_enough_reports_in_a_row(reports: Any, ends: bool) -> None:
    verdict = Collapse(d_real_above=0.95, relative_coverage_below=0.05, reports=3).verdict(curve(*reports))
    assert (verdict is not None) == ends


def test_the_verdict_names_rule_and_values() -> None:
    rule = Collapse(d_real_above=0.9, relative_coverage_below=0.04, reports=2)
    assert rule.verdict(curve(GOOD, BAD, (0.98125, 0.0125))) == (
        "guards.collapse: D(x) above 0.9 and coverage below 0.04 of that of real images at 2 reports in a row: "
        "0.9812 and 0.0125 at epoch 6"
    )
    alone = Collapse(d_real_above=0.9, reports=1).verdict(curve(BAD))
    assert alone is not None
    assert "at 1 report: " in alone


def test_bounds_themselves_and_values_that_are_not_finite_are_not_bad() -> None:
    rule = Collapse(d_real_above=0.75, relative_coverage_below=0.25, reports=1)
    just_above, just_below = math.nextafter(0.75, 1), math.nextafter(0.25, 0)
    assert rule.verdict(curve((just_above, just_below))) is not None
    for report in [(0.75, just_below), (just_above, 0.25), (math.nan, 0.0), (1.0, math.nan)]:
        assert rule.verdict(curve(report)) is None


@given(bad=st.lists(st.booleans(), max_size=12), reports=st.integers(1, 4))
def test_a_trial_that_is_followed_report_by_report_ends_at_the_first_long_enough_run(
    bad: list[bool], reports: int
) -> None:
    rows = curve(*(BAD if one else GOOD for one in bad))
    rule = Guards(collapse=Collapse(reports=reports))
    ended = next((n for n in range(len(rows) + 1) if rule.collapsed(rows[:n]) is not None), None)
    text = "".join("b" if one else "g" for one in bad)
    found = text.find("b" * reports)
    assert ended == (None if found < 0 else found + reports)


def test_without_a_rule_nothing_ends() -> None:
    assert Guards().collapsed(curve(BAD, BAD, BAD, BAD)) is None
    assert Guards().out_of_time(1e12) is None


def test_a_time_limit_is_reached_when_it_is_spent() -> None:
    guards = Guards(trial_time_limit=90.0)
    assert guards.out_of_time(89.999) is None
    assert guards.out_of_time(90.0) == "guards.trial_time_limit: it has taken 90 s, of 90 s at most"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Collapse(d_real_above=1.0), "guards.collapse.d_real_above must be 0 or more and below 1, got 1.0"),
        (lambda: Collapse(d_real_above=-0.1), "guards.collapse.d_real_above must be 0 or more and below 1, got -0.1"),
        (
            lambda: Collapse(relative_coverage_below=0.0),
            "guards.collapse.relative_coverage_below must be above 0 and at most 1, got 0.0",
        ),
        (
            lambda: Collapse(relative_coverage_below=math.nan),
            "guards.collapse.relative_coverage_below must be above 0 and at most 1, got nan",
        ),
        (lambda: Collapse(reports=0), "guards.collapse.reports must be 1 or more, got 0"),
        (lambda: Guards(trial_time_limit=0.0), "guards.trial_time_limit must be above 0, got 0.0"),
        (lambda: Guards(trial_time_limit=math.inf), "guards.trial_time_limit must be above 0, got inf"),
    ],
)
def test_rules_that_can_never_hold_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.message == message
