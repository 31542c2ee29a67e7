"""The answer first: what was searched, what came of it, how sure that is, and what it cost."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping

from analysis.cells import counted
from analysis.costs import SECONDS_AN_HOUR
from analysis.finalists import Comparison, Estimate, Finalist, Funnel
from analysis.records import Row
from analysis.report.marks import FlagCount, count_flags
from analysis.report.section import Content, sentence
from analysis.report.sources import Sources
from analysis.report.words import brief, difference, duration, ends, listed, mean_of
from analysis.selection import Choice
from gansearch import schema

_ENDED = {
    schema.COMPLETE: "completed",
    schema.STOPPED: "stopped early",
    schema.DIVERGED: "diverged",
    schema.COLLAPSED: "ended by the guard against collapse",
    schema.FAILED: "failed",
    schema.INTERRUPTED: "interrupted",
    schema.RUNNING: "still running, or running when the sweep was killed",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A figure that stands out.

    Attributes:
        label: what it is.
        value: the figure.
        note: how sure it is, or what it counts.
    """

    label: str
    value: str
    note: str


def content(sources: Sources) -> Content:
    """Return the sentences, figures and doubts of the summary."""
    funnel, choice = sources.funnel.value, None if sources.best.value is None else sources.best.value.choice
    problem = sources.funnel.error if choice is not None else sources.best.error
    confirmed = None if funnel is None else _confirmed(funnel)
    found = confirmed or ([] if choice is None else [_searched_best(choice)])
    paragraphs = ([_study(sources), *_stages(sources)], found, _ceiling(sources))
    return {
        "paragraphs": [" ".join(sentences) for sentences in paragraphs if sentences],
        "problem": None if funnel is not None or problem is None else sentence(problem),
        "tiles": [*_score_tiles(funnel, choice), *_run_tiles(sources)],
        "flags": _flags(sources),
        "judged": choice is not None,
        "notes": [*([] if choice is None else choice.notes), *_ceiling_notes(sources), *_skipped(sources)],
    }


def _study(sources: Sources) -> str:
    datasets = sorted({str(row["cfg_dataset_name"]) for row in sources.trials})
    configurations = len({row["config_id"] for row in sources.trials})
    varied = f", which differ in {counted(len(sources.searched), 'hyperparameter')}" if sources.searched else ""
    how = [name for part in ("searcher", "scheduler") if (name := _name(sources.study.get(part)))]
    by = f", by {listed(how)}" if how else ""
    return f"{counted(configurations, 'configuration')} tried on {listed(map(brief, datasets))}{varied}{by}."


def _name(part: object) -> str:
    return brief(part.get("name") or "") if isinstance(part, Mapping) else ""


def _stages(sources: Sources) -> Iterable[str]:
    """Yield how the trials of each stage ended."""
    for stage in schema.STAGES:
        trials = {(r["config_id"], r["seed"], r["fold"]): r["status"] for r in sources.trials if r["stage"] == stage}
        if trials:
            yield f"{stage.capitalize()}: {counted(len(trials), 'trial')}, {outcomes(trials.values())}."


def outcomes(statuses: Iterable[str]) -> str:
    """Return how trials ended, such as `8 completed and 2 diverged`."""
    counts = collections.Counter(statuses)
    return listed(f"{counts[status]:,} {words}" for status, words in _ENDED.items() if counts[status])


def _confirmed(funnel: Funnel) -> list[str]:
    leader = funnel.leader
    if leader.valid is None:
        return ["No confirmed configuration has a score."]
    where = f"The leader by validation is {leader.config_id}: {_score(leader.valid, 'validation images')}"
    on_test = f", and {_score(leader.test, 'test images')}" if leader.test is not None else ""
    return [f"{where}{on_test}.", *_ties(funnel), *_paper(funnel), _seeds(leader)]


def _score(estimate: Estimate, images: str) -> str:
    interval = estimate.interval
    sure = "one seed, so no interval" if interval is None else f"95% interval over seeds {ends(interval)}"
    return f"{mean_of(estimate)} nats on {images} ({sure})"


def _ties(funnel: Funnel) -> Iterable[str]:
    others = [f for f in funnel.finalists[1:] if f.valid is not None]
    tied = [f.config_id for f in others if f.tied]
    if tied:
        yield f"Validation does not tell {listed(tied)} apart from it: tied is not to say equal."
    elif others:
        yield f"Validation tells it apart from {'the other' if len(others) == 1 else f'all {len(others)} others'}."


