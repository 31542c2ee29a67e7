"""Table 1 as CSV: one line a score, with every digit; what does not apply is empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from analysis import reference
from analysis.table1_rows import Score, Table1, TableRow


def long_csv(table: Table1) -> str:
    """Return one line a score with every digit."""
    lines = [
        {**_identity(table, row, column, score), **_numbers(score), **_seeds(table, row, score), **_leader(score)}
        | {"citation": score.citation, "caveat": reference.CAVEAT}
        for row, column, score in _scores(table)
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _scores(table: Table1) -> Iterator[tuple[TableRow, str, Score]]:
    for row in table.rows:
        for column, score in row.scores.items():
            yield row, column, score


def _identity(table: Table1, row: TableRow, column: str, score: Score) -> dict[str, object]:
    return {
        "kind": str(row.kind),
        "model": row.model,
        "run": row.run,
        "config_id": row.config_id,
        "dataset": column,
        "protocol_id": row.protocol_id,
        "protocol": score.protocol if row.protocol_id is None else table.protocols[row.protocol_id],
        "num_samples": score.num_samples,
        "comparable": score.comparable,
    }


def _numbers(score: Score) -> dict[str, object]:
    interval = score.interval
    return {
        "test_ll_mean": score.mean,
        "test_ll_se_examples": score.se_examples,
        "test_ll_se_seeds": score.se_seeds,
        "test_ll_se_folds": score.se_folds,
        "test_ll_low_95": None if interval is None else interval.low,
        "test_ll_high_95": None if interval is None else interval.high,
        "test_n": score.test_n,
        "valid_ll_mean": score.valid_mean,
        "valid_ll_se_examples": score.valid_se_examples,
        "valid_n": score.valid_n,
    }


def _seeds(table: Table1, row: TableRow, score: Score) -> dict[str, object]:
    counts = row.counts
    interval = None if counts is None else counts.bad_share_interval
    outcomes = ("seeds", "collapsed", "diverged", "failed", "stopped", "guarded", "unfinished", "bad_share")
    return {
        "scored_seeds": None if counts is None else len(score.per_seed),
        "planned_seeds": row.planned_seeds,
        **{name: getattr(counts, name, None) for name in outcomes},
        "bad_share_low_95": None if interval is None else interval.low,
        "bad_share_high_95": None if interval is None else interval.high,
        "run_test_evaluations": None if row.run is None else table.test_evaluations[row.run],
    }


def _leader(score: Score) -> dict[str, object]:
    """Return how a score is to the leader's: of the test set the difference, of validation what decides on ties."""
    found = score.to_leader
    test = None if found is None else found.test
    valid = None if found is None else found.valid
    interval = None if test is None else test.seeds.interval
    return {
        "leads": score.leads or (None if found is None else False),
        "leader": None if found is None else found.leader,
        "to_leader_test": None if test is None else test.seeds.mean,
        "to_leader_test_low_95": None if interval is None else interval.low,
        "to_leader_test_high_95": None if interval is None else interval.high,
        "to_leader_test_p": None if test is None else test.seeds.p,
        "to_leader_test_p_holm": None if test is None else test.p_holm,
        "to_leader_valid": None if valid is None else valid.seeds.mean,
        "to_leader_valid_p": None if valid is None else valid.seeds.p,
        "to_leader_valid_p_holm": None if valid is None else valid.p_holm,
        "tied": None if found is None else found.tied,
        "over_survivors": None if found is None else found.over_survivors,
    }
