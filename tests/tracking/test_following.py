"""Whatever becomes of a tracker, the trial goes on; what cannot work is said before anything runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import socket
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from gansearch.cli import main
from gansearch.errors import ConfigError, ResourceError, ResultsError
from gansearch.object_store import Base, RemotePath
from gansearch.recorder import Recorder
from gansearch.search.study import Study
from gansearch.tracking import following
from gansearch.tracking.destinations import NAMES, destinations, tracker_names
from gansearch.tracking.interface import Row
from gansearch.trial import Trial, run
from tests.search.small_studies import plan, study
from tests.trials import EVERY_REPORT, digits, outcome, run_trial, spec

# MLflow's own mapping uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

TRIAL = spec(values={"algorithm.epochs": 4})


class Failing:
    """A tracker that fails at one of its calls, and counts how often it was called."""

    def __init__(self, at: str, error: BaseException) -> None:
        self._at, self._error = at, error
        self.calls: list[str] = []

    @property
    def name(self) -> str:
        return "elsewhere"

    @property
    def place(self) -> str:
        return "nowhere"

    def prepare(self) -> None:
        pass

    def start(self, draft: Row) -> Failing:
        self._call("start")
        return self

    def report(self, row: Row) -> None:
        self._call("report")

    def end(self, rows: Sequence[Row]) -> None:
        self._call("end")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._at:
            raise self._error


@pytest.mark.parametrize(
    ("at", "calls"), [("start", ["start"]), ("report", ["start", "report"]), ("end", ["start", *4 * ["report"], "end"])]
)
def test_a_tracker_that_fails_is_left_with_one_warning(
    at: str, calls: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(at, OSError("the service is\naway"))
    (row,) = run(TRIAL, digits(), Recorder(tmp_path / "tracked", track=(failing,)), EVERY_REPORT)
    assert failing.calls == calls
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"trial {TRIAL.key} cannot be followed in elsewhere: OSError: the service is away"
    ]
    (alone,) = run_trial(TRIAL, tmp_path / "alone")
    assert outcome(row) == outcome(alone)


def test_a_tracker_that_hangs_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "END_SECONDS", 0.3)
    released = threading.Event()

    class Hanging(Failing):
        def report(self, row: Row) -> None:
            assert released.wait(60)

    try:
        (row,) = run(TRIAL, digits(), Recorder(tmp_path, track=(Hanging("never", OSError()),)), EVERY_REPORT)
        assert row["status"] == "COMPLETE"
        (record,) = caplog.records
        assert "elsewhere has not taken all of it within 0 s" in record.getMessage()
    finally:
        released.set()


def test_a_server_that_is_away_costs_the_trial_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recorder = Recorder(tmp_path, track=destinations(["mlflow"], tmp_path))
    (row,) = run(TRIAL, digits(), recorder, EVERY_REPORT)
    assert row["status"] == "COMPLETE"
    warned = [record.getMessage() for record in caplog.records if record.name == following.__name__]
    assert len(warned) == 1
    assert "cannot be followed in mlflow: " in warned[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_is_said_in_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec

    def found(wanted: str, package: str | None = None) -> ModuleSpec | None:
        return None if wanted == name else find(wanted, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    with pytest.raises(ResourceError, match=f"in {name}: the package is not installed"):
        destinations([name], tmp_path)
    (tmp_path / "small.yaml").write_text("config: {dataset: {name: digits}}\n")
    out = tmp_path / "run"
    assert main(["train", str(tmp_path / "small.yaml"), "--out", str(out), "--track", name]) == 2
    shown, err = capsys.readouterr()
    assert not shown
    assert err == (
        f"error: trials cannot be followed in {name}: the package is not installed\n"
        "hint: pip install 'gansearch[tracking]'\n"
    )
    assert not out.exists()


def test_a_worker_leaves_the_trial_that_another_replaces(tmp_path: Path) -> None:
    """Tune ends trials and lets them wait without a word to the worker, and gives it the next one."""
    from gansearch import schema
    from gansearch.rows import draft_row, final_rows
    from gansearch.search.searchers import SPEC
    from gansearch.search.worker import TrialWorker

    ends: list[list[str]] = []

    class Noting(Failing):
        def end(self, rows: Sequence[Row]) -> None:
            ends.append([row["status"] for row in rows])

    recorder = Recorder(tmp_path, track=(Noting("never", OSError()),))
    worker = TrialWorker.__new__(TrialWorker)
    worker.setup({SPEC: TRIAL.to_dict()}, recorder, digits(), EVERY_REPORT)
    worker.step()
    worker.reset_config({SPEC: spec(seed=8).to_dict()})
    assert ends == [[]], "nobody has written a row of it"
    worker.step()
    (row,) = final_rows(draft_row(spec(seed=8), digits().digests), spec(seed=8), schema.STOPPED, error="stopped")
    recorder.trial(spec(seed=8).key, row)
    worker.cleanup()
    assert ends == [[], [schema.STOPPED]]
    worker.reset_config({SPEC: spec(seed=9).to_dict()})
    worker.cleanup()
    assert len(ends) == 2, "the last never began"


def test_a_trial_that_makes_its_last_report_again_is_followed_from_there(tmp_path: Path) -> None:
    """A resumed sweep's scheduler may end it at that report."""
    noting = Failing("never", OSError())
    first = Trial(TRIAL, digits(), Recorder(tmp_path), EVERY_REPORT)
    first.advance()
    first.advance()
    again = Trial(TRIAL, digits(), Recorder(tmp_path, track=(noting,)), EVERY_REPORT)
    assert again.advance(repeat=True).epoch == 2
    again.leave()
    assert noting.calls == ["start", "report", "report", "end"]


