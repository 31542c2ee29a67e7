"""Reading the tables of one run or of many, by path, URI or wildcard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pytest

from analysis import reading
from analysis.reading import read_curves, read_examples, read_trials
from gansearch import schema, storage
from gansearch.compaction import Compactor
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Recorder
from gansearch.storage import location
from tests.analysis.rows import trial_row, write_run
from tests.object_store import object_store
from tests.trials import spec

BASE = spec().config


def _rows(values: list[tuple[int, str, float]]) -> list[dict[str, Any]]:
    return [trial_row(BASE, seed, "search", value, status=status) for seed, status, value in values]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_run(tmp_path / "a1", _rows([(1, "COMPLETE", 10.0), (2, "COMPLETE", 12.0), (3, "DIVERGED", 0.0)]))
    write_run(tmp_path / "a2", _rows([(1, "COMPLETE", 20.0)]))
    write_run(tmp_path / "b", _rows([(7, "COMPLETE", 30.0)]))
    (tmp_path / "a3").mkdir()
    return tmp_path


def _found(frame: pd.DataFrame) -> list[tuple[str, int]]:
    return [(Path(run).name, int(seed)) for run, seed in zip(frame["run"], frame["seed"], strict=True)]


def test_one_run_many_and_a_wildcard(runs: Path) -> None:
    assert _found(read_trials(runs / "a1")) == [("a1", 1), ("a1", 2), ("a1", 3)]
    assert _found(read_trials([runs / "b", str(runs / "a2"), str(runs / "b")])) == [("b", 7), ("a2", 1)]
    assert _found(read_trials(f"{runs}/a*")) == [("a1", 1), ("a1", 2), ("a1", 3), ("a2", 1)]  # a3 is no run
    assert len(read_trials(f"{runs}/[ab]*")) == 5


def test_relative_wildcards(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    assert _found(read_trials("a?")) == _found(read_trials(f"{runs}/a?"))
    assert list(read_trials("b")["run"]) == ["b"]


def test_a_folder_whose_name_holds_a_wildcard(tmp_path: Path) -> None:
    write_run(tmp_path / "a[1]", _rows([(1, "COMPLETE", 10.0)]))
    assert len(read_trials(f"{tmp_path}/a[1]")) == 1


def test_columns_have_their_types(runs: Path) -> None:
    frame = read_trials(runs / "a1")
    assert list(frame.columns) == ["run", *(c.name for c in schema.TRIALS.columns)]
    kinds = {"string": "string", "int64": "Int64", "bool": "boolean", "float64": "float64"}
    for column in schema.TRIALS.columns:
        if column.type in kinds:
            assert frame[column.name].dtype == kinds[column.type], column.name
    assert frame["scored_epoch"].isna().tolist() == [False, False, True]
    assert frame["scored_epoch"].iloc[0] == 4
    assert str(frame["run_started"].dt.tz) == "UTC"
    chosen = read_trials(runs / "a1", columns=["valid_ll_mean", "seed"])
    assert list(chosen.columns) == ["run", "valid_ll_mean", "seed"]


@pytest.mark.parametrize(
    ("where", "seeds"),
    [
        ([("status", "==", "COMPLETE")], [1, 2]),
        ([("status", "!=", "COMPLETE")], [3]),
        ([("status", "in", ["COMPLETE", "FAILED"]), ("valid_ll_mean", ">", 11)], [2]),
        ([("seed", "not in", (1, 3))], [2]),
        ([("valid_ll_mean", "<", 11.0)], [1]),  # null fits nothing
        ([("seed", ">", 99)], []),
    ],
)
def test_conditions(runs: Path, where: list[reading.Condition], seeds: list[int]) -> None:
    assert read_trials(runs / "a1", where=where)["seed"].tolist() == seeds
    narrow = read_trials(runs / "a1", columns=["config_id"], where=where)
    assert (list(narrow.columns), len(narrow)) == (["run", "config_id"], len(seeds))


def test_conditions_reach_parquet(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow is given the filter with the file, and not its rows to filter."""
    given: list[Any] = []
    real = ds.ParquetFileFormat

    class Noted:
        def __init__(self, **options: Any) -> None:
            self._format = real(**options)

        def make_fragment(self, *source: Any) -> Any:
            self._fragment = self._format.make_fragment(*source)
            return self

        def __getattr__(self, name: str) -> Any:
            return getattr(self._fragment, name)

        def to_table(self, **options: Any) -> Any:
            given.append(options["filter"])
            return self._fragment.to_table(**options)

    monkeypatch.setattr(ds, "ParquetFileFormat", Noted)
    read_trials(runs / "b", where=[("seed", "==", 7)])
    assert len(given) == 1
    assert given[0].equals(ds.field("seed") == 7)


