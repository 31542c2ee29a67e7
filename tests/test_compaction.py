"""Merging parts: every row once, for whoever reads meanwhile, and whenever it is cut short."""

from __future__ import annotations

import collections
import multiprocessing
import multiprocessing.synchronize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gansearch import compaction, parts, results, schema, storage
from gansearch.compaction import Compactor
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import Recorder

CLAIM = "0c1a15"
PROTOCOLS = ("full-1", "published-2014-1")


def _key(n: int) -> TrialKey:
    return TrialKey(f"{n:012x}", n, "search")


def _identity(n: int) -> dict[str, object]:
    return {"config_id": f"{n:012x}", "seed": n, "stage": "search", "fold": 0}


def _write(run: Path, n: int, *, status: str = schema.COMPLETE, value: float = 0.0, epochs: int = 2) -> None:
    recorder = Recorder(run)
    for protocol_id in PROTOCOLS:
        row = {**_identity(n), "schema_version": schema.VERSION, "protocol_id": protocol_id, "replicate": 0}
        texts = dict.fromkeys(("cfg_json", "protocol_json", "report_protocol_json"), "{}")
        recorder.trial(_key(n), {**row, **texts, "status": status, "valid_ll_mean": value + n})
    curve = [{**_identity(n), "epoch": epoch, "report_ll_mean": value + epoch} for epoch in range(1, epochs + 1)]
    recorder.table(schema.CURVES, _key(n), curve)


def _claimed(run: Path) -> Path:
    storage.write_json(RunPaths(run).claim(CLAIM), {})
    return run


def _counts(run: Path, table: schema.Table) -> collections.Counter[tuple[Any, ...]]:
    frame = results.read(run, table.name, columns=list(table.key))
    return collections.Counter(frame.itertuples(index=False, name=None))


def _merged(run: Path, numbers: range, **options: int) -> Compactor:
    compactor = Compactor(run, CLAIM, **options)
    for n in numbers:
        compactor.ended(_key(n), PROTOCOLS)
    compactor.close()
    return compactor


def _values(run: Path) -> pd.DataFrame:
    frame = results.read(run, "trials", columns=["seed", "protocol_id", "status", "valid_ll_mean"])
    return frame.sort_values(["seed", "protocol_id"], ignore_index=True)


