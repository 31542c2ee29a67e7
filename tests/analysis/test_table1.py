"""Table 1: exact numbers, blanks where they belong, nothing ranked across protocols."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from analysis import reference
from analysis.table1 import Table1, as_plain, table1
from gansearch import schema
from gansearch.errors import ResultsError
from tests.analysis.rows import FULL, N_TEST, N_VALID, PUBLISHED, config, confirm_rows, trial_row, write_plan, write_run

A, B = config(algorithm__k=1), config(algorithm__k=2)
MNIST = config(dataset__name="mnist")
TESTS = (10.1, 12.7, 11.3)


def _digits(tmp_path: Path, name: str = "digits-run") -> Path:
    """A leads by validation, B by test; one of A's four seeds diverged and one collapsed, one of B's diverged."""
    rows = [trial_row(A, 1, score=30.0), trial_row(B, 2, score=29.0)]
    for seed, test in zip((11, 12, 13), TESTS, strict=True):
        rows += confirm_rows(A, seed, 20.0 + seed, test, test_ll_se_examples=test / 10, collapsed=seed == 12)
    for scored_by in (FULL, PUBLISHED):
        rows += [trial_row(t, s, "confirm", status=schema.DIVERGED, scored_by=scored_by) for t, s in ((A, 14), (B, 22))]
    rows += confirm_rows(B, 21, 5.0, 999.0)
    return write_run(tmp_path / name, rows)


def _mnist(tmp_path: Path, name: str = "mnist-run", **values: object) -> Path:
    return write_run(tmp_path / name, [trial_row(MNIST, 1, score=3.0), *confirm_rows(MNIST, 5, 160.0, 155.5, **values)])


def _ours(table: Table1, run: str, protocol_id: str) -> tuple[float, ...]:
    row = next(r for r in table.section(protocol_id) if r.run == run)
    return tuple(score.mean for score in row.scores.values())


def test_the_published_figures() -> None:
    """Held against the paper's Table 1, cell by cell."""
    printed = {
        ("DBN", "MNIST"): (138, 2),
        ("DBN", "TFD"): (1909, 66),
        ("Stacked CAE", "MNIST"): (121, 1.6),
        ("Stacked CAE", "TFD"): (2110, 50),
        ("Deep GSN", "MNIST"): (214, 1.1),
        ("Deep GSN", "TFD"): (1890, 29),
        ("Adversarial nets", "MNIST"): (225, 2),
        ("Adversarial nets", "TFD"): (2057, 26),
    }
    assert {(s.model, s.dataset): (s.mean, s.se) for s in reference.TABLE1} == printed
    assert {(s.dataset, s.se_kind) for s in reference.TABLE1} == {("MNIST", "examples"), ("TFD", "folds")}
    for s in reference.TABLE1:
        assert s.se_kind in s.protocol.replace("test images, standard error over them", "examples")
        assert "NIPS 2014, Table 1" in s.citation


def test_published_rows_come_first_and_stay_blank_where_the_data_are_not_theirs(tmp_path: Path) -> None:
    table = table1([_digits(tmp_path)])
    assert table.datasets == ("MNIST", "TFD", "Digits 8x8")
    section = table.section(None)
    assert [row.label for row in section] == ["DBN", "Stacked CAE", "Deep GSN", "Adversarial nets"]
    assert [set(row.scores) for row in section] == [{"MNIST", "TFD"}] * 4
    assert table.rows[:4] == section
    for protocol_id in (PUBLISHED.id, FULL.id):
        (ours,) = table.section(protocol_id)
        assert (ours.label, set(ours.scores)) == ("Adversarial nets, digits-run", {"Digits 8x8"})
    gan = section[3].scores
    assert (gan["MNIST"].mean, gan["MNIST"].se_examples, gan["MNIST"].se_folds) == (225, 2, None)
    assert (gan["TFD"].mean, gan["TFD"].se_examples, gan["TFD"].se_folds) == (2057, None, 26)


