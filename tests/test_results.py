"""The tables' files: whole or not at all, explicit schema, damage found and named."""

from __future__ import annotations

import datetime
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch import parts, results, schema, storage
from gansearch.errors import ResultsError
from gansearch.recorder import Recorder

DATA = Path(__file__).parent / "data"

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(exclude_categories=["Cs"])),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "binary": st.binary(),
    "timestamp": st.datetimes(min_value=datetime.datetime(1970, 1, 2), max_value=datetime.datetime(2200, 1, 1)).map(
        lambda d: d.replace(tzinfo=datetime.UTC)
    ),
}


@st.composite
def _any_row(draw: st.DrawFn) -> tuple[schema.Table, dict[str, Any]]:
    table = draw(st.sampled_from(sorted(schema.TABLES.values(), key=lambda t: t.name)))
    values = {}
    for column in table.columns:
        if column.nullable and not draw(st.booleans()):
            continue
        values[column.name] = draw(_VALUES[column.type])
    return table, values


def _trial(seed: int, **values: object) -> dict[str, object]:
    """Return the least that a trial's row must hold."""
    required: dict[str, object] = {
        "schema_version": schema.VERSION,
        "config_id": "00c0ffee0000",
        "seed": seed,
        "stage": "search",
        "fold": 0,
        "protocol_id": "full-1",
        "replicate": 0,
        "status": schema.FAILED,
        "cfg_json": "{}",
        "protocol_json": "{}",
        "report_protocol_json": "{}",
    }
    return required | values


def _run(tmp_path: Path, rows: int = 3) -> Path:
    for seed in range(rows):
        parts.write_part(tmp_path / "trials" / f"t{seed}.parquet", schema.TRIALS, [_trial(seed)])
    return tmp_path


@given(_any_row())
def test_a_row_comes_back_exactly_with_null_for_what_it_lacks(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[schema.Table, dict[str, Any]]
) -> None:
    table, row = made
    path = tmp_path_factory.getbasetemp() / "round-trip" / table.name / "part.parquet"
    parts.write_part(path, table, [row])
    assert parts.read_part(path, table) == [{c.name: row.get(c.name) for c in table.columns}]


@pytest.mark.parametrize("table", schema.TABLES.values(), ids=lambda t: t.name)
def test_a_part_explains_itself(tmp_path: Path, table: schema.Table) -> None:
    path = tmp_path / "part.parquet"
    parts.write_part(path, table, [])
    found = pq.read_schema(path)
    assert found.names == [c.name for c in table.columns]
    assert found.metadata[b"gansearch.schema_version"] == str(schema.VERSION).encode()
    for column in table.columns:
        field = found.field(column.name)
        assert field.nullable == column.nullable
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"doc"].decode() == column.doc


def test_plain_pandas_reads_parts_of_nulls_beside_parts_of_text_and_a_leftover(tmp_path: Path) -> None:
    parts.write_part(tmp_path / "trials" / "a.parquet", schema.TRIALS, [_trial(1)])
    parts.write_part(
        tmp_path / "trials" / "b.parquet", schema.TRIALS, [_trial(2, error="out of memory", collapsed=True, valid_n=7)]
    )
    (tmp_path / "trials" / ".c.parquet.0123.tmp").write_bytes(b"PAR1 half a file")
    frame = pd.read_parquet(tmp_path / "trials")
    assert frame["seed"].tolist() == [1, 2]
    assert frame["error"].isna().tolist() == [True, False]
    last = frame[["error", "collapsed", "valid_n"]].iloc[-1]
    assert last.tolist() == ["out of memory", True, 7]
    assert results.read(tmp_path, "trials")["seed"].tolist() == [1, 2]


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    frame = results.read(tmp_path, "trials")
    assert frame.empty
    assert list(frame.columns) == [c.name for c in schema.TRIALS.columns]


