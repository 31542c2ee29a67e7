"""Sweeps whose run directory is on an object store, and what becomes of rows while that is away."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gansearch import outbox, parts, schema, storage
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Checkpoint, Recorder
from gansearch.search.lease import held
from gansearch.storage import location
from gansearch.yaml_files import dump_yaml
from tests.object_store import ObjectStore
from tests.search.small_studies import plan

AWAY_SECONDS = 60.0
KEY = TrialKey("0123456789ab", 7, "search")
ROW = {
    **{"schema_version": schema.VERSION, "config_id": KEY.config_id, "seed": 7, "stage": "search", "fold": 0},
    **{"protocol_id": "full-1", "replicate": 0, "status": schema.COMPLETE, "valid_ll_mean": 3.5},
    **dict.fromkeys(("cfg_json", "protocol_json", "report_protocol_json"), "{}"),
}
CURVE = [{"config_id": KEY.config_id, "seed": 7, "stage": "search", "fold": 0, "epoch": 1, "report_ll_mean": 2.5}]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_rows_wait_on_disk_and_are_delivered(store: ObjectStore, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = location(f"{store.uri}/run")
    recorder = Recorder(run, patience=1.0)
    store.wire.cut()
    with pytest.raises(ResultsError, match="rows wait in") as found:
        recorder.trial(KEY, ROW)
    with pytest.raises(ResultsError, match="rows wait in"):
        recorder.table(schema.CURVES, KEY, CURVE)
    with pytest.raises(ResultsError, match="NETWORK_CONNECTION"):
        outbox.deliver(run)
    assert f"gansearch resume {run}" in str(found.value.hint)
    assert "trying again" in caplog.text
    assert len(_files(cache)) == 2
    store.wire.mend()
    assert outbox.deliver(run) == 2
    assert _files(cache) == []
    assert recorder.rows(KEY, ["full-1"])[0]["valid_ll_mean"] == 3.5
    assert [row["report_ll_mean"] for row in recorder.read_table(schema.CURVES, KEY)] == [2.5]
    assert outbox.deliver(run) == 0


def test_a_trial_that_ended_elsewhere_keeps_its_rows(store: ObjectStore, cache: Path) -> None:
    run = location(f"{store.uri}/run")
    store.wire.cut()
    with pytest.raises(ResultsError, match="cannot write"):
        Recorder(run).trial(KEY, ROW)
    assert len(_files(cache)) == 0  # without patience nothing is kept
    with pytest.raises(ResultsError, match="rows wait"):
        Recorder(run, patience=0.6).trial(KEY, ROW)
    with pytest.raises(ResultsError, match="rows wait"):
        Recorder(run, patience=0.6).table(schema.CURVES, KEY, CURVE)
    store.wire.mend()
    elsewhere = RunPaths(run).part("trials", KEY, "full-1")
    parts.write_part(elsewhere, schema.TRIALS, [{**ROW, "valid_ll_mean": 9.5}])
    assert len(_files(cache)) == 2
    assert outbox.deliver(run) == 0
    assert Recorder(run).rows(KEY, ["full-1"])[0]["valid_ll_mean"] == 9.5
    assert _files(cache) == []


def test_rows_that_are_no_outcome_do_not_wait_for_long(store: ObjectStore, cache: Path) -> None:
    run = location(f"{store.uri}/run")
    store.wire.cut()
    with pytest.raises(ResultsError):
        Recorder(run, patience=0.6).trial(KEY, {**ROW, "status": schema.RUNNING})
    store.wire.mend()
    assert outbox.deliver(run) == 0
    assert Recorder(run).rows(KEY, ["full-1"]) == []


def test_a_short_absence_is_waited_for(store: ObjectStore, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = location(f"{store.uri}/run")
    recorder = Recorder(run, patience=60.0)

    class Mender(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            store.wire.mend()

    log, mender = logging.getLogger("gansearch.recorder"), Mender()
    log.addHandler(mender)
    try:
        acts: tuple[Callable[[], object], ...] = (
            lambda: recorder.trial(KEY, ROW),
            lambda: recorder.save_checkpoint(KEY, Checkpoint({}, {"epochs": 4})),
            lambda: recorder.load_checkpoint(KEY),
            lambda: recorder.drop_checkpoint(KEY),
        )
        for act in acts:
            store.wire.cut()
            caplog.clear()
            act()
            assert "trying again" in caplog.text
    finally:
        log.removeHandler(mender)
    assert recorder.rows(KEY, ["full-1"])[0]["status"] == schema.COMPLETE
    assert recorder.load_checkpoint(KEY) is None
    assert _files(cache) == []


def test_one_driver_at_a_time_on_an_object_store(store: ObjectStore) -> None:
    run = location(f"{store.uri}/run")
    with held(run) as lease:
        with pytest.raises(ResultsError, match=f"{run} is held by another driver: process {os.getpid()}"), held(run):
            raise AssertionError("held twice")
        assert not lease.lost
        paths = RunPaths(run)
        claim = json.loads(paths.claim(lease.claim.id).read_text())
        dead = {**claim, "id": "dead", "pid": 2**22 + 1}  # above any process id
        storage.write_json(paths.claim("dead"), dead)
        Recorder(run, lease.claim.id).trial(KEY, ROW)
        with pytest.raises(ResultsError, match="another driver holds"):
            Recorder(run, "gone").trial(KEY, ROW)
    with held(run):
        assert len(list(RunPaths(run).claims.glob("*.json"))) == 1
    assert list(RunPaths(run).claims.glob("*.json")) == []


def test_a_full_disk_is_waited_for(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: the first try of each write finds no space."""
    import errno

    write, tries = storage.write, [0]

    def full_at_first(place: Any, make: Any) -> None:
        tries[0] += 1
        if tries[0] <= 2:  # in the run and in the outbox
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(place, make)

    monkeypatch.setattr(storage, "write", full_at_first)
    recorder = Recorder(tmp_path / "run", patience=30.0)
    recorder.trial(KEY, ROW)
    assert tries[0] == 3
    assert recorder.rows(KEY, ["full-1"])[0]["valid_ll_mean"] == 3.5