def test_a_runs_row_is_the_validation_leaders_test_score_over_its_seeds(tmp_path: Path) -> None:
    table = table1([_digits(tmp_path)])
    (row,) = table.section(FULL.id)
    score = row.scores["Digits 8x8"]
    mean = math.fsum(TESTS) / 3
    assert row.config_id == A.config_id
    assert score.per_seed == TESTS
    assert score.mean == mean
    assert score.se_seeds == pytest.approx(math.sqrt(sum((t - mean) ** 2 for t in TESTS) / 2 / 3), rel=1e-14)
    assert score.se_examples == pytest.approx(mean / 10, rel=1e-14)
    assert score.test_n == N_TEST
    assert _ours(table, "digits-run", PUBLISHED.id)[0] == pytest.approx(mean - 3.5, rel=1e-14)


def test_seeds_that_collapsed_or_diverged_are_a_share_with_an_interval(tmp_path: Path) -> None:
    (row,) = table1([_digits(tmp_path)]).section(FULL.id)
    assert row.counts is not None
    assert (row.counts.seeds, row.counts.completed, row.counts.bad, row.counts.bad_share) == (4, 3, 2, 0.5)
    # Clopper-Pearson for 2 of 4, from published tables.
    assert row.counts.ended == 4
    interval = row.counts.bad_share_interval
    assert (interval.low, interval.high) == pytest.approx((0.0676, 0.9324), abs=5e-5)


def test_a_choice_among_several_is_told(tmp_path: Path) -> None:
    notes = table1([_digits(tmp_path), _mnist(tmp_path)]).notes
    (chosen,) = (note for note in notes if "chosen by validation" in note)
    assert chosen.startswith("digits-run: chosen by validation as the highest of 2 means: as estimates for other seeds")


def test_test_evaluations_are_counted_from_the_ledger(tmp_path: Path) -> None:
    run = _digits(tmp_path)
    assert table1([run]).test_evaluations == {"digits-run": 8}  # 4 models scored, under two protocols each
    shutil.rmtree(run / "test_evaluations")
    assert table1([run]).test_evaluations == {"digits-run": None}


