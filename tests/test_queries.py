"""The recipes of docs/queries.md give what gansearch gives, on runs of real trials, files that overlap included."""

from __future__ import annotations

import datetime
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import stats

from analysis import statistics
from analysis.example_scores import read_example_scores
from analysis.ranking import Candidate
from analysis.selection import choose
from gansearch import parts, results, schema
from gansearch.paths import RunPaths
from tests.object_store import ObjectStore
from tests.pages import Block, blocks
from tests.trials import FULL, PUBLISHED, digits, run_trial, spec

PAGE = Path(__file__).parents[1] / "docs" / "queries.md"
RELATIVE = 1e-9
"""SQL has the quantiles of Student's t with ten digits; means summed in another order agree to more than that."""
CURVE_COLUMNS = ("config_id", "epoch", "seeds", "mean")
RANKED_COLUMNS = ("stage", "config_id", "seeds", "completed", "mean", "half_width", "lost")

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds `runs/quickstart`: searched and confirmed trials, some of them lost."""
    made = tmp_path_factory.mktemp("queries")
    run = made / "runs" / "quickstart"
    lost = {"momentum.lr_d": 1e2, "algorithm.k": 3}  # D's weights overflow
    for values, seed in (({}, 1), ({}, 2), ({"algorithm.k": 2}, 3), ({"algorithm.k": 3}, 4), (lost, 5)):
        run_trial(spec("search", seed, values | {"algorithm.epochs": 3}), run)
    for values, seed in (({}, 11), ({}, 12), ({}, 13), ({"algorithm.k": 2}, 21), ({"algorithm.k": 2}, 22), (lost, 31)):
        both = {"protocols": (FULL, PUBLISHED)}
        run_trial(spec("confirm", seed, values | {"algorithm.epochs": 3}, **both), run)
    return made


@pytest.fixture(scope="module")
def merging(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same run as it is for a moment while its driver merges: all rows of the search in two files.

    One of the trials is of another try, which failed at first: the compacted file still has that row.
    """
    made = tmp_path_factory.mktemp("merging")
    shutil.copytree(folder / "runs", made / "runs")
    run = RunPaths(made / "runs" / "quickstart")
    for table in (schema.TRIALS, schema.CURVES):
        rows = [row for path in sorted(run.table(table.name).iterdir()) for row in parts.read_part(path, table)]
        old = [row | _failed(row) if table is schema.TRIALS and row["seed"] == 3 else row for row in rows]
        parts.write_part(
            run.table(table.name) / f"{parts.COMPACTED}0-0123456789ab.parquet",
            table,
            [row for row in old if row["stage"] == "search"],
        )
    return made


def _failed(row: Mapping[str, Any]) -> dict[str, Any]:
    earlier = row["run_started"] - datetime.timedelta(minutes=5)
    return {"status": schema.FAILED, "valid_ll_mean": None, "run_started": earlier}


