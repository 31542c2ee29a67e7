"""A search as an Optuna study: in a storage, loaded again, and opened by Optuna Dashboard."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import threading
import urllib.request
import warnings
import wsgiref.simple_server
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from analysis.optuna_studies import METRIC, STATES, Exported, export, frozen_trials
from analysis.search_rows import read_search, search_reports
from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.search.history import row_config
from gansearch.search.space import Space
from tests.analysis.rows import config
from tests.analysis.search_runs import SPACE, mixed_rows, search_row, some_configs, write_search


def _run(folder: Path, name: str = "run") -> Path:
    rows, curves = mixed_rows()
    return write_search(folder / name, rows, curves=curves)


def _load(storage: str, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)


def test_a_storage_holds_every_trial_with_an_outcome(tmp_path: Path) -> None:
    run = _run(tmp_path)
    made = export(run, str(tmp_path / "study.db"))
    assert made == Exported(
        storage=f"sqlite:///{tmp_path}/study.db",
        study="run",
        states={"COMPLETE": 9, "PRUNED": 1, "FAIL": 3},
        left_out=1,
        skipped=(),
    )
    study = _load(made.storage, "run")
    search, reports = read_search(run), search_reports(run)
    rows, _ = mixed_rows()
    space = Space.parse(SPACE, config())
    assert (study.direction.name, study.metric_names) == ("MAXIMIZE", [METRIC])
    assert {k: study.user_attrs[k] for k in ("run", "searcher", "scheduler")} == {
        "run": "run",
        "searcher": "random",
        "scheduler": "asha",
    }
    tried = [t for t in search.trials if t.status in STATES]
    assert len(study.trials) == len(tried) == 13
    by_number = {row["number"]: row for row in rows}
    for found, trial in zip(study.trials, tried, strict=True):
        row = by_number[trial.number]
        assert found.state is STATES[trial.status]
        assert found.value == (None if found.state is TrialState.FAIL else row["report_ll_mean"])
        assert found.params == space.encode(space.point(row_config(row)))
        assert found.intermediate_values == dict(reports[trial.key])
        assert found.user_attrs["config_id"] == row["config_id"]
        assert (found.user_attrs["seed"], found.user_attrs["status"]) == (row["seed"], row["status"])
        assert found.user_attrs.get("valid_ll_mean") == row.get("valid_ll_mean")
        assert found.user_attrs.get("error") == row["error"]
        assert found.datetime_start is not None
        assert found.datetime_start.astimezone() == row["run_started"]
        assert found.duration == datetime.timedelta(seconds=row["run_seconds"])
    best = max(r["report_ll_mean"] for r in rows if r["status"] == schema.COMPLETE)
    assert study.best_value == best


def test_distributions_are_those_that_the_search_suggests(tmp_path: Path) -> None:
    run = _run(tmp_path)
    study = _load(export(run, str(tmp_path / "study.db")).storage, "run")
    space = Space.parse(SPACE, config())
    asked = optuna.create_study()
    wanted: dict[str, Any] = {}
    for _ in range(20):
        trial = asked.ask()
        space.suggest(trial)
        wanted |= trial.distributions
    found: dict[str, Any] = {}
    for frozen in study.trials:
        found |= frozen.distributions
    assert found == wanted
    assert set(found) == {name for name in SPACE if name != "noise.dim"}


def test_a_journal_holds_the_same_as_a_database(tmp_path: Path) -> None:
    run = _run(tmp_path)
    made = export(run, str(tmp_path / "study.log"))
    assert made.storage == str(tmp_path / "study.log")
    journal = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(made.storage))
    study = optuna.load_study(study_name="run", storage=journal)
    other = _load(export(run, str(tmp_path / "study.db")).storage, "run")
    assert [(t.state, t.value, t.params, t.user_attrs, t.intermediate_values) for t in study.trials] == [
        (t.state, t.value, t.params, t.user_attrs, t.intermediate_values) for t in other.trials
    ]
    with pytest.raises(ResultsError, match="has a study 'run' already"):
        export(run, made.storage)
    export(run, made.storage, name="again")
    assert set(optuna.get_all_study_names(journal)) == {"run", "again"}


def test_a_second_study_stands_beside_the_first_and_one_of_the_same_name_is_refused(tmp_path: Path) -> None:
    run, storage = _run(tmp_path), f"sqlite:///{tmp_path / 'study.db'}"
    export(run, storage)
    with pytest.raises(ResultsError, match="has a study 'run' already") as refused:
        export(run, storage)
    assert "--study-name" in str(refused.value.hint)
    export(run, storage, name="again")
    assert {s.study_name: s.n_trials for s in optuna.get_all_study_summaries(storage)} == {"run": 13, "again": 13}
    assert _load(storage, "again").best_value == _load(storage, "run").best_value


def test_a_study_that_cannot_be_written_whole_is_removed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, storage = _run(tmp_path), f"sqlite:///{tmp_path / 'study.db'}"
    export(run, storage)
    add = optuna.Study.add_trial
    added: list[optuna.trial.FrozenTrial] = []

    def fail_at_the_fifth(self: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if len(added) == 4:
            raise OSError(28, "No space left on device")
        added.append(trial)
        add(self, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", fail_at_the_fifth)
    with pytest.raises(ResultsError, match="cannot be written: No space left on device"):
        export(run, storage, name="again")
    assert optuna.get_all_study_names(storage) == ["run"]
    added.clear()
    with pytest.raises(ResultsError, match="cannot be written"):
        export(run, str(tmp_path / "new" / "other.db"))
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("storage", ["nonsense://x", "mysql://nobody@localhost/none", "sqlite:////proc/no/study.db"])
def test_a_storage_that_cannot_be_used_is_told_in_a_sentence(storage: str, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"the storage .* cannot be") as told:
        export(_run(tmp_path), storage)
    assert "\n" not in told.value.message


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database")
    with pytest.raises(ResultsError, match="file is not a database"):
        export(_run(tmp_path), str(tmp_path / "study.db"))
    assert (tmp_path / "study.db").read_text() == "no database"


def test_values_outside_the_plan_are_refused(tmp_path: Path) -> None:
    rows = [search_row(i, 1.0 + i, trial) for i, trial in enumerate(some_configs(4))]
    run = write_search(tmp_path / "run", rows, space={"algorithm.k": {"int": [1, 2]}})
    with pytest.raises(ResultsError, match=r"has algorithm\.k = 3, outside the plan's space"):
        export(run, str(tmp_path / "study.db"))


def test_a_run_without_a_plan_is_refused(tmp_path: Path) -> None:
    run = write_search(tmp_path / "run", [search_row(0, 1.0, config())], space=None)
    with pytest.raises(ResultsError, match="what was searched is not known"):
        export(run, str(tmp_path / "study.db"))


def test_a_completed_trial_without_a_report_is_refused(tmp_path: Path) -> None:
    rows = [search_row(0, None, config(), valid_ll_mean=3.0)]
    with pytest.raises(ResultsError, match="is COMPLETE without a report"):
        frozen_trials(read_search(write_search(tmp_path / "run", rows)))


@contextlib.contextmanager
def _dashboard(storage: str) -> Iterator[str]:
    """Serve Optuna Dashboard of a storage on the loopback; yield its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from optuna_dashboard import wsgi
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = wsgiref.simple_server.make_server("127.0.0.1", port, wsgi(storage))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _get(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_dashboard_shows_the_same_numbers(tmp_path: Path) -> None:
    run = _run(tmp_path)
    storage = export(run, str(tmp_path / "study.db")).storage
    study = _load(storage, "run")
    with _dashboard(storage) as address:
        (summary,) = _get(f"{address}/api/studies")["study_summaries"]
        assert summary["study_name"] == "run"
        assert summary["directions"] == ["maximize"]
        shown = _get(f"{address}/api/studies/{summary['study_id']}")
        with urllib.request.urlopen(f"{address}/dashboard/") as page:
            assert b"Optuna Dashboard" in page.read()
    assert len(shown["trials"]) == len(study.trials)
    for seen, trial in zip(shown["trials"], study.trials, strict=True):
        assert seen["state"].lower() == trial.state.name.lower()
        assert seen.get("values") == (None if trial.value is None else [trial.value])
        values = {v["step"]: v["value"] for v in seen["intermediate_values"]}
        assert values == trial.intermediate_values
        params = {p["name"]: p["param_external_value"] for p in seen["params"]}
        assert params == {name: str(value) for name, value in trial.params.items()}
        attributes = {a["key"]: a["value"] for a in seen["user_attrs"]}
        assert attributes == {k: v if isinstance(v, str) else json.dumps(v) for k, v in trial.user_attrs.items()}
