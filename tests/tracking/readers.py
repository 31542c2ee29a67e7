"""What a tracker holds of a trial, read by its own reader where it has one."""

from __future__ import annotations

import dataclasses
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gansearch.paths import TrialKey
from gansearch.tracking.interface import METRICS

_BLOCK, _HEADER = 32_768, struct.Struct("<IHB")


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a tracker holds of one trial.

    Attributes:
        reports: (step, value) pairs of each metric of `curves`, sorted; each as often as it is there.
        scores: each score by its name.
        hyperparameters: by column, as the tracker has them: text in MLflow.
        facts: how the trial ended, as text.
    """

    reports: dict[str, list[tuple[int, float]]]
    scores: dict[str, float]
    hyperparameters: dict[str, Any]
    facts: dict[str, str]


def tensorboard(run: Path, key: TrialKey) -> Seen:
    """Read with TensorBoard's own accumulator, without its removal of what stands twice."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = run / "tensorboard" / str(key)
    found = EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}, purge_orphaned_data=False).Reload()
    scalars = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    about = HParamsPluginData.FromString(found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    values = {
        name: getattr(value, value.WhichOneof("kind")) for name, value in about.session_start_info.hparams.items()
    }
    facts = {}
    if "outcome/text_summary" in found.Tags()["tensors"]:
        (event,) = found.Tensors("outcome/text_summary")
        lines = event.tensor_proto.string_val[0].decode().splitlines()
        facts = dict(line.removeprefix("- ").split(": ", 1) for line in lines)
    return _seen(scalars, values, facts)


def mlflow(run: Path, key: TrialKey) -> Seen:
    """Read with MLflow's client."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == run.name]
    named = f"attributes.run_name = '{key}'"
    (found,) = client.search_runs([experiment.experiment_id], named)
    history = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    scalars = {name: [(m.step, m.value) for m in metrics] for name, metrics in history.items()}
    tags = {name.removeprefix("gansearch."): value for name, value in found.data.tags.items()}
    labels = {name: tags[name] for name in ("config_id", "seed", "stage", "fold")}
    facts: dict[str, str] = {name: tags[name] for name in ("status", "error", "weights_digest") if name in tags}
    return _seen(scalars, dict(found.data.params) | labels, facts | {"mlflow": found.info.status})


def wandb(run: Path, key: TrialKey) -> Seen:
    """Read the offline file, a log of protobuf records."""
    (path,) = (run / "wandb").glob(f"offline-run-*-{key}-*/run-*.wandb")
    scalars: dict[str, list[tuple[int, float]]] = {}
    summary: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for record in _whole(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for name, value in items.items():
                if not name.startswith("_"):
                    scalars.setdefault(name, []).append((items["_step"], value))
        elif kind == "summary":
            summary |= {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.summary.update}
        elif kind == "run":
            values |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    scores = {name: [(0, value)] for name, value in summary.items() if "/" in name and name[0] != "_"}
    facts: dict[str, str] = {
        name: str(summary[name]) for name in ("status", "error", "weights_digest") if name in summary
    }
    return _seen(scalars | scores, values, facts)


def _whole(path: Path) -> list[Any]:
    """Return a file's records once the last is there: wandb's service closes it a moment after `finish` returns."""
    from wandb.proto import wandb_internal_pb2

    record_type = vars(wandb_internal_pb2)["Record"]
    until = time.monotonic() + 30
    while True:
        found = [record_type.FromString(content) for content in _records(path.read_bytes())]
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        assert time.monotonic() < until, path
        time.sleep(0.05)


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the whole records of a log in LevelDB's format behind a header of 7 bytes."""
    offset, parts = 7, b""
    while offset + _HEADER.size <= len(data):
        left = _BLOCK - offset % _BLOCK
        if left < _HEADER.size:
            offset += left
            continue
        _, length, kind = _HEADER.unpack_from(data, offset)
        if offset + _HEADER.size + length > len(data):  # it is being written
            return
        parts += data[offset + _HEADER.size : offset + _HEADER.size + length]
        offset += _HEADER.size + length
        if kind in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


def _seen(scalars: dict[str, list[tuple[int, float]]], values: dict[str, Any], facts: dict[str, str]) -> Seen:
    reports = {name: sorted(scalars[name]) for name in METRICS if name in scalars}
    others = {name: points for name, points in scalars.items() if name not in METRICS}
    assert all(len(points) == 1 for points in others.values()), others
    return Seen(reports, {name: points[0][1] for name, points in others.items()}, values, facts)


def single(value: float) -> float:
    """Return a value as TensorBoard's scalars hold it: in 32 bits."""
    return float(np.float32(value))


@dataclasses.dataclass(frozen=True)
class Backend:
    """A tracker under test.

    Attributes:
        name: its name.
        read: what it holds of a trial of a run.
        stored: what becomes of a number in it.
        keeps_first: whether it keeps a report that is made again as it was.
    """

    name: str
    read: Callable[[Path, TrialKey], Seen]
    stored: Callable[[float], float] = float
    keeps_first: bool = False


BACKENDS = (
    Backend("tensorboard", tensorboard, single),
    Backend("mlflow", mlflow, keeps_first=True),
    Backend("wandb", wandb),
)
