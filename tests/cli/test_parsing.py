"""The command line itself: its commands, its help, its mistakes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gansearch as package
from gansearch.cli import COMMANDS, main
from gansearch.cli.parser import make_parser, parse
from tests.cli.conftest import Gansearch

NAMES = [command.name for command in COMMANDS]


def _help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def _examples(text: str) -> list[str]:
    return re.findall(r"^  (gansearch .*)$", text.partition("\nexample")[2], re.MULTILINE)


def test_the_commands() -> None:
    sweeps = ["sweep", "status", "stop", "resume", "confirm", "doctor"]
    tables = ["finalists", "compare", "best", "front", "table1", "top", "calibrate"]
    search = ["importance", "budget", "costs", "plots", "report"]
    models = ["rescore", "train", "reproduce", "sample", "export", "figure", "demo", "track"]
    assert [*sweeps, *tables, *search, *models, "spaces", "schema"] == NAMES


def test_help_lists_every_command_with_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = _help(capsys)
    for command in COMMANDS:
        assert re.search(rf"^    {command.name}\s+{re.escape(command.help)}$", text, re.MULTILINE)
    assert _examples(text)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shows_examples_that_are_its_own_and_parse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = _examples(_help(capsys, name))
    assert examples
    for example in examples:
        _, *arguments = shlex.split(example.partition(" > ")[0])
        assert parse(make_parser(COMMANDS), arguments).command == name


@pytest.mark.parametrize("name", ["train", "sweep", "status", "best", "table1", "reproduce", "spaces", "schema"])
def test_what_a_machine_reads_can_be_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json" in _help(capsys, name)


@pytest.mark.parametrize("name", ["sweep", "best", "table1", "train", "reproduce"])
def test_where_the_data_are_can_be_said_to_every_command_about_runs(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = parse(make_parser(COMMANDS), [name, "x", "--data-dir", "there", "--no-download"])
    assert (found.data_dir, found.no_download) == (Path("there"), True)
    assert ("this one reads tables only" in " ".join(_help(capsys, name).split())) == (name in ("best", "table1"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gansearch {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["swep", "quickstart"], "there is no command 'swep'", "did you mean 'sweep'?"),
        (["tabel1", "run"], "there is no command 'tabel1'", "did you mean 'table1'?"),
        (["zzz"], "there is no command 'zzz'", "known names: best, "),
        (["best", "run", "--jsn"], "gansearch best has no option '--jsn'", "did you mean '--json'?"),
        (
            ["sweep", "x", "--num-trial=3"],
            "gansearch sweep has no option '--num-trial'",
            "did you mean '--num-trials'?",
        ),
        (["best", "run", "another"], "gansearch best: unexpected argument 'another'", "gansearch best --help"),
        (["best"], "the following arguments are required: RUN", "gansearch best --help"),
        (["sweep", "x", "--epochs", "0"], "argument --epochs: must be an integer of 1 or more, got 0", "--help"),
        (["sweep", "x", "--epochs", "ten"], "argument --epochs: must be an integer of 1 or more, got 'ten'", "--help"),
        (["stop", "x", "--timeout", "-1"], "argument --timeout: must be seconds, 0 or more, got '-1'", "--help"),
        (["table1", "x", "--format", "latx"], "--format 'latx' is not known", "did you mean 'latex'?"),
        (["train", "x", "--device", "gpu"], "--device 'gpu' is not known", "did you mean 'cpu'?"),
        (["schema", "trial"], "there is no table 'trial'", "did you mean 'trials'?"),
        (["spaces", "quickstrt"], "there is no file 'quickstrt'", "did you mean 'quickstart'?"),
        (["sweep", "quickstart"], "a sweep needs a run directory", "add --out runs/quickstart"),
        ([], "the following arguments are required: COMMAND", "gansearch --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_a_sentence_with_a_hint(
    arguments: list[str], message: str, hint: str, gansearch: Gansearch
) -> None:
    code, out, err = gansearch(*arguments)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: {message}")
    assert second.startswith("hint: ")
    assert hint in second


def test_an_interrupt_ends_in_one_line(gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gansearch.yaml_files.shipped_names", interrupted)
    assert gansearch("spaces") == (1, "", "interrupted\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m gansearch.cli schema"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "## trials\n", "")


def test_output_that_cannot_be_written_is_told() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as stdout:
        command = [sys.executable, "-m", "gansearch.cli", "schema"]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: the output cannot be written: No space left on device\n")


def test_the_package_offers_a_sweep_and_its_study() -> None:
    from gansearch.search.study import load_study

    assert package.load_study is load_study
    assert callable(package.sweep)
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        package.swep  # noqa: B018  # looking it up is the test
