"""The study's tables in the repository: what the page says of them, and that the study can go on from them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from analysis.best import choice_of
from gansearch import schema
from gansearch.search import history
from gansearch.search.plan_files import read_plan
from gansearch.search.study import load_study

ROOT = Path(__file__).parents[1]
RUN, PAGE = ROOT / "docs" / "studies" / "mnist", ROOT / "docs" / "mnist-study.md"


def test_the_page_says_what_the_tables_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    curves = pd.read_parquet(RUN / "curves").set_index(["config_id", "epoch"]).report_ll_mean
    epochs = curves.reset_index().groupby("config_id").epoch.max()
    assert f"{epochs.sum()} epochs of five configurations" in text
    (head,) = re.findall(r"^\| configuration \|(.*)\| ended \|$", text, re.MULTILINE)
    columns = [int(cell) for cell in head.split("|")]
    rows = re.findall(r"^\| `([0-9a-f]{12})` [^|]*\|(.*)\|[^|]*\|$", text, re.MULTILINE)
    assert {config_id for config_id, _ in rows} == set(epochs.index)
    for config_id, cells in rows:
        for epoch, cell in zip(columns, cells.split("|"), strict=True):
            told = cell.strip()
            assert bool(told) == (epoch <= epochs[config_id])
            assert not told or int(told) == round(curves[config_id, epoch])
    leader = choice_of(RUN).leader
    assert f"`{leader.config_id}`" in text
    assert f"{leader.valid_ll_mean:.1f} on validation, full protocol" in text


def test_the_study_goes_on_from_its_tables() -> None:
    planned = read_plan(RUN).study
    shipped = load_study("mnist_updates")
    assert planned.digest == shipped.digest
    tried = history.search_history(RUN, planned)
    trials = pd.read_parquet(RUN / "trials")
    assert len(tried) == len(trials)
    left = {spec.config.config_id for one in tried for spec in one.todo}
    assert left == set(trials[trials.status.isin(schema.UNFINISHED)].config_id)
