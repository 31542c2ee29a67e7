"""Table 1 in LaTeX compiles, in HTML it is sound; a name can hold anything; a calibration and a leader are shown."""

from __future__ import annotations

import csv
import html.parser
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis import reference
from analysis.calibration import KMEANS, REAL, calibrate
from analysis.render import FORMS, latex, long_csv, render, text
from analysis.render import html as as_html
from analysis.table1 import Table1, table1
from analysis.table1_latex import escaped
from gansearch import schema
from tests.analysis.images import dataset
from tests.analysis.rows import FULL, PUBLISHED, config, confirm_rows, trial_row, write_run

TRIAL = config(dataset__name="mnist")
TESTS = (150.1, 152.7, 151.3)
AWKWARD_NAME = r"50%_of $x^2$ & {a|b} #1 [*]~\end"
HOSTILE_NAME = "<script>alert('1')<%2Fscript><b title=\"x\">&amp; \u03b4\u6f22\u202e\n--x"
DOCUMENT = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table1}\end{document}"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _run(folder: Path, name: str, first: int = 10, lower: float = 0.0, lost: int = 0) -> Path:
    rows = [trial_row(TRIAL, 1, score=30.0)]
    rows += [
        trial_row(TRIAL, first + 8 + i, "confirm", status=schema.DIVERGED, scored_by=p)
        for p in (FULL, PUBLISHED)
        for i in range(lost)
    ]
    for i, test in enumerate(TESTS):
        rows += confirm_rows(TRIAL, first + i, test + 1.0 - lower, test - lower)
    return write_run(folder / name, rows)


def _full(folder: Path, *names: str) -> Table1:
    """Return a table with two runs and a calibration."""
    for protocol in (FULL, PUBLISHED):
        calibrate(dataset(n_train=40), protocol)
    first, second = names or ("one", "two")
    return table1([_run(folder, first), _run(folder, second, 50, 1.5, lost=1)])


