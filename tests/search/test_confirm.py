"""What is confirmed: the configuration that validation chose, from seeds of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gansearch import schema
from gansearch.errors import ResultsError
from gansearch.recorder import Recorder
from gansearch.rows import draft_row, final_rows
from gansearch.search.confirm import check_enough, check_scored, confirm_history, finalists
from gansearch.search.proposals import Proposal
from gansearch.search.specs import confirm_spec, search_spec
from tests.analysis.rows import config, confirm_rows, trial_row, write_run
from tests.search.small_studies import FINAL, SECOND, study

LOW, HIGH, STOPPED = config(algorithm__k=1), config(algorithm__k=2), config(algorithm__k=3)


def test_finalist_has_the_best_validation_value(tmp_path: Path) -> None:
    rows = [
        trial_row(LOW, 11, score=100.0),
        trial_row(HIGH, 12, score=110.0),
        trial_row(STOPPED, 13, status=schema.STOPPED, report_ll_mean=999.0),
    ]
    found = finalists(write_run(tmp_path, rows), study(confirm={"top": 2}))
    assert found.configs == (HIGH, LOW, study().base)
    assert (found.chosen, found.completed) == (2, 2)


def test_the_base_is_confirmed_once(tmp_path: Path) -> None:
    base = study().base
    run = write_run(tmp_path, [trial_row(base, 11, score=100.0), trial_row(HIGH, 12, score=90.0)])
    assert finalists(run, study(confirm={"top": 1})).configs == (base,)
    assert finalists(run, study(confirm={"top": 2})).configs == (base, HIGH)


def test_fewer_completed_configurations_than_finalists_are_told(tmp_path: Path) -> None:
    run = write_run(tmp_path, [trial_row(LOW, 11, score=100.0), trial_row(HIGH, 12, status=schema.STOPPED)])
    assert finalists(run, study(confirm={"top": 2})).chosen == 1
    check_enough(run, study(confirm={"top": 1}))
    with pytest.raises(ResultsError, match="2 finalists are asked for, but only 1 configurations completed") as caught:
        check_enough(run, study(confirm={"top": 2}))
    assert caught.value.hint == "--top 1, or resume the search first"


def test_confirm_trials_that_ended_under_every_protocol_are_not_to_be_done(tmp_path: Path) -> None:
    found = study(confirm={"seeds": 3, "protocols": [FINAL, SECOND]})
    specs = [confirm_spec(found, HIGH, replicate) for replicate in range(3)]
    digests = {"train": "a", "valid": "b", "test": "c"}
    recorder = Recorder(tmp_path)
    for row in final_rows(draft_row(specs[0], digests), specs[0], schema.COMPLETE):
        recorder.trial(specs[0].key, row)
    recorder.trial(specs[1].key, final_rows(draft_row(specs[1], digests), specs[1], schema.COMPLETE)[0])
    (tried,) = confirm_history(tmp_path, found, [HIGH])
    assert [row["seed"] for row in tried.ended] == [specs[0].seed]
    assert tried.todo == (specs[1], specs[2])


def test_finalist_is_not_chosen_by_other_stages(tmp_path: Path) -> None:
    rows = [trial_row(LOW, 11, score=100.0), trial_row(HIGH, 12, score=90.0), *confirm_rows(HIGH, 14, 500.0, 500.0)]
    assert finalists(write_run(tmp_path, rows), study(confirm={"top": 1})).configs[0] == LOW


def test_no_finished_trial_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        finalists(write_run(tmp_path, [trial_row(LOW, 11, status=schema.FAILED)]), study())


def test_run_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        finalists(tmp_path, study())


def test_confirm_seeds_are_fresh_and_follow_from_the_study() -> None:
    found = study(repeats=3, confirm={"seeds": 4})
    specs = [confirm_spec(found, found.base, replicate) for replicate in range(4)]
    searched = {
        search_spec(found, Proposal(number=0, point=found.space.base_point()), replicate).seed for replicate in range(3)
    }
    seeds = {spec.seed for spec in specs}
    assert len(seeds) == 4
    assert not seeds & searched
    assert specs == [confirm_spec(found, found.base, replicate) for replicate in range(4)]
    assert not seeds & {confirm_spec(found.with_options(seed=6), found.base, r).seed for r in range(4)}


def test_confirm_trials_are_judged_as_the_study_says() -> None:
    found = study()
    spec = confirm_spec(found, HIGH, 0)
    assert (spec.stage, spec.config, spec.scores_test) == ("confirm", HIGH, True)
    assert spec.protocols == found.confirm.protocols
    assert spec.report_protocol == found.protocols.report
    assert not search_spec(found, Proposal(number=0, point=found.space.base_point()), 0).scores_test


def test_a_protocol_that_complete_trials_lack_is_for_rescore(tmp_path: Path) -> None:
    """A trial that failed has no score under any protocol, and is not tried again for one."""
    run = write_run(tmp_path / "run", [trial_row(HIGH, 11, score=100.0)])
    before = study(confirm={"seeds": 2, "protocols": [FINAL]})
    asked = study(confirm={"seeds": 2, "protocols": [FINAL, SECOND]})
    recorder, digests = Recorder(run), {"train": "a", "valid": "b", "test": "c"}
    done, failed = (confirm_spec(before, HIGH, replicate) for replicate in range(2))
    for spec, status in ((done, schema.COMPLETE), (failed, schema.FAILED)):
        for row in final_rows(draft_row(spec, digests), spec, status):
            recorder.trial(spec.key, row)
    check_scored(run, before)
    with pytest.raises(
        ResultsError, match=r"1 confirm trials in .* are complete and have no score under second"
    ) as told:
        check_scored(run, asked)
    assert f"`gansearch rescore {run} --protocol second`" in str(told.value.hint)
    scored = confirm_spec(asked, HIGH, 0)
    recorder.trial(scored.key, final_rows(draft_row(scored, digests), scored, schema.COMPLETE)[1])
    check_scored(run, asked)
    (tried,) = confirm_history(run, asked, [HIGH])
    assert [row["status"] for row in tried.ended] == [schema.COMPLETE, schema.FAILED]
    assert tried.todo == ()
