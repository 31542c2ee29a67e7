"""The confirm stage: finalists that validation chose and the study's base, trained from fresh seeds."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import pyarrow.compute as pc

from analysis.best import read_choice
from gansearch import results, schema
from gansearch.config import TrialConfig
from gansearch.errors import ResultsError
from gansearch.recorder import Recorder
from gansearch.rows import Row
from gansearch.search.history import Tried, row_config
from gansearch.search.specs import confirm_specs
from gansearch.search.study import Study
from gansearch.storage import Location


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finalists:
    """What is confirmed.

    Attributes:
        configs: the best of the search by validation, the best first, then the study's base where it is not
            among them: the study's base, for comparison.
        chosen: how many of them validation chose.
        completed: configurations with a completed search trial.
    """

    configs: tuple[TrialConfig, ...]
    chosen: int
    completed: int


def finalists(run: Location, study: Study) -> Finalists:
    """Return the configurations that the search-stage rows of a run put first by validation, and the study's base.

    Raises:
        ResultsError: when no search trial completed.
    """
    choice, _ = read_choice(run, stage="search")
    ranking = choice.ranking
    ids = [candidate.config_id for candidate in ranking[: study.confirm.top]]
    rows, _ = results.read_arrow(
        run, schema.TRIALS, columns=("config_id", "cfg_json"), where=pc.field("config_id").isin(ids)
    )
    configs = {row["config_id"]: row_config(row) for row in rows.to_pylist()}
    best = [configs[config_id] for config_id in ids]
    others = [] if study.base.config_id in {c.config_id for c in best} else [study.base]
    return Finalists(configs=(*best, *others), chosen=len(best), completed=len(ranking))


def check_enough(run: Location, study: Study) -> None:
    """Raise ResultsError unless the search completed as many configurations as are to be confirmed."""
    found = finalists(run, study)
    if found.chosen < study.confirm.top:
        raise ResultsError(
            f"{study.confirm.top} finalists are asked for, but only {found.completed} configurations completed a "
            f"search trial in {run}",
            hint=f"--top {found.completed}, or resume the search first",
        )


def check_scored(run: Location, study: Study) -> None:
    """Raise ResultsError where a finalist's confirm trial is complete and a protocol is asked for that it lacks.

    Its weights are kept: to train it again would repeat work, and put the rows that it has at risk.
    """
    recorder = Recorder(run)
    lacking: collections.Counter[str] = collections.Counter()
    for config in finalists(run, study).configs:
        for key in (spec.key for spec in confirm_specs(study, config)):
            found = {p.name: recorder.rows(key, [p.id]) for p in study.confirm.protocols}
            if any(row["status"] == schema.COMPLETE for rows in found.values() for row in rows):
                lacking.update(name for name, rows in found.items() if not rows)
    for name, count in lacking.items():
        raise ResultsError(
            f"{count} confirm trials in {run} are complete and have no score under {name}",
            hint=f"`gansearch rescore {run} --protocol {name}` scores their kept weights; then confirm goes on",
        )


def confirm_history(run: Location, study: Study, configs: Sequence[TrialConfig]) -> tuple[Tried, ...]:
    """Return the finalists' trials: what of them has ended under every protocol, and what is to be done."""
    recorder = Recorder(run)
    ids = [protocol.id for protocol in study.confirm.protocols]
    found = []
    for number, config in enumerate(configs):
        ended, todo = [], []
        for spec in confirm_specs(study, config):
            rows = recorder.rows(spec.key, ids)
            if _has_ended(rows, len(ids)):
                ended.append(rows[0])
            else:
                todo.append(spec)
        found.append(Tried(number=number, point={}, ended=tuple(ended), todo=tuple(todo)))
    return tuple(found)


def _has_ended(rows: Sequence[Row], protocols: int) -> bool:
    """Return whether a trial with these rows has ended under so many protocols.

    One that did not complete has no score under any: a protocol that is asked for later changes nothing.
    """
    if not rows or any(row["status"] in schema.UNFINISHED for row in rows):
        return False
    return len(rows) == protocols or all(row["status"] != schema.COMPLETE for row in rows)
