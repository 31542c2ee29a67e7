"""The benchmark's tables as Markdown, from the figures of its measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.machine import Figures
from benchmarks.scale.figures import windows


def tables(where: Figures, found: Sequence[Figures]) -> str:
    """Return the tables of all measurements.

    Args:
        where: what `benchmarks.machine.machine` returned.
        found: what `measure` returned, in order; kinds that were not measured have no part in them.
    """
    named = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    head = f"{where['cores']} cores of {where['processor']}; {where['system']}; {named}."
    sweeps = [one for one in found if one["kind"] in {"no-op", "sleep"}]
    peers = [one for one in found if one["kind"] in {"plain", "plain-reuse"}]
    real = [one for one in found if one["kind"] == "real"]
    parts = [head]
    if sweeps:
        parts.append(_table([_name(one) for one in sweeps], sweeps, _SWEEP))
    if peers:
        ours = [one for one in sweeps if one["kind"] == "no-op" and one["trials"] in {p["trials"] for p in peers}]
        columns = [*ours, *peers]
        parts.append(_table([_name(one) for one in columns], columns, _beside(ours)))
    if real:
        parts.append(_table([_name(one) for one in real], real, _REAL))
    return "\n\n".join(parts) + "\n"


def growth(one: Figures) -> float | None:
    """Return what a trial of the last window costs over one of the first; None where there is one window."""
    values = list(one["marginal_milliseconds"].values())
    return values[-1] / values[0] if len(values) > 1 else None


def _name(one: Figures) -> str:
    kinds = {
        "no-op": "no-op",
        "sleep": "1 s of sleep",
        "real": "real digits",
        "plain": "plain Ray Tune, defaults",
        "plain-reuse": "plain Ray Tune, reuse_actors",
    }
    return f"{kinds[one['kind']]}, {one['trials']:,} trials"


Line = tuple[str, Callable[[Figures], str]]


def _at(name: str, form: str = ".1f", key: str | None = None) -> Callable[[Figures], str]:
    def show(one: Figures) -> str:
        value = one.get(name)
        value = value.get(key) if key is not None and value is not None else value
        return "" if value is None else format(value, form)

    return show


def _of_window(name: str, which: int) -> Callable[[Figures], str]:
    def show(one: Figures) -> str:
        spans = windows(one["trials"])
        if which >= len(spans):
            return ""
        first, last = spans[which]
        return f"{one[name][f'{first}-{last}']:.1f} ({first:,}-{last:,})"

    return show


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


_COMMON: list[Line] = [
    ("trials at a time", _at("concurrent", "d")),
    ("wall time, s", _at("wall_seconds")),
    ("wall time a trial, ms", _at("milliseconds_a_trial")),
]
_SWEEP: list[Line] = [
    *_COMMON,
    ("until the first trial starts, s", _at("until_first_seconds")),
    ("after the last trial ends, s", _at("after_last_seconds")),
    ("from trial to trial at first, ms", _of_window("marginal_milliseconds", 0)),
    ("from trial to trial at last, ms", _of_window("marginal_milliseconds", 1)),
    ("last over first", lambda one: _ratio(growth(one))),
    ("driver's processor time a trial at first, ms", _of_window("cpu_milliseconds", 0)),
    ("driver's processor time a trial at last, ms", _of_window("cpu_milliseconds", 1)),
    ("driver's memory before, MB", _at("megabytes_before", ".0f")),
    ("driver's memory at 1,000 trials, MB", _at("megabytes_at", ".0f", "1000")),
    ("driver's memory, most, MB", _at("megabytes_most", ".0f")),
    ("files of tables", lambda one: f"{sum(one['table_files'].values()):,}"),
    ("run directory, MB", _at("run_megabytes")),
    ("gansearch best, s", _at("best_seconds", ".2f")),
    ("wall time over compute / slots", _at("wall_over_compute", ".2f")),
]
_REAL: list[Line] = [
    *_COMMON[:2],
    ("seconds a trial", _at("trial_seconds")),
    ("wall time over compute / workers", _at("wall_over_compute", ".3f")),
    ("from a trial's end to the next one's start, ms", _at("gap_milliseconds", ".0f")),
    ("until the first trial starts, s", _at("until_first_seconds")),
    ("after the last trial ends, s", _at("after_last_seconds")),
]


def _beside(ours: Sequence[Figures]) -> list[Line]:
    walls = {one["trials"]: one["wall_seconds"] for one in ours}

    def times(one: Figures) -> str:
        own = walls.get(one["trials"])
        return "" if own is None else f"{one['wall_seconds'] / own:.2f}"

    return [
        *_COMMON,
        ("wall time over gansearch's", times),
        ("from trial to trial at first, ms", _of_window("marginal_milliseconds", 0)),
        ("driver's memory, most, MB", _at("megabytes_most", ".0f")),
        ("files", lambda one: f"{one.get('files', sum(one.get('table_files', {}).values())):,}"),
    ]


def _table(names: Sequence[str], columns: Sequence[Figures], lines: Sequence[Line]) -> str:
    rows = [["", *names], ["---"] * (len(names) + 1)]
    rows += [[label, *(show(one) for one in columns)] for label, show in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
