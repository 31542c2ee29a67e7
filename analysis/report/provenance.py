"""Where the numbers come from: plan, versions, code, data, protocols and machines."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.cells import counted
from analysis.records import Row
from analysis.report.section import Content
from analysis.report.sources import Sources
from analysis.report.words import brief, duration
from gansearch.protocols import Protocol
from gansearch.yaml_files import dump_yaml

_VERSIONS = {
    "gansearch": "run_gansearch_version",
    "code_revision": "run_code_revision",
    "python": "run_python_version",
    "torch": "run_torch_version",
    "ray": "run_ray_version",
}
_MACHINE = ("run_host", "run_device", "run_device_name", "run_threads", "run_gpu_share")
_MOST_MACHINES = 20
_MOST_VALUES = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Trials that ran alike.

    Attributes:
        host: name of the machine.
        device: cpu or cuda, and its model.
        share: threads, and the share of a GPU where there was one.
        trials: how many.
        time: theirs together.
    """

    host: str
    device: str
    share: str
    trials: int
    time: str


def content(sources: Sources) -> Content:
    """Return what is known of the plan, the versions, the data, the protocols and the machines."""
    trials = _trials(sources)
    machines = _machines(trials)
    return {
        "facts": list(_facts(sources, trials)),
        "versions": _versions(sources, trials),
        "data": list(_data(sources, trials)),
        "protocols": _protocols(sources),
        "machines": machines[:_MOST_MACHINES],
        "more_machines": max(0, len(machines) - _MOST_MACHINES),
        "plan": dump_yaml(sources.plan) if sources.plan else "",
    }


def _trials(sources: Sources) -> list[Row]:
    """Return one row a trial."""
    return list({(r["config_id"], r["seed"], r["stage"], r["fold"]): r for r in sources.trials}.values())


def _facts(sources: Sources, trials: list[Row]) -> Iterable[tuple[str, str]]:
    study = sources.study
    yield "Run", sources.name
    if study.get("description"):
        yield "Study", brief(study["description"])
    if sources.plan.get("created"):
        yield "Planned", brief(sources.plan["created"])
    started = sorted(row["run_started"] for row in trials if row["run_started"] is not None)
    if started:
        yield "Trials started", " to ".join(dict.fromkeys(f"{t:%Y-%m-%d %H:%M} UTC" for t in (started[0], started[-1])))
    for part in ("searcher", "scheduler"):
        if isinstance(study.get(part), Mapping):
            yield part.capitalize(), _options(study[part])
    for name, label in (("num_trials", "Configurations asked for"), ("epochs", "Budget in epochs"), ("seed", "Seed")):
        if study.get(name) is not None:
            yield label, brief(study[name])


def _options(part: Mapping[str, Any]) -> str:
    name, others = part.get("name", ""), [f"{k} {v}" for k, v in part.items() if k != "name"]
    return brief(f"{name} ({', '.join(others)})" if others else str(name))


def _versions(sources: Sources, trials: list[Row]) -> list[tuple[str, str, str]]:
    """Return each program's name, the version that the plan states, and those that trials ran with."""
    planned = sources.plan.get("versions")
    planned = planned if isinstance(planned, Mapping) else {}
    lines = []
    for name in dict.fromkeys((*_VERSIONS, *planned)):
        ran = _different(row[_VERSIONS[name]] for row in trials) if name in _VERSIONS else ""
        if planned.get(name) is not None or ran:
            lines.append((name.replace("_", " "), brief(planned.get(name) or ""), ran))
    return lines


def _different(values: Iterable[object]) -> str:
    counts = collections.Counter(brief(value) for value in values if value is not None)
    shown = [f"{value} ({counted(n, 'trial')})" if len(counts) > 1 else value for value, n in counts.most_common()]
    more = [f"and {len(shown) - _MOST_VALUES:,} more"] if len(shown) > _MOST_VALUES else []
    return ", ".join([*shown[:_MOST_VALUES], *more])


def _data(sources: Sources, trials: list[Row]) -> Iterable[tuple[str, str, str]]:
    """Yield each split, its digest in the plan, and those that trials were trained and scored on."""
    planned = sources.plan.get("data")
    planned = planned if isinstance(planned, Mapping) else {}
    yield "data set", brief(planned.get("name") or ""), _different(row["cfg_dataset_name"] for row in trials)
    for split in ("train", "valid", "test"):
        digest = brief(planned.get(split) or "")
        yield f"{split} digest", digest, _different(row[f"data_{split}_digest"] for row in trials)


def _protocols(sources: Sources) -> list[tuple[str, str]]:
    """Return each protocol in words, and how many rows it scored."""
    counts = collections.Counter(row["protocol_json"] for row in sources.trials)
    found = [(Protocol(**json.loads(text)).describe(), counted(n, "row")) for text, n in counts.most_common()]
    reports = collections.Counter(row["report_protocol_json"] for row in sources.trials)
    return [*found, *((Protocol(**json.loads(text)).describe(), "reports") for text in reports)]


def _machines(trials: list[Row]) -> list[Machine]:
    groups: dict[tuple[Any, ...], list[Row]] = collections.defaultdict(list)
    for row in trials:
        groups[tuple(row[name] for name in _MACHINE)].append(row)
    found = []
    for (host, device, model, threads, gpus), rows in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        share = [] if threads is None else [counted(threads, "thread")]
        share += [f"{gpus:g} GPU"] if gpus else []
        found.append(
            Machine(
                host=brief(host or "not known"),
                device=brief(": ".join(str(part) for part in (device, model) if part is not None) or "not known"),
                share=", ".join(share),
                trials=len(rows),
                time=duration(sum(row["run_seconds"] or 0.0 for row in rows)),
            )
        )
    return found