def test_a_part_counts_before_a_compacted_file_whatever_the_condition(tmp_path: Path) -> None:
    write_run(tmp_path, _rows([(seed, "FAILED", 0.0) for seed in range(4)]))
    storage.write_json(RunPaths(tmp_path).claim("c1"), {})
    compactor = Compactor(tmp_path, "c1", batch=4)
    protocol = read_trials(tmp_path)["protocol_id"].iloc[0]
    for seed in range(4):
        compactor.ended(TrialKey(BASE.config_id, seed, "search"), [protocol])
    compactor.close()
    assert len(list((tmp_path / "trials").glob("*.parquet"))) == 1
    write_run(tmp_path, _rows([(2, "COMPLETE", 5.0)]))
    assert read_trials(tmp_path, where=[("status", "==", "FAILED")])["seed"].tolist() == [0, 1, 3]
    assert read_trials(tmp_path, where=[("status", "==", "COMPLETE")])["seed"].tolist() == [2]


def test_a_condition_on_a_column_that_came_later_than_the_part(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    old = Path(__file__).parents[1] / "data" / "trials-v1.parquet"
    (tmp_path / "trials" / "old.parquet").write_bytes(old.read_bytes())
    everything = read_trials(tmp_path)
    assert everything["number"].isna().all()
    assert len(read_trials(tmp_path, where=[("number", "==", 1)])) == 0
    both = [("status", "==", everything["status"].iloc[0])]
    assert len(read_trials(tmp_path, columns=["number", "seed"], where=both)) >= 1


def test_curves_and_examples_of_runs_that_may_lack_them(runs: Path) -> None:
    key = TrialKey(BASE.config_id, 1, "search")
    identity = {"config_id": key.config_id, "seed": 1, "stage": "search", "fold": 0}
    Recorder(runs / "a1").table(schema.CURVES, key, [{**identity, "epoch": e, "loss_d": 0.5} for e in (1, 2, 3)])
    assert read_curves(f"{runs}/a*", where=[("epoch", ">=", 2)])["epoch"].tolist() == [2, 3]
    with pytest.raises(ResultsError, match="none of the runs has the table examples"):
        read_examples(f"{runs}/a*")


def test_runs_on_an_object_store(runs: Path) -> None:
    with object_store() as store:
        for name in ("a1", "b"):
            for part in (runs / name / "trials").glob("*.parquet"):
                storage.write_bytes(location(f"{store.uri}/all/{name}/trials/{part.name}"), part.read_bytes())
        here, there = read_trials([runs / "a1", runs / "b"]), read_trials(f"{store.uri}/all/*")
        pd.testing.assert_frame_equal(there.drop(columns="run"), here.drop(columns="run"))
        assert there["run"].unique().tolist() == [f"{store.uri}/all/a1", f"{store.uri}/all/b"]
        mixed = read_trials([f"{store.uri}/all/b", runs / "b"], where=[("seed", "==", 7)])
        assert len(mixed) == 2


def test_damaged_parts_are_named_or_left_out(runs: Path) -> None:
    part = next((runs / "a1" / "trials").glob("*-2-search-*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(ResultsError, match="is damaged"):
        read_trials(f"{runs}/a*")
    frame = read_trials(f"{runs}/a*", skip_damaged=True, where=[("status", "==", "COMPLETE")])
    assert _found(frame) == [("a1", 1), ("a2", 1)]
    assert frame.attrs["skipped"] == [str(part)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["seeed"]}, "no column 'seeed'"),
        ({"columns": ["run"]}, "the column run is always there"),
        ({"where": [("seeed", "==", 1)]}, "no column 'seeed'"),
        ({"where": [("seed", "=", 1)]}, "'=' is no operator"),
        ({"where": [("seed", "in", 1)]}, "takes a collection"),
        ({"where": [("status", "in", "COMPLETE")]}, "takes a collection"),
        ({"where": [("seed", "==")]}, "a condition is"),
    ],
)
def test_what_cannot_be_read_is_told(runs: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        read_trials(runs / "a1", **options)


@pytest.mark.parametrize("given", ["none*", "a3*", []])
def test_nothing_that_is_named_is_told(runs: Path, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    with pytest.raises(ResultsError, match=r"names no run directory|no run is given|is not a run"):
        read_trials(given)


def test_what_is_no_run_is_told(runs: Path) -> None:
    with pytest.raises(ResultsError, match="is not a run directory"):
        read_trials(runs / "a3")
