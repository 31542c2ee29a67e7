"""The best configuration of a run, as a file that `gansearch train` accepts as it is.

The document holds what is needed to train the configuration again and to tell whether it did as well: the
configuration, the score protocols, each seed's expected scores with every digit, and where they were made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from analysis import statistics, trial_columns
from analysis.flags import ceiling_note, configuration_flags, find_ceiling
from analysis.plan import planned_confirm_seeds, planned_executor
from analysis.ranking import Candidate
from analysis.records import Row, arrow_records
from analysis.selection import Choice, choose_from
from gansearch import results, schema
from gansearch.config import TrialConfig
from gansearch.storage import Location, location

if TYPE_CHECKING:
    import pyarrow as pa

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
_MANY_TEXTS = ("config_id", "error", "weights_digest", "cfg_json", "run_host")
_FEW_TEXTS = tuple(c.name for c in schema.TRIALS.columns if c.type == "string" and c.name not in _MANY_TEXTS)
"""Columns whose texts are few, however many rows there are."""
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


def choice_of(run: Location | str, *, skip_damaged: bool = False) -> Choice:
    """Return what validation chooses, from the columns and rows that this takes.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing to choose.

    Raises:
        ResultsError: when the run cannot be read, or no configuration can be chosen.
        ConfigError: when its plan file cannot be read.
    """
    return read_choice(run, skip_damaged=skip_damaged)[0]


def read_choice(
    run: Location | str, *, stage: str | None = None, skip_damaged: bool = False
) -> tuple[Choice, tuple[str, ...]]:
    """Return what `choice_of` does, and the damaged parts that were left out.

    Args:
        run: the run directory.
        stage: `search` or `confirm`, to rank that stage whatever there is of the other; by default the rule decides.
        skip_damaged: leave out damaged parts instead of refusing to choose.

    Raises:
        ResultsError, ConfigError: as `choice_of`.
    """
    planned = planned_confirm_seeds(run)
    if stage != "search":
        confirm, skipped = _read(run, trial_columns.COLUMNS, skip_damaged, pc.field("stage") == "confirm")
        if stage == "confirm" or not set(confirm["status"].unique().to_pylist()) <= set(schema.UNFINISHED):
            searched, also = _searched_under(run, skip_damaged)
            choice = choose_from(
                trial_columns.from_arrow(confirm),
                stage=stage,
                searched_under=searched,
                planned_confirm_seeds=planned,
            )
            return choice, tuple(dict.fromkeys([*skipped, *also]))
    rows, skipped = _read(run, trial_columns.COLUMNS, skip_damaged)
    choice = choose_from(trial_columns.from_arrow(rows), stage=stage, planned_confirm_seeds=planned)
    return choice, tuple(skipped)


def _read(
    run: Location | str, columns: Sequence[str], skip_damaged: bool, where: pc.Expression | None = None
) -> tuple[pa.Table, list[str]]:
    coded = [name for name in trial_columns.CODED if name in columns]
    return results.read_arrow(run, schema.TRIALS, columns=columns, where=where, coded=coded, skip_damaged=skip_damaged)


def _searched_under(run: Location | str, skip_damaged: bool) -> tuple[dict[str, str], list[str]]:
    """Return the protocols of a run's search rows as JSON by their ids, and the damaged parts that were left out."""
    columns = ("stage", "protocol_id", "protocol_json")
    rows, skipped = _read(run, columns, skip_damaged)
    stage, protocol, content = (trial_columns.texts(rows[name]) for name in columns)
    return trial_columns.described(protocol, content, stage.equal("search")), skipped


