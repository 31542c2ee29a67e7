"""Kept weights under another protocol: the numbers of a trial that had been scored under it, the lock held."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.records import records
from analysis.selection import choose
from analysis.table1 import table1
from gansearch import parts, results, schema
from gansearch.core.datasets import Dataset, load
from gansearch.errors import DataError, ResultsError
from gansearch.paths import RunPaths
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.rescore import Rescored, rescore
from gansearch.rows import Row
from tests.trial_courses import ADAM
from tests.trials import FULL, PUBLISHED, digits, outcome, read, run_trial, spec

OTHER = Protocol(name="other", num_samples=173, sigma_points=8, valid_subset="first", valid_count=101)
SEEDS = (21, 22, 23)


def locked() -> Dataset:
    """Return the digits without their test images: whoever asks for them gets a DataError."""
    return digits().without_test()


def confirm_run(folder: Path, *protocols: Protocol, seeds: tuple[int, ...] = SEEDS) -> Path:
    """Write a run of real trials: a searched one, and its configuration confirmed."""
    run_trial(spec(seed=3, values=ADAM), folder)
    for replicate, seed in enumerate(seeds):
        run_trial(spec("confirm", seed=seed, values=ADAM, replicate=replicate, protocols=protocols), folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was confirmed under two protocols. Not to be written into."""
    return confirm_run(tmp_path_factory.mktemp("finished"), FULL, PUBLISHED)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def without(run: Path, protocol: Protocol) -> None:
    """Take a protocol's confirm rows, test evaluations and values per example out of a run."""
    for table, name in (("trials", f"*-confirm-*-{protocol.id}.parquet"), ("test_evaluations", f"*{protocol.id}*")):
        for part in RunPaths(run).table(table).glob(name):
            part.unlink()
    for part in RunPaths(run).table("examples").iterdir():
        rows = parts.read_part(part, schema.EXAMPLES)
        parts.write_part(part, schema.EXAMPLES, [row for row in rows if row["protocol_id"] != protocol.id])


def rows_of(run: Path) -> list[Row]:
    frame = results.read(run, "trials").sort_values(["stage", "seed", "protocol_id"])
    return [outcome(row) for row in records(frame, schema.TRIALS)]


def sorted_table(run: Path, table: schema.Table) -> pd.DataFrame:
    return read(run, table).sort_values(list(table.key)).reset_index(drop=True)


@pytest.mark.parametrize("protocol", [FULL, PUBLISHED], ids=["full", "published"])
def test_it_gives_the_numbers_of_a_trial_that_was_scored_under_it(
    run: Path, finished: Path, protocol: Protocol
) -> None:
    without(run, protocol)
    assert not read(run, schema.EXAMPLES)["protocol_id"].eq(protocol.id).any()
    found = rescore(run, protocol, data=digits())
    assert [one.evaluation for one in found] == ["made"] * 3
    # Every column of every row and every value per example, bit for bit.
    assert rows_of(run) == rows_of(finished)
    pd.testing.assert_frame_equal(sorted_table(run, schema.EXAMPLES), sorted_table(finished, schema.EXAMPLES))
    here, there = (sorted_table(folder, schema.TEST_EVALUATIONS) for folder in (run, finished))
    pd.testing.assert_frame_equal(here.drop(columns="made_at"), there.drop(columns="made_at"))


def test_a_new_protocol_is_scored_as_if_it_had_been_asked_for(run: Path, tmp_path: Path) -> None:
    before = rows_of(run)
    found = rescore(run, OTHER, data=digits())
    asked = confirm_run(tmp_path / "asked", FULL, PUBLISHED, OTHER)
    assert rows_of(run) == rows_of(asked)
    assert [row for row in rows_of(run) if row["protocol_id"] != OTHER.id] == before
    for table in (schema.EXAMPLES, schema.SAMPLES):
        pd.testing.assert_frame_equal(sorted_table(run, table), sorted_table(asked, table))
    assert len(read(run, schema.TEST_EVALUATIONS)) == 3 * 3
    for one in found:
        assert one.row is not None
        assert one.row["num_samples"] == OTHER.num_samples
        assert (one.row["valid_n"], one.row["test_n"]) == (OTHER.valid_count, 300)


def test_the_test_set_is_read_once(run: Path) -> None:
    first = rescore(run, OTHER, data=digits())
    ledger = sorted_table(run, schema.TEST_EVALUATIONS)
    again = rescore(run, OTHER, data=locked())
    assert [one.evaluation for one in again] == ["reused"] * 3
    assert [(one.key, one.replicate) for one in again] == [(one.key, one.replicate) for one in first]
    for one, other in zip(again, first, strict=True):
        assert one.row is not None
        assert other.row is not None
        assert outcome(one.row) == outcome(other.row)
    # Killed after the ledger's entry: the row is written anew, from the entry.
    for part in RunPaths(run).table("trials").glob(f"*{OTHER.id}*"):
        part.unlink()
    third = rescore(run, OTHER, data=locked())
    assert [one.evaluation for one in third] == ["reused"] * 3
    for one, other in zip(third, first, strict=True):
        assert one.row is not None
        assert other.row is not None
        assert outcome(one.row) | {"test_evaluation": "made"} == outcome(other.row)
    pd.testing.assert_frame_equal(sorted_table(run, schema.TEST_EVALUATIONS), ledger)


