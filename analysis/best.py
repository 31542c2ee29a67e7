"""The best configuration of a run, as a file that `gansearch train` accepts as it is.

The document holds what is needed to train the configuration again and to tell whether it did as well: the
configuration, the score protocols, each seed's expected scores with every digit, and where they were made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from analysis import statistics
from analysis.plan import planned_confirm_seeds
from analysis.records import Row, records
from analysis.selection import Candidate, Choice, choose
from gansearch import results, schema
from gansearch.config import TrialConfig
from gansearch.storage import Location, location

_SEED_COLUMNS = (
    "seed",
    "replicate",
    "fold",
    "stage",
    "status",
    "error",
    "valid_ll_mean",
    "valid_ll_se_examples",
    "test_ll_mean",
    "test_ll_se_examples",
    "sigma",
    "sigma_at_edge",
    "scored_epoch",
    "collapsed",
    "weights_digest",
)
_ENVIRONMENT = {
    "device": "run_device",
    "device_name": "run_device_name",
    "threads": "run_threads",
    "gpu_share": "run_gpu_share",
    "gansearch": "run_gansearch_version",
    "code_revision": "run_code_revision",
    "python": "run_python_version",
    "torch": "run_torch_version",
    "ray": "run_ray_version",
    "data_train_digest": "data_train_digest",
    "data_valid_digest": "data_valid_digest",
    "data_test_digest": "data_test_digest",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best configuration of a run.

    Attributes:
        choice: how it was chosen, with the whole ranking.
        rows: its trial rows that were ranked, one a seed, in the order of the replicates.
        skipped: damaged parts that were left out.
    """

    choice: Choice
    rows: tuple[Row, ...]
    skipped: tuple[str, ...]


def best(run: Location | str, *, skip_damaged: bool = False) -> Best:
    """Return the configuration that validation chooses.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing to choose.

    Raises:
        ResultsError: when the run cannot be read, or no configuration can be chosen.
        ConfigError: when its plan file cannot be read.
    """
    trials = results.read(run, schema.TRIALS.name, skip_damaged=skip_damaged)
    choice = choose(trials, planned_confirm_seeds=planned_confirm_seeds(run))
    ranked = trials[
        (trials["config_id"] == choice.leader.config_id)
        & (trials["stage"] == choice.stage)
        & (trials["protocol_id"] == choice.protocol_id)
    ]
    rows = sorted(records(ranked, schema.TRIALS), key=lambda r: (r["replicate"], r["seed"], r["fold"]))
    return Best(choice=choice, rows=tuple(rows), skipped=tuple(trials.attrs["skipped"]))


def best_document(run: Location | str, *, skip_damaged: bool = False) -> dict[str, Any]:
    """Return the content of the best configuration's file, as plain values.

    Where a seed ran in another environment than the first completed one, which the key `environment`
    describes, its entry has the differing values under a key `environment` of its own.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts; the document then says so.

    Raises:
        ResultsError: when the run cannot be read, or no configuration can be chosen.
    """
    return _document(location(run), best(run, skip_damaged=skip_damaged))


def best_full(run: Location | str, *, skip_damaged: bool = False) -> dict[str, Any]:
    """Return `best_document` with the whole ranking, for a machine to read: the keys `ranking` and `skipped` more."""
    found = best(run, skip_damaged=skip_damaged)
    ranking = [{"config_id": c.config_id, **_summary(c)} for c in found.choice.ranking]
    return {**_document(location(run), found), "ranking": ranking, "skipped": list(found.skipped)}


def _document(run: Location, found: Best) -> dict[str, Any]:
    choice = found.choice
    first = next(r for r in found.rows if r["status"] == schema.COMPLETE)
    environment = _environment(first)
    notes = [*choice.notes, *([f"damaged part files left out: {len(found.skipped)}"] if found.skipped else [])]
    return {
        "description": f"The configuration that validation chose in {run.resolve().name}",
        "config_id": choice.leader.config_id,
        "config": TrialConfig.from_dict(json.loads(first["cfg_json"])).to_dict(),  # in the order of its sections
        "chosen": {
            "stage": choice.stage,
            "rule": choice.rule,
            "protocol_id": choice.protocol_id,
            **_summary(choice.leader),
            "valid_ll_prediction_95": _prediction(choice.leader.scores),
            "notes": notes,
        },
        "protocol": json.loads(first["protocol_json"]),
        "report_protocol": json.loads(first["report_protocol_json"]),
        "seeds": [_seed(row, environment) for row in found.rows],
        "environment": environment,
    }


def _summary(candidate: Candidate) -> dict[str, Any]:
    return {
        "valid_ll_mean": candidate.valid_ll_mean,
        "valid_ll_se_seeds": candidate.valid_ll_se_seeds,
        "seeds": candidate.counts.seeds,
        **dataclasses.asdict(candidate.counts),
    }


def _prediction(scores: Sequence[float]) -> list[float] | None:
    interval = statistics.prediction_interval(scores)
    return None if interval is None else [interval.low, interval.high]


def _environment(row: Row) -> dict[str, Any]:
    return {name: row[column] for name, column in _ENVIRONMENT.items()}


def _seed(row: Row, common: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in _environment(row).items() if value != common[name]}
    return {name: row[name] for name in _SEED_COLUMNS} | ({"environment": own} if own else {})
