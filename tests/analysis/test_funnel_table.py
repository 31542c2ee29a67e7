"""The comparison of finalists as a reader sees it: exact text, Markdown cells, every digit in CSV."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from analysis.cells import WIDTH
from analysis.finalists import Funnel
from analysis.funnel import funnel
from analysis.funnel_table import render
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, WIDE, completed, four_finalists, write_funnel
from tests.analysis.rows import FULL, PUBLISHED, config, trial_row

TEXT = """\
Confirmed configurations of run on digits, mean log-likelihood (Parzen window), nats

#  configuration          seeds  bad seeds         valid        [ex]  search        test        [ex]
----------------------------------------------------------------------------------------------------
1  {quick}   leader  3/3    0/3 [0.00, 0.71]  119.4 ± 4.4  2.2   124.0 (+4.6)  73.9 ± 8.4  1.9
    algorithm.k=2, momentum.lr_g=0.0312
2  {slow}   tied    3/3    1/3 [0.01, 0.91]  117.2 ± 7.1  1.8   124.0 (+6.8)  87.8 ± 8.1  1.9
    momentum.lr_g=0.7
3  {paper}   paper   2/3    1/3 [0.01, 0.91]  102 ± 16     1.7   101.2 (-0.5)  202 ± 11    2.1
    algorithm.k=1, momentum.lr_g=0.1, generator.hidden=1200-1200
-  {wide}           0/3    3/3 [0.29, 1.00]  -            -     -             -           -
    algorithm.k=3, generator.hidden=64-32
----------------------------------------------------------------------------------------------------

Differences: the row's configuration less the one it is against, nats

"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Funnel:
    return funnel(write_funnel(tmp_path_factory.mktemp("table") / "run", four_finalists()))


def test_the_text_begins_with_the_scores(found: Funnel) -> None:
    ids = {"quick": QUICK, "slow": SLOW, "paper": PAPER, "wide": WIDE}
    assert render(found, "text").startswith(TEXT.format(**{name: c.config_id for name, c in ids.items()}))


def test_each_difference_stands_with_what_it_is_against(found: Funnel) -> None:
    """-2.2 +- 5.8 over seeds, tied; the paper's is 17.7 below the leader, over survivors."""
    shown = render(found, "text")
    assert re.search(
        rf"^2  {SLOW.config_id}   leader   valid  -2\.2 \[-8\.0, 3\.6\] .* 0\.336   0\.336 .* tied$", shown, re.M
    )
    assert re.search(
        rf"^3  {PAPER.config_id}   leader   valid  -17\.7 \[-23\.9, -11\.5\] .* over survivors$", shown, re.M
    )
    assert re.search(rf"^1  {QUICK.config_id}   paper    valid  17\.7 \[11\.5, 23\.9\] +0\.005   0\.010 ", shown, re.M)
    assert re.search(r"^ +test   13\.9 \[6\.4, 21\.4\] ", shown, re.M)


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_what_a_reader_must_know_stands_below(found: Funnel, form: str) -> None:
    shown = re.sub(r"\s+", " ", render(found, form)).replace("\\", "")
    assert "test evaluations in the run's ledger: 16, over all protocols" in shown
    assert "the winner's curse" in shown
    assert "not told apart, not shown equal" in shown
    assert "over training seeds" in shown
    for note in found.notes:
        assert note in shown
    for f in found.finalists:
        assert f.config_id in shown
    assert f"On test under {PUBLISHED.id}" in shown


def test_the_text_is_never_too_wide(tmp_path: Path) -> None:
    """Scores of seven digits, many long settings, a long name: 120 characters at most."""
    rows = [trial_row(PAPER, 1, score=-1234567.25), trial_row(WIDE, 2, score=-7654321.125)]
    for i, value in enumerate((-1234567.5, -1234566.25, -1234565.75)):
        rows += completed(PAPER, 10 + i, value, value * 3)
        rows += completed(WIDE, 20 + i, value * 4, -value)
        rows += completed(config(algorithm__k=5, generator__hidden=(77,) * 40), 30 + i, value * 1.00001, value)
    found = funnel(write_funnel(tmp_path / ("long-name" * 20), rows))
    lines = render(found, "text").splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert sum("77-77" in line for line in lines) > 1  # wrapped
    for f in found.finalists:
        assert any(f.config_id in line for line in lines)


def test_markdown_rows_have_as_many_cells_as_their_head(found: Funnel) -> None:
    shown = render(found, "markdown")
    for block in re.findall(r"(?:^\|.*\n)+", shown, re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1
    assert "momentum.lr\\_g=0.7" in shown


def test_csv_holds_every_digit(found: Funnel) -> None:
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert [r["protocol_id"] for r in rows] == [FULL.id] * 4 + [PUBLISHED.id] * 3
    for row, f in zip(rows, found.finalists, strict=False):
        assert row["config_id"] == f.config_id
        assert row["rank"] == ("" if f.rank is None else str(f.rank))
        assert row["tied"] == str(f.tied)
        assert int(row["bad_seeds"]) == f.counts.bad
        if f.valid is None or f.test is None:
            assert row["valid_ll_mean"] == row["test_ll_mean"] == row["to_leader_valid_mean"] == ""
            continue
        assert float(row["valid_ll_mean"]) == f.valid.mean
        assert float(row["test_ll_se_examples"]) == f.test.se_examples
        assert float(row["optimism"]) == f.optimism
        for name, comparison in (("to_leader", f.to_leader), ("to_paper", f.to_paper)):
            if comparison is not None and comparison.test is not None and comparison.test.bootstrap is not None:
                assert float(row[f"{name}_valid_p_holm"]) == comparison.valid.p_holm
                assert float(row[f"{name}_test_bootstrap_se"]) == comparison.test.bootstrap.se
    other = rows[4]
    assert float(other["test_ll_mean"]) == found.others[0].test[QUICK.config_id].mean
    assert other["rank"] == ""
    assert other["momentum.lr_g"] == "0.0312"


def test_another_form_is_refused(found: Funnel) -> None:
    with pytest.raises(ValueError, match="text, markdown, csv, not 'html'"):
        render(found, "html")
