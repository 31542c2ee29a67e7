"""What is said of a sweep, and what is read of it elsewhere."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gansearch import storage
from gansearch.config import TrialConfig
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.search.progress import STALE_SECONDS, Best, Progress, changes_of, duration, line, lines, read_progress

BEST = Best(value=121.26, config_id="0123456789ab", epoch=7, changes="adam.lr_g=0.001 algorithm.k=2")
SAID = Progress(
    study="mnist",
    stage="search",
    planned=12,
    running=2,
    ended={"COMPLETE": 3, "STOPPED": 4},
    best=BEST,
    elapsed=754.2,
    left=3700.0,
)


def write(run: Path, said: Progress) -> None:
    storage.write_json(RunPaths(run).progress, said.to_dict())


def test_progress_is_read_back_as_it_was_said(tmp_path: Path) -> None:
    write(tmp_path, SAID)
    assert read_progress(tmp_path) == SAID
    first = Progress(study="mnist", stage="search", planned=12)
    write(tmp_path, first)
    assert read_progress(tmp_path) == first


@pytest.mark.parametrize("name", ["no-such-run", "."])
def test_directory_without_a_sweep_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultsError, match="holds no sweep"):
        read_progress(tmp_path / name)


def test_file_in_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ResultsError, match="holds no sweep"):
        read_progress(tmp_path / "run")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"study": "mnist"}',
        json.dumps({**SAID.to_dict(), "planned": "twelve"}).encode(),
        json.dumps({**SAID.to_dict(), "unheard": 1}).encode(),
    ],
)
def test_damaged_progress_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = RunPaths(tmp_path).progress
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=str(path)):
        read_progress(tmp_path)


def test_driver_on_this_machine_is_alive_while_its_process_is() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    said = dataclasses.replace(SAID, pid=process.pid, updated=0.0)
    assert said.alive
    process.communicate(b"\n")
    assert not said.alive
    assert "(its driver is gone)" in lines(said)[0]


def test_driver_elsewhere_is_alive_while_it_speaks() -> None:
    said = dataclasses.replace(SAID, host="another-machine", pid=os.getpid(), updated=time.time())
    assert said.alive
    assert not dataclasses.replace(said, updated=time.time() - STALE_SECONDS - 1).alive


@pytest.mark.parametrize("stage", ["done", "stopped", "failed"])
def test_sweep_that_has_ended_is_not_alive(stage: str) -> None:
    said = dataclasses.replace(SAID, stage=stage, left=None)
    assert not said.alive
    assert lines(said)[0] == f"mnist: {stage}"


def test_lines_say_what_a_user_asks() -> None:
    assert lines(dataclasses.replace(SAID, note="the time limit of 60 s was reached")) == [
        "mnist: search",
        "  trials   7 of 12 ended (3 COMPLETE, 4 STOPPED), 2 running",
        "  time     13 min, about 62 min left in this stage",
        "  best     121.3 nats (report protocol) at epoch 7, config 0123456789ab",
        "           adam.lr_g=0.001 algorithm.k=2",
        "  note     the time limit of 60 s was reached",
    ]
    assert lines(Progress(study="mnist", stage="search", planned=12)) == [
        "mnist: search",
        "  trials   0 of 12 ended (none ended), 0 running",
        "  time     0 s",
    ]


def test_line_says_it_in_one() -> None:
    assert line(SAID) == (
        "[13 min] search: 7/12 trials (3 COMPLETE, 4 STOPPED), 2 running; "
        "best 121.3 nats (0123456789ab); about 62 min left"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (89.9, "90 s"),
        (90, "2 min"),
        (5_369, "89 min"),
        (5_400, "1 h 30 min"),
        (7_170, "2 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_best_trials_values_are_those_that_act() -> None:
    config = TrialConfig().replace({"update.rule": "adam", "discriminator.activation": "relu", "adam.lr_g": 0.0003})
    searched = ("update.rule", "adam.lr_g", "momentum.lr_g", "discriminator.activation", "discriminator.pieces")
    assert changes_of(config, searched) == "update.rule=adam adam.lr_g=0.0003 discriminator.activation=relu"
