"""What a command writes: data on stdout or in a file, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def emit(text: str) -> None:
    """Write data to stdout; a reader that has gone away, as `head` does, has had enough."""
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would raise again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def emit_json(value: Any) -> None:
    """Write a value to stdout as JSON."""
    emit(to_json(value))


def to_json(value: Any) -> str:
    """Return a value as indented JSON; what JSON does not know, such as a time or a path, becomes text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def deliver(text: str, output: Path | None) -> None:
    """Write data to a file, which then appears whole, or to stdout where no file is named."""
    if output is None:
        emit(text)
        return
    from gansearch import results

    results.write_text(output, text if text.endswith("\n") else f"{text}\n")
    say(f"written to {output}")


def say(text: str) -> None:
    """Write a line for the user to stderr."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


def finish() -> None:
    """Write out what is buffered."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