def best(run: Location | str, *, skip_damaged: bool = False) -> Best:
    """Return the configuration that validation chooses.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing to choose.

    Raises:
        ResultsError: when the run cannot be read, or no configuration can be chosen.
        ConfigError: when its plan file cannot be read.
    """
    choice, skipped = read_choice(run, skip_damaged=skip_damaged)
    # Statistics tell Parquet where confirm rows are; another condition would be one more column to read of all rows.
    where = pc.field("config_id") == choice.leader.config_id
    if choice.stage == "confirm":
        where &= pc.field("stage") == choice.stage
    found, _ = results.read_arrow(run, schema.TRIALS, where=where, coded=_FEW_TEXTS, skip_damaged=skip_damaged)
    ranked = [r for r in arrow_records(found) if (r["stage"], r["protocol_id"]) == (choice.stage, choice.protocol_id)]
    rows = sorted(ranked, key=lambda r: (r["replicate"], r["seed"], r["fold"]))
    return Best(choice=choice, rows=tuple(rows), skipped=skipped)


def best_document(run: Location | str, *, skip_damaged: bool = False) -> dict[str, Any]:
    """Return the content of the best configuration's file, as plain values.

    Where a seed ran in another environment than the first completed one, which the key `environment`
    describes, its entry has the differing values under a key `environment` of its own. `environment` names the
    executor where it may have trained in packs. The prediction interval is of one more seed that neither collapses nor
    diverges; where seeds were trained on several folds there is none, nor a standard error over seeds. Under
    `chosen`, `flags` are the reasons to doubt the scores (`analysis.flags`), and `not_judged` says what they could not
    be held against.

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
    executor = planned_executor(run)
    folds = len({r["fold"] for r in found.rows})
    over_folds = {"valid_ll_se_seeds": None, "seeds": len({r["seed"] for r in found.rows}), "folds": folds}
    notes = [*choice.notes, *([f"damaged part files left out: {len(found.skipped)}"] if found.skipped else [])]
    if folds > 1:
        notes.append(f"the mean is over {folds} folds, and the counts are of trials, a seed on a fold each")
    ceiling = find_ceiling(first)
    not_judged = ceiling_note(first, ceiling, run)
    return {
        "description": f"The configuration that validation chose in {run.resolve().name}",
        "config_id": choice.leader.config_id,
        "config": TrialConfig.from_dict(json.loads(first["cfg_json"])).to_dict(),  # in the order of its sections
        "chosen": {
            "stage": choice.stage,
            "rule": choice.rule,
            "protocol_id": choice.protocol_id,
            **_summary(choice.leader),
            **(over_folds if folds > 1 else {}),
            "valid_ll_prediction_95": _prediction(found.rows) if folds == 1 else None,
            "notes": notes,
            "flags": [dataclasses.asdict(flag) for flag in configuration_flags(found.rows, ceiling)],
            "not_judged": [] if not_judged is None else [not_judged],
        },
        "protocol": json.loads(first["protocol_json"]),
        "report_protocol": json.loads(first["report_protocol_json"]),
        "seeds": [_seed(row, environment) for row in found.rows],
        "environment": environment | ({} if executor in (None, "tune") else {"executor": executor}),
    }


def _summary(candidate: Candidate) -> dict[str, Any]:
    return {
        "valid_ll_mean": candidate.valid_ll_mean,
        "valid_ll_se_seeds": candidate.valid_ll_se_seeds,
        "seeds": candidate.counts.seeds,
        **dataclasses.asdict(candidate.counts),
    }


def _prediction(rows: Sequence[Row]) -> list[float] | None:
    """Return the interval of one more seed that neither collapses nor diverges, from those that did not."""
    healthy = [r["valid_ll_mean"] for r in rows if r["status"] == schema.COMPLETE and r["collapsed"] is not True]
    interval = statistics.prediction_interval(healthy)
    return None if interval is None else [interval.low, interval.high]


def _environment(row: Row) -> dict[str, Any]:
    return {name: row[column] for name, column in _ENVIRONMENT.items()}


def _seed(row: Row, common: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in _environment(row).items() if value != common[name]}
    return {name: row[name] for name in _SEED_COLUMNS} | ({"environment": own} if own else {})
