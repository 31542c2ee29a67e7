"""What a command writes: data on stdout or in a file, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gansearch.errors import ResultsError


def emit(text: str) -> None:
    """Write data to stdout."""
    with _reader_may_leave():
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    flush()


def flush() -> None:
    """Write out what is buffered for stdout."""
    with _reader_may_leave():
        sys.stdout.flush()


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Go on when the reader has had enough, as `head` has: the command's own outcome stands."""
    try:
        yield
    except OSError as error:
        # What is left in the buffer would raise again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise ResultsError(f"the output cannot be written: {error.strerror}") from error


def emit_json(value: Any) -> None:
    """Write a value to stdout as JSON."""
    emit(to_json(value))


def to_json(value: Any) -> str:
    """Return a value as indented JSON: numbers that are not finite are null, times and paths are text."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def deliver(text: str, output: Path | None) -> None:
    """Write data to a file, which then appears whole, or to stdout where no file is named."""
    if output is None:
        emit(text)
        return
    from gansearch import storage

    storage.write_text(output, text if text.endswith("\n") else f"{text}\n")
    say(f"written to {output}")


def say(text: str) -> None:
    """Write a line for the user to stderr."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


def tell_skipped(skipped: Sequence[str]) -> None:
    """Say how many damaged parts of tables were left out, where there were any."""
    if skipped:
        say(f"note: damaged part files left out: {len(skipped)}")
