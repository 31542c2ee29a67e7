"""What is compared is found, and what does not compare is refused with the difference named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.contestants import Contestant, contestants
from gansearch import schema
from gansearch.config import TrialConfig
from gansearch.errors import ResultsError
from gansearch.protocols import Protocol
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, WIDE, completed, four_finalists, lost, write_funnel
from tests.analysis.rows import FULL, PUBLISHED, config, trial_row, write_run

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of four finalists. Not to be written into."""
    return write_funnel(tmp_path_factory.mktemp("contestants") / "run", four_finalists())


def _seeds(trial: TrialConfig, first: int, valids: Sequence[float], **values: object) -> Rows:
    return [row for i, v in enumerate(valids) for row in completed(trial, first + i, v, v - 2.0, **values)]


def _run(folder: Path, rows: Sequence[Any], **how: Any) -> Path:
    """Write a run whose search, of one trial, is under the protocol that ranks."""
    return write_funnel(folder, [trial_row(SLOW, 1, score=1.0), *rows], **how)


def _one(run: Path, rule: str) -> Contestant:
    other = "leader" if rule != "leader" and not rule.startswith("#1") else "paper"
    return contestants([f"{run}:{rule}", f"{run}:{other}"])[0]


@pytest.mark.parametrize(
    ("rule", "trial", "chosen_from", "rank"),
    [
        ("leader", QUICK, 3, 1),
        ("#1", QUICK, 3, 1),
        ("#2", SLOW, 3, 2),
        ("paper", PAPER, 1, 3),
        (SLOW.config_id, SLOW, 1, 2),
        (SLOW.config_id[:5], SLOW, 1, 2),
        ("algorithm.k=1", SLOW, 2, 2),  # the better one of two that have it
        ("momentum.lr_g=0.7", SLOW, 1, 2),
        ("algorithm.k=1,momentum.lr_g=0.1", PAPER, 1, 3),
    ],
)
def test_a_rule_finds_its_configuration(run: Path, rule: str, trial: TrialConfig, chosen_from: int, rank: int) -> None:
    found = _one(run, rule)
    assert (found.config_id, found.chosen_from, found.rank) == (trial.config_id, chosen_from, rank)
    assert {r["protocol_id"] for r in found.rows} == {FULL.id}
    assert {r["stage"] for r in found.rows} == {"confirm"}


def test_a_protocol_is_named_by_its_id_or_its_name(run: Path) -> None:
    for name in (PUBLISHED.id, PUBLISHED.name):
        found = contestants([f"{run}:paper", str(run)], protocol=name)
        assert {r["protocol_id"] for one in found for r in one.rows} == {PUBLISHED.id}
        assert [one.config_id for one in found] == [PAPER.config_id, QUICK.config_id]
    assert found[1].rank == 1  # by the protocol that ranks


def _refused(given: Sequence[object], **how: Any) -> ResultsError:
    with pytest.raises(ResultsError) as caught:
        contestants([str(one) for one in given], **how)
    return caught.value


@pytest.mark.parametrize(
    ("rule", "message", "hint"),
    [
        ("#4", "validation ranks 3 configurations of", "#1 to #3"),
        ("ffff", "no confirmed configuration of {run} begins with ffff", "confirmed are "),
        ("algorithm.k=4", "no confirmed configuration of {run} with a score has", "those of algorithm.k are 1, 2"),
        ("algorithm.k=3", "no confirmed configuration of {run} with a score has", "those of algorithm.k are 1, 2"),
        (WIDE.config_id, "has no completed confirm seed under", "gansearch finalists {run}"),
    ],
)
def test_what_is_not_there_is_named(run: Path, rule: str, message: str, hint: str) -> None:
    error = _refused([f"{run}:paper", f"{run}:{rule}"])
    assert f"'{run}:{rule}'" in error.message
    assert message.format(run=run) in error.message
    assert error.hint is not None
    assert error.hint.startswith(hint.format(run=run))


def test_a_lost_configuration_tells_how_its_seeds_ended(run: Path) -> None:
    message = _refused([run, f"{run}:{WIDE.config_id}"]).message
    assert "seed 41 DIVERGED, seed 42 DIVERGED, seed 43 FAILED" in message