def test_names_are_checked() -> None:
    assert tracker_names("wandb, tensorboard,wandb") == ("wandb", "tensorboard")
    assert tracker_names(["mlflow"]) == ("mlflow",)
    with pytest.raises(ConfigError, match=r"no tracker 'tensorbord'.*did you mean 'tensorboard'"):
        tracker_names("tensorbord")
    with pytest.raises(ConfigError, match="must be a list of trackers, got 3"):
        tracker_names(3)
    with pytest.raises(ConfigError, match="must be a list"):
        tracker_names({"tensorboard": True})


def test_a_study_says_where_its_trials_are_followed_and_is_the_same_study() -> None:
    followed = study(track=["tensorboard", "wandb"])
    assert followed.track == ("tensorboard", "wandb")
    assert Study.parse(followed.to_dict(), "small") == followed
    assert followed.digest == study().digest
    assert followed.base.config_id == study().base.config_id
    assert study().with_options(track=("mlflow",)) == dataclasses.replace(study(), track=("mlflow",))
    with pytest.raises(ConfigError, match=r"no tracker 'mlfow'.*did you mean 'mlflow'"):
        Study.parse(plan(track=["mlfow"]), "small")


def test_the_command_line_offers_the_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "quickstart", "--out", str(tmp_path / "run"), "--track", "tensorboard,wandbb"]) == 2
    assert capsys.readouterr().err == "error: there is no tracker 'wandbb'\nhint: did you mean 'wandb'?\n"
    assert main(["track", str(tmp_path), "--to", "mlflow", "-o", "there"]) == 2
    assert "-o is the directory of TensorBoard's files" in capsys.readouterr().err


def test_what_has_no_place_on_an_object_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    away: Any = RemotePath(Base("s3", ""), "bucket/runs/mnist")
    with pytest.raises(ResultsError, match=r"event files cannot be written to s3://bucket/runs/mnist.*gansearch track"):
        destinations(["tensorboard"], away)
    with pytest.raises(ResultsError, match="set MLFLOW_TRACKING_URI"):
        destinations(["mlflow"], away)
    with pytest.raises(ResultsError, match="set WANDB_DIR"):
        destinations(["wandb"], away)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    monkeypatch.setenv("WANDB_MODE", "online")
    mlflow, wandb = destinations(["mlflow", "wandb"], away)
    assert mlflow.place == "http://tracker:5000, experiment mnist"
    assert wandb.place == "project gansearch, group mnist"
