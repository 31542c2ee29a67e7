"""Guards in a whole sweep: a study file in, through the command line, to the tables and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.records import records
from analysis.seed_counts import count_seeds
from gansearch import schema
from gansearch.cli import main
from gansearch.yaml_files import dump_yaml
from tests.trial_courses import COLLAPSING
from tests.trials import SMALL

LEARNS, STANDS = 0.01, COLLAPSING["adam.lr_g"]
STUDY = {
    "base": {"dataset": {"name": "digits"}},
    "override": SMALL | COLLAPSING | {"adam.lr_g": LEARNS, "adam.lr_d": 0.005},
    "space": {"adam.lr_g": {"choice": [LEARNS, STANDS]}, "adam.lr_d": {"choice": [0.005, COLLAPSING["adam.lr_d"]]}},
    "searcher": "grid",
    "protocols": {
        "final": {"name": "small", "num_samples": 230, "sigma_points": 9},
        "report": {"name": "smallest", "num_samples": 149, "sigma_points": 4},
    },
    "confirm": {"seeds": 1, "protocols": [{"name": "small", "num_samples": 230, "sigma_points": 9}]},
    "guards": {
        "collapse": {"d_real_above": 0.8, "relative_coverage_below": 0.05, "reports": 2},
        "trial_time_limit": "10m",
    },
}


@pytest.mark.slow
def test_a_sweep_ends_collapsed_trials_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("guarded.yaml").write_text(dump_yaml(STUDY), encoding="utf-8")
    assert main(["sweep", "guarded.yaml", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    rows = pd.read_parquet("run/trials")
    search = rows[rows["stage"] == "search"]
    collapsed = search[search["status"] == schema.COLLAPSED]
    assert len(search) == 4
    assert set(search["status"]) == {schema.COLLAPSED, schema.COMPLETE}
    assert out.startswith("run: done; trials: ")
    assert {f"{len(rows) - len(collapsed)} COMPLETE", f"{len(collapsed)} COLLAPSED"} == set(
        out.strip().partition("trials: ")[2].split(", ")
    )
    assert f"{len(collapsed)} COLLAPSED" in err
    assert set(collapsed["cfg_adam_lr_g"]) == {STANDS}
    assert collapsed["error"].str.startswith("guards.collapse: D(x) above 0.8").all()
    assert (collapsed["epochs"] < 9).all()
    assert collapsed["report_ll_mean"].notna().all()
    curves = pd.read_parquet("run/curves")
    for _, row in collapsed.iterrows():
        own = curves[(curves["config_id"] == row["config_id"]) & (curves["stage"] == "search")].sort_values("epoch")
        assert own["epoch"].max() == row["epochs"]
        assert (own["d_real"].tail(2) > 0.8).all()
        assert (own["coverage"].tail(2) < 0.05 * own["coverage_real"].tail(2)).all()
        assert count_seeds(records(search[search["config_id"] == row["config_id"]], schema.TRIALS)).guarded == 1
    # The confirm stage of the same study knows no guards: a spec that had any would be refused.
    assert set(rows.loc[rows["stage"] == "confirm", "status"]) == {schema.COMPLETE}
    assert main(["best", "run", "-o", "best.yaml"]) == 0
    assert main(["table1", "run"]) == 0