def test_read_gives_the_columns_asked_for_in_that_order(tmp_path: Path) -> None:
    frame = results.read(_run(tmp_path), "trials", columns=["status", "seed"])
    assert frame.to_dict("list") == {"status": [schema.FAILED] * 3, "seed": [0, 1, 2]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_trial(1, valid_llmean=3.0), "no column valid_llmean"),
        ({k: v for k, v in _trial(1).items() if k != "stage"}, "lacks stage"),
        (_trial(1, status=None), "lacks status"),
        (_trial(1, valid_n="many"), "valid_n cannot hold"),
        (_trial(1, valid_n=2.5), "valid_n cannot hold"),
        (_trial(1, error=3), "error cannot hold"),
        (_trial(1, run_started=datetime.datetime(2026, 1, 2)), "run_started needs a time zone"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_leaves_no_file(
    tmp_path: Path, row: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parts.write_part(tmp_path / "trials" / "a.parquet", schema.TRIALS, [row])
    assert list(tmp_path.rglob("*.*")) == []


def test_two_rows_of_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share one key"):
        parts.write_part(tmp_path / "a.parquet", schema.TRIALS, [_trial(4), _trial(4, valid_n=9)])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_part_is_named_and_the_rest_can_be_read(tmp_path: Path, share: float) -> None:
    run = _run(tmp_path)
    part = run / "trials" / "t1.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ResultsError, match=r"trials/t1\.parquet is damaged") as caught:
        results.read(run, "trials")
    assert caught.value.hint is not None
    assert "--skip-damaged" in caught.value.hint
    rest = results.read(run, "trials", skip_damaged=True)
    assert rest["seed"].tolist() == [0, 2]
    assert rest.attrs["skipped"] == [str(part)]


def test_changed_bytes_among_the_values_are_found(tmp_path: Path) -> None:
    """A flipped byte raises ResultsError or leaves the values as they were: never other values.

    The footer, which ends with its length and four letters, has no checksum in Parquet.
    """
    path = tmp_path / "trials" / "t.parquet"
    row = _trial(5, valid_ll_mean=123.456, error="why")
    parts.write_part(path, schema.TRIALS, [row])
    whole, right = path.read_bytes(), parts.read_part(path, schema.TRIALS)
    values = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    found = 0
    places = range(4, values, 11)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            now = parts.read_part(path, schema.TRIALS)
        except ResultsError:
            found += 1
        else:
            assert now == right
    assert len(places) / 10 < found < len(places)


def test_nothing_is_skipped_where_nothing_is_damaged(tmp_path: Path) -> None:
    assert results.read(_run(tmp_path), "trials", skip_damaged=True).attrs["skipped"] == []


def _rewrite(path: Path, change: Any) -> None:
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace_schema_metadata({"gansearch.schema_version": "0"}), "has schema version 0"),
        (lambda t: t.replace_schema_metadata(None), "has schema version none"),
        (lambda t: t.drop_columns(["sigma"]), "lacks the columns sigma"),
        (lambda t: t.set_column(2, "seed", pa.array(["x"])), "column seed is string, not int64"),
    ],
)
def test_a_part_of_another_schema_is_named_even_when_damage_is_skipped(
    tmp_path: Path, change: Any, message: str
) -> None:
    run = _run(tmp_path)
    _rewrite(run / "trials" / "t2.parquet", change)
    with pytest.raises(ResultsError, match=rf"t2\.parquet:? {message}"):
        results.read(run, "trials", columns=["status"], skip_damaged=True)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ResultsError, match="nowhere is not a run directory: it has no trials folder"):
        results.read(nowhere, "curves")
    run = _run(tmp_path)
    with pytest.raises(ResultsError, match="lacks a table: it has no curves folder"):
        results.read(run, "curves")
    with pytest.raises(ResultsError, match=r"no table is called 'curve' \(hint: did you mean 'curves'"):
        results.read(run, "curve")
    with pytest.raises(ResultsError, match=r"no column 'sigmaa' \(hint: did you mean 'sigma'"):
        results.read(run, "trials", columns=["sigmaa"])
    with pytest.raises(ResultsError, match=r"cannot read .*none\.parquet: No such file"):
        parts.read_part(run / "trials" / "none.parquet", schema.TRIALS)


