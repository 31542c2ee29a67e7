"""A run directory with any number of trial rows, made from the schema and laid out as a sweep leaves it.

    python -m benchmarks.analysis.million_run DIRECTORY --rows 1000000

Search rows lie in compacted files whose sizes are those that `gansearch.compaction` has arrived at after so many
trials; the few that fill no batch are parts. Finalists have been confirmed under two protocols, with scores image by
image and a ledger. The values are draws; identifiers of search rows other than the finalists' are random text of the
same length.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gansearch import parts, schema
from gansearch.compaction import BATCH, FAN_IN
from gansearch.config import TrialConfig
from gansearch.paths import RunPaths, TrialKey
from gansearch.protocols import Protocol, protocol
from gansearch.recorder import Recorder
from gansearch.rows import cfg_columns
from gansearch.yaml_files import dump_yaml

FULL, PUBLISHED, REPORT = protocol("full"), protocol("published-2014"), protocol("report")
SPACE: dict[str, dict[str, list[Any]]] = {
    "algorithm.k": {"int": [1, 5]},
    "momentum.lr_g": {"loguniform": [0.001, 1.0]},
    "momentum.lr_d": {"loguniform": [0.001, 1.0]},
    "momentum.final": {"uniform": [0.5, 0.9]},
    "discriminator.pieces": {"int": [2, 5]},
    "discriminator.dropout_hidden": {"uniform": [0.0, 0.7]},
}
BASE = TrialConfig().replace({"dataset.name": "mnist", "algorithm.epochs": 60})
FINALISTS, CONFIRM_SEEDS = 4, 5
IMAGES = 10_000
"""Of the validation and of the test split."""
STATUSES = {"COMPLETE": 0.55, "STOPPED": 0.38, "DIVERGED": 0.03, "COLLAPSED": 0.02, "FAILED": 0.02}
"""Shares of the search trials."""
SEEDS = {1: 0.8, 2: 0.1, 3: 0.1}
"""Shares of the configurations with so many search seeds."""
STARTED = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def compacted_sizes(rows: int, batch: int = BATCH, fan_in: int = FAN_IN) -> list[int]:
    """Return the rows of each compacted file after so many search trials, the largest first; the rest are parts."""
    batches, sizes, size = rows // batch, [], batch
    while batches:
        batches, files = divmod(batches, fan_in)
        sizes += [size] * files
        size *= fan_in
    return sizes[::-1]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search trials before they are rows: a configuration each, and of each configuration its values.

    Attributes:
        config: of each trial, the number of its configuration, [trials].
        replicate: of each trial, which of the configuration's seeds it is, [trials].
        ids: config_ids, [configurations].
        values: searched values by dotted name, each [configurations].
        quality: the mean that a configuration's scores are drawn around, in nats, [configurations].
    """

    config: Integers
    replicate: Integers
    ids: pa.StringArray
    values: Mapping[str, NDArray[Any]]
    quality: Floats


def draw_search(trials: int, rng: np.random.Generator) -> Search:
    """Return so many trials; the first configurations are the best ones, and have true identifiers."""
    seeds = np.append(np.ones(FINALISTS, int), rng.choice(list(SEEDS), trials, p=list(SEEDS.values())))
    config = np.repeat(np.arange(len(seeds)), seeds)[:trials]
    first = np.flatnonzero(np.diff(config, prepend=-1))
    replicate = np.arange(trials) - first[config]
    number = len(first)
    values = {name: _draw(kind, number, rng) for name, kind in SPACE.items()}
    quality = rng.normal(120, 25, number)
    quality[:FINALISTS] = 320 - 5 * np.arange(FINALISTS)
    ids = _hex(number, 12, rng)
    found = Search(config=config, replicate=replicate, ids=ids, values=values, quality=quality)
    true = [config_of(found, i).config_id for i in range(min(FINALISTS, number))]
    ids = pa.concat_arrays([pa.array(true, pa.string()), ids.slice(len(true))])
    shuffled = rng.permutation(trials)  # trials end in another order than they are suggested in
    return dataclasses.replace(found, ids=ids, config=config[shuffled], replicate=replicate[shuffled])


