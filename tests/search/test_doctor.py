"""What `doctor` makes of the machines' answers; the answers themselves come from clusters in test_doctor_cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gansearch import __version__
from gansearch.search import probes
from gansearch.search.doctor import (
    CLOCK_FAIL,
    CLOCK_WARNING,
    DISK_FAIL,
    DISK_WARNING,
    Check,
    check_clocks,
    check_data_copies,
    check_disks,
    check_gpus,
    check_run,
    check_same_versions,
    check_token,
)
from gansearch.search.machines import Answer, Machine, listed
from gansearch.search.versions import HERE, PACKAGES, differences

ONE = Machine(id="1", name="one", cpus=4, gpus=2)
TWO = Machine(id="2", name="two", cpus=4, gpus=0)


def _told(check: Check) -> tuple[str, str]:
    return check.outcome, check.text


def test_machine_that_asks_for_no_token_fails() -> None:
    on, off = Answer(value=True), Answer(value=False)
    assert _told(check_token({ONE: on, TWO: on})) == ("ok", "token authentication is on")
    text = "whoever reaches a port of two can run code there: token authentication is off"
    assert _told(check_token({ONE: on, TWO: off})) == ("fail", text)


def test_silent_machine_fails() -> None:
    assert _told(check_clocks({ONE: Answer(value=0.0), TWO: Answer(error="is gone")})) == ("fail", "two is gone")


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({HERE: {"numpy": "2.4"}, "one": {"numpy": "2.4"}}, []),
        ({HERE: {"numpy": "2.4"}, "one": {"numpy": "2.1"}}, ["numpy 2.4 here, 2.1 on one"]),
        ({HERE: {"ray": "2"}, "one": {"ray": "2"}, "two": {"ray": None}}, ["ray 2 here and on one, missing on two"]),
        (
            {HERE: {"a": "1", "b": "1"}, "one": {"a": "2", "b": "2"}, "two": {"a": "2", "b": "1"}},
            ["a 1 here, 2 on one, two", "b 1 here and on two, 2 on one"],
        ),
    ],
)
def test_differences_name_version_and_machine(versions: dict[str, dict[str, str | None]], told: list[str]) -> None:
    assert differences(versions) == told


def test_many_machines_are_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([*"abcdefgh"]) == "a, b, c, d, e and 3 more"


def test_versions_are_those_of_this_installation() -> None:
    here = probes.ask_versions(PACKAGES)
    assert here["gansearch"] == __version__
    assert None not in here.values()
    assert _told(check_same_versions(here, {ONE: Answer(value=dict(here))}))[0] == "ok"
    check = check_same_versions(here, {ONE: Answer(value={**here, "gansearch's code": "0"})})
    code = here["gansearch's code"]
    assert _told(check) == ("fail", f"differ: gansearch's code {code} here, 0 on one")


@pytest.mark.parametrize(
    ("seen", "outcome", "text"),
    [
        (2, "ok", "torch sees all 2"),
        (1, "fail", "Ray hands out 2 on one, where torch sees 1"),
        ("torch cannot be imported: no", "fail", "on one torch cannot be imported: no"),
    ],
)
def test_torch_must_see_the_gpus(seen: int | str, outcome: str, text: str) -> None:
    assert _told(check_gpus({ONE: Answer(value=seen)})) == (outcome, text)


def test_run_directory_must_be_one(tmp_path: Path) -> None:
    there: Answer[str | None] = Answer()
    both = {ONE: True, TWO: True}
    assert _told(check_run(tmp_path, {ONE: there, TWO: there}, both)) == (
        "ok",
        f"{tmp_path} is read and written by 2 machines",
    )
    unseen = f"{tmp_path} is not shared: two does not see what is there"
    assert _told(check_run(tmp_path, {ONE: there, TWO: Answer(value="missing")}, both)) == ("fail", unseen)
    assert _told(check_run(tmp_path, {ONE: there, TWO: there}, {ONE: True, TWO: False})) == ("fail", unseen)
    refused: Answer[str | None] = Answer(value="cannot be written: Read-only file system")
    assert _told(check_run(tmp_path, {ONE: refused, TWO: there}, both)) == (
        "fail",
        f"{tmp_path}: on one it cannot be written: Read-only file system",
    )


def test_probe_of_the_run_directory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert probes.ask_run(str(run), "seen", "reply") == "missing"
    assert not run.exists(), "nothing is made where the folder is another one"
    run.mkdir()
    (run / "seen").write_bytes(b"mark")
    assert probes.ask_run(str(run), "seen", "reply") is None
    assert (run / "reply").read_bytes() == b"mark"
    shutil.rmtree(run)
    run.write_bytes(b"a file")
    assert probes.ask_run(str(run), "seen", "reply") == "missing"


def test_probe_says_that_it_cannot_write() -> None:
    """Not even root writes there."""
    told = probes.ask_run("/proc/self", "status", "reply")
    assert told
    assert told.startswith("cannot be written: ")


def test_copies_of_the_data_must_be_the_same() -> None:
    here = {"train": "a", "valid": "b"}
    same: Answer[dict[str, str] | str | None] = Answer(value=dict(here))
    none: Answer[dict[str, str] | str | None] = Answer()
    assert _told(check_data_copies("mnist", here, {ONE: same, TWO: none})) == (
        "ok",
        "mnist is here, and the same on 1 machine; trials are sent the one that is here",
    )
    other: Answer[dict[str, str] | str | None] = Answer(value={"train": "c", "valid": "b"})
    assert _told(check_data_copies("mnist", here, {ONE: same, TWO: other})) == (
        "fail",
        "other files of mnist than here are on two",
    )
    damaged: Answer[dict[str, str] | str | None] = Answer(value="x is not an IDX file of images")
    assert check_data_copies("mnist", here, {TWO: damaged}).text.endswith("are on two (x is not an IDX file of images)")


@pytest.mark.parametrize(
    ("ahead", "outcome", "text"),
    [
        (CLOCK_WARNING / 2, "ok", "agree within 2 s"),
        (-3.2, "warning", "the clock of two is 3 s behind this one"),
        (CLOCK_FAIL + 1, "fail", "the clock of two is 301 s ahead of this one"),
    ],
)
def test_clocks_must_agree(ahead: float, outcome: str, text: str) -> None:
    assert _told(check_clocks({ONE: Answer(value=0.1), TWO: Answer(value=ahead)})) == (outcome, text)


@pytest.mark.parametrize(
    ("free", "outcome"), [(int(DISK_WARNING), "ok"), (int(DISK_WARNING) - 1, "warning"), (int(DISK_FAIL) - 1, "fail")]
)
def test_disks_must_have_room(free: int, outcome: str) -> None:
    there = {"Ray's temporary files": (int(1e12), int(2e12)), "the run directory": (free, int(2e12))}
    check = check_disks({ONE: Answer(value=there), TWO: Answer(value={"Ray's temporary files": (int(2e12), 0)})})
    assert check.outcome == outcome
    assert check.text.endswith("GB free for the run directory on one")