def test_rows_stay_the_same_in_fewer_files(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    for n in range(21):
        _write(run, n)
    before, curves = _values(run), results.read(run, "curves").sort_values(["seed", "epoch"], ignore_index=True)
    for first in range(0, 21, 3):
        _merged(run, range(first, first + 3), batch=6, fan_in=3)  # 6 rows of trials, too few curves for a batch
    assert len(results.part_files(run, "trials")) <= 3
    pd.testing.assert_frame_equal(_values(run), before)
    _merged(run, range(21), batch=6, fan_in=3)
    assert len(results.part_files(run, "curves")) == 1
    after = results.read(run, "curves").sort_values(["seed", "epoch"], ignore_index=True)
    pd.testing.assert_frame_equal(after, curves)
    plain = pd.read_parquet(run / "trials").sort_values(["seed", "protocol_id"], ignore_index=True)
    assert plain["valid_ll_mean"].tolist() == before["valid_ll_mean"].tolist()


def test_the_number_of_files_grows_as_the_logarithm(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    compactor = Compactor(run, CLAIM, batch=4, fan_in=3)
    for n in range(64):
        _write(run, n)
        compactor.ended(_key(n), PROTOCOLS)
        if compactor._running is not None:
            compactor._running.result()
    compactor.close()
    # 128 rows are 32 batches: at most two files on each of four levels, and a batch of parts that waits.
    assert len(results.part_files(run, "trials")) <= 2 * 4 + 4
    assert set(_counts(run, schema.TRIALS).values()) == {1}
    assert len(_counts(run, schema.CURVES)) == 128


def test_unfinished_trials_are_left_alone(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    for n in range(4):
        _write(run, n, status=schema.INTERRUPTED if n == 2 else schema.COMPLETE)
    _merged(run, range(4), batch=8)
    left = [path for path in results.part_files(run, "trials") if not parts.is_compacted(path)]
    assert [path.name.partition("-")[0] for path in left] == [f"{2:012x}"] * 2
    assert set(_counts(run, schema.TRIALS).values()) == {1}


def test_a_trial_that_was_run_again_counts_with_its_new_rows(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    for n in range(4):
        _write(run, n, status=schema.FAILED, epochs=3)
    _merged(run, range(4), batch=4)
    _write(run, 1, status=schema.INTERRUPTED)
    assert _values(run).set_index("seed")["status"][1].tolist() == [schema.INTERRUPTED] * 2
    for n in (1, *range(4, 8)):
        _write(run, n, value=100.0, epochs=2)
    assert _values(run).set_index("seed")["valid_ll_mean"][1].tolist() == [101.0] * 2
    _merged(run, range(8), batch=4)
    assert set(_counts(run, schema.TRIALS).values()) == {1}
    assert _values(run).set_index("seed")["valid_ll_mean"][1].tolist() == [101.0] * 2
    curves = results.read(run, "curves")
    assert curves[curves["seed"] == 1]["report_ll_mean"].tolist() == [101.0, 102.0]
    assert len(curves) == 3 * 3 + 5 * 2
    assert not [path for path in results.part_files(run, "curves") if not parts.is_compacted(path)]


def _at_each_change(monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
    """Look before and after every file that is written or removed."""
    write, unlink = storage.write, Path.unlink

    def watched_write(place: Any, make: Any) -> None:
        look()
        write(place, make)
        look()

    def watched_unlink(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        if path.suffix == ".parquet":
            look()

    monkeypatch.setattr(storage, "write", watched_write)
    monkeypatch.setattr(Path, "unlink", watched_unlink)


def test_each_row_is_seen_once_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _claimed(tmp_path)
    for n in range(12):
        _write(run, n)
    seen = [0]

    def look() -> None:
        for table, expected in ((schema.TRIALS, 24), (schema.CURVES, 24)):
            counts = _counts(run, table)
            assert len(counts) == expected
            assert set(counts.values()) == {1}
        seen[0] += 1

    with monkeypatch.context() as patched:
        _at_each_change(patched, look)
        for first in range(0, 12, 4):
            compactor = Compactor(run, CLAIM, batch=4, fan_in=2)
            for n in range(first, first + 4):
                compactor.ended(_key(n), PROTOCOLS)
            assert compactor._running is not None
            compactor._running.result()  # raises what `look` raised
    assert seen[0] > 40


class _KilledError(BaseException):
    """Stands for a SIGKILL: nothing handles it."""


@pytest.mark.parametrize("instant", range(0, 60, 5))
def test_a_crash_at_any_instant_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: int) -> None:
    run = _claimed(tmp_path)
    for n in range(12):
        _write(run, n)
    before, left = _values(run), [instant]

    def tick() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _KilledError

    with monkeypatch.context() as patched:
        _at_each_change(patched, tick)
        killed = Compactor(run, CLAIM, batch=4, fan_in=2)
        for n in range(12):
            killed.ended(_key(n), PROTOCOLS)
        killed._pool.shutdown(wait=True)
    pd.testing.assert_frame_equal(_values(run), before)
    _merged(run, range(12), batch=4, fan_in=2)
    pd.testing.assert_frame_equal(_values(run), before)
    assert set(_counts(run, schema.CURVES).values()) == {1}
    assert not [path for path in results.part_files(run, "trials") if not parts.is_compacted(path)]


def test_a_driver_that_lost_the_run_merges_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(4):
        _write(tmp_path, n)
    _merged(tmp_path, range(4), batch=4)
    assert not [path for path in results.part_files(tmp_path, "trials") if parts.is_compacted(path)]
    assert "another driver holds" in caplog.text


def _read_in_a_loop(run: Path, ready: multiprocessing.synchronize.Event, done: Any, told: Any) -> None:
    problems: list[str] = []
    reads = 0
    ready.set()
    while not done.is_set() and not problems:
        counts = _counts(run, schema.TRIALS)
        reads += 1
        if len(counts) != 160 or set(counts.values()) != {1}:
            problems.append(f"{len(counts)} keys, counts {set(counts.values())}")
    told.put((reads, problems))


def test_a_reader_in_a_loop_never_sees_a_key_twice_or_missing(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    for n in range(80):
        _write(run, n)
    context = multiprocessing.get_context("spawn")
    ready, done, told = context.Event(), context.Event(), context.Queue()
    reader = context.Process(target=_read_in_a_loop, args=(run, ready, done, told))
    reader.start()
    assert ready.wait(60)
    for first in range(0, 80, 4):
        _merged(run, range(first, first + 4), batch=8, fan_in=2)
    done.set()
    reads, problems = told.get(timeout=60)
    reader.join(60)
    assert problems == []
    assert reads >= 2
    assert len(results.part_files(run, "trials")) < 10


def test_compacted_files_tell_what_they_replace_and_have_checksums(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    for n in range(8):
        _write(run, n)
    _merged(run, range(4), batch=8)
    (first,) = [path for path in results.part_files(run, "trials") if parts.is_compacted(path)]
    _merged(run, range(4, 8), batch=8, fan_in=2)
    (second,) = [path for path in results.part_files(run, "trials") if parts.is_compacted(path)]
    assert first.name in parts.replaces(second)
    assert second.name.startswith(f"{parts.COMPACTED}1-")
    file = Path(str(second))
    content = bytearray(file.read_bytes())
    where = pq.ParquetFile(file).metadata.row_group(0).column(1).dictionary_page_offset
    content[where + 60] ^= 255
    file.write_bytes(content)
    with pytest.raises(parts.DamagedPartError, match="is damaged"):
        results.read(run, "trials")


def test_compaction_is_of_the_tables_that_have_parts_a_trial() -> None:
    assert [table.name for table in compaction.TABLES] == ["trials", "curves", "samples"]


def test_a_compacted_file_of_an_older_version_is_migrated_with_what_it_replaces(tmp_path: Path) -> None:
    run = _claimed(tmp_path)
    for n in range(4):
        _write(run, n)
    before = _values(run)
    _merged(run, range(4), batch=8)
    (path,) = [Path(str(path)) for path in results.part_files(run, "trials")]
    later = [c.name for c in schema.TRIALS.columns if c.since > 1]
    rows = pq.read_table(path).drop_columns(later)
    told = {
        b"gansearch.schema_version": b"1",
        b"gansearch.replaces": b"compacted-0-gone.parquet",
    }
    pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, **told}), path, write_page_checksum=True)
    assert parts.version_of(path) == 1
    parts.migrate(path, schema.TRIALS)
    assert parts.version_of(path) == schema.VERSION
    assert parts.replaces(path) == ["compacted-0-gone.parquet"]
    pd.testing.assert_frame_equal(_values(run), before)
    found = pd.read_parquet(run / "trials")
    assert set(found["schema_version"]) == {schema.VERSION}
    assert found[later].isna().all().all()
