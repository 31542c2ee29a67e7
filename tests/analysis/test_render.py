"""Text, Markdown and CSV of Table 1: rounding follows the standard error; nothing in a name can break a form."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import reference
from analysis.render import decimal_place, long_csv, markdown, render, rounded, text
from analysis.table1 import Table1, table1
from gansearch import schema
from tests.analysis.rows import FULL, N_VALID, PUBLISHED, config, confirm_rows, trial_row, write_plan, write_run

A, B = config(), config(algorithm__k=2)
TESTS = (10.1, 12.7, 11.3)
AWKWARD_NAME = r"50%_of $x^2$ & {a|b} #1 [*]~\end"


def _table(tmp_path: Path, name: str = "my-run") -> Table1:
    rows = [trial_row(A, 1, score=30.0)]
    rows += [trial_row(A, 14, "confirm", status=schema.DIVERGED, scored_by=p) for p in (FULL, PUBLISHED)]
    for seed, test in zip((11, 12, 13), TESTS, strict=True):
        rows += confirm_rows(A, seed, 20.0 + seed, test)
    return table1([write_run(tmp_path / name, rows)])


@pytest.mark.parametrize(
    ("mean", "se", "shown"),
    [
        (11.36667, 0.7513, ("11.37", "0.75")),
        (225.04, 1.96, ("225.0", "2.0")),
        (225.04, 9.96, ("225", "10")),
        (2057.4, 26.4, ("2057", "26")),
        (2057.4, 126.0, ("2060", "130")),
        (-3.14159, 0.0996, ("-3.14", "0.10")),
    ],
)
def test_the_error_decides_the_digits(mean: float, se: float, shown: tuple[str, str]) -> None:
    place = decimal_place([se])
    assert (rounded(mean, place), rounded(se, place)) == shown


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_rounding_loses_at_most_half_of_the_last_place(mean: float, se: float, smaller: float) -> None:
    """Two significant digits are at worst 5% off; the mean moves by half a place, at most .05 of the error."""
    place = decimal_place([se * smaller, se])
    assert float(rounded(se, place)) == pytest.approx(se, rel=0.0501)
    assert abs(float(rounded(mean, place)) - mean) <= 0.0501 * se
    assert place == decimal_place([se])


@pytest.mark.parametrize("errors", [[], [0.0]])
def test_without_an_error_two_decimals_are_shown(errors: list[float]) -> None:
    assert rounded(1.5, decimal_place(errors)) == "1.50"


@given(st.floats(-0.0499, 0.0), st.sampled_from([0.5, 4.9, 55.0]))
def test_no_zero_is_negative(value: float, se: float) -> None:
    """A value nearer to 0 than half of the place, or one that rounds to the last digit: never a bare `-0`."""
    shown = rounded(value, decimal_place([se]))
    assert (float(shown) == 0) <= (not shown.startswith("-"))
    assert rounded(-0.003, decimal_place([0.5])) == "0.00"
    assert rounded(-0.4, decimal_place([55.0])) == "0"


def test_a_cell_is_rounded_by_its_largest_error(tmp_path: Path) -> None:
    """Over seeds the mean is 17.6 with s = .1, so the error is .1 / sqrt 3 and t(.975, 2) = 4.30265."""
    rows = [trial_row(A, 1, score=30.0)]
    for seed, test in ((11, 17.5), (12, 17.6), (13, 17.7)):
        rows += confirm_rows(A, seed, 20.0, test, test_ll_se_examples=0.7413)
    for seed, test in ((11, 90.1), (12, 90.1), (13, 90.4)):
        rows += confirm_rows(B, seed, 0.0, test)
    shown = text(table1([write_run(tmp_path, rows)]))
    assert "  17.60 ± 0.06 [seeds] ± 0.74 [ex], 95% [17.35, 17.85]  3 " in shown


def test_a_small_error_is_not_shown_as_none(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=30.0)]
    for seed, test in ((11, 100.0), (12, 100.04)):
        rows += confirm_rows(A, seed, 20.0, test, test_ll_se_examples=12.0)
    assert "100 ± 0.02 [seeds] ± 12 [ex]" in text(table1([write_run(tmp_path, rows)]))


def test_missing_seeds_stand_in_the_seeds_column(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [trial_row(A, 1, score=30.0), *confirm_rows(A, 11, 20.0, 10.0)])
    for planned, shown in ((1, "1"), (3, "1/3")):
        write_plan(run, planned)
        (line,) = [s for s in text(table1([run])).splitlines() if "10.0 ± 1.2 [ex]" in s]
        assert re.split(" {2,}", line)[-2] == shown
        assert "95%" not in line
        csv_rows = list(csv.DictReader(io.StringIO(long_csv(table1([run])))))
        assert [r["planned_seeds"] for r in csv_rows if r["run"]] == [str(planned)] * 2


def test_published_rows_are_not_under_a_protocol_of_ours(tmp_path: Path) -> None:
    lines = text(_table(tmp_path)).splitlines()
    heads = [i for i, line in enumerate(lines) if line in (reference.PROTOCOL, f"scored under {PUBLISHED.id}")]
    assert len(heads) == 2
    assert [line.split("  ")[1] for line in lines[heads[0] + 1 : heads[1]]] == [
        "DBN",
        "Stacked CAE",
        "Deep GSN",
        "Adversarial nets",
    ]
    assert lines[heads[1] + 1].startswith("  Adversarial nets, my-run")


def test_test_evaluations_of_several_runs_are_also_counted_together(tmp_path: Path) -> None:
    rows = [trial_row(A, 1, score=30.0), *confirm_rows(A, 11, 20.0, 10.0)]
    runs = [write_run(tmp_path / name, rows) for name in ("one", "two")]
    assert "evaluations of the test set: one 2, two 2; 2 different ones in all" in text(table1(runs))


def test_the_text_reads_as_a_table(tmp_path: Path) -> None:
    lines = text(_table(tmp_path)).splitlines()
    assert lines[2].split() == ["model", "MNIST", "TFD", "Digits", "8x8", "seeds", "bad", "seeds"]
    row = next(line for line in lines if "Deep GSN" in line)
    assert re.fullmatch(r"  Deep GSN +214 ± 1\.1 \[ex\] +1890 ± 29 \[folds\]", row)
    ours = [line for line in lines if "my-run  " in line]
    assert [re.split(" {2,}", line.strip())[1:] for line in ours] == [
        ["7.9 ± 0.8 [seeds] ± 1.2 [ex], 95% [4.6, 11.1]", "3", "1/4 [0.01, 0.81]"],
        ["11.4 ± 0.8 [seeds] ± 1.2 [ex], 95% [8.1, 14.6]", "3", "1/4 [0.01, 0.81]"],
    ]
    starts = {line.index("my-run") for line in ours}
    assert len(starts) == 1


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html"])
def test_every_readable_form_says_what_the_numbers_are(tmp_path: Path, form: str) -> None:
    shown = html.unescape(render(_table(tmp_path), form))
    said = " ".join(re.sub(r"[\\{}]", "", shown).split())
    for statement in (
        "standard error over training seeds",
        "standard error over test examples",
        "standard error over folds",
        "exact 95% interval",
        "t interval over training seeds",
        "sampling noise of the generator's samples",
        "collapse to one class, or after the scored epoch, is not seen",
        reference.PROTOCOL,
        f"scored under {PUBLISHED.id}",
        f"scored under {FULL.id}",
        "10,000 samples, sigma of 10 in",
        "evaluations of the test set: my-run 6",
        "NIPS 2014, Table 1",
        "unranked",
        "3 of 4 seeds completed",
        reference.CAVEAT,
    ):
        assert statement in said


def test_the_csv_has_every_digit(tmp_path: Path) -> None:
    table = _table(tmp_path)
    rows = list(csv.DictReader(io.StringIO(long_csv(table))))
    assert len(rows) == 10
    assert None not in rows[0].values()
    ours = next(r for r in rows if r["protocol_id"] == FULL.id)
    score = table.section(FULL.id)[0].scores["Digits 8x8"]
    assert (float(ours["test_ll_mean"]), float(ours["test_ll_se_seeds"])) == (score.mean, score.se_seeds)
    assert (ours["seeds"], ours["scored_seeds"], ours["diverged"], ours["bad_share"]) == ("4", "3", "1", "0.25")
    assert (ours["run_test_evaluations"], ours["citation"]) == ("6", "")
    published = rows[0]
    assert (published["model"], published["test_ll_mean"], published["test_ll_se_seeds"]) == ("DBN", "138", "")
    assert published["citation"] == reference.CITATION
    assert (published["protocol_id"], published["protocol"]) == ("", reference.TABLE1[0].protocol)
    assert (published["kind"], published["comparable"], published["leads"]) == ("published", "True", "")
    assert (ours["kind"], ours["num_samples"], ours["valid_ll_mean"]) == ("run", "10000", str(score.valid_mean))
    assert ours["protocol"] == FULL.describe()
    assert {row["caveat"] for row in rows} == {reference.CAVEAT}
    assert score.interval is not None
    assert (float(ours["test_ll_low_95"]), float(ours["test_ll_high_95"])) == (score.interval.low, score.interval.high)
    assert (published["test_ll_low_95"], published["valid_n"], ours["valid_n"]) == ("", "", str(N_VALID))
    assert (ours["stopped"], ours["unfinished"], ours["planned_seeds"]) == ("0", "0", "")


def test_markdown_rows_have_as_many_cells_as_the_head(tmp_path: Path) -> None:
    lines = [line for line in markdown(_table(tmp_path, AWKWARD_NAME)).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}
    assert len(lines) == 2 + 3 + 4 + 2


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="text, markdown, latex, html, csv, not 'pdf'"):
        render(_table(tmp_path), "pdf")
