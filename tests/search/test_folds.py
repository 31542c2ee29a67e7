"""A sweep over data with folds: a search has one, the confirm stage trains each seed on all, Table 1 is over them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray

from analysis.funnel import funnel
from analysis.table1 import table1
from gansearch.core import datasets
from gansearch.core.datasets import DatasetInfo, Entry, Splits
from gansearch.errors import ConfigError, ResultsError
from gansearch.results import part_files
from gansearch.search.plan_files import read_plan
from gansearch.search.study import Study
from gansearch.search.sweep import check_study_fits, confirm, resume, sweep
from tests.search.small_studies import FINAL, REPORT, plan

FOLDS, SEEDS = 3, 2
REFINED = {**FINAL, "name": "refined", "refine": True}
PACKED = {"name": "packed", "slots": 8}


def entry(fold: int) -> Entry:
    """Return a fold of scikit-learn's digits: the splits take turns."""

    def read(data_dir: Path, download: bool) -> Splits:
        rows = np.concatenate(datasets.DATASETS["digits"][0].read(data_dir, download))
        third = np.arange(len(rows)) % FOLDS
        test, valid = rows[third == fold], rows[third == (fold + 1) % FOLDS]
        return rows[third == (fold + 2) % FOLDS], valid, test

    info = DatasetInfo(
        name="folded",
        description="digits in folds",
        shape=(1, 8, 8),
        levels=16,
        n_train=599,
        n_valid=599,
        n_test=599,
        needs_files=False,
        fold=fold,
        folds=FOLDS,
    )
    return Entry(info, read)


@pytest.fixture(autouse=True)
def folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the data set, in this process alone: workers are given its images."""
    entries = {**datasets.DATASETS, "folded": {fold: entry(fold) for fold in range(FOLDS)}}
    monkeypatch.setattr(datasets, "DATASETS", entries)


def study(**changes: object) -> Study:
    data = plan(num_trials=2, confirm={"top": 1, "seeds": SEEDS, "folds": "all", "protocols": [REFINED]})
    data["base"]["dataset"] = {"name": "folded"}
    data["protocols"] = {"final": REFINED, "report": REPORT}
    return Study.parse(data | changes, "folds")


def test_all_folds_of_data_with_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"confirm\.folds is all, and the data set 'digits' has one fold"):
        check_study_fits(Study.parse(plan(confirm={"folds": "all", "protocols": [FINAL]}), "one"))
    with pytest.raises(ConfigError, match=r"confirm\.folds must be first or all, got 'every'"):
        study(confirm={"folds": "every", "protocols": [REFINED]})


def test_a_plan_that_knows_no_folds_is_of_the_first() -> None:
    one = study(confirm={"seeds": 1, "protocols": [REFINED]})
    earlier = one.to_dict()
    del earlier["confirm"]["folds"]
    assert Study.parse(earlier, "folds").to_dict() == one.to_dict()
    assert list(one.confirm_folds) == [0]
    assert list(study().confirm_folds) == list(range(FOLDS))


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Start a Ray that the sweeps of this module share."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("executor", ["tune", PACKED], ids=["tune", "packed"])
def test_each_seed_is_confirmed_on_each_fold(executor: object, tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = study(executor=executor)
    assert sweep(found, run).complete
    trials = pd.read_parquet(run / "trials")
    assert set(trials[trials.stage == "search"].fold) == {0}
    confirmed = trials[(trials.stage == "confirm") & (trials.status == "COMPLETE")]
    leader = confirmed[confirmed.config_id == confirmed.config_id.iloc[0]]
    assert sorted(zip(leader.replicate, leader.fold, strict=True)) == [
        (r, f) for r in range(SEEDS) for f in range(FOLDS)
    ]
    assert leader.groupby("fold").data_test_digest.nunique().eq(1).all()
    assert leader.data_test_digest.nunique() == FOLDS
    assert leader.groupby("replicate").seed.nunique().eq(1).all()  # one seed on all folds
    assert leader.sigma.nunique() == len(leader)  # chosen on each fold's own validation images

    (row,) = table1([run]).section(leader.protocol_id.iloc[0])
    (score,) = row.scores.values()
    means = (
        trials[(trials.stage == "confirm") & (trials.config_id == row.config_id)].groupby("fold").test_ll_mean.mean()
    )
    assert (score.folds, score.planned_folds) == (tuple(range(FOLDS)), FOLDS)
    assert score.per_seed == pytest.approx(tuple(means))
    assert score.mean == pytest.approx(means.mean())
    assert score.se_folds == pytest.approx(means.std(ddof=1) / math.sqrt(FOLDS))
    assert score.se_seeds is None

    # Nothing is left to do, and nothing is done again.
    before = {path.name: path.read_bytes() for path in part_files(run, "trials")}
    assert resume(run).complete
    assert {path.name: path.read_bytes() for path in part_files(run, "trials")} == before
    plan_data = read_plan(run).data
    assert {f"test_fold_{fold}" for fold in range(1, FOLDS)} <= set(plan_data)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_folds_can_be_asked_for_after_the_search(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert sweep(study(confirm={"top": 1, "seeds": 1, "protocols": [REFINED]}), run).complete
    assert confirm(run, folds="all").complete
    trials = pd.read_parquet(run / "trials")
    found = trials[trials.stage == "confirm"].groupby("config_id").fold.apply(sorted)
    assert found.tolist() == [list(range(FOLDS))] * len(found)
    with pytest.raises(ResultsError, match="are of 3 folds, and a comparison over seeds takes one") as caught:
        funnel(run)
    assert caught.value.hint is not None
    assert "gansearch table1" in caught.value.hint
