"""What a sweep shows of its progress, and `status` and `stop` of runs that do not listen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from gansearch import storage
from gansearch.cli.display import QUIET_SECONDS, Plain
from gansearch.paths import RunPaths
from gansearch.search.progress import Best, Progress, lines, read_progress
from tests.cli.conftest import Gansearch, Place

BEST = Best(value=-12.34, config_id="abcdef", epoch=6, changes="algorithm.k=2")


def _state(**changes: object) -> Progress:
    values: dict[str, object] = {
        "study": "small",
        "stage": "search",
        "planned": 6,
        "elapsed": 30.0,
        "host": "elsewhere",
    }
    return Progress(**(values | changes))  # type: ignore[arg-type]  # the tests name fields of Progress


def _say(run: Path, progress: Progress) -> None:
    storage.write_json(RunPaths(run).progress, progress.to_dict())


def test_a_log_gets_a_line_when_something_changed_or_a_minute_passed() -> None:
    written: list[str] = []
    now = 0.0
    shown = Plain(written.append, lambda: now)
    for now, state in (  # noqa: B007  # the clock reads it
        (0.0, _state()),
        (1.0, _state(elapsed=31.0)),
        (2.0, _state(running=2)),
        (3.0, _state(running=2, best=BEST)),
        (4.0, _state(running=2, best=BEST)),
        (3.0 + QUIET_SECONDS, _state(running=2, best=BEST)),
        (70.0, _state(running=2, best=BEST, ended={"COMPLETE": 1}, left=100.0)),
        (71.0, _state(stage="confirm", planned=2)),
    ):
        shown(state)
    assert written == [
        "[30 s] search: 0/6 trials (none ended), 0 running",
        "[30 s] search: 0/6 trials (none ended), 2 running",
        "[30 s] search: 0/6 trials (none ended), 2 running; best -12.3 nats (abcdef)",
        "[30 s] search: 0/6 trials (none ended), 2 running; best -12.3 nats (abcdef)",
        "[30 s] search: 1/6 trials (1 COMPLETE), 2 running; best -12.3 nats (abcdef); about 2 min left",
        "[30 s] confirm: 0/2 trials (none ended), 0 running",
    ]


def test_the_live_display_shows_the_same() -> None:
    from rich.console import Console

    from gansearch.cli.display import panel

    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=90, record=True, force_terminal=True, file=nowhere)
        console.print(panel(_state(ended={"COMPLETE": 2, "FAILED": 1}, running=2, best=BEST, left=240.0), 86))
        text = console.export_text()
    assert [line.strip("│╭╮─ ") for line in text.splitlines() if "━" not in line and "╰" not in line] == [
        "small: search",
        "trials  3 of 6 ended, 2 running",
        "2 COMPLETE, 1 FAILED",
        "time    30 s, about 4 min left in this stage",
        "best    -12.3 nats (report protocol) at epoch 6",
        "abcdef  algorithm.k=2",
        "⠋ Ctrl-C ends the sweep; finished trials stay",
    ]


def test_status_of_a_finished_run(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("status", place.run)
    assert (code, err) == (0, "")
    assert out == "quickstart: done\n  trials   5 of 5 ended (5 COMPLETE), 0 running\n  time     12 s\n"
    _, out, _ = gansearch("status", place.run, "--json")
    assert json.loads(out) == read_progress(place.run).to_dict() | {"alive": False}


def test_status_of_a_run_whose_driver_died(gansearch: Gansearch, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    state = Progress(study="small", stage="search", planned=6, running=2, elapsed=30.0, pid=ended.pid)
    _say(tmp_path, state)
    code, out, err = gansearch("status", tmp_path)
    assert (code, out) == (0, "\n".join(lines(state)) + "\n")
    assert out.startswith("small: search (its driver is gone)\n")
    assert f"the sweep's driver is gone (process {ended.pid} on {state.host})" in err
    code, _, err = gansearch("stop", tmp_path)
    assert (code, err.splitlines()[0]) == (2, f"error: no sweep runs in {tmp_path}: its driver is gone")


def test_stop_of_a_finished_run(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("stop", place.run)
    assert (code, out, err.splitlines()[0]) == (2, "", f"error: no sweep runs in {place.run}: it is done")
    assert not RunPaths(place.run).stop_request.exists()


def test_stop_gives_up_after_its_timeout(gansearch: Gansearch, tmp_path: Path) -> None:
    _say(tmp_path, Progress(study="small", stage="search", planned=6))  # this process, which does not listen
    code, out, err = gansearch("stop", tmp_path, "--timeout", "0.3")
    assert (code, out) == (1, "")
    assert "has not ended within 0.3 s" in err
    assert RunPaths(tmp_path).stop_request.exists()
