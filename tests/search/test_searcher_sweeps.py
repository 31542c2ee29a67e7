"""Every searcher in a real sweep of the digits, through the command line, and extended: it goes on with what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansearch.search.study import Study
from gansearch.yaml_files import load_yaml
from tests.search.test_scheduler_sweeps import gansearch, rows, sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRID = {"adam.lr_g": {"choice": [0.0005, 0.001, 0.003, 0.008]}, "algorithm.k": {"int": [1, 3]}}


@pytest.mark.parametrize("searcher", ["random", "sobol", "tpe", "gp", "cmaes", "nsga2"])
def test_searcher_tries_points_of_the_space_and_goes_on_with_them(tmp_path: Path, searcher: str) -> None:
    options = {"startup_trials": 4} if searcher in ("tpe", "gp", "cmaes") else {}
    run = sweep(tmp_path, searcher={"name": searcher, **options}, epochs=3)
    found = _check(run, 12)
    gansearch("resume", run, "--num-trials", "14")
    assert _check(run, 14)[:12] == found
    assert "valid nats" in gansearch("front", run)


def test_grid_is_tried_whole(tmp_path: Path) -> None:
    run = sweep(tmp_path, searcher="grid", space=GRID, num_trials=None, epochs=3)
    found = _check(run, 12)
    values = {(row["cfg_adam_lr_g"], row["cfg_algorithm_k"]) for row in found}
    assert values == {(rate, k) for rate in (0.0005, 0.001, 0.003, 0.008) for k in (1, 2, 3)}


def _check(run: Path, trials: int) -> list[dict[str, Any]]:
    """Check the rows of a sweep against its plan; return them in the order of their numbers."""
    found = rows(run)
    study = Study.parse(load_yaml(run / "sweep.yaml")["study"], "small")
    assert [row["number"] for row in found] == list(range(trials))
    assert {row["status"] for row in found} == {"COMPLETE"}
    assert found[0]["config_id"] == study.base.config_id
    assert len({row["config_id"] for row in found}) == trials
    for row in found:
        for p in study.space.parameters:
            assert p.domain.contains(row["cfg_" + p.name.replace(".", "_")])
    return found
