"""The tables of a run directory: every column's name, type, unit, nullability and meaning, once.

Prefixes: `cfg_` what was asked for, `run_` where and how it ran, `valid_` / `test_` scores under the row's
protocol, `report_` the same under the cheap report protocol. Status values are only ever added to.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from gansearch.config import ADDED, parameters

VERSION = 3
"""Of the columns. A part of an older version is read with nulls in the columns that were added since."""

COMPLETE = "COMPLETE"
STOPPED = "STOPPED"
DIVERGED = "DIVERGED"
FAILED = "FAILED"
INTERRUPTED = "INTERRUPTED"
RUNNING = "RUNNING"
COLLAPSED = "COLLAPSED"
STATUSES = {
    COMPLETE: "trained its whole budget and has a finite score",
    STOPPED: "ended early by the scheduler; only its report_* values are known",
    DIVERGED: "a loss or parameter became non-finite",
    FAILED: "an error or a lost worker ended it; `error` says which",
    INTERRUPTED: "the sweep was stopped while it ran; not an outcome, its checkpoint is kept",
    RUNNING: "it runs, or did when its sweep was killed; not an outcome, its checkpoint is kept",
    COLLAPSED: "a guard of the study ended it: D had won and the samples had collapsed; only its report_* values "
    "are known",
}
UNFINISHED = (INTERRUPTED, RUNNING)
"""Statuses that are no outcome: the trial goes on when its sweep is resumed."""
STAGES = ("search", "confirm", "train", "reproduce")


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: as it stands in the file.
        type: `string`, `int64`, `float64`, `bool`, `binary` or `timestamp` (UTC, microseconds).
        doc: what it means.
        unit: what it counts or measures in; empty where it has none.
        nullable: whether a row may lack it.
        since: version of the schema that brought it; nullable where that is not the first.
    """

    name: str
    type: str
    doc: str
    unit: str = ""
    nullable: bool = True
    since: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """One table: a folder of Parquet parts that share these columns.

    Attributes:
        name: the folder's name in the run directory.
        doc: what one row is.
        columns: in the order of the file.
        key: columns that identify a row.
        part_key: columns that identify a part, where parts are merged into compacted files; else none.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    part_key: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        """Return the column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def _required(name: str, type_: str, doc: str, unit: str = "") -> Column:
    return Column(name, type_, doc, unit, nullable=False)


def cfg_column(parameter: str) -> str:
    """Return the column that holds a dotted parameter name."""
    return "cfg_" + parameter.replace(".", "_")


def _cfg_columns() -> tuple[Column, ...]:
    scalars: dict[Any, str] = {str: "string", int: "int64", float: "float64", bool: "bool"}

    def column_type(hint: Any) -> str:
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            hint = typing.get_args(hint)[0]
        return scalars.get(hint, "string")

    return tuple(
        Column(
            cfg_column(name),
            column_type(hint),
            f"configuration `{name}`; null where it does not act",
            since=3 if name in ADDED else 1,
        )
        for name, hint in parameters()
    )


_IDENTITY = (
    _required("config_id", "string", "hash of the canonical configuration, without seed, fold and protocol"),
    _required("seed", "int64", "the trial's seed, from (sweep seed, stage, config_id, replicate)"),
    _required("stage", "string", "search, confirm, train or reproduce"),
    _required("fold", "int64", "fold of the data set; 0 where it has none"),
)
_PROTOCOL = _required("protocol_id", "string", "score protocol: its name and a digest of its content")

