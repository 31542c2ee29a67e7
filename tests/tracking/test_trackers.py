"""Real trials followed in each tracker: what it holds is what the tables hold, each report once."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gansearch import parts, schema
from gansearch.cli import main
from gansearch.paths import RunPaths
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.rows import Row, final_rows
from gansearch.spec import TrialSpec
from gansearch.tracking.destinations import destinations
from gansearch.tracking.following import prepare
from gansearch.tracking.interface import METRICS, SCORES
from gansearch.trial import Trial, run
from tests.tracking.readers import BACKENDS, Backend, Seen
from tests.trials import EVERY_REPORT, FULL, PUBLISHED, InterruptAfter, digits, outcome, run_trial, spec

# MLflow's own mapping uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

TIMES = ("seconds", "examples_per_second")
CASES = [
    spec(values={"algorithm.epochs": 4}),
    spec(
        "train", values={"dataset.name": "gaussian_mixture", "algorithm.epochs": 3, "score.report_every": 2}
    ),  # the last report comes early
]

each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


def tracked(trial: TrialSpec, folder: Path, backend: Backend, **options: Any) -> list[Row]:
    """Run a trial that a tracker follows; return its rows."""
    from gansearch.core.datasets import load

    data = load(trial.config.dataset.name, data_dir=None, download=False)
    recorder = Recorder(folder, track=destinations([backend.name], folder))
    prepare(recorder.track)
    return run(trial, data, recorder, options.pop("placement", EVERY_REPORT), **options)


def curve(folder: Path, trial: TrialSpec) -> list[dict[str, Any]]:
    """Return the trial's rows of `curves`."""
    return parts.read_part(RunPaths(folder).part("curves", trial.key), schema.CURVES)


def expected(backend: Backend, rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(row["epoch"], backend.stored(float(row[name]))) for row in rows if row[name] is not None]
        for name in names
    }


