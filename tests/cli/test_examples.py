"""The examples in the help, run as they stand there."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from gansearch.cli import COMMANDS
from tests.cli.conftest import Gansearch, Place

NOT_RUN = {
    "gansearch sweep quickstart --out runs/quickstart": "takes minutes; a smaller sweep is run in test_sweeps",
    "gansearch resume runs/quickstart": "starts Ray, and needs a sweep's plan; see test_resume",
    "gansearch resume runs/quickstart --num-trials 32": "as above",
    "gansearch resume runs/quickstart --rerun failed": "as above",
    "gansearch confirm runs/quickstart": "as above",
    "gansearch confirm runs/quickstart --top 2 --seeds 5": "as above",
    "gansearch doctor": "starts Ray; see test_doctor",
    "gansearch doctor quickstart --out runs/new": "as above",
    "gansearch doctor mnist --out s3://bucket/runs/mnist --address 10.0.0.1:6379": "needs a cluster",
    "gansearch compare runs/quickstart:paper runs/quickstart:leader": "needs a plan and a second one confirmed; see "
    "test_compare",
    "gansearch compare runs/quickstart:paper runs/quickstart:#2 runs/quickstart:algorithm.k=2": "as above",
    "gansearch stop runs/quickstart": "nothing runs there; see test_sweeps",
    "gansearch importance runs/quickstart": "needs a plan and more trials; see test_understand",
    "gansearch budget runs/quickstart": "as above",
    "gansearch export runs/quickstart --optuna quickstart.db": "as above",
    "gansearch demo theory": "takes half a minute where shapes are checked; a shorter game is run",
    "gansearch train paper/mnist --epochs 30": "needs MNIST and takes half an hour",
}
EXAMPLES = [example for command in COMMANDS for example in command.examples]


def test_what_is_not_run_is_an_example() -> None:
    assert set(NOT_RUN) <= set(EXAMPLES)


def test_the_examples_run_one_after_the_other(
    place: Place, gansearch: Gansearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANSEARCH_DATA", str(tmp_path / "data"))
    shutil.copytree(place.run, "runs/quickstart")
    for example in EXAMPLES:
        if example in NOT_RUN:
            continue
        line, _, target = example.partition(" > ")
        _, *arguments = shlex.split(line)
        code, out, err = gansearch(*arguments)
        assert code == 0, (example, err)
        assert out or "-o" in arguments, example
        if target:
            Path(target).write_text(out, encoding="utf-8")
    made = {path.name for path in Path().iterdir()}
    figures = {"figure2.png", "figure3.png", "strip.png", "sheets"}
    files = {"best.yaml", "table1.tex", "report.html", "samples.png", "quickstart-model", "my-study.yaml", "theory.png"}
    assert made == {"runs", "quickstart-plots", *files, *figures}
    assert {path.name for path in Path("runs").iterdir()} > {"quickstart", "again"}
    assert not Path("runs/mnist").exists()