def config_of(search: Search, number: int) -> TrialConfig:
    """Return a configuration of the search."""
    return BASE.replace({name: values[number].item() for name, values in search.values.items()})


def _draw(kind: Mapping[str, list[Any]], number: int, rng: np.random.Generator) -> NDArray[Any]:
    ((name, (low, high)),) = kind.items()
    if name == "int":
        return rng.integers(low, high + 1, number)
    if name == "loguniform":
        return np.exp(rng.uniform(math.log(low), math.log(high), number))
    return rng.uniform(low, high, number)


def _hex(number: int, digits: int, rng: np.random.Generator) -> pa.StringArray:
    """Return random texts of hexadecimal digits."""
    text = rng.bytes(number * digits // 2).hex().encode()
    offsets = np.arange(number + 1, dtype=np.int32) * digits
    return pa.StringArray.from_buffers(number, pa.py_buffer(offsets), pa.py_buffer(text))


def search_rows(search: Search, trials: Integers, rng: np.random.Generator) -> pa.Table:
    """Return the rows of some trials, with every column of the schema.

    Args:
        search: all trials.
        trials: numbers of those that are wanted.
        rng: draws what the trials did.
    """
    n, target = len(trials), parts.arrow_schema(schema.TRIALS)
    config = search.config[trials]
    status = rng.choice(list(STATUSES), n, p=list(STATUSES.values()))
    status[config < FINALISTS] = "COMPLETE"
    complete = status == "COMPLETE"
    whole = np.isin(status, ["COMPLETE", "DIVERGED"])
    score = search.quality[config] + rng.normal(0, 4, n)
    epochs = np.where(whole, BASE.algorithm.epochs, rng.choice([4, 12, 36], n))
    seconds = epochs * rng.uniform(8, 15, n)
    texts = {name: pc.cast(pa.array(values[config]), pa.string()) for name, values in search.values.items()}
    columns: dict[str, Any] = {
        **_constants(FULL),
        "config_id": search.ids.take(config),
        "seed": rng.integers(0, 2**62, n),
        "stage": "search",
        "replicate": search.replicate[trials],
        "number": config,
        "status": status,
        "error": pc.if_else(pa.array(whole), None, pa.array(np.char.add("ended as ", status))),
        "report_ll_mean": np.where(status == "DIVERGED", np.nan, score - 60 + rng.normal(0, 3, n)),
        "report_epoch": epochs,
        "report_last_ll_mean": score - 62,
        "epochs": epochs,
        "g_updates": epochs * 500,
        "d_updates": epochs * 500,
        "flops": epochs * 7e12 * rng.uniform(0.5, 1.5, n),
        **{schema.cfg_column(name): values[config] for name, values in search.values.items()},
        "cfg_json": _json(texts),
        "run_started": pa.array(np.int64(STARTED.timestamp() * 1e6) + trials * 250_000).cast(pa.timestamp("us", "UTC")),
        "run_seconds": seconds,
        "run_train_seconds": seconds * 0.8,
        "run_score_seconds": seconds * 0.2,
        "run_examples_per_second": epochs * 50_000 / seconds,
        "run_host": pc.binary_join_element_wise("node", pc.cast(pa.array(rng.integers(1, 33, n)), pa.string()), "-"),
        **{name: rng.uniform(0, 1, n) for name in ("d_real", "d_fake", "game_value")},
    }
    scored: dict[str, Any] = {
        "valid_ll_mean": score,
        "valid_ll_se_examples": rng.uniform(1.5, 2.5, n),
        "sigma": rng.uniform(0.12, 0.3, n),
        "sigma_at_edge": rng.random(n) < 0.01,
        "collapsed": rng.random(n) < 0.02,
        "scored_epoch": epochs,
        "valid_n": np.full(n, IMAGES),
        "num_samples": np.full(n, FULL.num_samples),
        "weights_digest": _hex(n, 16, rng),
        **{name: rng.uniform(0.2, 1, n) for name in _DRAWN},
    }
    columns |= {name: pc.if_else(pa.array(complete), pa.array(values), None) for name, values in scored.items()}
    return pa.table([_column(columns.get(f.name), f.type, n) for f in target], schema=target)


_DRAWN = (
    "coverage", "coverage_real", "spread", "pixel_variance_ratio", "nn_train_samples", "nn_train_heldout",
)  # fmt: skip


def _column(values: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    if isinstance(values, pa.Array | pa.ChunkedArray | np.ndarray):
        return pa.array(values, from_pandas=True).cast(kind) if isinstance(values, np.ndarray) else values.cast(kind)
    return pa.repeat(pa.scalar(values, kind), rows)


def _constants(scored_by: Protocol) -> dict[str, Any]:
    """Return what all rows under a protocol share."""
    return {
        **{name: value for name, value in cfg_columns(BASE).items() if value is not None},
        "schema_version": schema.VERSION,
        "fold": 0,
        "protocol_id": scored_by.id,
        "protocol_json": json.dumps(scored_by.to_dict()),
        "report_protocol_id": REPORT.id,
        "report_protocol_json": json.dumps(REPORT.to_dict()),
        "data_train_digest": "1f0d3a27",
        "data_valid_digest": "9b41c6e0",
        "data_test_digest": "72c8ab15",
        "run_device": "cuda",
        "run_device_name": "A GPU",
        "run_threads": 1,
        "run_gpu_share": 0.25,
        "run_code_revision": "0123456789ab",
        "run_gansearch_version": "0.1.0",
        "run_torch_version": "2.11.0",
        "run_ray_version": "2.60.0",
        "run_python_version": "3.11.9",
    }


def _json(texts: Mapping[str, pa.StringArray]) -> pa.StringArray:
    """Return the configurations as canonical JSON, from their searched values as text."""
    nested = BASE.to_dict()
    for name in texts:
        section, key = name.split(".")
        nested[section][key] = f"<{name}>"
    found: list[Any] = []
    rest = json.dumps(nested, sort_keys=True)
    for name in sorted(texts, key=lambda name: rest.index(f'"<{name}>"')):
        before, rest = rest.split(f'"<{name}>"')
        found += [before, texts[name]]
    return pc.binary_join_element_wise(*found, rest, "")


def confirm_trials(search: Search, rng: np.random.Generator) -> Iterator[tuple[list[dict[str, Any]], pa.Table]]:
    """Yield the rows of each confirm trial, one a protocol, and its scores image by image."""
    configs = [*(config_of(search, i) for i in range(FINALISTS)), BASE]
    for place, config in enumerate(configs):
        for replicate in range(CONFIRM_SEEDS):
            key = {
                "config_id": config.config_id,
                "seed": 7_000 + 100 * place + replicate,
                "stage": "confirm",
                "fold": 0,
            }
            rows, images = [], []
            for scored_by, lower in ((FULL, 0.0), (PUBLISHED, 3.5)):
                lls = {
                    split: rng.normal(225 - 4 * place - lower - shift, 190, IMAGES)
                    for split, shift in (("valid", 0.0), ("test", 2.0))
                }
                row = {name: value for name, value in cfg_columns(config).items() if value is not None}
                row = _constants(scored_by) | row | key | _confirmed(config, replicate, scored_by)
                for split, own in lls.items():
                    row |= {
                        f"{split}_ll_mean": float(own.mean()),
                        f"{split}_ll_se_examples": float(own.std(ddof=1) / math.sqrt(IMAGES)),
                        f"{split}_n": IMAGES,
                    }
                    images.append(_images(key | {"protocol_id": scored_by.id, "split": split}, own))
                rows.append(row)
            yield rows, pa.concat_tables(images)


def _confirmed(config: TrialConfig, replicate: int, scored_by: Protocol) -> dict[str, Any]:
    return {
        "replicate": replicate,
        "status": "COMPLETE",
        "num_samples": scored_by.num_samples,
        "sigma": 0.175,
        "sigma_at_edge": False,
        "report_ll_mean": 160.0,
        "report_epoch": 60,
        "report_last_ll_mean": 158.0,
        "epochs": 60,
        "scored_epoch": 60,
        "g_updates": 30_000,
        "d_updates": 30_000,
        "flops": 4.2e14,
        "collapsed": False,
        "coverage": 0.61,
        "coverage_real": 0.63,
        "spread": 0.93,
        "pixel_variance_ratio": 0.9,
        "nn_train_samples": 6.1,
        "nn_train_heldout": 6.3,
        "weights_digest": f"w{config.config_id}{replicate}",
        "test_evaluation": "made",
        "cfg_json": config.to_json(),
        "run_started": STARTED,
        "run_seconds": 700.0,
        "run_train_seconds": 600.0,
        "run_score_seconds": 100.0,
        "run_host": "node-1",
    }


def _images(common: Mapping[str, Any], lls: Floats) -> pa.Table:
    target = parts.arrow_schema(schema.EXAMPLES)
    columns = {**common, "index": np.arange(len(lls)), "ll": lls}
    return pa.table([_column(columns[f.name], f.type, len(lls)) for f in target], schema=target)


def write_run(run: Path, rows: int, seed: int = 1) -> None:
    """Write a run directory whose table of trials has so many rows.

    Args:
        run: the directory, which is made.
        rows: of `trials`, those of confirmed trials included.
        seed: decides all draws.
    """
    rng, paths, recorder = np.random.default_rng(seed), RunPaths(run), Recorder(run)
    trials = rows - 2 * (FINALISTS + 1) * CONFIRM_SEEDS
    if trials < FINALISTS:
        raise ValueError(f"{rows} rows are too few for confirmed trials of {FINALISTS + 1} configurations")
    search, done = draw_search(trials, rng), 0
    for size in compacted_sizes(trials):
        level = round(math.log(size / BATCH, FAN_IN))
        path = paths.table(schema.TRIALS.name) / f"{parts.COMPACTED}{level}-{rng.bytes(6).hex()}.parquet"
        parts.write_table(path, parts.replacing(search_rows(search, np.arange(done, done + size), rng), []))
        done += size
    for row in search_rows(search, np.arange(done, trials), rng).to_pylist():
        recorder.trial(TrialKey(row["config_id"], row["seed"], "search"), row)
    for confirmed, images in confirm_trials(search, rng):
        key = TrialKey(confirmed[0]["config_id"], confirmed[0]["seed"], "confirm")
        for row in confirmed:
            recorder.trial(key, row)
            names = [c.name for c in schema.TEST_EVALUATIONS.columns if c.name != "made_at"]
            recorder.record_test_evaluation({name: row[name] for name in names} | {"made_at": STARTED})
        parts.write_table(paths.part(schema.EXAMPLES.name, key), images)
    plan = {"base": BASE.to_dict(), "space": SPACE, "confirm": {"seeds": CONFIRM_SEEDS}}
    paths.plan.write_text(dump_yaml({"name": run.name, "study": plan}), encoding="utf-8")


def link_unconfirmed(run: Path, other: Path) -> None:
    """Make a second run directory of the same search, before its confirm stage, from hard links."""
    (other / schema.TRIALS.name).mkdir(parents=True)
    for path in RunPaths(run).table(schema.TRIALS.name).glob("*.parquet"):
        if "-confirm-" not in path.name:
            (RunPaths(other).table(schema.TRIALS.name) / path.name).hardlink_to(path)
    RunPaths(other).plan.hardlink_to(RunPaths(run).plan)


def main() -> None:
    """Write a run as the command line asks for, and another before its confirm stage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analysis.million_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, help="where the runs `confirmed` and `searched` are made")
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="of trials (default: 1,000,000)")
    given = parser.parse_args()
    write_run(given.directory / "confirmed", given.rows)
    link_unconfirmed(given.directory / "confirmed", given.directory / "searched")


if __name__ == "__main__":
    main()