def reports(seen: Seen, names: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    return {name: seen.reports.get(name, []) for name in names}


@each_backend
@pytest.mark.parametrize("trial", CASES, ids=["digits", "gaussian_mixture"])
def test_reports_are_those_of_the_table_value_for_value(trial: TrialSpec, backend: Backend, tmp_path: Path) -> None:
    rows = tracked(trial, tmp_path, backend)
    seen, table = backend.read(tmp_path, trial.key), curve(tmp_path, trial)
    assert len(table) == {4: 4, 3: 2}[trial.config.algorithm.epochs]
    assert reports(seen, METRICS) == expected(backend, table, METRICS)
    (row,) = rows
    scores = {f"{row['protocol_id']}/{name}": backend.stored(row[name]) for name in SCORES if row[name] is not None}
    assert seen.scores == scores
    assert not [name for name in seen.scores if "test" in name]
    assert seen.facts["status"] == "COMPLETE"
    assert seen.facts["weights_digest"] == row["weights_digest"]
    given = {name: v for name, v in row.items() if name.startswith("cfg_") and name != "cfg_json" and v is not None}
    whole = {name for name, v in given.items() if isinstance(v, int) and not isinstance(v, bool)}
    assert {name: str(v) for name, v in seen.hyperparameters.items()}.items() >= {
        name: str(float(v) if backend.name == "tensorboard" and name in whole else v) for name, v in given.items()
    }.items()
    assert seen.hyperparameters["config_id"] == row["config_id"]


@each_backend
def test_nothing_of_the_row_depends_on_being_followed(backend: Backend, tmp_path: Path) -> None:
    trial = spec(values={"algorithm.epochs": 3})
    (alone,) = run_trial(trial, tmp_path / "alone")
    (followed,) = tracked(trial, tmp_path / "followed", backend)
    assert outcome(followed) == outcome(alone)
    assert followed["weights_digest"] == alone["weights_digest"]


@each_backend
def test_confirm_trials_show_each_protocol_with_its_test_score(backend: Backend, tmp_path: Path) -> None:
    trial = spec("confirm", values={"algorithm.epochs": 2}, protocols=(FULL, PUBLISHED))
    rows = tracked(trial, tmp_path, backend)
    seen = backend.read(tmp_path, trial.key)
    assert len(seen.scores) == 2 * len(SCORES)
    for row in rows:
        assert seen.scores[f"{row['protocol_id']}/test_ll_mean"] == backend.stored(row["test_ll_mean"])


@each_backend
@pytest.mark.parametrize("checkpointed", [True, False], ids=["from a checkpoint", "over again"])
def test_a_trial_that_goes_on_has_each_report_once(checkpointed: bool, backend: Backend, tmp_path: Path) -> None:
    trial = spec(values={"algorithm.epochs": 5})
    recorder = Recorder(tmp_path, track=destinations([backend.name], tmp_path))
    prepare(recorder.track)
    first = Trial(trial, digits(), recorder, Placement(checkpoint_seconds=1e9))
    for epoch in (1, 2, 3, 4):
        first.advance()
        if epoch == 2 and checkpointed:
            first.checkpoint()
    first.leave()  # as a worker does whose trial is to wait; the reports 3 and 4 are made again
    assert [step for step, _ in backend.read(tmp_path, trial.key).reports["loss_g"]] == [1, 2, 3, 4]
    (row,) = tracked(trial, tmp_path, backend)
    seen = backend.read(tmp_path, trial.key)
    names = [name for name in METRICS if not (backend.keeps_first and name in TIMES)]
    assert reports(seen, names) == expected(backend, curve(tmp_path, trial), names)
    assert [step for step, _ in seen.reports["seconds"]] == [1, 2, 3, 4, 5]
    assert seen.facts["status"] == row["status"] == "COMPLETE"


@each_backend
def test_a_trial_that_goes_on_may_be_stopped_before_it_is_where_it_was(backend: Backend, tmp_path: Path) -> None:
    trial = spec(values={"algorithm.epochs": 5})
    recorder = Recorder(tmp_path, track=destinations([backend.name], tmp_path))
    prepare(recorder.track)
    first = Trial(trial, digits(), recorder, Placement(checkpoint_seconds=1e9))
    for _ in range(4):
        first.advance()
    first.leave()
    again = Trial(trial, digits(), recorder, EVERY_REPORT)
    again.advance()
    report = again.advance()
    for row in final_rows(report.draft, trial, schema.STOPPED):  # as a sweep's driver ends it
        recorder.trial(trial.key, row)
    again.leave()
    table, seen = curve(tmp_path, trial), backend.read(tmp_path, trial.key)
    assert [row["epoch"] for row in table] == [1, 2]
    steps = [step for step, _ in seen.reports["loss_g"]]
    assert steps == ([1, 2, 3, 4] if backend.keeps_first else [1, 2])
    assert seen.facts["status"] == "STOPPED"


@each_backend
def test_an_interrupted_trial_says_so_until_it_goes_on(backend: Backend, tmp_path: Path) -> None:
    trial = spec(values={"algorithm.epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        tracked(trial, tmp_path, backend, on_report=InterruptAfter(2))
    if backend.name != "tensorboard":  # which shows outcomes only
        assert backend.read(tmp_path, trial.key).facts["status"] == "INTERRUPTED"
    tracked(trial, tmp_path, backend)
    seen = backend.read(tmp_path, trial.key)
    assert seen.facts["status"] == "COMPLETE"
    assert [step for step, _ in seen.reports["coverage"]] == [1, 2, 3]


@each_backend
def test_a_trial_that_failed_at_once_is_there_with_its_error(backend: Backend, tmp_path: Path) -> None:
    trial = spec("confirm")
    recorder = Recorder(tmp_path, track=destinations([backend.name], tmp_path))
    prepare(recorder.track)
    (row,) = run(trial, digits().without_test(), recorder, EVERY_REPORT)
    assert row["status"] == "FAILED"
    seen = backend.read(tmp_path, trial.key)
    assert not seen.reports
    assert (seen.facts["status"], seen.facts["error"]) == ("FAILED", row["error"])


@each_backend
def test_a_finished_run_is_told_as_its_trials_were_and_once_only(
    backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [spec(values={"algorithm.epochs": 2}), spec("confirm", 8, values={"algorithm.epochs": 3})]
    live, later = tmp_path / "live" / "run", tmp_path / "later" / "run"
    for trial in trials:
        tracked(trial, live, backend)
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec("train", 9), live, on_report=InterruptAfter(1))
    shutil.copytree(live, later, ignore=shutil.ignore_patterns("tensorboard", "mlflow.db", "wandb"))
    for _ in range(2):
        assert main(["track", str(later), "--to", backend.name]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{backend.name}: 2 trials in ")
        assert "1 trials have no outcome yet" in err
    for trial in trials:
        assert backend.read(later, trial.key) == backend.read(live, trial.key)


def test_a_run_of_failed_trials_and_an_empty_one_are_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = spec("confirm")
    run(trial, digits().without_test(), Recorder(tmp_path / "failed"), EVERY_REPORT)
    assert not (tmp_path / "failed" / "curves").exists()
    assert main(["track", str(tmp_path / "failed"), "--to", "tensorboard", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    place = str(tmp_path / "failed" / "tensorboard")
    assert told == {"tracker": "tensorboard", "place": place, "trials": 1}
    assert BACKENDS[0].read(tmp_path / "failed", trial.key).facts["status"] == "FAILED"
    (tmp_path / "empty" / "trials").mkdir(parents=True)
    assert main(["track", str(tmp_path / "empty"), "--to", "tensorboard"]) == 0
    assert capsys.readouterr().out.startswith("tensorboard: 0 trials in ")
    assert main(["track", str(tmp_path / "nothing"), "--to", "tensorboard"]) == 2
    assert "is not a run directory" in capsys.readouterr().err


def test_the_files_of_tensorboard_go_where_they_are_asked_for(tmp_path: Path) -> None:
    trial = spec(values={"algorithm.epochs": 1})
    run_trial(trial, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    assert main(["track", str(tmp_path / "run"), "--to", "tensorboard", "-o", str(tmp_path / "elsewhere")]) == 0
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [str(trial.key)]
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_trackers_can_be_several(tmp_path: Path) -> None:
    trial = spec(values={"algorithm.epochs": 2})
    recorder = Recorder(tmp_path, track=destinations([backend.name for backend in BACKENDS], tmp_path))
    prepare(recorder.track)
    run(trial, digits(), recorder, EVERY_REPORT)
    for backend in BACKENDS:
        assert reports(backend.read(tmp_path, trial.key), METRICS) == expected(backend, curve(tmp_path, trial), METRICS)


def test_runs_of_one_study_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two run directories hold the same trial; a store that they share keeps two."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "both")
    trial = spec(values={"algorithm.epochs": 1})
    for name in ("a", "b"):
        tracked(trial, tmp_path / name, next(backend for backend in BACKENDS if backend.name == "mlflow"))
    client = MlflowClient(f"sqlite:///{tmp_path}/shared.db")
    experiment = client.get_experiment_by_name("both")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len({one.data.tags["gansearch.trial"] for one in found}) == 2


def test_dataclasses_that_travel_hold_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-secret-key")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-secret-key")
    for one in destinations([backend.name for backend in BACKENDS], tmp_path):
        assert dataclasses.is_dataclass(one)
        assert "a-secret-key" not in repr(one)
