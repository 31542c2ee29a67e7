"""A run's plan file: what its sweep was to do, with what; extended where a sweep goes on with more."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from gansearch import storage
from gansearch.core.datasets import Dataset
from gansearch.errors import ConfigError, ResultsError
from gansearch.paths import RunPaths
from gansearch.provenance import versions
from gansearch.search.history import outside, stage_rows
from gansearch.search.pairings import POPULATION
from gansearch.search.study import Study
from gansearch.storage import Location
from gansearch.yaml_files import dump_yaml, find_file, load_yaml, located

_SHOWN = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run's plan.

    Attributes:
        study: what is to be done.
        data: name of the data set, and the digest of each split by its name.
        versions: packages, Python and code revision by name, as they were when the sweep was first started.
        content: the whole file.
    """

    study: Study
    data: Mapping[str, str]
    versions: Mapping[str, Any]
    content: Mapping[str, Any]


def write_plan(study: Study, data: Dataset, run: Location) -> None:
    """Write the resolved plan of a new run, which this process holds: the study, and the versions and data of it.

    Raises:
        ResultsError: when the directory holds a sweep, or cannot be written.
    """
    path = RunPaths(run).plan
    if path.exists():  # another sweep held the run between this one's checks and its lease
        raise ResultsError(f"{run} already holds a sweep", hint="give another directory with --out")
    plan = {
        "name": study.name,
        "created": _now(),
        "versions": versions(),
        "data": {"name": data.name, **_digests(data)},
        "study": study.to_dict(),
    }
    storage.write_text(path, dump_yaml(plan))


def read_plan(run: Location) -> Plan:
    """Return a run's plan.

    Raises:
        ResultsError: when the directory holds no sweep, or one that was killed before its plan was written.
        ConfigError: when this version of gansearch cannot run the plan.
    """
    path = RunPaths(run).plan
    if not path.is_file():
        raise ResultsError(
            f"{run} holds no sweep: it has no {path.name}", hint="give the directory that `gansearch sweep --out` wrote"
        )
    content: Any = load_yaml(path) if path.read_bytes().strip() else None
    if not content or not {"name", "study", "data"} <= set(content):
        raise ResultsError(
            f"{path} holds no plan: the sweep was killed before it began", hint="start it again in another directory"
        )
    with located(str(path)):
        for key in ("study", "data", "versions"):
            if not isinstance(content.get(key) or {}, Mapping):
                raise ConfigError(f"{key} must be a mapping, got {content[key]!r}")
        study = Study.parse(content["study"] or {}, str(content["name"]))
    return Plan(study=study, data=content["data"] or {}, versions=content.get("versions") or {}, content=content)


def rewrite_plan(run: Location, plan: Plan, study: Study, changes: Mapping[str, object]) -> None:
    """Put a study in the place of a plan's, with a note of when it was and what changed.

    Raises:
        ResultsError: when the file cannot be written.
    """
    earlier = list(plan.content.get("extended") or [])
    extended = [*earlier, {"at": _now(), **changes, "versions": versions()}]
    content = {**plan.content, "study": study.to_dict(), "extended": extended}
    storage.write_text(RunPaths(run).plan, dump_yaml(content))


def extended(plan: Plan, run: Location, num_trials: int | None, space: str | None) -> Study:
    """Return a plan's study with more trials, or with a wider space that holds all that was tried.

    Args:
        plan: the run's plan.
        run: the run directory.
        num_trials: configurations in all, those that were tried among them; None for as planned.
        space: path or shipped name of a study file whose space is taken; None for the planned one.

    Raises:
        ConfigError: when the study cannot be run so.
        ResultsError: when rows lie outside the space, or there are more configurations than are asked for.
    """
    content = plan.study.to_dict()
    if space is not None:
        path = find_file(space)
        given = load_yaml(path)
        if "space" not in given:
            raise ConfigError(f"{path} is no study: it has no space")
        content["space"] = given["space"]
    if plan.study.searcher.name == "grid":
        if num_trials is not None:
            raise ConfigError(
                "a grid has as many trials as points: num_trials cannot be given",
                hint="widen its space with --space, or run another sweep",
            )
        del content["num_trials"]
    elif num_trials is not None:
        if plan.study.scheduler.name in POPULATION and num_trials != plan.study.num_trials:
            raise ConfigError(
                f"a population of {plan.study.scheduler.name} that has trained takes no new members",
                hint="run another sweep; its `start_from` takes the best configurations of this one",
            )
        content["num_trials"] = num_trials
    with located(space or str(RunPaths(run).plan)):
        study = Study.parse(content, plan.study.name)
    if space is not None and (rows := outside(run, study)):
        listed = ", ".join(rows[:_SHOWN]) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")
        raise ResultsError(
            f"the space of {space} does not hold {len(rows)} configurations that were tried: {listed}",
            hint="widen its ranges until it does, or start another sweep with it",
        )
    tried = len({row["config_id"] for row in stage_rows(run, "search", study.protocols.final.id)})
    if num_trials is not None and num_trials < min(tried, plan.study.num_trials):
        raise ResultsError(
            f"{run} holds {tried} configurations already, so num_trials cannot be {num_trials}",
            hint=f"give {min(tried, plan.study.num_trials)} or more",
        )
    return study


def with_confirm(
    study: Study,
    *,
    top: int | None = None,
    seeds: int | None = None,
    folds: str | None = None,
    protocols: list[str] | None = None,
) -> Study:
    """Return a study with another confirm stage.

    Raises:
        ConfigError: when it cannot be run so.
    """
    content = study.to_dict()
    options = {"top": top, "seeds": seeds, "folds": folds, "protocols": protocols}
    content["confirm"] |= {key: value for key, value in options.items() if value is not None}
    changed = Study.parse(content, study.name)
    if changed.confirm.seeds == 0:
        raise ConfigError("the study has no confirm stage: confirm.seeds is 0", hint="add --seeds 3")
    return changed


def confirmed_folds(run: Location) -> int:
    """Return how many folds the confirm stage of a run's plan trains on."""
    return len(read_plan(run).study.confirm_folds)


def check_data(plan: Plan, data: Dataset) -> None:
    """Raise ResultsError unless the data are those that the sweep was started with."""
    for split, digest in _digests(data).items():
        if plan.data.get(split, digest if "_fold_" in split else None) != digest:  # folds may be asked for later
            raise ResultsError(
                f"the {split} split of {data.name} is not the one that the sweep was started with "
                f"(digest {digest}, then {plan.data.get(split)}), so its scores would not compare",
                hint="give the data directory that it was started with",
            )


def _digests(data: Dataset) -> dict[str, str]:
    """Return the digest of each split, those of other folds with the fold's number."""
    others = {f"{split}_fold_{one.fold}": digest for one in data.others for split, digest in one.digests.items()}
    return {**data.digests, **others}


def changed_versions(plan: Plan) -> list[str]:
    """Return which of the versions that a result may depend on are others now, in words."""
    now = versions()
    return [
        f"{name} {plan.versions[name]} then, {now.get(name)} now"
        for name in plan.versions
        if now.get(name) != plan.versions[name]
    ]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
