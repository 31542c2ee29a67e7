"""Whether a best configuration's file can be reproduced here.

Training is chaotic: a difference in the last bit of one sum grows until nothing but the distribution of the
outcome is the same. So there are two verdicts. On the same device model, with the same versions and thread
count, a seed must come out *identical*, bit for bit. Elsewhere it is *another draw of the same
configuration*. Seeds come in two kinds, those that went well and those that collapsed or diverged, and one
interval over both holds anything; so one that went well is held against the prediction interval of those in
the file that did too, and one that did not against how many of them did not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from analysis.statistics import Interval, prediction_interval
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
_SAME_BITS = ("gansearch", "python")
"""Entries that may differ without a bit of the result that does."""
_PACKED = ("packed", "auto")
"""Executors that may train a trial in a pack, whose sums are rounded otherwise than those of a trial alone."""
_SIGNIFICANT = 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run.

    Attributes:
        spec: the trial.
        placement: what it runs on: the recorded device and threads where they are here.
        expected: the file's entry of the seed.
        recorded: the environment in which the entry was made.
        differences: how the environment here differs, in words.
        may_be_identical: whether none of that need change a bit of the result.
        scores: validation scores, in nats, of the file's seeds on that fold that neither collapsed nor diverged.
        bad: its seeds on that fold that did.
    """

    spec: TrialSpec
    placement: Placement
    expected: Mapping[str, Any]
    recorded: Mapping[str, Any]
    differences: tuple[str, ...]
    may_be_identical: bool
    scores: tuple[float, ...]
    bad: int

    @property
    def undecidable(self) -> bool:
        """Whether nothing that a trial may come to here could be judged."""
        return not self.may_be_identical and len(self.scores) < 2 and self.bad == 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The verdict.

    Attributes:
        kind: `IDENTICAL` where it is, or where it can be asked for here; else `ANOTHER_DRAW`.
        holds: whether its condition holds; None where one trial does not tell.
        reason: why it does or does not, in a sentence.
        values: what was compared: (in the file, here) by name.
        interval: low and high end of the 95% prediction interval in nats; None where it was not needed, or
            the file has fewer than 2 seeds that neither collapsed nor diverged.
        seeds: seeds of the file that neither collapsed nor diverged.
        bad: its seeds that did.
        differences: how the environment here differs, in words.
        run: the run directory with the new row.
        row: the new row.
    """

    kind: str
    holds: bool | None
    reason: str
    values: Mapping[str, tuple[Any, Any]]
    interval: tuple[float, float] | None
    seeds: int
    bad: int
    differences: tuple[str, ...]
    run: Location
    row: Row

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        values = {name: {"file": told, "here": here} for name, (told, here) in self.values.items()}
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {"values": values, "run": str(self.run)}


def plan_reproduction(file: ConfigFile, seed: int | None = None, fold: int | None = None) -> Plan:
    """Return what reproducing a seed of a best configuration's file takes.

    Args:
        file: what `gansearch best` wrote.
        seed: one of the file's completed seeds; by default the first.
        fold: one of the folds that it completed on; by default the first.

    Raises:
        ConfigError: when the file was changed, or records no such seed or fold.
    """
    file.check_unedited()
    completed = [entry for entry in file.expected if entry.get("status") == schema.COMPLETE]
    if not completed or file.protocol is None or file.report_protocol is None:
        raise ConfigError(
            f"{file.name} does not say what is to be reproduced: it has no completed seed or no score protocols",
            hint="give a file that `gansearch best` wrote, or train the configuration with `gansearch train`",
        )
    expected = _entry(file.name, completed, seed, fold)
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
    differences = _differences(recorded, here)
    healthy, bad = _outcomes(file.expected, spec.fold)
    return Plan(
        spec=spec,
        placement=placement,
        expected=expected,
        recorded=recorded,
        differences=tuple(differences.values()),
        may_be_identical=set(_SAME_BITS).issuperset(differences),
        scores=healthy,
        bad=bad,
    )


def _entry(name: str, completed: Sequence[Mapping[str, Any]], seed: int | None, fold: int | None) -> Mapping[str, Any]:
    """Return the entry of a seed and a fold; ConfigError where there is none."""
    of_seed = [entry for entry in completed if seed in (None, entry.get("seed"))]
    if not of_seed:
        known = ", ".join(dict.fromkeys(str(entry.get("seed")) for entry in completed))
        raise ConfigError(f"{name} has no completed seed {seed}", hint=f"its completed seeds: {known}")
    found = next((entry for entry in of_seed if fold in (None, entry.get("fold", 0))), None)
    if found is None:
        known = ", ".join(str(entry.get("fold", 0)) for entry in of_seed)
        which = "no seed" if seed is None else f"seed {seed} not"
        raise ConfigError(f"{name} has {which} completed on fold {fold}", hint=f"its folds: {known}")
    return found


def _outcomes(entries: Sequence[Mapping[str, Any]], fold: int) -> tuple[tuple[float, ...], int]:
    """Return the scores of a fold's seeds that went well, and how many collapsed or diverged."""
    of_fold = [entry for entry in entries if entry.get("fold", 0) == fold]
    bad = [entry for entry in of_fold if _is_bad(entry)]
    healthy = [entry for entry in of_fold if entry.get("status") == schema.COMPLETE and not _is_bad(entry)]
    return tuple(entry["valid_ll_mean"] for entry in healthy), len(bad)