def test_a_copy_of_a_run_is_noted_and_its_test_evaluations_are_counted_once(tmp_path: Path) -> None:
    run, other = _digits(tmp_path), _mnist(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    table = table1([run, other, copy])
    assert table.test_evaluations == {"digits-run": 8, "mnist-run": 2, "copy": 8}
    assert table.distinct_test_evaluations == 10
    shared = [note for note in table.notes if "not independent" in note]
    # A's 3 completed and 1 diverged seeds, B's 1 and 1; weights only of the completed
    assert len(shared) == 1
    assert shared[0].startswith("digits-run and copy share confirm trials (6 with the same configuration and seed, 4 ")
    assert not any("not independent" in note for note in table1([run, other]).notes)


def test_the_same_weights_under_another_seed_are_noted(tmp_path: Path) -> None:
    one = _mnist(tmp_path, "one", weights_digest="same")
    rows = [trial_row(MNIST, 1, score=3.0), *confirm_rows(MNIST, 6, 160.0, 155.5, weights_digest="same")]
    other = write_run(tmp_path / "two", rows)
    notes = table1([one, other]).notes
    assert any("(0 with the same configuration and seed, 1 with the same weights)" in note for note in notes)


def test_seeds_that_the_plan_asks_for_and_that_are_missing_are_told(tmp_path: Path) -> None:
    run = _mnist(tmp_path)
    assert [row.planned_seeds for row in table1([run]).section(FULL.id)] == [None]
    write_plan(run, 3)
    table = table1([run])
    assert [row.planned_seeds for row in table.section(FULL.id)] == [3]
    assert "mnist-run: 1 of 3 planned confirm seeds completed; the mean is over those" in table.notes
    write_plan(run, 1)
    assert not any("planned" in note for note in table1([run]).notes)


def test_fewer_validation_images_than_the_protocol_asks_for_are_told(tmp_path: Path) -> None:
    """`full` takes all there are, so it never has too few."""
    expected = f"sigma was chosen on all {N_VALID} validation images there are, not on 1,000"
    notes = table1([_digits(tmp_path)]).notes
    assert [note for note in notes if "validation images" in note] == [f"digits-run: under {PUBLISHED.id}, {expected}"]
    enough = table1([_mnist(tmp_path, valid_n=1_000)])
    assert not any("validation images" in note for note in enough.notes)
    assert enough.section(FULL.id)[0].scores["MNIST"].valid_n == 1_000


def test_a_sigma_at_the_end_of_the_grid_is_told_for_each_protocol(tmp_path: Path) -> None:
    run = _mnist(tmp_path, sigma_at_edge=True)
    notes = [note for note in table1([run]).notes if "end point" in note]
    assert len(notes) == 2
    assert notes[0].startswith("mnist-run: sigma is an end point of the protocol's grid for 1 of 1 completed seeds")
    assert notes[1].startswith(f"mnist-run: under {PUBLISHED.id}, sigma is an end point")
    assert not any("end point" in note for note in table1([_digits(tmp_path)]).notes)


def test_several_runs_share_the_columns_of_their_data(tmp_path: Path) -> None:
    table = table1([_digits(tmp_path), _mnist(tmp_path)])
    assert table.datasets == ("MNIST", "TFD", "Digits 8x8")
    assert [row.run for row in table.section(FULL.id)] == ["digits-run", "mnist-run"]
    assert _ours(table, "mnist-run", FULL.id) == (155.5,)
    one_seed = table.section(FULL.id)[1].scores["MNIST"]
    assert (one_seed.se_seeds, one_seed.se_examples) == (None, 1.25)
    assert list(table.protocols) == [PUBLISHED.id, FULL.id]
    assert table.protocols[FULL.id] == FULL.describe()


def test_runs_of_one_name_are_told_apart_and_a_run_given_twice_is_refused(tmp_path: Path) -> None:
    first, second = _digits(tmp_path / "a", "run"), _mnist(tmp_path / "b", "run")
    assert list(table1([first, second]).test_evaluations) == [str(first), str(second)]
    with pytest.raises(ResultsError, match="is given 2 times"):
        table1([first, first / "." / "trials" / ".."])


@pytest.mark.parametrize(
    ("split", "what"), [("test", "test images"), ("valid", "validation images"), ("train", "training images")]
)
def test_a_column_that_would_mix_images_is_refused(tmp_path: Path, split: str, what: str) -> None:
    other = _mnist(tmp_path, "two", **{f"data_{split}_digest": "44444444"})
    runs = [_mnist(tmp_path, "one"), other, _digits(tmp_path)]
    with pytest.raises(ResultsError, match=f"column MNIST would mix different {what}: those of one .*, those of two "):
        table1(runs)
    assert table1([runs[0], runs[2]]).datasets == ("MNIST", "TFD", "Digits 8x8")


def test_seeds_of_one_configuration_on_different_images_are_refused(tmp_path: Path) -> None:
    rows = [*confirm_rows(A, 11, 5.0, 4.0), *confirm_rows(A, 12, 5.0, 4.0, data_test_digest="44444444")]
    run = write_run(tmp_path / "mixed", [trial_row(A, 1, score=3.0), *rows])
    with pytest.raises(ResultsError, match=r"mixed: the confirm seeds of .* those of seeds 11 and 12 differ"):
        table1([run])


def _under(protocol_json: object, seed: int, run: str, tmp_path: Path) -> Path:
    rows = [trial_row(A, 1, score=3.0), *confirm_rows(A, seed, 5.0, 4.0, protocol_json=protocol_json)]
    return write_run(tmp_path / run, rows)


def test_a_section_that_would_mix_protocols_is_refused(tmp_path: Path) -> None:
    """An id is made of the content, so this takes a table that was changed by hand."""
    one, other = (json.dumps({**FULL.to_dict(), "num_samples": n}) for n in (10_000, 9_000))
    runs = [_under(one, 11, "one", tmp_path), _under(other, 12, "two", tmp_path)]
    with pytest.raises(ResultsError, match=r"rows under .* would mix protocols: those of one and two"):
        table1(runs)
    rows = [*confirm_rows(A, 11, 5.0, 4.0, protocol_json=one), *confirm_rows(A, 12, 5.0, 4.0, protocol_json=other)]
    with pytest.raises(ResultsError, match="scored by different protocols, and do not compare"):
        table1([write_run(tmp_path / "both", [trial_row(A, 1, score=3.0), *rows])])


@pytest.mark.parametrize("content", ['{"name": "x", "num_samples": 5, "kernel": "box"}', "nonsense", "[1]"])
def test_a_protocol_that_is_not_known_is_told(tmp_path: Path, content: str) -> None:
    with pytest.raises(ResultsError, match=r"strange: protocol .* is not one that this version knows"):
        table1([_under(content, 11, "strange", tmp_path)])


def test_a_run_without_confirm_rows_is_told_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "young", [trial_row(A, 1, score=3.0)])
    with pytest.raises(ResultsError, match="young has no confirmed configuration") as caught:
        table1([run])
    assert caught.value.hint is not None
    assert "run to its end" in caught.value.hint


