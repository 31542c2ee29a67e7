"""Whether a best configuration's file can be reproduced here.

Training is chaotic: a difference in the last bit of one sum grows until nothing but the distribution of the
outcome is the same. So there are two verdicts. On the same device model, with the same versions and thread
count, a seed must come out *identical*, bit for bit. Elsewhere it is *another draw of the same
configuration*, held against the prediction interval of the seeds in the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from analysis.statistics import prediction_interval
from gansearch import schema
from gansearch.config_files import ConfigFile
from gansearch.core.datasets import load
from gansearch.errors import ConfigError, DataError
from gansearch.placement import Placement
from gansearch.provenance import environment
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.spec import TrialSpec
from gansearch.storage import Location
from gansearch.trial import Report, run

IDENTICAL = "identical"
ANOTHER_DRAW = "another draw of the same configuration"

# What decides the bits of a result: entry of the file's environment, column of the row made here. Python
# counts by its minor version.
_ENVIRONMENT = {
    "device": "run_device",
    "device_name": "run_device_name",
    "threads": "run_threads",
    "gansearch": "run_gansearch_version",
    "torch": "run_torch_version",
    "python": "run_python_version",
}
_COMPARED = ("valid_ll_mean", "weights_digest")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run.

    Attributes:
        spec: the trial.
        placement: what it runs on: the recorded device and threads where they are here.
        expected: the file's entry of the seed.
        recorded: the environment in which the entry was made.
        differences: how the environment here differs, in words.
        scores: validation scores of all completed seeds of the file, in nats.
    """

    spec: TrialSpec
    placement: Placement
    expected: Mapping[str, Any]
    recorded: Mapping[str, Any]
    differences: tuple[str, ...]
    scores: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The verdict.

    Attributes:
        kind: `IDENTICAL` or `ANOTHER_DRAW`, whichever can be asked for here.
        holds: whether its condition holds.
        reason: why it does or does not, in a sentence.
        values: what was compared: (in the file, here) by name.
        interval: low and high end of the 95% prediction interval in nats; None where it was not needed, or
            the file has fewer than 2 completed seeds.
        seeds: completed seeds of the file.
        differences: how the environment here differs, in words.
        run: the run directory with the new row.
        row: the new row.
    """

    kind: str
    holds: bool
    reason: str
    values: Mapping[str, tuple[Any, Any]]
    interval: tuple[float, float] | None
    seeds: int
    differences: tuple[str, ...]
    run: Location
    row: Row

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        values = {name: {"file": told, "here": here} for name, (told, here) in self.values.items()}
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {"values": values, "run": str(self.run)}


def plan_reproduction(file: ConfigFile, seed: int | None = None) -> Plan:
    """Return what reproducing a seed of a best configuration's file takes.

    Args:
        file: what `gansearch best` wrote.
        seed: one of the file's completed seeds; by default the first.

    Raises:
        ConfigError: when the file was changed, or records no such seed.
    """
    file.check_unedited()
    completed = [entry for entry in file.expected if entry.get("status") == schema.COMPLETE]
    if not completed or file.protocol is None or file.report_protocol is None:
        raise ConfigError(
            f"{file.name} does not say what is to be reproduced: it has no completed seed or no score protocols",
            hint="give a file that `gansearch best` wrote, or train the configuration with `gansearch train`",
        )
    expected = next((entry for entry in completed if seed in (None, entry.get("seed"))), None)
    if expected is None:
        known = ", ".join(str(entry.get("seed")) for entry in completed)
        raise ConfigError(f"{file.name} has no completed seed {seed}", hint=f"its completed seeds: {known}")
    for name in ("seed", *_COMPARED):
        if expected.get(name) is None:
            raise ConfigError(f"{file.name}: the entry of a completed seed lacks '{name}'")
    spec = TrialSpec(
        config=file.config,
        seed=expected["seed"],
        stage="reproduce",
        fold=expected.get("fold", 0),
        replicate=expected.get("replicate", 0),
        protocols=(file.protocol,),
        report_protocol=file.report_protocol,
    )
    recorded = {**file.environment, **(expected.get("environment") or {})}
    device = "cuda" if recorded.get("device") == "cuda" and torch.cuda.is_available() else "cpu"
    placement = Placement(device=device, threads=recorded.get("threads") or 1)
    here = environment(torch.device(device), placement.threads)
    return Plan(
        spec=spec,
        placement=placement,
        expected=expected,
        recorded=recorded,
        differences=_differences(recorded, here),
        scores=tuple(entry["valid_ll_mean"] for entry in completed),
    )


def reproduce(
    plan: Plan,
    out: Location,
    *,
    data_dir: Path | None = None,
    download: bool = True,
    on_report: Callable[[Report], None] = lambda _: None,
) -> Reproduction:
    """Run a plan and judge its outcome. The test set is not read.

    A trial that is in the directory already is not run again: its row is judged.

    Args:
        plan: what to run.
        out: the run directory.
        data_dir: where data sets are looked for; None for the default.
        download: whether a data set that is not there may be downloaded.
        on_report: called after each report.

    Raises:
        DataError: when the data set here is not the recorded one.
    """
    config = plan.spec.config
    data = load(
        config.dataset.name,
        data_dir=data_dir,
        download=download,
        fold=plan.spec.fold,
        labels=config.condition.on == "labels",
    )
    for split in ("train", "valid"):
        told, here = plan.recorded.get(f"data_{split}_digest"), data.digests[split]
        if told not in (None, here):
            raise DataError(
                f"the {split} split of '{data.name}' here has the digest {here}, in the file it is {told}: "
                "scores on different data do not compare",
                hint="give the directory of the recorded data set with --data-dir",
            )
    (row,) = run(plan.spec, data.without_test(), Recorder(out), plan.placement, on_report)
    return judge(plan, row, out)


def judge(plan: Plan, row: Row, out: Location) -> Reproduction:
    """Return the verdict on a reproduced trial's row."""
    differences = _differences(plan.recorded, row)
    values = {name: (plan.expected[name], row.get(name)) for name in _COMPARED}
    interval = prediction_interval(plan.scores) if differences else None
    kind = ANOTHER_DRAW if differences else IDENTICAL
    holds, reason = _identical(plan, row, values)
    if row["status"] != schema.COMPLETE:
        holds, reason = False, f"the trial ended as {row['status']}: {row['error']}"
    elif differences and interval is None:
        holds, reason = (
            False,
            "the file has one completed seed, and a prediction interval takes two or more",
        )
    elif differences and interval is not None:
        holds = interval.low <= row["valid_ll_mean"] <= interval.high
        reason = f"the validation score is {'inside' if holds else 'outside'} the prediction interval"
    return Reproduction(
        kind=kind,
        holds=holds,
        reason=reason,
        values=values,
        interval=None if interval is None else (interval.low, interval.high),
        seeds=len(plan.scores),
        differences=differences,
        run=out,
        row=row,
    )


def _identical(plan: Plan, row: Row, values: Mapping[str, tuple[Any, Any]]) -> tuple[bool, str]:
    differing = [name for name, (told, here) in values.items() if told != here]
    if not differing:
        return True, "the validation score and the weights are equal bit for bit"
    reason = f"{' and '.join(differing)} {'differs' if len(differing) == 1 else 'differ'} in the same environment"
    told, here = plan.recorded.get("code_revision"), row.get("run_code_revision")
    return False, reason if told == here else f"{reason}; the code's revision was {told} and is {here}"


def _differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how the environment of a row differs from a recorded one, in words."""
    pairs = {name: (recorded.get(name), here[column]) for name, column in _ENVIRONMENT.items()}
    pairs["python"] = (_minor(pairs["python"][0]), _minor(pairs["python"][1]))
    return tuple(f"{name} was {told}, is {now}" for name, (told, now) in pairs.items() if told != now)


def _minor(version: object) -> str:
    return ".".join(str(version).split(".")[:2])
