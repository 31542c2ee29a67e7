"""Put something else in the place of an attribute of Ray's, where Ray has no public switch, and put it back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: object, name: str, make: Callable[[Any], object]) -> Iterator[None]:
    """Replace an attribute for the time of the block.

    Args:
        owner: a class or module that has it.
        name: its name.
        make: what takes its place, made from what it was.

    Raises:
        AttributeError: when there is none of that name: another Ray needs another look.
    """
    before = getattr(owner, name)
    setattr(owner, name, make(before))
    try:
        yield
    finally:
        setattr(owner, name, before)
