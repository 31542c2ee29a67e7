"""The comparison as a reader sees it: exact text, Markdown cells, every digit in CSV."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from analysis.cells import WIDTH
from analysis.compared import Compared
from analysis.comparing import compare
from analysis.comparing_text import render
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, WIDE, completed, four_finalists, write_funnel
from tests.analysis.rows import FULL, trial_row

TEXT = """\
Confirmed configurations on digits, mean log-likelihood (Parzen window), nats

   configuration          seeds  bad seeds         valid        [ex]  test        [ex]
--------------------------------------------------------------------------------------
A  {paper}   paper   2/3    1/3 [0.01, 0.91]  102 ± 16     1.7   202 ± 11    2.1
    run:paper
    algorithm.k=1, momentum.lr_g=0.1
B  {quick}   leader  3/3    0/3 [0.00, 0.71]  119.4 ± 4.4  2.2   73.9 ± 8.4  1.9
    run
    algorithm.k=2, momentum.lr_g=0.0312
C  {slow}           3/3    1/3 [0.01, 0.91]  117.2 ± 7.1  1.8   87.8 ± 8.1  1.9
    run:#2
    algorithm.k=1, momentum.lr_g=0.7
--------------------------------------------------------------------------------------

Differences: each configuration less A, nats

"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("text")
    write_funnel(folder / "run", four_finalists())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return compare(["run:paper", "run", "run:#2"])


def test_the_text_begins_with_the_scores(found: Compared) -> None:
    ids = {"quick": QUICK, "slow": SLOW, "paper": PAPER}
    assert render(found, "text").startswith(TEXT.format(**{name: c.config_id for name, c in ids.items()}))


def test_each_difference_has_a_line_a_split(found: Compared) -> None:
    shown = render(found, "text")
    assert re.search(r"^B - A  valid  17\.7 \[11\.5, 23\.9\] +0\.005 +0\.010 +\[", shown, re.M)
    assert re.search(r"^       test   -128\.5 \[", shown, re.M)
    assert re.search(r"^C - A  valid  15\.5 \[", shown, re.M)


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_every_sentence_and_note_stands_below(found: Compared, form: str) -> None:
    shown = re.sub(r"\s+", " ", render(found, form)).replace("\\", "")
    for one in found.against:
        assert one.sentences
        for sentence in one.sentences:
            assert sentence in shown
    assert found.notes
    for note in found.notes:
        assert note in shown
    assert "What these numbers support" in shown
    assert f"scored under {FULL.id}: 10,000 samples" in shown


def test_the_text_is_never_too_wide(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=-1234567.25)]
    for i, value in enumerate((-1234567.5, -1234566.25, -1234565.75)):
        rows += completed(PAPER, 10 + i, value, value * 3)
        rows += completed(WIDE, 20 + i, value * 4, -value)
    run = write_funnel(tmp_path / ("long-name" * 20), rows)
    shown = render(compare([f"{run}:paper", f"{run}:{WIDE.config_id}"]), "text")
    path = max(shown.split(), key=len)  # a word that no line can hold is broken, not lost
    assert max(map(len, shown.splitlines())) <= WIDTH, path


def test_markdown_rows_have_as_many_cells_as_their_head(found: Compared) -> None:
    shown = render(found, "markdown")
    blocks = re.findall(r"(?:^\|.*\n)+", shown, re.M)
    assert len(blocks) == 2
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "momentum.lr\\_g=0.7" in shown


def test_csv_holds_every_digit(found: Compared) -> None:
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert [(row["item"], row["split"]) for row in rows] == [(i, s) for i in "ABC" for s in ("valid", "test")]
    for row, item in zip(rows[::2], found.items, strict=True):
        assert float(row["ll_mean"]) == item.valid.mean
        assert row["config_id"] == item.config_id
        assert (row["seeds"], row["completed_seeds"]) == (str(item.counts.seeds), str(item.counts.completed))
        assert row["algorithm.k"] == str(item.values["algorithm.k"])
    assert rows[0]["seeds_mean"] == rows[0]["less"] == rows[0]["bad_p"] == ""
    for i, one in enumerate(found.against, 1):
        for row, contrast in zip(rows[2 * i : 2 * i + 2], (one.valid, one.test), strict=True):
            assert contrast is not None
            assert contrast.both is not None
            assert float(row["seeds_mean"]) == contrast.seeds.mean
            assert float(row["seeds_p_holm"]) == contrast.p_holm
            assert float(row["bootstrap_se"]) == contrast.both.se
            assert row["less"] == "A"
            assert float(row["bad_p"]) == one.bad_p


def test_another_form_is_refused(found: Compared) -> None:
    with pytest.raises(ValueError, match="text, markdown, csv, not 'html'"):
        render(found, "html")
