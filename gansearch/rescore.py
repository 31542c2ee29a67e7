"""Finalists scored again: the kept weights of a run's confirm trials under another protocol.

Nothing is trained, and a row comes out as if the protocol had been among the study's: the same draws of the
same weights, sigma chosen on validation images, the test set read once for each model and protocol and entered in
the ledger. Only confirm trials are scored; no row of the search stage ever gets a test score.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import torch

from analysis.records import records
from gansearch import results, schema
from gansearch.core.datasets import Dataset, load
from gansearch.errors import DataError, ResultsError
from gansearch.fits import check_protocol
from gansearch.kept_models import load_model
from gansearch.paths import RunPaths, TrialKey
from gansearch.placement import Placement
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.rows import Row, final_rows
from gansearch.scoring import Model, images_on, score_model
from gansearch.storage import Location
from gansearch.training import make_learner

MADE, REUSED = "made", "reused"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """What became of one confirm trial.

    Attributes:
        key: the trial.
        replicate: which of its configuration's seeds it is.
        row: its row under the protocol; None where it could not be scored.
        evaluation: `MADE` where the test set was read for it now, `REUSED` where its test score was there already;
            None where it could not be scored.
        problem: why it could not be scored, else None.
        elsewhere: how the machine that scored it now differs from the one that trained it, in words, else None.
            Samples drawn there are other ones, under which its older rows were not scored.
    """

    key: TrialKey
    replicate: int
    row: Row | None = None
    evaluation: str | None = None
    problem: str | None = None
    elsewhere: str | None = None


def rescore(
    run: Location,
    protocol: Protocol,
    *,
    data: Dataset | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    skip_damaged: bool = False,
    on_scored: Callable[[Rescored], None] = lambda _: None,
) -> list[Rescored]:
    """Score every complete confirm trial of a run under a protocol; return what became of each.

    A trial that has a row under the protocol keeps it. One whose weights are missing or damaged is named, and
    the others are scored.

    Args:
        run: the run directory.
        protocol: how to score.
        data: the run's data set; None to load it, where any trial is to be scored.
        data_dir: where data sets are looked for; None for the default.
        download: whether a data set that is not there may be downloaded.
        skip_damaged: leave out damaged parts of the tables instead of refusing.
        on_scored: called after each trial.

    Raises:
        ResultsError: when the run cannot be read, or no confirm trial of it is complete.
        DataError: when the data set here is not the run's.
    """
    recorder, found = Recorder(run), []
    for own in _confirmed(run, skip_damaged):
        first = own[0]
        there = next((row for row in own if row["protocol_id"] == protocol.id), None)
        one = Rescored(key=_key(first), replicate=first["replicate"])
        if there is not None:
            one = dataclasses.replace(one, row=there, evaluation=REUSED)
        else:
            if data is None or data.fold != first["fold"]:
                data = load(first["cfg_dataset_name"], data_dir=data_dir, download=download, fold=first["fold"])
            _check_data(first, data)
            check_protocol(protocol, data)
            try:
                one = _scored(one, str(first["protocol_id"]), protocol, data, recorder)
            except ResultsError as error:
                one = dataclasses.replace(one, problem=error.message)
        found.append(one)
        on_scored(one)
    return found


def _confirmed(run: Location, skip_damaged: bool) -> list[list[Row]]:
    """Return the rows of each complete confirm trial, in the order of configuration and replicate."""
    trials = results.read(run, schema.TRIALS.name, skip_damaged=skip_damaged)
    groups: dict[TrialKey, list[Row]] = collections.defaultdict(list)
    for row in records(trials[trials["stage"] == "confirm"], schema.TRIALS):
        groups[_key(row)].append(row)
    if not groups:
        raise ResultsError(
            f"{run} has no confirm trials, and no others are scored on the test set",
            hint="let `gansearch sweep` run to its end; the confirm stage is its last act",
        )
    complete = [own for own in groups.values() if all(row["status"] == schema.COMPLETE for row in own)]
    if not complete:
        counts = collections.Counter(own[0]["status"] for own in groups.values())
        ended = ", ".join(f"{counts[s]} {s}" for s in schema.STATUSES if counts[s])
        raise ResultsError(f"no confirm trial of {run} is complete: {ended}")
    return sorted(complete, key=lambda own: (own[0]["config_id"], own[0]["replicate"], own[0]["seed"], own[0]["fold"]))


def _key(row: Row) -> TrialKey:
    return TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"])


def _check_data(row: Row, data: Dataset) -> None:
    for split in ("train", "valid", "test"):
        told, here = row[f"data_{split}_digest"], data.digests[split]
        if told != here:
            raise DataError(
                f"the {split} split of '{data.name}' here has the digest {here}, in the run it is {told}: "
                "scores on different data do not compare",
                hint="give the directory of the run's data set with --data-dir",
            )


def _scored(one: Rescored, protocol_id: str, protocol: Protocol, data: Dataset, recorder: Recorder) -> Rescored:
    """Score a trial and write its row.

    Args:
        one: the trial.
        protocol_id: a protocol that it has a row under.
        protocol: how to score.
        data: its data set.
        recorder: the run directory.

    Raises:
        ResultsError: when its weights cannot be used, or have no finite score.
    """
    kept = load_model(RunPaths(recorder.run).weights(one.key))
    (old,) = recorder.rows(one.key, [protocol_id])
    if kept.spec.key != one.key or kept.digest != old["weights_digest"]:
        raise ResultsError(f"{kept.path} holds other weights than those that its trial was scored with")
    spec = kept.spec
    device = Placement(device=_device(old), threads=old["run_threads"]).claim()
    # Diagnostics compare as many samples as the smallest protocol draws: in a trial of all of them, and so here.
    fewest = min(p.num_samples for p in (*spec.protocols, spec.report_protocol, protocol))
    images = images_on(device, data, fewest)
    model = Model(
        spec=spec,
        sampler=make_learner(spec.config, images.train, data.levels, spec.seed),
        weights={name: tensor.to(device) for name, tensor in kept.weights.items()},
        epoch=kept.scored_epoch,
        digest=kept.digest,
    )
    columns = score_model(model, protocol, images, recorder)
    if not math.isfinite(columns["valid_ll_mean"]):
        raise ResultsError(f"its samples have no finite log-likelihood under {protocol.id}")
    draft = {**old, "schema_version": schema.VERSION}
    asked = dataclasses.replace(spec, protocols=(protocol,))
    (row,) = final_rows(draft, asked, schema.COMPLETE, scores=[columns])
    recorder.trial(one.key, row)
    elsewhere = f"trained on {old['run_device']}, scored on {device.type}" if device.type != old["run_device"] else None
    return dataclasses.replace(one, row=row, evaluation=columns["test_evaluation"], elsewhere=elsewhere)


def _device(row: Row) -> str:
    """Return the device that a trial ran on, where there is one here: draws on another are others."""
    return "cuda" if row["run_device"] == "cuda" and torch.cuda.is_available() else "cpu"