def test_a_confirm_stage_that_was_interrupted_whole_is_not_in_the_table(tmp_path: Path) -> None:
    cut = trial_row(A, 2, "confirm", status=schema.INTERRUPTED)
    run = write_run(tmp_path / "cut", [trial_row(A, 1, score=3.0), cut])
    with pytest.raises(ResultsError, match="no confirmed configuration: none of its confirm trials has ended"):
        table1([run])


def test_confirm_rows_without_a_test_score_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "blind", [trial_row(A, 1, score=3.0), trial_row(A, 2, "confirm", 4.0)])
    with pytest.raises(ResultsError, match="blind has no test score"):
        table1([run])


def test_no_runs_are_told() -> None:
    with pytest.raises(ResultsError, match="no run is given"):
        table1([])


def test_an_empty_run_and_one_of_failures_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty" / "trials").mkdir(parents=True)
    with pytest.raises(ResultsError, match="empty has no confirmed configuration: no confirm row is in its trials"):
        table1([tmp_path / "empty"])
    rows = [trial_row(A, 1, score=3.0), *(trial_row(A, s, "confirm", status=schema.FAILED) for s in (11, 12))]
    with pytest.raises(ResultsError, match="no confirm trial completed, so none can be chosen: 2 FAILED"):
        table1([write_run(tmp_path / "failed", rows)])


def test_a_score_that_is_no_number_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, 5.0, 4.0), *confirm_rows(A, 12, 6.0, math.nan)]
    table = table1([write_run(tmp_path / "nan", rows)])
    assert _ours(table, "nan", FULL.id) == (4.0,)
    lacking = [note for note in table.notes if "lack a finite test score" in note]
    assert [note.partition(", ")[2] for note in lacking] == [
        "1 of 2 completed seeds lack a finite test score; the mean is over the others"
    ] * 2
    invalid = [trial_row(A, 1, score=3.0), *confirm_rows(A, 11, math.nan, 4.0), *confirm_rows(A, 12, 6.0, 5.0)]
    with pytest.raises(ResultsError, match="seed 11 is COMPLETE without a finite score"):
        table1([write_run(tmp_path / "blank", invalid)])


def test_damaged_parts_are_named_or_skipped(tmp_path: Path) -> None:
    run = _digits(tmp_path)
    parts = [next((run / "trials").glob("*-13-confirm-0-full*")), next((run / "test_evaluations").glob("*"))]
    for part in parts:
        part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(ResultsError, match="is damaged"):
        table1([run])
    table = table1([run], skip_damaged=True)
    assert table.skipped == tuple(map(str, parts))
    assert table.section(FULL.id)[0].scores["Digits 8x8"].per_seed == TESTS[:2]
    assert table.test_evaluations == {"digits-run": 7}


def test_the_plain_form_is_json_with_every_digit(tmp_path: Path) -> None:
    table = table1([_digits(tmp_path)])
    plain = json.loads(json.dumps(as_plain(table), allow_nan=False))
    ours = plain["rows"][-1]
    assert ours["scores"]["Digits 8x8"]["mean"] == math.fsum(TESTS) / 3
    assert ours["counts"]["bad_share"] == 0.5
    interval = table.section(FULL.id)[0].scores["Digits 8x8"].interval
    assert interval is not None
    assert ours["scores"]["Digits 8x8"]["mean_95"] == [interval.low, interval.high]
    assert plain["rows"][0]["scores"]["MNIST"]["mean_95"] is None
    assert plain["published_protocol"] == reference.PROTOCOL
    assert plain["caveat"] == reference.CAVEAT
