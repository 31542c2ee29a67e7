"""The benchmark on large runs: what it makes is what sweeps and Ray Tune leave, and what it measures is so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from analysis.best import best
from analysis.front import front
from analysis.funnel import funnel
from analysis.records import arrow_records
from analysis.table1 import table1
from analysis.top import top
from benchmarks.analysis import million, million_ray, million_run
from gansearch import parts, results, schema, storage
from gansearch.compaction import BATCH, FAN_IN, Compactor
from gansearch.config import TrialConfig
from gansearch.paths import RunPaths, TrialKey
from gansearch.rows import cfg_columns
from tests.analysis.rows import config, trial_row, write_run

ROWS = 1_203
CONFIRM_ROWS = 2 * (million_run.FINALISTS + 1) * million_run.CONFIRM_SEEDS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run directory of a small one. Not to be written into."""
    folder = tmp_path_factory.mktemp("million")
    million_run.write_run(folder / "confirmed", ROWS)
    return folder / "confirmed"


def test_the_files_are_those_that_the_compactor_leaves(tmp_path: Path) -> None:
    storage.write_json(RunPaths(tmp_path).claim("c1"), {})
    compactor = Compactor(tmp_path, "c1", batch=2, fan_in=3)
    row = trial_row(config(), 0, score=1.0)
    for seed in range(29):
        write_run(tmp_path, [row | {"seed": seed, "schema_version": schema.VERSION}])
        if seed % 2:
            for one in (seed - 1, seed):
                compactor.ended(TrialKey(row["config_id"], one, "search"), [row["protocol_id"]])
            if compactor._running is not None:
                compactor._running.result()
    compactor.close()
    files = [path for path in (tmp_path / "trials").glob("*.parquet") if parts.is_compacted(path)]
    sizes = sorted((pq.ParquetFile(path).metadata.num_rows for path in files), reverse=True)
    assert million_run.compacted_sizes(29, 2, 3) == sizes == [18, 6, 2, 2]


@pytest.mark.parametrize("rows", [0, 39, 40, 1_000_000, 1_310_720])
def test_no_level_is_full_and_what_fills_no_batch_is_left(rows: int) -> None:
    sizes = million_run.compacted_sizes(rows)
    assert sum(sizes) == rows - rows % BATCH
    assert sizes == sorted(sizes, reverse=True)
    assert all(0 < sizes.count(size) < FAN_IN for size in sizes)


def test_the_run_has_so_many_valid_rows(run: Path) -> None:
    rows, _ = results.read_arrow(run, schema.TRIALS)
    assert len(rows) == ROWS
    assert len(list((run / "trials").glob("compacted-*"))) == len(million_run.compacted_sizes(ROWS - CONFIRM_ROWS))
    stages = rows["stage"].to_pylist()
    assert (stages.count("search"), stages.count("confirm")) == (ROWS - CONFIRM_ROWS, CONFIRM_ROWS)
    known = arrow_records(rows)
    required = [c.name for c in schema.TRIALS.columns if not c.nullable]
    assert not [name for name in required for row in known if row[name] is None]
    assert len({tuple(row[name] for name in schema.TRIALS.key) for row in known}) == ROWS
    assert {row["status"] for row in known} == set(million_run.STATUSES)
    for row in known[::97]:
        described = TrialConfig.from_dict(json.loads(row["cfg_json"]))
        assert json.loads(row["cfg_json"]) == described.to_dict()
        assert {name: row[name] for name in cfg_columns(described)} == cfg_columns(described)
        assert (row["valid_ll_mean"] is not None) == (row["status"] == schema.COMPLETE)


def test_the_questions_have_answers(run: Path, tmp_path: Path) -> None:
    searched = tmp_path / "searched"
    million_run.link_unconfirmed(run, searched)
    first = top(run, 20, stage="search")
    finalists = [row.config_id for row in first.rows[: million_run.FINALISTS]]
    assert len(first.rows) == 20
    assert best(searched).choice.leader.config_id == finalists[0]
    assert best(run).choice.leader.config_id in finalists
    assert {f.config_id for f in funnel(run).finalists} == {*finalists, million_run.BASE.config_id}
    assert any(row.config_id == best(run).choice.leader.config_id for row in table1([run]).rows)
    assert (
        front(searched)[0].config_id == first.rows[0].config_id or front(searched)[0].valid_ll_mean > first.rows[0].ll
    )
    assert top(run, by="report").ranked > 0.9 * (ROWS - CONFIRM_ROWS)


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        million_run.write_run(tmp_path, CONFIRM_ROWS)


def test_seconds_and_memory_are_those_of_the_command() -> None:
    size = 150
    found = million.measure(
        [sys.executable, "-c", f"import time; kept = b'x' * {size << 20}; time.sleep(0.25); print(len(kept) >> 20)"]
    )
    assert found.seconds >= 0.25
    assert 0 < found.cpu_seconds < found.seconds
    assert size < found.megabytes < size + 100
    assert found.output == f"{size}\n"
    with pytest.raises(SystemExit, match="no-such-module"):
        million.measure([sys.executable, "-m", "no-such-module"])


def test_ray_reads_what_is_written_as_its_own(tmp_path: Path) -> None:
    million_ray.write(tmp_path, 23)
    found = million_ray.read(tmp_path)
    assert found["trials"] == 23
    assert set(found["seconds"]) == {"open", "result grid", "best", "top 20"}
    assert min(found["seconds"].values()) >= 0
    folders = [path for path in (tmp_path / million_ray.NAME).iterdir() if path.is_dir()]
    files = {tuple(sorted(p.name for p in folder.iterdir())) for folder in folders}
    assert (len(folders), files) == (23, {("params.json", "params.pkl", "progress.csv", "result.json")})


def test_the_tables_show_what_was_measured() -> None:
    questions = {"`best`": {"seconds": [0.5, 0.4, 0.75], "cpu_seconds": [0.3, 0.2, 0.25], "megabytes": 210.4}}
    ours = {"rows": 1_000, "files": 7, "megabytes_on_disk": 12.3, "made_seconds": 4.4, "questions": questions}
    ray = [
        {"trials": 500, "seconds": 2.5, "cpu_seconds": 2.25, "megabytes": 300.0, "steps": {"open": 2.0, "best": 0.1}}
    ]
    shown = million.tables({"ours": ours, "ray": ray}).splitlines()
    assert shown[0] == "1,000 rows in 7 files, 12 MB, made in 4 s."
    assert "| `best` | 0.50 | 0.40 | 0.25 | 210 |" in shown
    assert shown[-1] == "| 500 trials | 2.50 | 2.00 | 2.25 | 300 |"
    assert not [line for line in million.tables({"ours": ours, "ray": []}).splitlines() if "Ray" in line]


def test_larger_peers_are_not_asked_past_the_limit(tmp_path: Path) -> None:
    found = million.ask_ray([12, 3, 7], 0.0, tmp_path)
    assert [one["trials"] for one in found] == [3]
    assert found[0]["megabytes"] > 50
    assert found[0]["seconds"] > np.sum(list(found[0]["steps"].values()))
