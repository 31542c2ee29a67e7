"""The page as text: what it says of a run, whatever the run is like, and that nothing of a run becomes part of it."""

from __future__ import annotations

import base64
import hashlib
import html
import html.parser
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.best import best_document
from analysis.report.embedding import policy, script_json
from analysis.report.page import report
from analysis.report.words import brief, duration, listed, visible
from gansearch import schema
from gansearch.cli import main
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.protocols import protocol
from gansearch.yaml_files import dump_yaml, parse_yaml
from tests.analysis import report_runs
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, WIDE
from tests.analysis.rows import trial_row, write_run

SECTIONS = ["summary", "table1", "finalists", "search", "curves", "trials", "costs", "provenance", "reproduce"]
MOST_BYTES = 10_000_000
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(html.parser.HTMLParser):
    """A page's elements in order, with their attributes and the text directly inside each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.elements[self._open[-1]][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.elements if name == tag]


def words(text: str) -> dict[str, str]:
    """Return each section's text without elements, blanks as one."""
    found = re.findall(r'<section id="(\w+)".*?>(.*?)</section>', text, re.DOTALL)
    return {name: _plain(body) for name, body in found}


def _plain(body: str) -> str:
    without = re.sub(r"<(script|style)\b.*?</\1>", " ", body, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", without)).split())


def trials_table(text: str) -> dict[str, list[Any]]:
    """Return the values of the table of trials by their label."""
    (data,) = (content for attributes, content in Page(text).all("script") if attributes.get("id") == "trials-data")
    columns = json.loads(data)["columns"]
    return {
        c["label"]: c["values"] if c["kind"] == "number" else [c["values"]["texts"][i] for i in c["values"]["places"]]
        for c in columns
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with everything."""
    return report_runs.full(tmp_path_factory.mktemp("report") / "digits-run")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    """Return its page."""
    return report(run)


def test_every_section_is_there_in_order(page: str) -> None:
    assert [a["id"] for a, _ in Page(page).all("section")] == SECTIONS
    assert [a["href"] for a, _ in Page(page).all("a")][1 : 1 + len(SECTIONS)] == [f"#{name}" for name in SECTIONS]
    assert all(len(text) > 100 for text in words(page).values())


def test_the_summary_says_what_came_of_it_and_how_sure_that_is(page: str) -> None:
    text = words(page)["summary"]
    assert f"The leader by validation is {QUICK.config_id}: 119.4 nats on validation images" in text
    assert f"Validation does not tell {SLOW.config_id} apart from it" in text
    assert "nats (95% interval of the difference" in text
    assert "above the study's base on validation images" in text
    assert "Search: 5 trials, 4 completed and 1 stopped early." in text
    assert "Confirm: 12 trials, 8 completed, 3 diverged and 1 failed." in text
    assert "0 of its 3 seeds collapsed, diverged or failed" in text
    assert "the best of many" not in text


def test_the_finalists_stand_with_settings_samples_and_what_became_of_their_seeds(page: str) -> None:
    text = words(page)["finalists"]
    for trial in (QUICK, SLOW, PAPER, WIDE):
        assert trial.config_id in text
    assert "momentum.lr_g 0.0312" in text
    assert "No seed of it has a score: 2 diverged, 1 failed." in text
    pictures = Page(page).all("img")
    assert len(pictures) == 8
    assert {str(a["alt"]).split()[3].rstrip(",") for a, _ in pictures} == {t.config_id for t in (QUICK, SLOW, PAPER)}
    assert all(str(a["src"]).startswith("data:image/png;base64,") for a, _ in pictures)
    rows, columns = report_runs.SHEET
    assert all(f"a sheet of {rows} by {columns} generated images" in str(a["alt"]) for a, _ in pictures)


def test_flags_are_told_with_their_reason(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=30.0, sigma=0.03, sigma_at_edge=True), trial_row(QUICK, 2, score=20.0)]
    text = report(write_run(tmp_path / "run", rows))
    assert "sigma-at-edge on 1 of 1 completed seed" in words(text)["summary"]
    assert "is an end point of the protocol's grid" in words(text)["summary"]
    table = trials_table(text)
    assert dict(zip(table["Configuration"], table["Flags"], strict=True)) == {
        PAPER.config_id: "sigma-at-edge",
        QUICK.config_id: "",
    }


def test_the_trials_stand_once_each_the_best_first_and_without_test_scores(run: Path, page: str) -> None:
    table = trials_table(page)
    assert len(table["Configuration"]) == 5 + 12
    scores = [score for score in table["Validation, nats"] if score is not None]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4 + 8
    assert not {201.5, 203.25, 70.5} & {value for column in table.values() for value in column if value is not None}
    assert {"algorithm.k", "momentum.lr_g", "generator.hidden"} <= set(table)
    assert "noise.dim" not in table
    assert "Confirm trials are scored under other protocols too" in words(page)["trials"]


def test_provenance_names_versions_data_protocols_and_machines(page: str) -> None:
    text = words(page)["provenance"]
    for said in ("0123456789ab", "2.11.0", "11111111", "22222222", "33333333", "node-1", "A processor (AVX2)"):
        assert said in text
    assert "full-dd45c717: 10,000 samples" in text
    assert "published-2014-3748b8ec: 10,000 samples" in text


def test_the_page_carries_the_files_that_its_commands_take(run: Path, page: str) -> None:
    text = words(page)["reproduce"]
    assert f"gansearch best {run} -o best.yaml gansearch reproduce best.yaml" in text
    assert "gansearch sweep digits-run.yaml --out runs/digits-run-again" in text
    files = {str(a["download"]): _content(str(a["href"])) for a, _ in Page(page).all("a") if "download" in a}
    assert files["best.yaml"] == dump_yaml(best_document(run)).encode()
    study = parse_yaml(files["digits-run.yaml"].decode(), "study")
    assert study == parse_yaml(RunPaths(run).plan.read_text(), "plan")["study"]


def test_a_run_whose_name_a_shell_would_read_is_quoted(tmp_path: Path) -> None:
    text = report(write_run(tmp_path / "a run; rm x", [trial_row(PAPER, 1, score=30.0)]))
    assert f"gansearch best '{tmp_path}/a run; rm x' -o best.yaml" in words(text)["reproduce"]


def _content(uri: str) -> bytes:
    return base64.b64decode(uri.partition(";base64,")[2])


def test_figures_are_data_with_a_text_in_their_place(page: str) -> None:
    found = Page(page)
    canvases = [a for a, _ in found.all("div") if a.get("class") == "canvas"]
    figures = [json.loads(text) for a, text in found.all("script") if a == {"type": "application/json"}]
    assert len(canvases) == len(figures) > 3
    assert all(a["role"] == "img" and len(str(a["aria-label"])) > 40 for a in canvases)
    assert all(figure["data"] and "template" not in figure["layout"] for figure in figures)


def test_a_reader_without_eyes_finds_the_way(page: str) -> None:
    found = Page(page)
    levels = [int(tag[1]) for tag, _, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    ids = [a["id"] for _, a, _ in found.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [str(a["href"])[1:] for a, _ in found.all("a") if str(a["href"]).startswith("#")]
    labels = [str(a[name]) for _, a, _ in found.elements for name in ("for", "aria-labelledby") if name in a]
    assert {*targets, *labels} <= set(ids)
    assert [len(found.all(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
    assert all(a.get("alt") for a, _ in found.all("img"))
    assert all(a.get("scope") for a, _ in found.all("th"))
    assert len(found.all("table")) == len(found.all("caption"))
    inputs = {str(a["id"]) for tag in ("input", "select") for a, _ in found.all(tag)}
    assert inputs == {str(a["for"]) for a, _ in found.all("label")}
    assert 'lang="en"' in page


def test_nothing_is_loaded_and_only_the_pages_own_scripts_run(page: str) -> None:
    found = Page(page)
    (rule,) = (a["content"] for a, _ in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    run_ones = [text for a, text in found.all("script") if "type" not in a]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run_ones]
    assert re.findall(r"'sha256-([^']+)'", str(rule)) == digests
    assert rule == policy(run_ones, compiles=True)
    assert "default-src 'none'" in str(rule)
    assert "unsafe-inline" not in str(rule).partition("script-src")[2].partition(";")[0]
    assert not found.all("link")
    addresses = [a[name] for _, a, _ in found.elements for name in ("src", "href", "action", "poster") if name in a]
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    assert not [a for _, a, _ in found.elements for name in a if name.startswith("on")]


def test_the_page_is_of_the_tables_alone(run: Path, page: str) -> None:
    assert report(run) == page


def _absent(text: str) -> dict[str, list[str]]:
    """Return what each section says in the place of what it cannot show."""
    found = re.findall(r'<section id="(\w+)".*?>(.*?)</section>', text, re.DOTALL)
    return {n: [_plain(p) for p in re.findall(r'<p class="absent">(.*?)</p>', body, re.DOTALL)] for n, body in found}


def test_without_a_confirm_stage_the_search_speaks_and_says_that_it_is_optimistic(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=30.0, number=0), trial_row(QUICK, 2, score=35.5, number=1)]
    text = report(write_run(tmp_path / "run", rows))
    said = words(text)
    assert f"The best of the search is {QUICK.config_id} with 35.5 nats" in said["summary"]
    assert "the best of many is optimistic, and it has no test score" in said["summary"]
    for section in ("summary", "table1", "finalists"):
        (sentence, *_) = _absent(text)[section]
        assert "has no confirmed configuration: no confirm row is in its trials. Hint: " in sentence
    assert trials_table(text)["Validation, nats"] == [35.5, 30]


def test_one_trial(tmp_path: Path) -> None:
    text = report(report_runs.one_trial(tmp_path / "run"))
    assert "1 configuration tried on digits" in words(text)["summary"]
    assert trials_table(text)["Validation, nats"] == [101.25]


def test_only_failed_trials(tmp_path: Path) -> None:
    text = report(report_runs.failed_only(tmp_path / "run"))
    said = words(text)
    assert "Search: 3 trials, 1 diverged and 2 failed." in said["summary"]
    assert "No search trial completed, so none can be chosen: 1 DIVERGED, 2 FAILED." in said["summary"]
    assert "ended as FAILED" in trials_table(text)["Remark"]
    assert all(len(words(text)[name]) > 20 for name in SECTIONS)


def test_mixed_protocols_are_told_and_shown_but_not_ranked(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=30.0), trial_row(QUICK, 2, score=35.5, scored_by=protocol("published-2014"))]
    text = report(write_run(tmp_path / "run", rows))
    assert "rows of different score protocols cannot be ranked together" in words(text)["summary"].lower()
    assert "The best of" not in words(text)["summary"]
    assert len(set(trials_table(text)["Protocol"])) == 2


def test_scores_that_are_not_numbers(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=float("nan")), trial_row(QUICK, 2, score=35.5)]
    text = report(write_run(tmp_path / "run", rows))
    assert f"Trial {PAPER.config_id} with seed 1 is COMPLETE without a finite score." in words(text)["summary"]
    assert trials_table(text)["Validation, nats"] == [35.5, None]


def test_a_configuration_that_this_version_cannot_read_costs_one_step_only(tmp_path: Path) -> None:
    rows = [trial_row(PAPER, 1, score=30.0, cfg_json='{"algorithm": {"k": -3}}')]
    text = report(write_run(tmp_path / "run", rows))
    assert "algorithm.k must be 1 or more" in words(text)["reproduce"].lower()
    assert "The best of the search is" in words(text)["summary"]


@pytest.mark.parametrize("kind", ["no-run", "no-trial"])
def test_nothing_is_written_where_there_is_nothing_to_report(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, target = tmp_path / "run", tmp_path / "report.html"
    if kind == "no-trial":
        RunPaths(run).table(schema.TRIALS.name).mkdir(parents=True)
    with pytest.raises(ResultsError, match="run"):
        report(run)
    assert main(["report", str(run), "-o", str(target)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert "hint: " in err
    assert not target.exists()


def test_damaged_parts_are_refused_or_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [trial_row(PAPER, 1, score=30.0), trial_row(QUICK, 2, score=35.5)])
    (RunPaths(run).table("trials") / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match="broken"):
        report(run)
    text = report(run, skip_damaged=True)
    assert "1 damaged part file left out" in words(text)["summary"]


def test_nothing_that_a_run_holds_becomes_part_of_the_page(tmp_path: Path, page: str) -> None:
    run = report_runs.hostile(tmp_path)
    text = report(run)
    found, clean = Page(text), Page(page)
    assert [a for a, _ in found.all("script") if "type" not in a] == [{}] * 3
    assert [t for a, t in found.all("script") if "type" not in a] == [t for a, t in clean.all("script") if not a]
    assert not [name for _, a, _ in found.elements for name in a if name.startswith("on")]
    sources = [str(a[name]) for _, a, _ in found.elements for name in ("src", "href") if name in a]
    assert all(source.startswith(("#", "data:image/png;", "data:text/yaml;")) for source in sources)
    assert "window.pwned" in words(text)["summary"]
    assert len(text) < len(page) + 400_000, "endless texts are cut"
    assert not set("\u202e\u2028\u0007") & set(text)
    table = trials_table(text)
    assert set(report_runs.HOSTILE[:3]) <= set(table["generator.hidden"])
    assert any(value.endswith("(10,000 characters)") for value in table["generator.hidden"])


@pytest.mark.slow
def test_ten_thousand_trials_fit(tmp_path: Path) -> None:
    text = report(report_runs.thousands(tmp_path / "run", 10_000))
    assert len(text.encode()) < MOST_BYTES
    assert len(trials_table(text)["Seed"]) == 10_000
    assert max(trials_table(text)["Seed"]) == 281_474_976_710_655


def test_the_command_writes_the_file_and_writes_it_anew(
    run: Path, page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr() == ("", "written to report.html\n")
    assert Path("report.html").read_text(encoding="utf-8") == page
    target = tmp_path / "new" / "page.html"
    target.parent.mkdir()
    target.write_text("old")
    assert main(["report", str(run), "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == page


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=9))
def test_json_in_a_script_is_the_value_and_no_markup(value: Any) -> None:
    text = script_json({"value": value})
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    assert json.loads(text)["value"] == json.loads(json.dumps(_without_nan(value)))


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def test_words_for_numbers_and_texts() -> None:
    assert [duration(s) for s in (0.25, 42.4, 75, 7_100, 9_000, 400_000)] == [
        "0.25 seconds",
        "42 seconds",
        "1.2 minutes",
        "118 minutes",
        "2.5 hours",
        "4.6 days",
    ]
    assert duration(float("nan")) == "not known"
    assert [listed(items) for items in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]
    assert brief(0.123456) == "0.1235"
    assert brief("x" * 400).endswith("… (400 characters)")
    assert visible("a\u202eb\ud800 é\n") == "a\\u202eb\\ud800 é\n"
