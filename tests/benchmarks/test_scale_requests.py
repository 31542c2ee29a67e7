"""The count of what a sweep asks of an S3 store."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import requests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_requests_are_counted_by_who_makes_them(tmp_path: Path) -> None:
    trials = 3
    found = requests.measure(trials, tmp_path)
    assert found[requests.START]["PUT"] == trials, "a row that says that the trial runs"
    assert found[requests.WORKER]["PUT"] == 2 * trials, "a curve and a row"
    assert found[requests.END].total() == 0
    assert found[requests.MERGE]["PUT"] == 0, "too few to be merged"