def test_an_ambiguous_prefix_lists_what_it_may_mean(tmp_path: Path) -> None:
    """Two configurations whose ids share four characters are found by trying; 16 bits, so some hundreds do."""
    seen: dict[str, TrialConfig] = {}
    for i in range(1, 2_000):
        trial = config(algorithm__epochs=i)
        other = seen.setdefault(trial.config_id[:4], trial)
        if other is not trial:
            break
    rows = [*_seeds(trial, 10, (1.0, 2.0)), *_seeds(other, 20, (3.0, 4.0))]
    run = _run(tmp_path / "run", rows)
    error = _refused([run, f"{run}:{trial.config_id[:4]}"])
    assert f"several confirmed configurations begin with {trial.config_id[:4]}" in error.message
    assert error.hint == ", ".join(sorted([trial.config_id, other.config_id]))


def test_one_item_is_no_comparison(run: Path) -> None:
    assert _refused([run]).message == "a comparison takes 2 items or more"


def test_a_run_that_is_not_there(tmp_path: Path, run: Path) -> None:
    assert f"{tmp_path / 'nowhere'} is not a run directory" in _refused([run, tmp_path / "nowhere"]).message


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([trial_row(PAPER, 1, score=1.0)], "no confirm row is in its trials"),
        ([trial_row(PAPER, 1, score=1.0), *lost(PAPER, 2, schema.RUNNING)], "none of its confirm trials has ended"),
    ],
)
def test_a_run_without_confirmed_configurations(tmp_path: Path, run: Path, rows: Rows, problem: str) -> None:
    other = write_run(tmp_path / "searched", rows)
    error = _refused([run, other])
    assert error.message == f"{other} has no confirmed configuration: {problem}"
    assert error.hint is not None
    assert error.hint.startswith(f"gansearch confirm {other};")


def test_a_run_of_which_every_confirm_trial_failed(tmp_path: Path, run: Path) -> None:
    other = _run(tmp_path / "failed", [row for seed in (11, 12) for row in lost(PAPER, seed, schema.FAILED)])
    error = _refused([run, other])
    assert error.message == f"{other}: no confirm trial completed, so none can be chosen: 2 FAILED"


def test_the_papers_configuration_may_not_be_known_or_confirmed(tmp_path: Path) -> None:
    rows = [*_seeds(SLOW, 10, (1.0, 2.0)), *_seeds(QUICK, 20, (3.0, 4.0))]
    unplanned = _run(tmp_path / "unplanned", rows, base=None)
    error = _refused([unplanned, f"{unplanned}:paper"])
    assert "has no plan file, so which configuration is the study's base is not known" in error.message
    planned = _run(tmp_path / "planned", rows)
    error = _refused([planned, f"{planned}:paper"])
    assert f"the study's base {PAPER.config_id} was not confirmed" in error.message
    assert error.hint is not None
    assert error.hint.startswith(f"gansearch confirm {planned};")


def test_the_same_configuration_twice_is_nothing_to_compare(run: Path) -> None:
    error = _refused([f"{run}:leader", f"{run}:{QUICK.config_id}"])
    assert error.message.endswith(f"are one configuration, {QUICK.config_id}: there is nothing to compare")
    assert error.hint == f"{run}:#2 is the second by validation"


def test_a_copy_is_refused_and_other_seeds_of_the_same_configuration_are_not(tmp_path: Path) -> None:
    one = _run(tmp_path / "one", _seeds(PAPER, 10, (1.0, 2.0, 4.0)))
    copy = _run(tmp_path / "copy", _seeds(PAPER, 12, (4.0, 5.0)))
    apart = _run(tmp_path / "apart", _seeds(PAPER, 30, (1.0, 2.0, 4.5)))
    assert (
        _refused([one, copy]).message
        == f"'{one}' and '{copy}' share 1 trial: one run is a copy of the other, or of part of it"
    )
    assert [c.config_id for c in contestants([str(one), str(apart)])] == [PAPER.config_id] * 2


