"""Files with many rows: of a condition's rows only those row groups are read that hold one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from gansearch import parts, results, schema
from gansearch.parts import DamagedPartError
from tests.analysis.rows import config, trial_row, write_run

BASE = config()
ROWS, GROUP = 23, 7


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a compacted file of 4 row groups that counts as large."""
    monkeypatch.setattr(parts, "_MANY_ROWS", 5)
    monkeypatch.setattr(parts, "_BATCH_ROWS", 3)
    path = tmp_path / "trials" / "compacted-1-0123456789ab.parquet"
    rows = [
        trial_row(BASE, i, score=float(i), status="COMPLETE" if i % 2 else "STOPPED", replicate=i // GROUP)
        for i in range(ROWS)
    ]
    target = parts.arrow_schema(schema.TRIALS)
    path.parent.mkdir()
    table = pa.Table.from_pylist(rows, schema=target)
    pq.write_table(table, path, row_group_size=GROUP, write_page_checksum=True, compression="zstd")
    return path


@pytest.mark.parametrize(
    ("where", "seeds"),
    [
        (pc.field("seed") == 11, [11]),
        (pc.field("status") == "COMPLETE", list(range(1, ROWS, 2))),
        ((pc.field("replicate") == 1) & (pc.field("valid_ll_mean") > 9), [11, 13]),
        (pc.field("valid_ll_mean") > 99, []),
        (pc.field("stage") == "confirm", []),
        (pc.field("seed").isin([0, 6, 7, 22]), [0, 6, 7, 22]),
    ],
    ids=str,
)
@pytest.mark.parametrize("columns", [["seed"], ["cfg_json", "seed", "stage"], None])
def test_rows_that_fit_are_found(
    large: Path, where: pc.Expression, seeds: list[int], columns: list[str] | None
) -> None:
    coded = ["stage"] if columns and "stage" in columns else []
    found = parts.load(large, schema.TRIALS, columns, where, coded)
    assert found["seed"].to_pylist() == seeds
    assert found.column_names == (columns or [c.name for c in schema.TRIALS.columns])
    everything = parts.load(large, schema.TRIALS)
    kept = everything.filter(where)
    for name in found.column_names:
        assert found[name].to_pylist() == kept[name].to_pylist(), name


def test_row_groups_without_a_fitting_row_are_not_read(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    real = pq.ParquetFile.iter_batches

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        read.extend(options["row_groups"])
        return real(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    parts.load(large, schema.TRIALS, ["cfg_json"], pc.field("seed").isin([3, 16]))
    assert read == [0, 2]


def test_changed_bytes_are_told(large: Path) -> None:
    content = bytearray(large.read_bytes())
    names = [c.name for c in schema.TRIALS.columns]
    chunk = pq.ParquetFile(large).metadata.row_group(1).column(names.index("cfg_json"))
    content[chunk.dictionary_page_offset + 60] ^= 255
    large.write_bytes(bytes(content))
    assert parts.load(large, schema.TRIALS, ["cfg_json"], pc.field("seed") == 3)["cfg_json"].to_pylist() == [
        BASE.to_json()
    ]
    with pytest.raises(DamagedPartError):
        parts.load(large, schema.TRIALS, ["cfg_json"], pc.field("seed") == 8)


def test_texts_that_are_dictionaries_hold_the_same(large: Path) -> None:
    names = ["status", "protocol_json", "seed"]
    plain = parts.load(large, schema.TRIALS, names)
    coded = parts.load(large, schema.TRIALS, names, None, names[:2])
    assert pa.types.is_dictionary(coded.schema.field("status").type)
    assert coded["protocol_json"].combine_chunks().dictionary.to_pylist() == [plain["protocol_json"][0].as_py()]
    assert coded.to_pylist() == plain.to_pylist()


def test_a_part_replaces_its_row_of_a_large_file(large: Path) -> None:
    run = large.parent.parent
    write_run(run, [trial_row(BASE, 8, score=800.0), trial_row(BASE, 99, score=99.0)])
    columns = ["seed", "valid_ll_mean", "stage"]
    rows, _ = results.read_arrow(run, schema.TRIALS, columns=columns, coded=["stage"])
    assert len(rows) == ROWS + 1
    assert dict(zip(rows["seed"].to_pylist(), rows["valid_ll_mean"].to_pylist(), strict=True))[8] == 800.0
    assert len(rows["stage"].combine_chunks().dictionary) == 1
    old = pc.field("valid_ll_mean").is_null() & (pc.field("seed") == 8)
    assert len(results.read_arrow(run, schema.TRIALS, columns=columns, where=old)[0]) == 0
