"""A pytest plugin that ends a test run in time: `pytest -p tests.time_limit --until SECONDS --order REVISION`.

The files run in an order that each revision shuffles anew, and tests that have not begun when the time is over are
skipped. Each file that was cut short stands in the summary, and another one is cut at the next revision.
"""

from __future__ import annotations

import hashlib
import time

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--until", type=float, required=True, help="begin no test after this time, in seconds since 1970")
    parser.addoption("--order", required=True, help="what the order of the files is made from")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the files; tests of a file stay together, for they share fixtures."""
    order = config.getoption("--order")

    def place(item: pytest.Item) -> bytes:
        return hashlib.sha256(f"{order} {item.path.relative_to(config.rootpath)}".encode()).digest()

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test when the time is over, before its fixtures are made."""
    if time.time() > item.config.getoption("--until"):
        pytest.skip(f"the time was over before all of {item.path.relative_to(item.config.rootpath)} had run")
