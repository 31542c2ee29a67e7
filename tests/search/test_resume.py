"""Sweeps that go on: after Ctrl-C and SIGKILL, with more trials, with a wider space; and what is refused."""

from __future__ import annotations

import logging
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray

from gansearch import schema
from gansearch.errors import ConfigError, ResultsError, UserError
from gansearch.paths import RunPaths
from gansearch.search import lease
from gansearch.search.plan_files import check_data, extended, read_plan, with_confirm, write_plan
from gansearch.search.study import Study
from gansearch.search.sweep import confirm, resume, sweep
from gansearch.yaml_files import dump_yaml, load_yaml
from tests.kill_and_resume import STUDY, kill_and_resume
from tests.search.small_studies import Sweeping, plan, study, trials
from tests.trials import digits

WIDER = {"adam.lr_g": {"loguniform": [0.00001, 0.1]}, "algorithm.k": {"int": [1, 3]}}
NARROWER = {"adam.lr_g": {"loguniform": [0.0009, 0.0011]}, "algorithm.k": {"int": [1, 3]}}


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Start a Ray that the sweeps of this process use and leave open."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def ended(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of a small sweep that ran to its end. Not to be written into."""
    run = tmp_path_factory.mktemp("ended") / "run"
    assert sweep(study(max_concurrent=1), run).complete
    return run


@pytest.fixture
def run(ended: Path, tmp_path: Path) -> Path:
    """Return a copy of that run."""
    return Path(shutil.copytree(ended, tmp_path / "run"))


def contents(run: Path) -> dict[str, bytes]:
    """Return the parts of the run's trials, byte for byte."""
    return {path.name: path.read_bytes() for path in RunPaths(run).table("trials").glob("*.parquet")}


def file_of(folder: Path, given: dict[str, Any]) -> str:
    path = folder / "other.yaml"
    path.write_text(dump_yaml(given), encoding="utf-8")
    return str(path)


def undone(run: Path, status: str, *, stage: str = "search") -> str:
    """Put a trial of a finished run back to a status without an outcome; return its part's name."""
    rows = trials(run, stage).sort_values(["number", "config_id"])
    row = rows.iloc[-1]
    (path,) = RunPaths(run).table("trials").glob(f"{row['config_id']}-{row['seed']}-*{row['protocol_id']}.parquet")
    frame = pd.read_parquet(path)
    frame["status"] = status
    from gansearch import parts

    (kept,) = parts.read_part(path, schema.TRIALS)
    parts.write_part(path, schema.TRIALS, [{**kept, "status": status}])
    return path.name


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_comes_to_the_rows_of_one_that_never_was(tmp_path: Path) -> None:
    given = {**STUDY, "num_trials": 8, "max_concurrent": 1, "epochs": 81}
    assert kill_and_resume(given, tmp_path / "out", kills=3, longest=5, moments=random.Random(1)) == 0


@pytest.mark.slow
def test_after_ctrl_c_trials_go_on_from_their_checkpoints(tmp_path: Path) -> None:
    """Of the reports that a trial had made before its checkpoint none is made again."""
    given = plan(epochs=300, limits={"checkpoint_seconds": 0}, max_concurrent=2, num_trials=3, confirm={"seeds": 0})
    sweeping = Sweeping(tmp_path, given)
    try:
        sweeping.wait_for_running()
        sweeping.wait_for(lambda: len(list((sweeping.run / "checkpoints").glob("*/*.safetensors"))) == 2)
        sweeping.send(signal.SIGINT, to_group=False)
        sweeping.end()
    finally:
        sweeping.kill()
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["INTERRUPTED"] * 2
    before = pd.read_parquet(sweeping.run / "curves").set_index(["config_id", "epoch"])["seconds"]
    notes: list[str] = []
    assert resume(sweeping.run, on_note=notes.append).complete
    assert notes == ["2 unfinished trials go on from their checkpoints"]
    rows = trials(sweeping.run)
    assert rows["status"].tolist() == ["COMPLETE"] * 3
    assert sorted(rows["number"]) == [0, 1, 2]
    after = pd.read_parquet(sweeping.run / "curves").set_index(["config_id", "epoch"])["seconds"]
    assert len(after) == 3 * 300
    kept = after.reindex(before.index) == before
    assert kept.groupby("config_id").sum().gt(0).all(), "the clock of a report tells whether it was made again"
    assert not list((sweeping.run / "checkpoints").glob("*/checkpoint.safetensors"))
    assert not list(RunPaths(sweeping.run).claims.glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ({"name": "hyperband", "reduction_factor": 3}, "hyperband's brackets are formed anew"),
        (
            {"name": "pbt", "interval_epochs": 20, "quantile": 0.5},
            "the population goes on from its members' checkpoints",
        ),
    ],
    ids=["hyperband", "pbt"],
)
def test_schedulers_that_are_not_rebuilt_say_what_a_resumption_does(
    tmp_path: Path, scheduler: dict[str, Any], said: str
) -> None:
    given = plan(
        epochs=120,
        space={"adam.lr_g": {"loguniform": [0.0001, 0.01]}},
        limits={"checkpoint_seconds": 0},
        max_concurrent=2,
        num_trials=4,
        confirm={"seeds": 0},
        scheduler=scheduler,
    )
    sweeping = Sweeping(tmp_path, given)
    try:
        sweeping.wait_for_running()
        sweeping.wait_for(lambda: len(list((sweeping.run / "checkpoints").glob("*/*.safetensors"))) >= 2)
        sweeping.send(signal.SIGKILL, to_group=False)
        sweeping.end()
    finally:
        sweeping.kill()
    before = {name: part for name, part in contents(sweeping.run).items() if _ended(sweeping.run, name)}
    notes: list[str] = []
    assert resume(sweeping.run, on_note=notes.append).complete
    assert any(note.startswith(said) for note in notes)
    rows = trials(sweeping.run)
    assert set(rows["status"]) <= {"COMPLETE", "STOPPED"}
    assert "COMPLETE" in set(rows["status"])
    assert set(range(4)) <= set(rows["number"])
    after = contents(sweeping.run)
    assert {name: after[name] for name in before} == before


