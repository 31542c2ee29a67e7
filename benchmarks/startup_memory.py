"""What a process takes of a machine's memory, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path

STORE = "plasma"
"""What stands in the name of a mapping of Ray's object store."""
_HEAD = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


def pss(pid: int) -> float:
    """Return a process's proportional set size in MB: pages that n processes share count by a part in n each.

    Raises:
        OSError: when there is no such process.
    """
    return _sum(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8"), "Pss")


def in_store(pid: int) -> tuple[float, float]:
    """Return what a process has read of the object store, in MB: all pages, and its part of those that it shares."""
    wanted, lines = False, []
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if _HEAD.match(line):
            wanted = STORE in line
        elif wanted:
            lines.append(line)
    text = "\n".join(lines)
    return _sum(text, "Rss"), _sum(text, "Pss")


def _sum(text: str, name: str) -> float:
    return sum(int(size) for size in re.findall(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)) * 1024 / 1e6