def _is_bad(entry: Mapping[str, Any]) -> bool:
    """Return whether a seed collapsed or diverged."""
    completed = entry.get("status") == schema.COMPLETE
    return entry.get("status") in (schema.DIVERGED, schema.COLLAPSED) or (completed and entry.get("collapsed") is True)


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
    identical, reason = _identical(plan, row, values)
    kind = IDENTICAL if identical or not differences else ANOTHER_DRAW
    holds: bool | None = identical
    interval = None
    if row["status"] in schema.UNFINISHED or row["status"] in (schema.FAILED, schema.STOPPED):
        holds, reason = False, f"the trial ended as {row['status']}: {row['error']}"
    elif kind == ANOTHER_DRAW and _is_bad(row):
        holds, reason = _another_bad(plan, row)
    elif kind == ANOTHER_DRAW:
        interval = prediction_interval(plan.scores)
        holds, reason = _another_healthy(plan, row["valid_ll_mean"], interval)
    elif row["status"] != schema.COMPLETE:
        holds, reason = False, f"the trial ended as {row['status']}: {row['error']}"
    return Reproduction(
        kind=kind,
        holds=holds,
        reason=reason,
        values=values,
        interval=None if interval is None else (interval.low, interval.high),
        seeds=len(plan.scores),
        bad=plan.bad,
        differences=tuple(differences.values()),
        run=out,
        row=row,
    )


def _another_bad(plan: Plan, row: Row) -> tuple[bool | None, str]:
    """Judge a trial that collapsed or diverged.

    Fisher's exact test of 1 of 1 against b of n has p = (b + 1) / (n + 1). Where no seed of the file did, it is not
    called another draw of the same, however few they are.
    """
    did = "collapsed" if row["status"] in (schema.COMPLETE, schema.COLLAPSED) else "diverged"
    seeds = len(plan.scores) + plan.bad
    p = (plan.bad + 1) / (seeds + 1)
    told = (
        f"it {did}, and {plan.bad or 'none'} of the file's {seeds} seed{'s' if seeds > 1 else ''} collapsed or diverged"
    )
    if p < _SIGNIFICANT:
        return False, f"{told} (p = {p:.2g})"
    return (True, f"{told} too") if plan.bad else (None, f"{told}; that may be chance (p = {p:.2f})")


def _another_healthy(plan: Plan, score: float, interval: Interval | None) -> tuple[bool | None, str]:
    """Judge a trial that neither collapsed nor diverged, as `_another_bad` does, then by its score."""
    seeds = len(plan.scores) + plan.bad
    if (p := (len(plan.scores) + 1) / (seeds + 1)) < _SIGNIFICANT:
        return False, f"it went well, and {plan.bad} of the file's {seeds} seeds collapsed or diverged (p = {p:.2g})"
    if interval is None:
        few = "one of the file's seeds" if plan.scores else "none of the file's seeds"
        return None, f"{few} neither collapsed nor diverged, and a prediction interval takes two or more"
    holds = interval.low <= score <= interval.high
    return holds, f"the validation score is {'inside' if holds else 'outside'} the prediction interval"


def _identical(plan: Plan, row: Row, values: Mapping[str, tuple[Any, Any]]) -> tuple[bool, str]:
    differing = [name for name, (told, here) in values.items() if told != here]
    if not differing:
        return True, "the validation score and the weights are equal bit for bit"
    reason = f"{' and '.join(differing)} {'differs' if len(differing) == 1 else 'differ'} in the same environment"
    told, here = plan.recorded.get("code_revision"), row.get("run_code_revision")
    return False, reason if told == here else f"{reason}; the code's revision was {told} and is {here}"


def _differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, str]:
    """Return how the environment of a row differs from a recorded one, in words, by entry."""
    pairs = {name: (recorded.get(name), here[column]) for name, column in _ENVIRONMENT.items()}
    pairs["python"] = (_minor(pairs["python"][0]), _minor(pairs["python"][1]))
    found = {name: f"{name} was {told}, is {now}" for name, (told, now) in pairs.items() if told != now}
    if (executor := recorded.get("executor")) in _PACKED:
        found["executor"] = f"executor was {executor}, here the trial is trained alone"
    return found


def _minor(version: object) -> str:
    return ".".join(str(version).split(".")[:2])