def test_copies_are_seen_without_digests_of_the_weights(tmp_path: Path) -> None:
    """As in rows of an older version: the same seed of one configuration that scored the same."""
    rows = _seeds(PAPER, 10, (1.0, 2.0), weights_digest=None, test_ll_mean=None)
    runs = [_run(tmp_path / name, rows) for name in ("one", "two")]
    assert "share 2 trials" in _refused(runs).message


def test_different_protocols_are_named_with_what_they_share(tmp_path: Path, run: Path) -> None:
    """The other run's search, and so its ranking, is under `published-2014`; both have both."""
    rows = [trial_row(SLOW, 1, score=3.0, scored_by=PUBLISHED), *_seeds(SLOW, 50, (1.0, 2.0))]
    other = write_funnel(tmp_path / "other", rows)
    error = _refused([run, other])
    assert "rank by different score protocols" in error.message
    assert f"{FULL.id} and {PUBLISHED.id} differ in refine True against False" in error.message
    assert error.hint == f"--protocol {min(FULL.id, PUBLISHED.id)}, which both have"
    assert len(contestants([str(run), str(other)], protocol="full")) == 2


def test_protocols_without_one_in_common(tmp_path: Path, run: Path) -> None:
    own = Protocol(name="own", num_samples=77)
    rows = [trial_row(SLOW, s, "confirm", float(s), scored_by=own, valid_ll_mean=float(s)) for s in (1, 2)]
    other = write_run(tmp_path / "other", rows)
    error = _refused([run, other])
    assert "num_samples 10000 against 77" in error.message
    assert error.hint == "`gansearch rescore` scores under the other one"


def test_an_unknown_protocol_is_told_with_the_nearest(tmp_path: Path, run: Path) -> None:
    error = _refused([run, f"{run}:paper"], protocol="fulll")
    assert "is scored under a protocol 'fulll'" in error.message
    assert error.hint == "did you mean 'full'? `gansearch rescore` scores under others"
    hint = _refused([run, f"{run}:paper"], protocol="xyz").hint
    assert hint is not None
    assert hint.startswith("known names: full, full-")
    assert hint.endswith("; `gansearch rescore` scores under others")
    twins = [Protocol(name="own", num_samples=n) for n in (77, 78)]
    rows = [trial_row(t, s, "confirm", s / 2, scored_by=p) for t in (PAPER, SLOW) for s in (1, 2) for p in twins]
    searched = [trial_row(PAPER, 9, score=1.0, scored_by=twins[0])]
    other = write_run(tmp_path / "other", [*searched, *rows])
    error = _refused([other, f"{other}:#2"], protocol="own")
    assert "has several protocols called own" in error.message
    assert error.hint == f"give an id: {', '.join(sorted(p.id for p in twins))}"


@pytest.mark.parametrize(("split", "called"), [("valid", "validation"), ("test", "test")])
def test_different_data_are_named(tmp_path: Path, run: Path, split: str, called: str) -> None:
    other = _run(tmp_path / "other", _seeds(SLOW, 60, (1.0, 2.0), **{f"data_{split}_digest": "99999999"}))
    message = _refused([run, other]).message
    assert message.startswith(f"scores on different data do not compare: the {called} images of '{run}' (")
    assert "22222222" in message or "33333333" in message
    assert message.endswith("99999999")


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """Under the protocol that does not rank: of the other, the choice of the leader tells."""
    rows = [*_seeds(PAPER, 10, (1.0, 2.0)), *_seeds(SLOW, 20, (3.0, 4.0))]
    for row in rows:
        if row["seed"] == 20 and row["protocol_id"] == PUBLISHED.id:
            row["valid_ll_mean"] = math.nan
    run = write_run(tmp_path / "run", [trial_row(PAPER, 1, score=1.0), *rows])
    error = _refused([run, f"{run}:#2"], protocol=PUBLISHED.id)
    assert error.message.endswith(f"trial {SLOW.config_id} with seed 20 is COMPLETE without a finite score")
    for row in rows:
        row["valid_ll_mean"] = math.nan
    other = write_run(tmp_path / "other", [trial_row(PAPER, 1, score=1.0), *rows])
    assert "COMPLETE without a finite score" in _refused([other, f"{other}:#2"]).message