def _compile(folder: Path, source: str) -> str:
    """Return what pdflatex writes of a document that holds the table; it fails where the document does."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed here")
    (folder / "table1.tex").write_text(source, encoding="utf-8")
    (folder / "document.tex").write_text(DOCUMENT, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "document.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said[-2000:]
    assert (folder / "document.pdf").read_bytes().startswith(b"%PDF")
    return said


def test_latex_compiles_and_fits_on_the_page(tmp_path: Path) -> None:
    assert "Overfull" not in _compile(tmp_path, latex(_full(tmp_path)))


@pytest.mark.parametrize("name", [AWKWARD_NAME, HOSTILE_NAME])
def test_latex_compiles_whatever_a_run_is_called(tmp_path: Path, name: str) -> None:
    _compile(tmp_path, latex(_full(tmp_path, name, "two")))


def test_latex_has_a_glyph_for_every_character_that_it_is_given(tmp_path: Path) -> None:
    every = "".join(map(chr, range(0x20, 0x180))) + "\u2028\ufeff\U0001f600"
    _compile(tmp_path, escaped(every))
    assert escaped("a--b \u03b4") == "a-{}-b U+03B4"
    assert escaped("-7.5, [-3, -1], full-24c6, 8x8-1") == "$-$7.5, {[}$-$3, $-$1{]}, full-24c6, 8x8-1"


def test_latex_rows_have_as_many_cells_as_the_head(tmp_path: Path) -> None:
    out = latex(_full(tmp_path, AWKWARD_NAME, "two"))
    body = out[out.index(r"\toprule") : out.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(rows) == 1 + 4 + 2 * (2 + 3)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {5}
    assert (
        r"50\%\_of \$x\textasciicircum{}2\$ \& \{a\textbar{}b\} \#1 {[}*{]}\textasciitilde{}\textbackslash{}end" in out
    )
    assert r"225 $\pm$ 2 {[}ex{]}" in out
    for command in ("begin{table}", "begin{tabular}{@{}llllrl@{}}", "toprule", "midrule", "bottomrule", "end{tabular}"):
        assert f"\\{command}" in out


class _Reader(html.parser.HTMLParser):
    """Reads a fragment: its elements balanced, its rows as lists of (element, scope, columns, text)."""

    VOID = ("br",)

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[str] = []
        self.rows: list[list[tuple[str, str | None, int, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag in self.VOID:
            return
        self.open.append(tag)
        own = dict(attrs)
        assert not [name for name in own if name.startswith("on")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append((tag, own.get("scope"), int(own.get("colspan") or 1), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            tag, scope, width, shown = self.rows[-1][-1]
            self.rows[-1][-1] = (tag, scope, width, shown + data)


def _read(fragment: str) -> _Reader:
    reader = _Reader()
    reader.feed(fragment)
    reader.close()
    assert reader.open == []
    return reader


def test_html_is_a_sound_table_with_heads_for_columns_rows_and_sections(tmp_path: Path) -> None:
    fragment = as_html(_full(tmp_path))
    reader = _read(fragment)
    assert fragment.isascii()
    assert {"table", "caption", "thead", "tbody", "abbr", "ul"} <= set(reader.elements)
    assert not {"html", "body", "script", "link", "img", "iframe"} & set(reader.elements)
    assert reader.elements.count("tbody") == 1 + 2 + 2
    assert {sum(cell[2] for cell in row) for row in reader.rows} == {6}
    head, *others = reader.rows
    assert {(tag, scope) for tag, scope, _, _ in head} == {("th", "col")}
    assert {row[0][:2] for row in others} == {("th", "rowgroup"), ("th", "row")}
    assert [row[0][3] for row in others if row[0][1] == "row"][4:7] == [
        "Adversarial nets, one",
        "Adversarial nets, two",
        REAL,
    ]
    assert "https:" not in fragment
    assert "http:" not in fragment


def test_html_escapes_every_name(tmp_path: Path) -> None:
    reader = _read(as_html(_full(tmp_path, HOSTILE_NAME, "two")))
    assert "script" not in reader.elements
    assert "b" not in reader.elements
    label = " ".join(HOSTILE_NAME.split())
    assert f"Adversarial nets, {label}" in [row[0][3] for row in reader.rows]


def test_the_leader_and_ties_are_shown(tmp_path: Path) -> None:
    lines = text(_full(tmp_path)).splitlines()
    assert lines[2].split("  ")[-1] == "bad seeds"
    assert "to leader" in lines[2]
    ours = [re.split(" {2,}", line.strip()) for line in lines if line.startswith("  Adversarial nets, ")]
    assert [row[0] for row in ours] == ["Adversarial nets, one", "Adversarial nets, two"] * 2
    # Both have s = 1.3013 over 3 seeds: 1.3013 sqrt(2/3) t(.975, 4) = 2.95 to either side of -1.5.
    assert [row[2] for row in ours] == ["leader", "-1.5 [-4.4, 1.4] tied over survivors"] * 2
    said = " ".join(" ".join(lines).split())
    for statement in (
        "leader: of the runs of one protocol",
        "tied: on validation its p-value",
        "That the leader is the highest of several is not corrected for",
        "over survivors: one of",
    ):
        assert statement in said


def test_calibration_rows_say_with_how_many_images(tmp_path: Path) -> None:
    table = _full(tmp_path)
    said = " ".join(text(table).split())
    assert f"calibration under {FULL.id}: images of the data, no model {REAL} " in said
    assert re.search(rf"{KMEANS} [-.\d]+ ± [.\d]+ \[ex\] \[20 samples\] Mean image [-.\d]+ ± [.\d]+ \[ex\] ", said)
    assert "[n samples]: fewer than the protocol asks for" in said
    assert f"the same on validation images, MNIST under {FULL.id}: {REAL} " in said
    rows = [row for row in csv.DictReader(io.StringIO(long_csv(table))) if row["kind"] == "calibration"]
    assert [(row["num_samples"], row["comparable"]) for row in rows] == [
        ("40", "False"),
        ("20", "False"),
        ("10000", "True"),
    ] * 2
    assert {row["valid_n"] for row in rows} == {"13"}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_caveat_and_the_calibration(tmp_path: Path, form: str) -> None:
    shown = html.unescape(render(_full(tmp_path), form))
    said = " ".join(re.sub(r"[\\{}]", "", shown).split())
    assert reference.CAVEAT in said
    assert REAL in said
    assert KMEANS in said
