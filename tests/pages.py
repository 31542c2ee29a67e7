"""The code blocks of a Markdown page, and how to run them as a reader would."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

NOT_RUN = re.compile(r"<!-- not run here: (.+?) -->\s*\Z")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: what the fence says it is.
        text: what is inside.
        line: where it starts, from 1.
        not_run: why it is not executed; None where it is.
    """

    language: str
    text: str
    line: int
    not_run: str | None


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        reason = NOT_RUN.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], match[2], line, reason[1] if reason else None))
    return found


def commands(console: str) -> list[tuple[str, list[str]]]:
    """Return the (command, shown output lines) pairs of a console block; a command starts with `$ `."""
    found: list[tuple[str, list[str]]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (found[-1][0][:-1] + line.strip(), [])
        else:
            assert found, f"output before any command: {line}"
            found[-1][1].append(line)
    return found


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in a folder, with this environment's programs first on the path."""
    root = Path(__file__).parents[1]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "COLUMNS": "120",
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def skeleton(line: str) -> str:
    """Return a line of output without what differs from run to run: numbers, hashes, units of time, spaces.

    Of a line of progress, which begins with the time in brackets, the stage is left; of a sweep's last line
    what comes before the counts.
    """
    if progress := re.match(r"\[[^]]*\] (\w+):", line):
        return progress[1]
    line = line.partition("; trials:")[0]
    words = re.sub(r"-?\b[0-9a-f]{8,}\b|[-+]?\d[\d,.:]*(?:e[-+]?\d+)?|\b(?:s|ms|min|h)\b|±", " ", line)
    return " ".join(words.split())


def missing_lines(shown: list[str], printed: str) -> list[str]:
    """Return the shown lines whose skeleton the output does not have; `...` stands for anything left out."""
    have = {skeleton(line) for line in printed.splitlines()}
    return [line for line in shown if line.strip() not in ("", "...") and skeleton(line) not in have]