def _ended(run: Path, name: str) -> bool:
    status = pd.read_parquet(RunPaths(run).table("trials") / name)["status"].iloc[0]
    return status not in schema.UNFINISHED


@pytest.mark.slow
def test_a_finished_sweep_has_nothing_to_go_on_with(run: Path) -> None:
    before = contents(run)
    result = resume(run)
    assert result.complete
    assert result.ended == {"COMPLETE": len(before) - 4}  # confirm trials have two rows
    assert contents(run) == before


@pytest.mark.slow
def test_more_trials_are_the_next_ones_of_the_sequence(run: Path) -> None:
    before = contents(run)
    notes: list[str] = []
    assert resume(run, num_trials=5, on_note=notes.append).complete
    after = contents(run)
    assert {name: after[name] for name in before} == before
    found = study()
    drawn = [found.space.base_point(), *(found.space.sample(i, found.seed) for i in range(1, 5))]
    expected = [found.space.config(point).config_id for point in drawn]
    search = trials(run, "search").sort_values("number")
    assert search["config_id"].tolist() == expected
    assert read_plan(run).study.num_trials == 5
    (extension,) = load_yaml(RunPaths(run).plan)["extended"]
    assert extension["num_trials"] == 5


@pytest.mark.slow
def test_a_wider_space_goes_on_with_new_points(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    assert resume(run, num_trials=6, space=file_of(tmp_path, plan(space=WIDER))).complete
    after = contents(run)
    assert {name: after[name] for name in before} == before
    new = trials(run, "search").sort_values("number").iloc[3:]
    assert new["number"].tolist() == [3, 4, 5]
    wide = study(space=WIDER)
    assert new["config_id"].tolist() == [wide.space.config(wide.space.sample(i, 5)).config_id for i in (3, 4, 5)]


@pytest.mark.slow
@pytest.mark.parametrize("status", ["RUNNING", "INTERRUPTED"])
def test_a_trial_whose_checkpoint_is_gone_starts_over_with_a_warning(run: Path, status: str) -> None:
    before = contents(run)
    name = undone(run, status)
    notes: list[str] = []
    assert resume(run, on_note=notes.append).complete
    assert notes == ["warning: 1 unfinished trials have no checkpoint that can be read and start over"]
    after = contents(run)
    assert {n for n in before if after[n] != before[n]} == {name}
    assert set(trials(run)["status"]) == {"COMPLETE"}


@pytest.mark.slow
def test_trials_run_again_only_when_they_are_asked_for(run: Path) -> None:
    name, before = undone(run, "FAILED"), contents(run)
    assert resume(run).complete
    assert contents(run) == before
    notes: list[str] = []
    assert resume(run, rerun=["FAILED"], on_note=notes.append).complete
    assert notes[0] == "1 trials that ended FAILED run again"
    after = contents(run)
    assert {n for n in before if after[n] != before[n]} == {name}
    assert set(trials(run)["status"]) == {"COMPLETE"}


@pytest.mark.slow
def test_more_finalists_and_seeds_can_be_confirmed_later(run: Path) -> None:
    before = contents(run)
    assert confirm(run, top=3, seeds=3).complete
    after = contents(run)
    assert {name: after[name] for name in before} == before
    confirmed = trials(run, "confirm")
    assert confirmed.groupby("config_id")["seed"].nunique().tolist() == [3, 3, 3]
    assert set(confirmed["status"]) == {"COMPLETE"}
    assert len(pd.read_parquet(run / "test_evaluations")) == len(confirmed)
    with pytest.raises(ResultsError, match="4 finalists are asked for, but only 3 configurations completed"):
        confirm(run, top=4)


@pytest.mark.slow
def test_tpe_goes_on_with_what_it_has_learned(ray_here: None, tmp_path: Path) -> None:
    found = study(searcher={"name": "tpe", "startup_trials": 2}, num_trials=3, confirm={"seeds": 0})
    run = tmp_path / "run"
    assert sweep(found, run).complete
    assert resume(run, num_trials=7).complete
    rows = trials(run, "search").sort_values("number")
    assert rows["number"].tolist() == list(range(7))
    assert rows["config_id"].is_unique


@pytest.mark.slow
def test_a_run_that_a_driver_holds_is_refused_with_its_name(run: Path) -> None:
    before = contents(run)
    with lease.held(run) as held:
        calls: list[tuple[Any, dict[str, Any]]] = [(resume, {}), (confirm, {}), (resume, {"num_trials": 9})]
        for call, options in calls:
            with pytest.raises(ResultsError, match=f"held by another driver: process {held.claim.pid} on .*, since"):
                call(run, **options)
    assert contents(run) == before
    assert read_plan(run).study.num_trials == 3


def planned(folder: Path, **changes: Any) -> Path:
    """Return a run directory that holds a plan and nothing else."""
    run = folder / "run"
    write_plan(study(**changes), digits(), run)
    return run


@pytest.mark.parametrize("call", [resume, confirm])
def test_a_directory_without_a_sweep_is_refused(tmp_path: Path, call: Any) -> None:
    with pytest.raises(ResultsError, match=r"holds no sweep: it has no sweep\.yaml"):
        call(tmp_path / "nowhere")
    RunPaths(tmp_path).plan.touch()
    with pytest.raises(ResultsError, match="holds no plan: the sweep was killed before it began"):
        call(tmp_path)
    assert not list(RunPaths(tmp_path).claims.glob("*"))


def test_a_space_that_does_not_hold_what_was_tried_is_refused_with_the_rows(tmp_path: Path) -> None:
    from gansearch.recorder import Recorder
    from gansearch.rows import draft_row, final_rows
    from gansearch.search.proposals import Proposal
    from gansearch.search.specs import search_spec

    run, found = planned(tmp_path), study()
    for number in range(1, 8):
        spec = search_spec(found, Proposal(number=number, point=found.space.sample(number, 5)), 0)
        for row in final_rows(draft_row(spec, digits().digests), spec, schema.STOPPED):
            Recorder(run).trial(spec.key, row)
    with pytest.raises(ResultsError) as caught:
        extended(read_plan(run), run, None, file_of(tmp_path, plan(space=NARROWER)))
    assert "does not hold 6 configurations that were tried" in caught.value.message
    assert "(adam.lr_g = " in caught.value.message
    assert caught.value.message.endswith("and 1 more")
    wide = extended(read_plan(run), run, 20, file_of(tmp_path, plan(space=WIDER)))
    assert (wide.num_trials, wide.space.to_dict()) == (20, study(space=WIDER).space.to_dict())
    with pytest.raises(ResultsError, match="holds 7 configurations already, so num_trials cannot be 2"):
        extended(read_plan(run), run, 2, None)


def test_what_cannot_be_asked_of_a_plan_is_refused(tmp_path: Path) -> None:
    run = planned(tmp_path)
    with pytest.raises(ConfigError, match="trials that ended COMPLETE cannot run again"):
        resume(run, rerun=["COMPLETE"])
    with pytest.raises(ConfigError, match="is no study: it has no space"):
        extended(read_plan(run), run, None, file_of(tmp_path, {"config": {}}))
    with pytest.raises(ConfigError, match=r"space: no parameter is called 'adam\.lr'"):
        extended(read_plan(run), run, None, file_of(tmp_path, plan(space={"adam.lr": {"uniform": [0, 1]}})))
    grid = planned(tmp_path / "grid", searcher="grid", space={"algorithm.k": {"int": [1, 3]}}, num_trials=None)
    with pytest.raises(ConfigError, match="a grid has as many trials as points"):
        extended(read_plan(grid), grid, 9, None)
    space = {"adam.lr_g": {"loguniform": [0.0001, 0.01]}}
    members = planned(tmp_path / "members", scheduler={"name": "pbt", "interval_epochs": 2}, space=space, num_trials=4)
    with pytest.raises(ConfigError, match="a population of pbt that has trained takes no new members"):
        extended(read_plan(members), members, 9, None)
    with pytest.raises(ConfigError, match="pbt stopped trials whose places copies of better ones took"):
        resume(members, rerun=["STOPPED"])
    without = study(confirm={"seeds": 0})
    with pytest.raises(ConfigError, match=r"the study has no confirm stage: confirm\.seeds is 0"):
        with_confirm(without, top=2)
    assert with_confirm(without, seeds=4).confirm.seeds == 4


def test_other_data_than_the_sweep_was_started_with_are_refused(tmp_path: Path) -> None:
    plan_there = read_plan(planned(tmp_path))
    check_data(plan_there, digits())
    other = digits()
    with pytest.raises(UserError, match="the valid split of digits is not the one that the sweep was started with"):
        check_data(
            type(plan_there)(
                study=plan_there.study,
                data={**plan_there.data, "valid": "0123"},
                versions=plan_there.versions,
                content=plan_there.content,
            ),
            other,
        )


def test_a_plan_of_today_reads_back_as_the_same_study(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"scheduler": {"name": "asha", "grace_epochs": 2}, "confirm": {"top": 2, "seeds": 4}}
    found: Study = read_plan(planned(tmp_path, **changes)).study
    assert found.to_dict() == study(**changes).to_dict()
