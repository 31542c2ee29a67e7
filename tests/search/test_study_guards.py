"""The section `guards` of a study, and who is given it."""

from __future__ import annotations

from typing import Any

import pytest

from gansearch.errors import ConfigError
from gansearch.guards import Collapse, Guards
from gansearch.search.study import Study
from tests.search.small_plans import SMALL, changed


def parse(guards: Any) -> Study:
    return Study.parse(changed(SMALL, guards=guards), "small")


@pytest.mark.parametrize(
    ("section", "guards"),
    [
        ({}, Guards()),
        ({"collapse": None, "trial_time_limit": None}, Guards()),
        ({"collapse": {}}, Guards(collapse=Collapse())),
        (
            {"collapse": {"d_real_above": 0.9, "relative_coverage_below": 0.02, "reports": 4}},
            Guards(collapse=Collapse(d_real_above=0.9, relative_coverage_below=0.02, reports=4)),
        ),
        ({"trial_time_limit": "1h30m"}, Guards(trial_time_limit=5400.0)),
        ({"trial_time_limit": 45}, Guards(trial_time_limit=45.0)),
    ],
)
def test_the_section_is_read_and_written_back(section: dict[str, Any], guards: Guards) -> None:
    study = parse(section)
    assert study.guards == guards
    assert Study.parse(study.to_dict(), "small").guards == guards
    assert study.with_options(epochs=13).guards == guards


def test_without_the_section_there_are_none() -> None:
    assert Study.parse(changed(SMALL), "small").guards == Guards()


@pytest.mark.parametrize(
    ("section", "message", "hint"),
    [
        ({"colapse": {}}, "guards has an unknown key 'colapse'", "did you mean 'collapse'?"),
        (
            {"collapse": {"coverage_below": 0.1}},
            "guards.collapse has an unknown key 'coverage_below'",
            "did you mean 'relative_coverage_below'?",
        ),
        (
            {"collapse": {"d_real_above": 1}},
            "guards.collapse.d_real_above must be 0 or more and below 1, got 1.0",
            None,
        ),
        (
            {"collapse": {"relative_coverage_below": 5}},
            "guards.collapse.relative_coverage_below must be above 0 and at most 1, got 5.0",
            None,
        ),
        ({"collapse": {"reports": 0}}, "guards.collapse.reports must be 1 or more, got 0", None),
        ({"collapse": {"reports": 2.5}}, "guards.collapse.reports must be an integer, got 2.5", None),
        ({"collapse": True}, "guards.collapse must be a mapping of names to values, got True", None),
        ({"trial_time_limit": 0}, "guards.trial_time_limit must be above 0, got 0.0", None),
        ({"trial_time_limit": "soon"}, "guards.trial_time_limit must be a duration, got 'soon'", "90m"),
        ("collapse", "guards must be a mapping of names to values, got 'collapse'", None),
    ],
)
def test_bad_guards(section: Any, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(section)
    assert caught.value.message == message
    assert hint is None or hint in (caught.value.hint or "")
