"""What `sweep` refuses before it starts, `resume` and `confirm` refuse before they go on. None needs Ray for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansearch.core.datasets import load
from gansearch.errors import UserError
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.search import sweep as sweeps
from gansearch.search.plan_files import write_plan
from gansearch.search.proposals import Proposal
from gansearch.search.specs import search_spec
from gansearch.search.study import Study
from gansearch.trial import run as run_trial
from gansearch.yaml_files import dump_yaml
from tests.search.small_studies import REPORT, plan

PLANNED: dict[str, Any] = {
    "epochs": 1,
    "protocols": {"final": "report", "report": REPORT},
    "confirm": {"top": 1, "seeds": 1, "protocols": ["report"]},
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run whose search has one completed trial; a cluster would be the end of the test."""

    def no_cluster(*given: Any) -> Any:
        pytest.fail("the sweep goes on")

    monkeypatch.setattr(sweeps, "_cluster", no_cluster)
    study = Study.parse(plan(**PLANNED), "small")
    data, folder = load("digits", data_dir=None), tmp_path / "run"
    folder.mkdir()
    write_plan(study, data, folder)
    spec = search_spec(study, Proposal(number=0, point=study.space.base_point()), 0)
    run_trial(spec, data.without_test(), Recorder(folder), Placement())
    return folder


def test_confirm_refuses_protocols_of_another_space(run: Path) -> None:
    """They would read the test set, and say so in the ledger, for a score of nothing."""
    before = (run / "sweep.yaml").read_bytes()
    with pytest.raises(UserError, match="protocol full-contrast scores images in the space 'contrast'"):
        sweeps.confirm(run, protocols=["report", "full-contrast"])
    assert (run / "sweep.yaml").read_bytes() == before


def test_confirm_refuses_folds_of_data_that_have_one(run: Path) -> None:
    before = (run / "sweep.yaml").read_bytes()
    with pytest.raises(UserError, match=r"confirm\.folds is all, and the data set 'digits' has one fold"):
        sweeps.confirm(run, folds="all")
    assert (run / "sweep.yaml").read_bytes() == before


def test_resume_refuses_a_space_that_does_not_fit(run: Path, tmp_path: Path) -> None:
    before, wide = (run / "sweep.yaml").read_bytes(), tmp_path / "wide.yaml"
    given = plan(**PLANNED)
    given["space"]["algorithm.batch_size"] = {"choice": [100, 5000]}
    wide.write_text(dump_yaml(given), encoding="utf-8")
    with pytest.raises(UserError, match=r"where the space has algorithm\.batch_size 5000"):
        sweeps.resume(run, space=str(wide), num_trials=4)
    assert (run / "sweep.yaml").read_bytes() == before
