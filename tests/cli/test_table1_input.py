"""What `table1` says of runs that it cannot make a table of, and of those that it can make a part of one of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gansearch import schema
from gansearch.protocols import Protocol
from tests.analysis.rows import FULL, config, confirm_rows, trial_row, write_run
from tests.cli.conftest import Gansearch

A, B = config(), config(algorithm__k=2)
COARSE = Protocol(name="coarse", num_samples=500)


def _empty(folder: Path) -> list[Path]:
    (folder / "run" / "trials").mkdir(parents=True)
    return [folder / "run"]


def _failed(folder: Path) -> list[Path]:
    stages = ("search", "confirm")
    return [write_run(folder / "run", [trial_row(A, i, stage, status=schema.FAILED) for i, stage in enumerate(stages)])]


def _two_protocols(folder: Path) -> list[Path]:
    rows = [trial_row(A, 1, score=3.0), trial_row(B, 2, score=3.0, scored_by=COARSE), *confirm_rows(A, 11, 5.0, 4.0)]
    return [write_run(folder / "run", rows)]


def _two_data_sets(folder: Path) -> list[Path]:
    rows = [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, 4.0)]
    rows += confirm_rows(config(dataset__name="mnist"), 12, 9.0, 8.0, data_valid_digest="44444444")
    return [write_run(folder / "run", rows)]


def _other_images(folder: Path) -> list[Path]:
    digests = ("33333333", "44444444")
    rows = [[trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, 4.0, data_test_digest=digest)] for digest in digests]
    return [write_run(folder / f"run{i}", own) for i, own in enumerate(rows)]


def _nan(folder: Path) -> list[Path]:
    rows = [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, math.nan)]
    return [write_run(folder / "run", rows)]


def _strange_protocol(folder: Path) -> list[Path]:
    content = json.dumps({**FULL.to_dict(), "kernel": "box"})
    rows = [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, 4.0, protocol_json=content)]
    return [write_run(folder / "run", rows)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_empty, "has no confirmed configuration: no confirm row is in its trials"),
        (_failed, "no confirm trial completed, so none can be chosen: 1 FAILED"),
        (_two_protocols, "rows of different score protocols cannot be ranked together"),
        (_two_data_sets, "rows of different data cannot be ranked together"),
        (
            _other_images,
            "the column Digits 8x8 would mix different test images: those of run0 have the digest 33333333",
        ),
        (_nan, "has no test score: none of the confirm rows of"),
        (_strange_protocol, "is not one that this version knows"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--format", "html"], ["--json"]], ids=" ".join)
def test_it_is_told_in_a_sentence(
    make: Callable[[Path], list[Path]], message: str, options: list[str], gansearch: Gansearch, tmp_path: Path
) -> None:
    code, out, err = gansearch("table1", *make(tmp_path), *options)
    assert (code, out) == (2, "")
    error, *others = err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert all(line.startswith("hint: ") for line in others)


def test_one_seed_has_no_interval(gansearch: Gansearch, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, 4.0)])
    code, out, _ = gansearch("table1", run)
    rows = [line for line in out.splitlines() if line.startswith("  Adversarial nets, run")]
    assert code == 0
    assert [("[ex]" in row, "[seeds]" in row, "95%" in row) for row in rows] == [(True, False, False)] * 2


def test_parts_of_an_older_schema_are_read(gansearch: Gansearch, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, 4.0)])
    _, expected, _ = gansearch("table1", run)
    later = [column.name for column in schema.TRIALS.columns if column.since > 1]
    assert later
    for part in (run / "trials").iterdir():
        rows = pq.read_table(part).drop_columns(later)
        named = {**rows.schema.metadata, b"gansearch.schema_version": b"1"}
        version = rows.schema.get_field_index("schema_version")
        rows = rows.set_column(version, rows.schema.field(version), pa.array([1] * len(rows), pa.int64()))
        pq.write_table(rows.replace_schema_metadata(named), part)
    assert gansearch("table1", run) == (0, expected, "")
