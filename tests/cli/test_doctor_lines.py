"""What `doctor` prints; clusters of several machines are in test_doctor_cluster."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from tests import pages
from tests.cli.conftest import Gansearch
from tests.ray_processes import ROOT

OUT = """\
ok       ray            on this machine alone: CPUS CPU and 0 GPU
ok       token          token authentication is on
ok       versions       the same everywhere: VERSIONS
ok       resources      CPUS trials of 1 CPU and 0 GPU fit at a time
ok       gpus           no machine offers a GPU
ok       run directory  FOLDER/runs/new is read and written by 1 machine
ok       data set       digits is here, and the same on 1 machine; trials are sent the one that is here
ok       clocks         agree within 2 s
ok       disk           at least N GB free for PLACE
"""


def test_address_that_nobody_answers(gansearch: Gansearch) -> None:
    with socket.socket() as unused:  # bound, but nobody listens
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        code, out, err = gansearch("doctor", "quickstart", "--address", address)
        assert (code, err) == (2, "1 of 1 checks failed\n")
        refusal = f"no Ray cluster can be used at {address}: [Errno 111] Connection refused"
        hint = f"check it with `ray status --address {address}`"
        assert out == f"fail     ray            {refusal} (hint: {hint})\n"
        code, out, _ = gansearch("doctor", "--address", address, "--json")
        assert code == 2
        assert json.loads(out) == [{"name": "ray", "outcome": "fail", "text": refusal, "hint": hint}]


def test_study_that_is_not_there(gansearch: Gansearch) -> None:
    assert gansearch("doctor", "quikstart") == (
        2,
        "",
        "error: there is no file 'quikstart', and nothing of that name is shipped\nhint: did you mean 'quickstart'?\n",
    )


def _normal(out: str) -> str:
    """Return what is printed without what differs from machine to machine."""
    out = re.sub(r"\d+ (CPU and 0 GPU$|trials of)", r"CPUS \1", out, flags=re.MULTILINE)
    out = re.sub(r"everywhere: python \S+, ray \S+, torch \S+, gansearch \S+", "everywhere: VERSIONS", out)
    return re.sub(r"least [\d.]+ GB free for .* on \S+", "least N GB free for PLACE", out)


def test_the_page_shows_what_is_printed() -> None:
    """That this is printed, the next test sees."""
    (block,) = (block for block in pages.blocks(ROOT / "docs" / "clusters.md") if not block.not_run)
    ((command, shown),) = pages.commands(block.text)
    assert command == "gansearch doctor quickstart --out runs/new"
    assert _normal("\n".join(shown) + "\n") == OUT


@pytest.mark.slow
def test_ray_on_this_machine(gansearch: Gansearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = gansearch("doctor", "quickstart", "--out", "runs/new")
    assert (code, err) == (0, "")
    assert _normal(out) == OUT.replace("FOLDER", str(tmp_path))
    assert list(tmp_path.iterdir()) == [], "what was written for the check is gone"
    code, out, err = gansearch("doctor", "--out", "/proc/run")
    assert (code, err) == (2, "1 of 7 checks failed\n")
    assert (
        "fail     run directory  /proc/run cannot be written: No such file or directory (hint: check the free space "
        "and the permissions there)\n"
    ) in out
