"""`importance`, `budget`, `costs`, `plots` and `export --optuna` on searches with a plan."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from analysis.costs import as_plain as plain_costs
from analysis.costs import costs
from analysis.expected_best import expected_best
from analysis.importance import importance
from analysis.plots import TITLES
from gansearch import schema
from tests.analysis.rows import config
from tests.analysis.search_runs import mixed_rows, search_row, write_search
from tests.cli.conftest import Gansearch


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, curves = mixed_rows(20)
    return write_search(tmp_path_factory.mktemp("runs") / "searched", rows, curves=curves)


def test_importance_prints_what_was_found(run: Path, gansearch: Gansearch) -> None:
    code, out, err = gansearch("importance", run)
    assert (code, err) == (0, "")
    first = out.splitlines()[0]
    assert first == "What the validation log-likelihood of searched depends on, 16 trials"
    assert "where update.rule is momentum" in out
    assert "(made up, at most)" in out
    assert "- the forest explains " in out
    found = importance(run)
    top = found.groups[0].shares["fANOVA"][0]
    assert f"{top.name} " in out
    assert f"{100 * top.share:.1f}%" in out
    assert max(map(len, out.splitlines())) <= 260


def test_importance_as_json_has_every_digit(run: Path, gansearch: Gansearch) -> None:
    code, out, _ = gansearch("importance", run, "--json", "--complete")
    (group, *_) = json.loads(out)["groups"]
    expected = importance(run, only_complete=True).groups[0]
    assert code == 0
    assert group["trials"] == expected.trials == 15
    assert [s["share"] for s in group["shares"]["PED-ANOVA"]] == [s.share for s in expected.shares["PED-ANOVA"]]


def test_budget_prints_the_curve(run: Path, gansearch: Gansearch, tmp_path: Path) -> None:
    code, out, err = gansearch("budget", run)
    assert (code, err) == (0, "")
    last = expected_best(run).curve[-1]
    row = next(line.split() for line in out.splitlines() if line.strip().startswith(f"{last.draws} "))
    assert row[1] == f"{last.best:.2f}"
    assert "- 3 of 18 draws have no value (1 DIVERGED, 1 FAILED, 1 COLLAPSED)" in out
    code, out, _ = gansearch("budget", run, "--json")
    assert json.loads(out)["curve"][-1]["best"] == last.best
    target = tmp_path / "budget.txt"
    assert gansearch("budget", run, "-o", target) == (0, "", f"written to {target}\n")


def test_budget_of_an_adaptive_search_is_refused(gansearch: Gansearch, tmp_path: Path) -> None:
    rows, _ = mixed_rows(12)
    code, out, err = gansearch("budget", write_search(tmp_path / "adaptive", rows, searcher="tpe"))
    assert (code, out) == (2, "")
    assert err.startswith("error: the expected best against budget is defined for independent draws")
    assert "hint: `gansearch plots` shows the best so far" in err


def test_costs_prints_a_line_a_stage_and_status(run: Path, gansearch: Gansearch) -> None:
    code, out, err = gansearch("costs", run)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["search", "STOPPED", "1", "3", "0.00347", "0", "-"] not in lines  # scoring times are not in these rows
    (stopped,) = (line for line in lines if line[:2] == ["search", "STOPPED"])
    assert stopped[2:5] == ["1", "3", f"{12.5 / 3600:.3g}"]
    assert "- 1 STOPPED trials, ended by the scheduler: 9 of 12 epochs were not run" in out
    code, out, _ = gansearch("costs", run, "--json")
    assert json.loads(out) == json.loads(json.dumps(plain_costs(costs(run))))


def test_plots_are_pages_that_need_no_network(run: Path, gansearch: Gansearch, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    code, out, err = gansearch("plots", run, "-o", folder)
    assert (code, out) == (0, f"{folder}/index.html\n")
    assert err.splitlines() == [
        "seeds: Not drawn: " + str(run) + " has no confirmed configuration: no confirm row is in its trials."
    ]
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "plotly.min.js",
        *(f"{name}.html" for name in TITLES),
    }
    page = (folder / "history.html").read_text(encoding="utf-8")
    assert '<script src="plotly.min.js">' in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "cdn" not in page
    code, out, _ = gansearch("plots", run, "-o", folder, "--json")
    plain = json.loads(out)["plots"]
    assert [p["name"] for p in plain] == list(TITLES)
    assert [p["name"] for p in plain if not p["drawn"]] == ["seeds"]


def test_export_writes_a_study(run: Path, gansearch: Gansearch, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    code, out, err = gansearch("export", run, "--optuna", tmp_path / "study.db")
    assert (code, out) == (0, f"{storage}\n")
    assert "note: trials without an outcome left out: 1" in err
    assert "exported study searched: 15 COMPLETE, 1 PRUNED, 3 FAIL; open it with: optuna-dashboard" in err
    assert len(optuna.load_study(study_name="searched", storage=storage).trials) == 19
    code, _, err = gansearch("export", run, "--optuna", storage)
    assert code == 2
    assert "has a study 'searched' already" in err
    code, out, _ = gansearch("export", run, "--optuna", storage, "--study-name", "again", "--json")
    assert json.loads(out) == {
        "storage": storage,
        "study": "again",
        "states": {"COMPLETE": 15, "PRUNED": 1, "FAIL": 3},
        "left_out": 1,
        "skipped": [],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optuna", "a.db", "-o", "there"], "takes no -o"),
        (["--optuna", "a.db", "--config-id", "x"], "takes no --config-id"),
        (["--study-name", "x"], "--study-name names a study in an Optuna storage"),
    ],
)
def test_options_of_export_that_do_not_go_together(
    arguments: list[str], message: str, run: Path, gansearch: Gansearch
) -> None:
    code, out, err = gansearch("export", run, *arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]


@pytest.mark.parametrize("command", ["importance", "budget"])
def test_too_few_trials_are_told_in_a_sentence(command: str, gansearch: Gansearch, tmp_path: Path) -> None:
    bad = {"status": schema.FAILED, "valid_ll_mean": None, "report_ll_mean": None}
    folder = write_search(tmp_path / "bad", [search_row(0, None, config(), **bad)])
    code, out, err = gansearch(command, folder)
    assert (code, out) == (2, "")
    assert "1 FAILED" in err.splitlines()[0]
    assert err.splitlines()[1].startswith("hint: ")


@pytest.mark.parametrize("command", ["importance", "budget", "costs", "plots"])
def test_a_run_that_is_not_there(command: str, gansearch: Gansearch, tmp_path: Path) -> None:
    code, out, err = gansearch(command, tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere" in err.splitlines()[0]


@pytest.mark.parametrize("command", ["importance", "budget", "costs", "plots"])
def test_a_damaged_part_is_refused_and_may_be_skipped(command: str, gansearch: Gansearch, tmp_path: Path) -> None:
    rows, curves = mixed_rows(18)
    folder = write_search(tmp_path / "damaged", rows, curves=curves)
    part = sorted((folder / "trials").glob(f"{rows[10]['config_id']}-*"))[0]
    part.write_bytes(part.read_bytes()[:100])
    arguments = ["-o", tmp_path / "plots"] if command == "plots" else []
    code, out, err = gansearch(command, folder, *arguments)
    assert (code, out) == (2, "")
    assert part.name in err
    code, out, err = gansearch(command, folder, *arguments, "--skip-damaged")
    assert code == 0
    assert out
    assert command == "plots" or "note: damaged part files left out: 1" in err
