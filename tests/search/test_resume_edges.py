"""What a resumption meets before any trial runs: another driver's change, a damaged part, an edited plan."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gansearch import schema
from gansearch.errors import ConfigError, ResourceError, ResultsError
from gansearch.paths import RunPaths
from gansearch.recorder import Recorder
from gansearch.rows import draft_row, final_rows
from gansearch.search import lease, sweep
from gansearch.search.plan_files import extended, read_plan, rewrite_plan, write_plan
from gansearch.search.proposals import Proposal
from gansearch.search.specs import search_spec
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml, load_yaml
from tests.search.small_studies import study
from tests.trials import digits


def planned(run: Path, **changes: Any) -> Path:
    """Return a run directory that holds a plan and nothing else."""
    write_plan(study(**changes), digits(), run)
    return run


def tried(run: Path, status: str, number: int = 0) -> TrialSpec:
    """Write the row of a search's trial."""
    found = study()
    point = found.space.sample(number, found.seed) if number else found.space.base_point()
    spec = search_spec(found, Proposal(number=number, point=point), 0)
    for row in final_rows(draft_row(spec, digits().digests), spec, status):
        Recorder(run).trial(spec.key, row)
    return spec


def test_an_extension_by_a_driver_that_held_the_run_until_now_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path / "run")
    own = lease.held

    @contextlib.contextmanager
    def held_after_another(path: Path) -> Iterator[lease.Lease]:
        rewrite_plan(path, read_plan(path), study(confirm={"seeds": 4}), {"confirm": {"seeds": 4}})
        with own(path) as held:
            yield held

    def no_cluster(*_: object) -> Any:
        raise ResourceError("no cluster")

    monkeypatch.setattr(sweep, "held", held_after_another)
    monkeypatch.setattr(sweep, "_cluster", no_cluster)
    with pytest.raises(ResourceError, match="no cluster"):
        sweep.resume(run, num_trials=9)
    plan = read_plan(run)
    assert (plan.study.num_trials, plan.study.confirm.seeds) == (9, 4)
    assert len(plan.content["extended"]) == 2


def test_an_outcome_stays_where_the_sweep_cannot_go_on(tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    run = planned(tmp_path / "run", searcher="tpe", start_from=[str(tmp_path / "earlier")])
    spec = tried(run, schema.FAILED)
    with pytest.raises(ResultsError, match="earlier is not a run directory"):
        sweep.resume(run, num_trials=9, rerun=["FAILED"])
    (row,) = Recorder(run).rows(spec.key, [spec.protocols[0].id])
    assert row["status"] == schema.FAILED
    assert read_plan(run).study.num_trials == 3


@pytest.mark.parametrize("call", [sweep.resume, sweep.confirm])
def test_a_damaged_part_is_named_with_what_is_to_be_done(tmp_path: Path, call: Any) -> None:
    run = planned(tmp_path / "run")
    spec = tried(run, schema.COMPLETE)
    path = RunPaths(run).part("trials", spec.key, spec.protocols[0].id)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ResultsError, match=r"\.parquet is damaged") as told:
        call(run)
    assert str(told.value.hint).startswith("move the file away")


@pytest.mark.parametrize("key", ["study", "data", "versions"])
def test_a_plan_that_was_edited_into_another_form_is_refused(tmp_path: Path, key: str) -> None:
    run = planned(tmp_path / "run")
    path = RunPaths(run).plan
    path.write_text(dump_yaml({**load_yaml(path), key: 5}), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"sweep\.yaml: {key} must be a mapping, got 5"):
        read_plan(run)


def test_the_hint_names_the_fewest_trials_that_can_be_asked_for(tmp_path: Path) -> None:
    run = planned(tmp_path / "run")
    for number in range(2):
        tried(run, schema.STOPPED, number)
    with pytest.raises(ResultsError, match="holds 2 configurations already, so num_trials cannot be 1") as told:
        extended(read_plan(run), run, 1, None)
    assert told.value.hint == "give 2 or more"
    assert extended(read_plan(run), run, 2, None).num_trials == 2