def test_a_full_disk_is_told_and_the_old_part_stays(tmp_path: Path) -> None:
    path = tmp_path / "trials" / "t.parquet"
    parts.write_part(path, schema.TRIALS, [_trial(6)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ResultsError, match=r"cannot write .*t\.parquet") as caught:
            parts.write_part(path, schema.TRIALS, [_trial(7)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.hint == "check the free space and the permissions there"
    assert [r["seed"] for r in parts.read_part(path, schema.TRIALS)] == [6]
    assert [p.name for p in path.parent.iterdir()] == ["t.parquet"]


def test_a_file_in_a_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot write"):
        parts.write_part(tmp_path / "trials" / "t.parquet", schema.TRIALS, [_trial(8)])


_REWRITER = """
import sys, itertools, pathlib
from gansearch import parts, results, schema, storage
row = dict(zip(["config_id", "seed", "stage", "fold"], ["c", 1, "confirm", 0]), protocol_id="p", split="test")
for i in itertools.count(1):
    rows = [row | {"index": n, "ll": float(i)} for n in range(200)]
    parts.write_part(pathlib.Path(sys.argv[1]), schema.EXAMPLES, rows)
"""


def test_a_reader_beside_a_writer_that_is_then_killed_never_meets_half_a_part(tmp_path: Path) -> None:
    part = tmp_path / "examples" / "p.parquet"
    (tmp_path / "trials").mkdir()
    writer = subprocess.Popen([sys.executable, "-c", _REWRITER, str(part)])
    try:
        deadline = time.monotonic() + 60
        while not part.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        seen: set[float] = set()
        while len(seen) < 5 and time.monotonic() < deadline:
            values = results.read(tmp_path, "examples")["ll"]
            assert len(values) == 200
            assert values.nunique() == 1
            seen.add(values[0])
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert len(seen) >= 5
    assert len(results.read(tmp_path, "examples")) == 200
    assert len(pd.read_parquet(tmp_path / "examples")) == 200


def test_text_and_json_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "progress.json"
    storage.write_json(path, {"best": 0.1, "name": "Ångström"})
    storage.write_json(path, {"best": 0.2})
    assert path.read_text() == '{\n  "best": 0.2\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(path, {"best": float("nan")})
    storage.write_text(path, "é")
    assert path.read_bytes() == "é".encode()
    storage.write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["progress.json"]


def _evaluation(**values: object) -> dict[str, object]:
    row: dict[str, object] = {
        "weights_digest": "w1",
        "protocol_id": "full-1",
        "data_test_digest": "d1",
        "config_id": "c",
        "seed": 3,
        "stage": "confirm",
        "fold": 0,
        "test_ll_mean": 12.5,
        "test_ll_se_examples": 0.25,
        "test_n": 11,
        "made_at": datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
    }
    return row | values


def test_the_ledger_finds_a_model_under_its_protocol_and_test_split_only(tmp_path: Path) -> None:
    assert results.find_test_evaluation(tmp_path, "w1", "full-1", "d1") is None
    Recorder(tmp_path).record_test_evaluation(_evaluation())
    assert results.find_test_evaluation(tmp_path, "w1", "full-1", "d1") == _evaluation()
    for other in (("w2", "full-1", "d1"), ("w1", "published-2014-1", "d1"), ("w1", "full-1", "d2")):
        assert results.find_test_evaluation(tmp_path, *other) is None


def test_the_ledger_keeps_the_first_evaluation_of_a_model(tmp_path: Path) -> None:
    Recorder(tmp_path).record_test_evaluation(_evaluation())
    Recorder(tmp_path).record_test_evaluation(_evaluation(seed=4, test_ll_mean=99.0))
    assert results.find_test_evaluation(tmp_path, "w1", "full-1", "d1") == _evaluation()
    Recorder(tmp_path).record_test_evaluation(_evaluation(protocol_id="published-2014-1"))
    (tmp_path / "trials").mkdir()
    assert len(results.read(tmp_path, "test_evaluations")) == 2


def test_the_ledger_refuses_half_a_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks test_ll_mean"):
        Recorder(tmp_path).record_test_evaluation(_evaluation(test_ll_mean=None))


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_part_of_an_earlier_version_is_read_with_nulls_in_later_columns(version: int, tmp_path: Path) -> None:
    """The file was written by the version of the schema that is its name."""
    name = f"trials-v{version}.parquet"
    (tmp_path / "trials").mkdir()
    shutil.copy(DATA / name, tmp_path / "trials")
    frame = results.read(tmp_path, schema.TRIALS.name)
    assert parts.version_of(tmp_path / "trials" / name) == version
    assert list(frame.columns) == [c.name for c in schema.TRIALS.columns]
    later = {c.name for c in schema.TRIALS.columns if c.since > version}
    assert set(frame.columns[frame.isna().all()]) >= later
    assert later
    assert frame["status"].isin(schema.STATUSES).all()
    assert results.read(tmp_path, schema.TRIALS.name, columns=["number", "config_id"]).shape == (1, 2)
