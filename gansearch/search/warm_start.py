"""What a study's `start_from` names: configurations to try first, and runs whose rows a searcher learns from."""

from __future__ import annotations

import collections
import dataclasses
import json
from typing import TYPE_CHECKING

from analysis.records import Row, records
from gansearch import results, schema
from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file
from gansearch.errors import ConfigError, ResultsError
from gansearch.object_store import RemotePath
from gansearch.search.domains import show
from gansearch.search.pairings import INDEXED
from gansearch.search.proposals import Known, Point, row_outcome
from gansearch.storage import Location, location
from gansearch.yaml_files import located

if TYPE_CHECKING:
    from gansearch.search.study import Study

_EPOCHS = "algorithm.epochs"
_COLUMNS = (
    *("config_id", "seed", "stage", "status", "report_ll_mean", "report_last_ll_mean", "flops", "cfg_score_at"),
    *("cfg_dataset_name", "cfg_json", "data_valid_digest", "report_protocol_json"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What is known before a sweep's own first trial.

    Attributes:
        first: points to try right after the base.
        history: points that other runs tried, once a configuration.
        notes: what was read and what was left out, a sentence each.
    """

    first: tuple[Point, ...] = ()
    history: tuple[Known, ...] = ()
    notes: tuple[str, ...] = ()


def read_warm_start(study: Study, data_valid_digest: str) -> WarmStart:
    """Return what the entries of a study's `start_from` hold.

    Args:
        study: the study.
        data_valid_digest: digest of the validation split that the study's trials are scored on.

    Raises:
        ConfigError: when a configuration does not lie in the space, there are more than trials, or the searcher
            cannot learn from a run.
        ResultsError: when a run cannot be read, or its values cannot be compared with the study's.
    """
    first: list[Point] = []
    rows: dict[str, dict[int, Row]] = collections.defaultdict(dict)  # by config_id, then by seed
    notes: list[str] = []
    for entry in study.start_from:
        with located(f"start_from: {entry}"):
            place = location(entry)
            if isinstance(place, RemotePath) or place.is_dir():
                read = _read_run(study, place, data_valid_digest)
                for row in read:
                    rows[row["config_id"]][row["seed"]] = row
                notes.append(f"{entry}: {len(read)} search trials have an outcome")
            else:
                first.append(_point(study, load_config_file(entry).config))
    if len(first) >= study.num_trials:
        raise ConfigError(
            f"start_from names {len(first)} configurations, but num_trials is {study.num_trials}, the base among them",
            hint=f"raise num_trials to {len(first) + 1} or more",
        )
    history, left_out = _history(study, rows)
    if left_out:
        notes.append(
            f"left out: {len(left_out)} of {len(rows)} configurations that do not lie in the space; the first: "
            f"{left_out[0]}"
        )
    return WarmStart(first=tuple(first), history=tuple(history), notes=tuple(notes))


def _point(study: Study, config: TrialConfig) -> Point:
    """Return the point of a configuration; where the budget is not searched it is the study's, as that of a base."""
    if all(p.name != _EPOCHS for p in study.space.parameters):
        config = config.replace({_EPOCHS: study.epochs})
    return study.space.locate(config)


def _read_run(study: Study, run: Location, data_valid_digest: str) -> list[Row]:
    """Return the search rows of a run that have an outcome, checked to be comparable with the study's."""
    name = study.searcher.name
    if name in INDEXED:
        raise ConfigError(
            f"this is a run, but searcher '{name}' learns nothing from one",
            hint="use searcher: tpe, gp, cmaes or nsga2, or name a configuration such as the run's best.yaml",
        )
    trials = results.read(run, schema.TRIALS.name, columns=_COLUMNS)
    rows = [
        row
        for row in records(trials, schema.TRIALS)
        if row["stage"] == "search" and row["status"] not in schema.UNFINISHED
    ]
    for row in rows:
        _check_comparable(study, row, data_valid_digest)
    return rows


def _check_comparable(study: Study, row: Row, data_valid_digest: str) -> None:
    """Raise ResultsError unless a row's value is of the study's report protocol and validation images."""
    ours, theirs = study.protocols.report.to_dict(), json.loads(row["report_protocol_json"])
    for key in dict.fromkeys((*ours, *theirs)):
        if key != "name" and ours.get(key) != theirs.get(key):
            raise ResultsError(
                f"its report protocol differs from the study's: {key} is {show(theirs.get(key))}, the study's "
                f"{show(ours.get(key))}, and values under different protocols cannot be compared",
                hint="set protocols.report of the study to that of the run",
            )
    dataset = study.base.dataset.name
    if row["cfg_dataset_name"] != dataset:
        raise ResultsError(f"its trials model {row['cfg_dataset_name']}, the study's {dataset}")
    if row["data_valid_digest"] != data_valid_digest:
        raise ResultsError(
            f"its trials were scored on other validation images of {dataset}: their digest is "
            f"{row['data_valid_digest']}, the study's {data_valid_digest}"
        )


def _history(study: Study, rows: dict[str, dict[int, Row]]) -> tuple[list[Known], list[str]]:
    """Return what is known of each configuration in the space, and why the others are not in it."""
    history, left_out = [], []
    for config_id, by_seed in rows.items():
        replicates = list(by_seed.values())
        try:
            point = study.space.locate(TrialConfig.from_dict(json.loads(replicates[0]["cfg_json"])))
        except ConfigError as error:
            left_out.append(f"{config_id}: {error.message}")
        else:
            history.append(Known(number=None, point=point, outcome=row_outcome(replicates)))
    return history, left_out
