"""The confirmed configurations as CSV: one line a configuration and protocol, with every digit."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from analysis.comparison import Difference
from analysis.finalists import Comparison, Contrast, Estimate, Finalist, Funnel
from analysis.statistics import Interval

Values = Iterator[tuple[str, object]]


def long_csv(found: Funnel) -> str:
    """Return one line a configuration and protocol; what does not apply is empty.

    Ranks, validation and differences stand in the lines of the protocol that ranks.
    """
    searched = list(dict.fromkeys(name for f in found.finalists for name in f.values))
    lines = [{**dict(_ranked(found, f)), **_settings(f, searched)} for f in found.finalists]
    by_id = {f.config_id: f for f in found.finalists}
    for other in found.others:
        for config_id, estimate in other.test.items():
            f = by_id[config_id]
            line = {"run": found.run, "protocol_id": other.protocol_id, "config_id": config_id, "is_paper": f.is_paper}
            lines.append(line | dict(_estimate("test", estimate)) | _settings(f, searched))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _settings(f: Finalist, searched: list[str]) -> dict[str, object]:
    return {name: f.values.get(name) for name in searched}


def _ranked(found: Funnel, f: Finalist) -> Values:
    counts = f.counts
    yield from (("run", found.run), ("protocol_id", found.protocol_id), ("config_id", f.config_id))
    yield from (("is_paper", f.is_paper), ("rank", f.rank), ("tied", f.tied), ("planned_seeds", found.planned_seeds))
    for name in ("seeds", "completed", "collapsed", "diverged", "failed", "stopped", "guarded", "unfinished", "bad"):
        yield f"{name}_seeds" if name in ("completed", "bad") else name, getattr(counts, name)
    yield "bad_share", counts.bad_share if counts.ended else None
    yield from _ends("bad_share", counts.bad_share_interval if counts.ended else None)
    yield from _estimate("valid", f.valid)
    yield from _estimate("test", f.test)
    yield from (("search_valid", f.search_valid), ("search_seeds", len(f.search_scores)), ("optimism", f.optimism))
    for name, comparison in (("to_leader", f.to_leader), ("to_paper", f.to_paper)):
        yield f"{name}_over_survivors", None if comparison is None else comparison.over_survivors
        yield from _comparison(name, comparison)
    yield "run_test_evaluations", found.test_evaluations


def _ends(name: str, interval: Interval | None) -> Values:
    yield f"{name}_low_95", None if interval is None else interval.low
    yield f"{name}_high_95", None if interval is None else interval.high


def _estimate(split: str, estimate: Estimate | None) -> Values:
    name = f"{split}_ll"
    yield f"{name}_mean", None if estimate is None else estimate.mean
    yield f"{name}_se_seeds", None if estimate is None else estimate.se_seeds
    yield from _ends(name, None if estimate is None else estimate.interval)
    yield f"{name}_se_examples", None if estimate is None else estimate.se_examples


def _comparison(name: str, comparison: Comparison | None) -> Values:
    for split in ("valid", "test"):
        contrast: Contrast | None = None if comparison is None else getattr(comparison, split)
        yield from _difference(f"{name}_{split}", None if contrast is None else contrast.seeds)
        yield f"{name}_{split}_p_holm", None if contrast is None else contrast.p_holm
        yield from _difference(f"{name}_{split}_bootstrap", None if contrast is None else contrast.bootstrap)


def _difference(name: str, difference: Difference | None) -> Values:
    for field in ("mean", "se", "df", "p"):
        yield f"{name}_{field}", None if difference is None else getattr(difference, field)
    yield from _ends(name, None if difference is None else difference.interval)
