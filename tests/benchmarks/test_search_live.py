"""The live comparison: one space for all, and equal budgets."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmarks.search import live
from benchmarks.search.points import EPOCHS
from gansearch.schedule import CHANGEABLE


@pytest.mark.parametrize("label", live.ENTRIES)
def test_all_search_the_same_changeable_parameters(label: str) -> None:
    study = live.live_study(live.ENTRIES[label], seed=2)
    names = [p.name for p in study.space.parameters]
    assert names == [p.name for p in live.live_study(live.ENTRIES["random"], seed=0).space.parameters]
    assert set(names) <= set(CHANGEABLE)
    assert study.scheduler.name == live.ENTRIES[label].scheduler["name"]
    assert (study.seed, study.epochs, study.confirm.seeds) == (2, EPOCHS, 0)


def test_trials_count_until_the_budget_is_spent() -> None:
    rows = pd.DataFrame({"number": [2, 0, 1, 3], "epochs": [10, 54, 18, 54]})
    assert list(live.within_budget(rows, 90)["number"]) == [0, 1, 2]
    assert list(live.within_budget(rows, 81)["number"]) == [0, 1]


def test_a_members_copy_costs_the_epochs_after_its_change() -> None:
    changes = [{"after": 6, "values": {"momentum.lr_g": 0.1}}, {"after": 30, "values": {"momentum.lr_g": 0.2}}]
    rows = pd.DataFrame({"epochs": [54, 54, 36], "cfg_schedule": [None, json.dumps(changes), json.dumps(changes[:1])]})
    assert list(live.own_epochs(rows)) == [54, 24, 30]
