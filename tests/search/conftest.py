"""What several tests of sweeps share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.small_studies import Sweeping
from tests.search.stages import Stage


@pytest.fixture
def sweeps() -> Iterator[list[Sweeping]]:
    """Give a list for sweeps in processes of their own; those that still run are ended with the test."""
    started: list[Sweeping] = []
    yield started
    for sweeping in started:
        sweeping.kill()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