def _paper(funnel: Funnel) -> Iterable[str]:
    paper = funnel.leader.to_paper
    if funnel.leader.is_paper:
        yield "It is the study's base: the search found none that validation puts before it."
    elif paper is not None:
        yield f"It scores {_against(paper)} the study's base on validation images."


def _against(comparison: Comparison) -> str:
    seeds = comparison.valid.seeds
    side = "above" if seeds.mean >= 0 else "below"
    sure = "" if seeds.interval is None else f" (95% interval of the difference {ends(seeds.interval)})"
    return f"{difference(seeds.mean, seeds.interval)} nats{sure} {side}"


def _seeds(leader: Finalist) -> str:
    counts = leader.counts
    bad = f"{counts.bad} of its {counted(counts.ended, 'seed')} collapsed, diverged or failed"
    interval = counts.bad_share_interval
    return f"{bad}; the share has the exact 95% interval {interval.low:.0%} to {interval.high:.0%}."


def _searched_best(choice: Choice) -> str:
    leader = choice.leader
    seeds = counted(leader.counts.completed, "seed")
    return (
        f"The best of the {choice.stage} is {leader.config_id} with {leader.valid_ll_mean:.1f} nats on validation "
        f"images ({seeds}): the best of many is optimistic, and it has no test score."
    )


def _score_tiles(funnel: Funnel | None, choice: Choice | None) -> Iterable[Tile]:
    if funnel is not None and funnel.leader.valid is not None:
        leader = funnel.leader
        for label, estimate in (("Leader, validation", leader.valid), ("Leader, test", leader.test)):
            if estimate is not None:
                interval = estimate.interval
                note = "one seed" if interval is None else f"95%: {ends(interval)}"
                yield Tile(label=label, value=f"{mean_of(estimate)} nats", note=note)
    elif choice is not None:
        value = f"{choice.leader.valid_ll_mean:.1f} nats"
        yield Tile(label="Best of the search, validation", value=value, note="not confirmed, optimistic")


def _run_tiles(sources: Sources) -> Iterable[Tile]:
    trials = {(r["config_id"], r["seed"], r["stage"], r["fold"]): r for r in sources.trials}
    complete = sum(r["status"] == schema.COMPLETE for r in trials.values())
    yield Tile(label="Trials", value=f"{len(trials):,}", note=f"{complete:,} completed")
    if sources.costs.value is not None:
        total = sources.costs.value.total
        kind, hours = ("GPU", total.gpu_hours) if total.gpu_hours else ("CPU", total.cpu_hours)
        yield Tile(label=f"{kind} time", value=duration(hours * SECONDS_AN_HOUR), note=f"{total.epochs:,} epochs")


def _flags(sources: Sources) -> list[FlagCount]:
    """Return the flags of the leader's seeds."""
    return [] if sources.best.value is None else count_flags(sources.best.value.rows, sources)


def _ceiling(sources: Sources) -> list[str]:
    """Return what as many real images score, where that is known: the mark between which the score is read."""
    from analysis.calibration import REAL
    from analysis.flags import ceiling_note

    row = _scored_row(sources)
    calibration = None if row is None else sources.calibration(row)
    real = None if calibration is None else calibration.row(REAL)
    if row is None or real is None or ceiling_note(row, calibration) is not None:
        return []
    return [
        f"As many real training images, scored alike, give {real.valid_ll_mean:.1f} nats on validation and "
        f"{real.test_ll_mean:.1f} on test: to score more is no sign of a better model, for smoothing and shrinking do."
    ]


def _ceiling_notes(sources: Sources) -> Iterable[str]:
    from analysis.flags import ceiling_note

    row = _scored_row(sources)
    note = None if row is None else ceiling_note(row, sources.calibration(row))
    if note is not None:
        yield note


def _scored_row(sources: Sources) -> Row | None:
    """Return a completed row of what validation chose; None where it could not choose."""
    rows = () if sources.best.value is None else sources.best.value.rows
    return next((row for row in rows if row["status"] == schema.COMPLETE), None)


def _skipped(sources: Sources) -> Iterable[str]:
    if sources.skipped:
        yield f"{counted(len(sources.skipped), 'damaged part file')} left out; the numbers are of the others"
