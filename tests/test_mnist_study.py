"""The studies' tables in the repository: what the page says of them, and that the studies can go on from them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.best import best_document, choice_of
from analysis.flags import configuration_flags
from analysis.statistics import mean, share_interval, standard_error
from gansearch import schema
from gansearch.config_files import load_config_file
from gansearch.reproduce import plan_reproduction
from gansearch.search import history
from gansearch.search.plan_files import read_plan
from gansearch.search.study import load_study

ROOT = Path(__file__).parents[1]
STUDIES, PAGE = ROOT / "docs" / "studies", ROOT / "docs" / "mnist-study.md"
BEST = ROOT / "search_spaces" / "best" / "mnist.yaml"
RUNS = {"mnist": "mnist_short", "mnist_updates": "mnist_updates"}
"""The run directories, with the shipped study of each."""


def _sections() -> dict[str, str]:
    """Return the page's sections by their headings."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _curves(run: str, stage: str) -> pd.DataFrame:
    curves = pd.read_parquet(STUDIES / run / "curves")
    return curves[curves.stage == stage]


def _confirmed(config_id: str, protocol: str = "full") -> pd.DataFrame:
    trials = pd.read_parquet(STUDIES / "mnist" / "trials")
    own = (trials.stage == "confirm") & (trials.config_id == config_id)
    return trials[own & trials.protocol_id.str.startswith(f"{protocol}-")]


@pytest.mark.parametrize(("run", "heading"), [("mnist", "What was tried"), ("mnist_updates", "At 150 epochs, begun")])
def test_the_courses_on_the_page_are_those_of_the_tables(run: str, heading: str) -> None:
    text = _sections()[heading]
    curves = _curves(run, "search").set_index(["config_id", "epoch"]).report_ll_mean
    epochs = curves.reset_index().groupby("config_id").epoch.max()
    assert f"{epochs.sum()} epochs of {len(epochs)} configurations" in text
    (head,) = re.findall(r"^\| configuration \|(.*)\| ended \|$", text, re.MULTILINE)
    columns = [int(cell) for cell in head.split("|")]
    rows = re.findall(r"^\| `([0-9a-f]{12})` [^|]*\|(.*)\|([^|]*)\|$", text, re.MULTILINE)
    assert {config_id for config_id, _, _ in rows} == set(epochs.index)
    trials = pd.read_parquet(STUDIES / run / "trials")
    status = trials[trials.stage == "search"].set_index("config_id").status
    for config_id, cells, ended in rows:
        for epoch, cell in zip(columns, cells.split("|"), strict=True):
            told = cell.strip()
            assert bool(told) == (epoch <= epochs[config_id])
            assert not told or int(told) == round(curves[config_id, epoch])
        assert status[config_id] in ended


def test_the_confirmed_scores_on_the_page_are_those_of_the_tables() -> None:
    text = _sections()["How far it came"]
    choice = choice_of(STUDIES / "mnist")
    assert choice.stage == "confirm"
    base = read_plan(STUDIES / "mnist").study.base.config_id
    for config_id in (choice.leader.config_id, base):
        rows = _confirmed(config_id)
        assert len(rows) == 5
        assert (rows.status == schema.COMPLETE).all()
        scores = rows.test_ll_mean.tolist()
        error = standard_error(scores)
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{config_id}`"))
        assert f"| {mean(scores):.1f} ± {error:.1f} |" in line
        assert f"| {mean(rows.valid_ll_mean.tolist()):.1f} |" in line
        bad = int(rows.collapsed.sum())
        interval = share_interval(bad, 5)
        assert f"{bad} of 5 [{interval.low:.2f}, {interval.high:.2f}]" in line
    epochs = _curves("mnist", "confirm").groupby(["config_id", "seed"]).epoch.max()
    assert f"{epochs.sum()} epochs of {len(epochs)} confirm trials" in " ".join(text.split())


def test_the_leader_is_above_180_nats_on_test() -> None:
    rows = _confirmed(choice_of(STUDIES / "mnist").leader.config_id)
    assert mean(rows.test_ll_mean.tolist()) > 180
    assert not set(rows.seed) & set(_curves("mnist", "search").seed)  # fresh seeds


def test_the_reasons_to_doubt_on_the_page_are_the_flags_of_the_tables() -> None:
    text = " ".join(_sections()["How far it came"].split())
    base = read_plan(STUDIES / "mnist").study.base.config_id
    told = {}
    for config_id in (choice_of(STUDIES / "mnist").leader.config_id, base):
        rows = [{str(name): value for name, value in row.items()} for row in _confirmed(config_id).to_dict("records")]
        flags = configuration_flags(rows, None)
        told[config_id] = {flag.name: flag.text for flag in flags}
    leader, recipe = told.values()
    assert set(leader) == {"shrunken"}
    assert leader["shrunken"].startswith("1 of 5 seeds")
    assert "0.93 times as much" in leader["shrunken"]
    assert "one of the leader's five seeds vary 0.93 times as much" in text
    assert set(recipe) == {"shrunken", "less-diverse"}
    assert all(flag.startswith("4 of 5 seeds") for flag in recipe.values())
    assert "four of the recipe's five seeds vary less than the data too, and four cover less" in text


def test_the_shipped_best_is_what_the_run_says() -> None:
    document = best_document(STUDIES / "mnist")
    file = load_config_file(str(BEST))
    file.check_unedited()
    assert file.config.config_id == document["config_id"] == choice_of(STUDIES / "mnist").leader.config_id
    assert [entry["test_ll_mean"] for entry in file.expected] == [e["test_ll_mean"] for e in document["seeds"]]
    assert plan_reproduction(file).scores == tuple(entry["valid_ll_mean"] for entry in document["seeds"])
    scores = [entry["test_ll_mean"] for entry in document["seeds"]]
    comments = [line for line in BEST.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert f"{mean(scores):.1f} +- {standard_error(scores):.1f} nats" in "\n".join(comments)
    published = _confirmed(document["config_id"], "published-2014").test_ll_mean.tolist()
    told = f"{mean(published):.1f} +- {standard_error(published):.1f}"
    assert f"{told} under `published-2014`" in "\n".join(comments)
    assert f"has {told.replace('+-', '±')}" in " ".join(_sections()["How far it came"].split())


@pytest.mark.parametrize(("run", "study"), RUNS.items())
def test_the_studies_go_on_from_their_tables(run: str, study: str) -> None:
    planned = read_plan(STUDIES / run).study
    assert planned.digest == load_study(study).digest
    tried = history.search_history(STUDIES / run, planned)
    trials = pd.read_parquet(STUDIES / run / "trials")
    search = trials[trials.stage == "search"]
    assert len(tried) == search.config_id.nunique()
    left = {spec.config.config_id for one in tried for spec in one.todo}
    assert left == set(search[search.status.isin(schema.UNFINISHED)].config_id)