def _gansearch(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gansearch.cli", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=400
    )


def _study(folder: Path, **changes: Any) -> str:
    path = folder / "small.yaml"
    path.write_text(dump_yaml(plan(**changes)))
    return str(path)


def _rows(uri: str, table: str = "trials") -> pd.DataFrame:
    """Return a table as a user reads it who has none of this project's code."""
    frame: pd.DataFrame = pq.read_table(f"{uri}/{table}").to_pandas()
    return frame


def _one_row_each(uri: str, statuses: Sequence[str]) -> pd.DataFrame:
    rows = _rows(uri)
    assert not rows.duplicated(["config_id", "seed", "stage", "fold", "protocol_id"]).any()
    assert set(rows["status"]) <= set(statuses), rows[["stage", "status", "error"]]
    return rows


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_on_an_object_store_and_every_command_on_it(store: ObjectStore, tmp_path: Path) -> None:
    run = f"{store.uri}/runs/a"
    ended = _gansearch("sweep", _study(tmp_path), "--out", run)
    assert ended.returncode == 0, ended.stderr
    rows = _one_row_each(run, [schema.COMPLETE, schema.DIVERGED])
    assert sorted(rows["stage"].unique()) == ["confirm", "search"]
    shown = {name: _gansearch(name, run) for name in ("status", "best", "table1", "finalists")}
    assert {name: found.returncode for name, found in shown.items()} == dict.fromkeys(shown, 0), shown
    assert "done" in shown["status"].stdout
    sheet = tmp_path / "sheet.png"
    assert _gansearch("sample", run, "-o", str(sheet)).returncode == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    again = _gansearch("sweep", _study(tmp_path), "--out", run)
    assert again.returncode == 2
    assert f"error: {run} already holds a sweep" in again.stderr.splitlines()
    more = _gansearch("resume", run, "--num-trials", "5")
    assert more.returncode == 0, more.stderr
    search = _one_row_each(run, [schema.COMPLETE, schema.DIVERGED]).query("stage == 'search'")
    assert len(search) == 5
    assert set(rows["config_id"]) <= set(_rows(run)["config_id"])
    warm = _study(tmp_path, searcher="tpe", num_trials=2, start_from=[run], confirm={"seeds": 0})
    learned = _gansearch("sweep", warm, "--out", f"{store.uri}/runs/b")
    assert learned.returncode == 0, learned.stderr
    assert f"{run}: 5 search trials have an outcome" in learned.stderr
    stray = [str(path) for path in location(run).glob("*") if path.name.startswith(".")]
    assert stray == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_population_hands_checkpoints_on_through_an_object_store(store: ObjectStore, tmp_path: Path) -> None:
    run = f"{store.uri}/runs/pbt"
    space = {"adam.lr_g": {"loguniform": [0.0001, 0.01]}}
    scheduler = {"name": "pbt", "interval_epochs": 2}
    study = _study(tmp_path, space=space, scheduler=scheduler, num_trials=4, epochs=8, confirm={"seeds": 0})
    ended = _gansearch("sweep", study, "--out", run)
    assert ended.returncode == 0, ended.stderr
    rows = _one_row_each(run, [schema.COMPLETE, schema.STOPPED, schema.DIVERGED])
    assert rows["parent_id"].notna().any()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_storage_that_is_away_for_a_minute_costs_a_minute(store: ObjectStore, tmp_path: Path) -> None:
    run = f"{store.uri}/runs/away"
    study = _study(tmp_path, epochs=150, num_trials=4, resources={"cpu": 1}, max_concurrent=2)
    process = subprocess.Popen(
        [sys.executable, "-m", "gansearch.cli", "sweep", study, "--out", run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    try:
        until = time.monotonic() + 180
        while not (location(run) / "curves").is_dir():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.5)
        store.wire.cut()
        time.sleep(AWAY_SECONDS)
        assert process.poll() is None, process.communicate()
        store.wire.mend()
        _, err = process.communicate(timeout=500)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 0, err
    rows = _one_row_each(run, [schema.COMPLETE, schema.DIVERGED])
    assert len(rows[rows["stage"] == "search"]) == 4
    curves = _rows(run, "curves")
    counts = curves.groupby(["config_id", "seed"])["epoch"].agg(["count", "max"])
    assert (counts["count"] == counts["max"]).all()
    assert json.loads((location(run) / "progress.json").read_text())["stage"] == "done"
    assert _files(tmp_path / "cache") == []


@pytest.mark.slow
def test_a_store_without_credentials_is_one_sentence(store: ObjectStore, tmp_path: Path) -> None:
    """The store is there, and takes whatever credentials it is given; here there are none."""
    named = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    env = {name: value for name, value in os.environ.items() if name not in named} | {"HOME": str(tmp_path)}
    run = f"{store.uri}/runs/a"
    command = [sys.executable, "-m", "gansearch.cli", "sweep", _study(tmp_path), "--out", run]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=100)
    assert ended.returncode == 2
    first, hint = ended.stderr.splitlines()[-2:]
    assert first.startswith(f"error: {run} can be written, but not used: ")  # the server asks no names of a writer
    assert "ACCESS_DENIED" in first
    assert "credentials in the environment" in hint
    assert "Traceback" not in ended.stderr