TRIALS = Table(
    "trials",
    "one trial under one score protocol",
    (
        _required("schema_version", "int64", "version of this schema"),
        *_IDENTITY,
        _PROTOCOL,
        _required("replicate", "int64", "which of the configuration's seeds this is, from 0"),
        Column("number", "int64", "place in the order in which a search tried its configurations, from 0", since=2),
        Column(
            "parent_id",
            "string",
            "config_id of the member whose checkpoint it went on from, in population based training",
            since=2,
        ),
        _required("status", "string", ", ".join(STATUSES)),
        Column("error", "string", "why the trial did not complete"),
        Column("valid_ll_mean", "float64", "mean Parzen log-likelihood of the validation images", "nats"),
        Column("valid_ll_se_examples", "float64", "its standard error over validation images", "nats"),
        Column("valid_n", "int64", "validation images scored", "images"),
        Column("test_ll_mean", "float64", "mean Parzen log-likelihood of the test images; confirm only", "nats"),
        Column("test_ll_se_examples", "float64", "its standard error over test images", "nats"),
        Column("test_n", "int64", "test images scored", "images"),
        Column("sigma", "float64", "bandwidth chosen on validation images", "score-space units"),
        Column("sigma_at_edge", "bool", "sigma is an end point of the protocol's grid"),
        Column("num_samples", "int64", "generator samples that carry the kernels", "samples"),
        Column("report_protocol_id", "string", "protocol of the report_* values, curves and search decisions"),
        Column(
            "report_ll_mean",
            "float64",
            "best validation log-likelihood among the reports: the highest of those whose samples have not collapsed, "
            "the latest where all have; a maximum over reports, hence optimistic; all reports use the same noise",
            "nats",
        ),
        Column("report_epoch", "int64", "epoch of the report that `report_ll_mean` is of", "epochs"),
        Column("report_last_ll_mean", "float64", "validation log-likelihood at the last report", "nats"),
        Column("epochs", "int64", "epochs run, those after a freeze included", "epochs"),
        Column("scored_epoch", "int64", "epoch of the weights that were scored", "epochs"),
        Column("g_updates", "int64", "generator updates", "updates"),
        Column("d_updates", "int64", "discriminator updates", "updates"),
        Column("flops", "float64", "multiply-adds of the training's matrix products, times two", "operations"),
        Column("collapsed", "bool", "the scored samples cover under a tenth of what real images cover"),
        Column("coverage", "float64", "share of fixed validation images nearest to some sample", "share"),
        Column("coverage_real", "float64", "the same for as many real training images", "share"),
        Column("spread", "float64", "total variance of samples over that of training images", "ratio"),
        Column("pixel_variance_ratio", "float64", "median over pixels of sample variance over data variance", "ratio"),
        Column("nn_train_samples", "float64", "mean distance of a sample to its nearest training image", "pixel units"),
        Column("nn_train_heldout", "float64", "the same for validation images", "pixel units"),
        Column("d_real", "float64", "mean D(x) under dropout, as in `curves` at the last report", "probability"),
        Column("d_fake", "float64", "mean D(G(z)) under dropout, as in `curves` at the last report", "probability"),
        Column("game_value", "float64", "unscaled V(D, G) under dropout, as in `curves` at the last report", "nats"),
        Column("weights_digest", "string", "digest of the scored generator's parameters"),
        Column("test_evaluation", "string", "`made` or `reused` from the ledger; null where test was not read"),
        Column("data_train_digest", "string", "digest of the training split"),
        Column("data_valid_digest", "string", "digest of the validation split"),
        Column("data_test_digest", "string", "digest of the test split"),
        *_cfg_columns(),
        Column(
            "cfg_schedule",
            "string",
            "configuration `schedule` as JSON: values that replaced others after so many epochs; null without any",
            since=2,
        ),
        _required("cfg_json", "string", "the whole configuration as canonical JSON"),
        _required("protocol_json", "string", "the score protocol as JSON"),
        _required("report_protocol_json", "string", "the report protocol as JSON"),
        Column("run_started", "timestamp", "when the trial started"),
        Column("run_seconds", "float64", "wall-clock time of the trial; in a pack without its neighbours'", "seconds"),
        Column("run_train_seconds", "float64", "of it, in Algorithm 1", "seconds"),
        Column("run_score_seconds", "float64", "of it, in reports and scoring", "seconds"),
        Column(
            "run_examples_per_second",
            "float64",
            "real examples Algorithm 1 consumed a second, those of whole minibatches",
            "1/s",
        ),
        Column("run_host", "string", "name of the machine"),
        Column("run_device", "string", "cpu or cuda"),
        Column("run_device_name", "string", "model of the processor or GPU"),
        Column("run_threads", "int64", "CPU threads of the trial, or of its engine", "threads"),
        Column("run_gpu_share", "float64", "share of a GPU that the trial, or its engine, was given", "GPUs"),
        Column("run_code_revision", "string", "revision of this project's code; `-dirty` where files differ from it"),
        Column("run_gansearch_version", "string", "version of gansearch"),
        Column("run_torch_version", "string", "version of PyTorch"),
        Column("run_ray_version", "string", "version of Ray that is installed; null where none is"),
        Column("run_python_version", "string", "version of Python"),
    ),
    ("config_id", "seed", "stage", "fold", "protocol_id"),
    part_key=("config_id", "seed", "stage", "fold", "protocol_id"),
)