def test_data_that_are_locked_are_not_scored_on(run: Path) -> None:
    with pytest.raises(DataError, match="locked away"):
        rescore(run, OTHER, data=locked())


def test_search_trials_are_not_scored(run: Path) -> None:
    rescore(run, OTHER, data=digits())
    frame = read(run, schema.TRIALS)
    assert set(frame.loc[frame["protocol_id"] == OTHER.id, "stage"]) == {"confirm"}
    assert set(read(run, schema.TEST_EVALUATIONS)["stage"]) == {"confirm"}
    assert frame.loc[frame["stage"] == "search", "test_ll_mean"].isna().all()


def weights_of(run: Path, seed: int) -> Path:
    return RunPaths(run).weights(spec("confirm", seed=seed, values=ADAM).key)


def test_a_trial_without_usable_weights_is_named_and_the_others_are_scored(run: Path) -> None:
    missing, damaged, swapped = (weights_of(run, seed) for seed in SEEDS)
    swapped.write_bytes(missing.read_bytes())
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    missing.unlink()
    told: list[Rescored] = []
    found = rescore(run, OTHER, data=digits(), on_scored=told.append)
    assert told == found
    assert [one.key.seed for one in found] == list(SEEDS)
    assert [one.evaluation for one in found] == [None] * 3
    problems = [one.problem or "" for one in found]
    for problem, part in zip(
        problems, ("is not a readable checkpoint", "is damaged", "holds other weights"), strict=True
    ):
        assert part in problem
    assert not read(run, schema.TRIALS)["protocol_id"].eq(OTHER.id).any()
    swapped.unlink()
    damaged.write_bytes(content)
    found = rescore(run, OTHER, data=digits())
    assert [one.evaluation for one in found] == [None, "made", None]
    assert len(read(run, schema.TEST_EVALUATIONS)) == 2 * 3 + 1


def test_trials_that_are_not_complete_are_left_out(run: Path) -> None:
    run_trial(spec("confirm", seed=40, values={"momentum.lr_d": 1e2}, protocols=(FULL, PUBLISHED)), run)
    recorder, key = Recorder(run), spec("confirm", seed=SEEDS[0], values=ADAM).key
    for row in recorder.rows(key, [PUBLISHED.id]):  # a trial that was interrupted between its rows
        recorder.trial(key, row | {"status": schema.INTERRUPTED})
    assert [one.key.seed for one in rescore(run, OTHER, data=digits())] == list(SEEDS[1:])


def test_other_data_are_refused(run: Path) -> None:
    before = rows_of(run)
    with pytest.raises(DataError, match="the train split of 'gaussian_mixture' here has the digest"):
        rescore(run, OTHER, data=load("gaussian_mixture", data_dir=None))
    assert rows_of(run) == before


def test_a_run_without_confirmed_trials_is_an_error(tmp_path: Path) -> None:
    run_trial(spec(), tmp_path)
    with pytest.raises(ResultsError, match="has no confirm trials") as caught:
        rescore(tmp_path, OTHER, data=digits())
    assert caught.value.hint is not None
    run_trial(spec("confirm", values={"momentum.lr_d": 1e2}), tmp_path)
    with pytest.raises(ResultsError, match=r"no confirm trial of .* is complete: 1 DIVERGED"):
        rescore(tmp_path, OTHER, data=digits())
    with pytest.raises(ResultsError, match="is not a run directory"):
        rescore(tmp_path / "nothing", OTHER, data=digits())


def test_damaged_rows_are_an_error_or_left_out(run: Path) -> None:
    part = RunPaths(run).part("trials", spec("confirm", seed=SEEDS[1], values=ADAM).key, PUBLISHED.id)
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(parts.DamagedPartError):
        rescore(run, OTHER, data=digits())
    found = rescore(run, OTHER, data=digits(), skip_damaged=True)
    assert [one.evaluation for one in found] == ["made"] * 3


def test_selection_stands_and_table1_shows_a_row_more(run: Path) -> None:
    chosen, table = choose(results.read(run, "trials")), table1([run])
    rescore(run, OTHER, data=digits())
    assert choose(results.read(run, "trials")) == chosen
    wider = table1([run])
    assert set(wider.protocols) - set(table.protocols) == {OTHER.id}
    (row,) = wider.section(OTHER.id)
    (score,) = row.scores.values()
    tested = read(run, schema.TRIALS).query("protocol_id == @OTHER.id")["test_ll_mean"]
    assert score.mean == pytest.approx(tested.mean(), rel=1e-12)  # float64 sums in another order
    for protocol in table.protocols:
        assert wider.section(protocol) == table.section(protocol)
    assert wider.distinct_test_evaluations == table.distinct_test_evaluations + 3