@pytest.fixture(params=["plain", "merging"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with `runs/quickstart`; return the run."""
    found: Path = request.getfixturevalue("folder" if request.param == "plain" else "merging")
    monkeypatch.chdir(found)
    return found / "runs" / "quickstart"


def section(name: str, language: str) -> list[Block]:
    """Return the blocks of a section that are run."""
    headings = [(i, line[3:]) for i, line in enumerate(PAGE.read_text().splitlines(), 1) if line.startswith("## ")]
    found = [
        b
        for b in blocks(PAGE)
        if b.language == language and b.not_run is None and [h for i, h in headings if i < b.line][-1] == name
    ]
    assert found, name
    return found


def by_python(name: str) -> dict[str, Any]:
    """Return what the names of a section's Python blocks stand for after they have run."""
    space: dict[str, Any] = {}
    for block in section(name, "python"):
        exec(compile(block.text, f"{PAGE.name}:{block.line}", "exec"), space)
    return space


def answers(tool: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each answer that a tool's recipes give, null as None."""
    names = ("ranking", "top", "by_k", "finalist_curves", "paired", "cost")
    if tool == "DuckDB":
        return by_sql(tool, names)
    space = by_python(tool)
    if tool == "Polars":
        return {name: space[name].to_dicts() for name in names} | {"leader": [space["leader"]]}
    frames = {name: space[name].reset_index() for name in names if name != "paired"}
    frames |= {name: space[name].to_frame().T for name in ("paired", "leader")}
    return {name: frame.astype(object).where(frame.notna(), None).to_dict("records") for name, frame in frames.items()}


def by_sql(name: str, views: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of some views that a section's SQL makes, and as `leader` those that its last query shows."""
    with duckdb.connect() as connection:

        def rows(query: str) -> list[dict[str, Any]]:
            result = connection.execute(query)
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        shown = [rows(block.text) for block in section(name, "sql")][-1]
        return {view: rows(f"FROM {view}") for view in views} | {"leader": shown}


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Rows:
    """Return rows as tuples of some columns; NaN, which pandas may have for null, as None."""
    return [tuple(None if isinstance(v := row[c], float) and math.isnan(v) else v for c in columns) for row in rows]


def close(found: Rows, expected: Rows) -> bool:
    """Return whether rows are equal, numbers up to rounding."""
    flat = [value for row in found for value in row]
    wanted = [value for row in expected for value in row]
    assert len(flat) == len(wanted), (found, expected)
    return all(
        math.isclose(a, b, rel_tol=RELATIVE, abs_tol=RELATIVE)
        if isinstance(a, float) and isinstance(b, float)
        else a == b
        for a, b in zip(flat, wanted, strict=True)
    )


def ranked(stage: str, candidate: Candidate) -> tuple[Any, ...]:
    interval = statistics.t_interval(candidate.scores)
    half = None if interval is None else (interval.high - interval.low) / 2
    counts = candidate.counts
    mean = candidate.valid_ll_mean
    return stage, candidate.config_id, counts.seeds, counts.completed, mean, half, not counts.all_completed


def of_stage(run: Path, stage: str) -> list[tuple[Any, ...]]:
    """Return gansearch's ranking of a stage."""
    trials = results.read(run, "trials")
    protocol_id = choose(trials).protocol_id
    rows = trials[(trials["stage"] == stage) & (trials["protocol_id"] == protocol_id)]
    return [ranked(stage, candidate) for candidate in choose(rows).ranking]


TOOLS = pytest.mark.parametrize("tool", ["pandas", "DuckDB", "Polars"])


@TOOLS
def test_the_recipes_answer_as_gansearch_does(tool: str, place: Path) -> None:
    found = answers(tool)
    confirm, search = of_stage(place, "confirm"), of_stage(place, "search")
    assert len(confirm) == 2, "the third lost its only seed"
    assert {one[2] for one in confirm} == {3, 2}
    assert {one[2] for one in search} == {2, 1}
    ranking = table(found["ranking"], RANKED_COLUMNS)
    assert close([row for row in ranking if row[0] == "confirm"], confirm)
    assert close([row for row in ranking if row[0] == "search"], search)
    choice = choose(results.read(place, "trials"))
    assert choice.stage == "confirm"
    assert close(table(found["leader"], RANKED_COLUMNS), [ranked("confirm", choice.leader)])
    assert close(table(found["top"], RANKED_COLUMNS), search)
    ks = {row["config_id"]: row["cfg_algorithm_k"] for row in found["top"]}
    assert ks == {row["config_id"]: row["cfg_algorithm_k"] for row in _rows(place, "trials") if row["config_id"] in ks}


@TOOLS
def test_best_values_by_k(tool: str, place: Path) -> None:
    search = [row for row in _rows(place, "trials") if row["stage"] == "search"]
    scores = {k: [row["valid_ll_mean"] for row in search if row["cfg_algorithm_k"] == k] for k in (1, 2, 3)}
    expected = []
    for k, own in scores.items():
        complete = [score for score in own if score is not None]
        expected.append((k, len(own), len(complete), max(complete)))
    assert [row[1:3] for row in expected] == [(2, 2), (1, 1), (2, 1)]
    assert close(table(answers(tool)["by_k"], ("cfg_algorithm_k", "trials", "completed", "best")), expected)


@TOOLS
def test_learning_curves_of_the_finalists(tool: str, place: Path) -> None:
    finalists = {row[1] for row in of_stage(place, "confirm")}
    grouped: dict[tuple[str, int], list[float]] = {}
    for row in _rows(place, "curves"):
        if row["stage"] == "confirm" and row["config_id"] in finalists:
            grouped.setdefault((row["config_id"], row["epoch"]), []).append(row["report_ll_mean"])
    expected = [(*key, len(lls), statistics.mean(lls)) for key, lls in sorted(grouped.items())]
    assert len(expected) == 2 * 3
    assert close(table(answers(tool)["finalist_curves"], CURVE_COLUMNS), expected)


@TOOLS
def test_the_paired_difference_over_images(tool: str, place: Path) -> None:
    choice = choose(results.read(place, "trials"))
    scores = read_example_scores(place, choice.protocol_id)
    means = []
    for candidate in choice.ranking[:2]:
        keys = sorted(key for split, key in scores.trials if split == "valid" and key[0] == candidate.config_id)
        matrix = scores.matrix("valid", keys, [float(scores.trials["valid", key][1].mean()) for key in keys])
        assert matrix is not None
        means.append(matrix.mean(axis=0))
    difference = means[0] - means[1]
    images = len(digits().valid)
    expected = (images, float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(images))
    assert math.isclose(expected[1], choice.ranking[0].valid_ll_mean - choice.ranking[1].valid_ll_mean, rel_tol=1e-9)
    assert close(table(answers(tool)["paired"], ("images", "mean", "se_images")), [expected])


@TOOLS
def test_cost_by_status_counts_a_trial_once(tool: str, place: Path) -> None:
    trials = {
        tuple(row[name] for name in ("config_id", "seed", "stage", "fold")): row for row in _rows(place, "trials")
    }
    hours: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in trials.values():
        own = row["run_seconds"] / 3600
        spent = (own * row["run_threads"], own * row["run_gpu_share"])
        hours.setdefault((row["stage"], row["status"]), []).append(spent)
    expected = [(*key, len(own), *np.sum(own, axis=0).tolist()) for key, own in sorted(hours.items())]
    assert [row[:3] for row in expected] == [
        ("confirm", "COMPLETE", 5),
        ("confirm", "DIVERGED", 1),
        ("search", "COMPLETE", 4),
        ("search", "DIVERGED", 1),
    ]
    assert close(table(answers(tool)["cost"], ("stage", "status", "trials", "cpu_hours", "gpu_hours")), expected)


def test_the_quantiles_are_those_of_students_t(place: Path) -> None:
    found = sorted((row["completed"], float(row["t"])) for row in by_sql("DuckDB", ["t975"])["t975"])
    assert [n for n, _ in found] == list(range(2, 11))
    for n, t in found:
        assert t == pytest.approx(stats.t.ppf(0.975, n - 1), abs=5e-10)  # printed with nine decimals


def test_several_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        shutil.copytree(folder / "runs" / "quickstart", tmp_path / "runs" / name)
    gone = sorted((tmp_path / "runs" / "second" / "trials").glob("*-search-*"))[0]
    gone.unlink()
    monkeypatch.chdir(tmp_path)
    expected: dict[tuple[str, ...], list[float]] = {}
    for name in ("first", "second"):
        for row in _rows(tmp_path / "runs" / name, "trials"):
            if row["status"] == schema.COMPLETE:
                key = (name, row["data_valid_digest"], row["protocol_id"], row["stage"])
                expected.setdefault(key, []).append(row["valid_ll_mean"])
    wanted = [(*key, len(scores), max(scores)) for key, scores in sorted(expected.items())]
    assert len(wanted) == 2 * 3
    columns = ("run", "data_valid_digest", "protocol_id", "stage", "completed", "best")
    with_scores = [row for row in by_sql("Several runs", ["runs"])["runs"] if row["completed"]]
    assert table(with_scores, columns) == wanted
    frame = by_python("Several runs")["runs"].reset_index()
    frame["run"] = frame["run"].str.removeprefix("runs/")
    assert table(frame.to_dict("records"), columns) == wanted


@pytest.mark.slow
def test_a_run_on_an_object_store(store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import fs

    there = fs.S3FileSystem(endpoint_override=store.env["AWS_ENDPOINT_URL"], allow_bucket_creation=True)
    there.create_dir("bucket")
    fs.copy_files(
        str(folder / "runs"), "bucket/runs", source_filesystem=fs.LocalFileSystem(), destination_filesystem=there
    )
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    space = by_python("On an object store")
    rows = _rows(folder / "runs" / "quickstart", "trials")
    assert len(space["trials"]) == len(rows)
    best = max(row["valid_ll_mean"] for row in rows if row["status"] == schema.COMPLETE)
    assert space["best"].collect().item() == best


def test_every_block_is_run_or_says_why_not() -> None:
    found = blocks(PAGE)
    assert {block.language for block in found} == {"python", "sql"}
    assert len([block for block in found if block.not_run]) == 1
    text = PAGE.read_text()
    assert not re.search(r"import gansearch|from gansearch|import analysis|from analysis", text)


def _rows(run: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = results.read_arrow(run, schema.TABLES[name])[0].to_pylist()
    return rows