CURVES = Table(
    "curves",
    "one report of one trial",
    (
        *_IDENTITY,
        _required("epoch", "int64", "epochs done at the report", "epochs"),
        Column("report_protocol_id", "string", "protocol of report_ll_mean"),
        Column(
            "report_ll_mean",
            "float64",
            "validation log-likelihood under the report protocol, of the same noise each time",
            "nats",
        ),
        Column("report_ll_se_examples", "float64", "its standard error over validation images", "nats"),
        Column("report_sigma", "float64", "its bandwidth", "score-space units"),
        Column("report_sigma_at_edge", "bool", "sigma is an end point of the grid"),
        Column("loss_d", "float64", "discriminator's loss, scaled, mean since the last report", "nats"),
        Column("loss_g", "float64", "generator's loss, mean since the last report", "nats"),
        Column("game_value", "float64", "unscaled V(D, G) under dropout, mean since the last report", "nats"),
        Column("d_real", "float64", "mean D(x) since the last report, under dropout", "probability"),
        Column("d_fake", "float64", "mean D(G(z)) since the last report, under dropout", "probability"),
        Column("coverage", "float64", "share of fixed validation images nearest to some sample", "share"),
        Column("coverage_real", "float64", "the same for as many real training images", "share"),
        Column("spread", "float64", "total variance of samples over that of training images", "ratio"),
        Column("g_updates", "int64", "generator updates so far", "updates"),
        Column("d_updates", "int64", "discriminator updates so far", "updates"),
        Column("examples_per_second", "float64", "real examples consumed a second since the last report", "1/s"),
        Column("seconds", "float64", "wall-clock time of the trial so far", "seconds"),
    ),
    ("config_id", "seed", "stage", "fold", "epoch"),
    part_key=("config_id", "seed", "stage", "fold"),
)

EXAMPLES = Table(
    "examples",
    "one image's log-likelihood under one confirmed trial",
    (
        *_IDENTITY,
        _PROTOCOL,
        _required("split", "string", "valid or test"),
        _required("index", "int64", "place of the image in its split"),
        _required("ll", "float64", "Parzen log-likelihood of the image", "nats"),
    ),
    ("config_id", "seed", "stage", "fold", "protocol_id", "split", "index"),
)

SAMPLES = Table(
    "samples",
    "one picture of a trial's samples",
    (
        *_IDENTITY,
        _required("kind", "string", "`report` (the same noise each time) or `sheet` (of a finished confirm trial)"),
        _required("epoch", "int64", "epoch of the generator", "epochs"),
        _required("rows", "int64", "rows of images in the picture", "images"),
        _required("columns", "int64", "columns of images in the picture", "images"),
        _required("png", "binary", "the picture as PNG"),
    ),
    ("config_id", "seed", "stage", "fold", "kind", "epoch"),
    part_key=("config_id", "seed", "stage", "fold"),
)

TEST_EVALUATIONS = Table(
    "test_evaluations",
    "the ledger: one evaluation of the test set",
    (
        _required("weights_digest", "string", "digest of the generator's parameters"),
        _PROTOCOL,
        _required("data_test_digest", "string", "digest of the test split"),
        *_IDENTITY,
        _required("test_ll_mean", "float64", "mean Parzen log-likelihood of the test images", "nats"),
        _required("test_ll_se_examples", "float64", "its standard error over test images", "nats"),
        _required("test_n", "int64", "test images scored", "images"),
        _required("made_at", "timestamp", "when the test set was read"),
    ),
    ("weights_digest", "protocol_id", "data_test_digest"),
)

TABLES = {t.name: t for t in (TRIALS, CURVES, EXAMPLES, SAMPLES, TEST_EVALUATIONS)}


def document(table: Table) -> str:
    """Return the table's columns as Markdown."""
    lines = [
        f"## {table.name}",
        "",
        f"One row is {table.doc}. Key: {', '.join(f'`{k}`' for k in table.key)}.",
        "",
        "| column | type | unit | null | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{c.name}` | {c.type} | {c.unit} | {'yes' if c.nullable else 'no'} | {c.doc} |" for c in table.columns
    ]
    return "\n".join(lines) + "\n"
