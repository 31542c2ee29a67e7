"""A section of the page, and what it says where its source has nothing for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from analysis.report.words import brief
from gansearch.errors import ResultsError, UserError

T = TypeVar("T")

Content = Mapping[str, Any]
"""What a section's template takes, by name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section.

    Attributes:
        name: what links lead to, and its template's name.
        title: its heading.
        content: what its template takes; None where there is nothing to show.
        problem: why there is nothing to show, in sentences; None where there is something.
    """

    name: str
    title: str
    content: Content | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What an analysis returned, or why it could not.

    Attributes:
        value: what it returned.
        error: what a user can mend; None where there is a value.
    """

    value: T | None = None
    error: UserError | None = None

    def get(self) -> T:
        """Return the value.

        Raises:
            UserError: where there is none.
        """
        if self.value is None:
            raise self.error or ResultsError("nothing was found")
        return self.value


def attempt(analyse: Callable[[], T]) -> Outcome[T]:
    """Return what a call returns, or the error that a user can mend; any other one is a mistake of ours."""
    try:
        return Outcome(value=analyse())
    except UserError as error:
        return Outcome(error=error)


def section(name: str, title: str, make: Callable[[], Content]) -> Section:
    """Return a section with what `make` returns, or with the sentence of the error that a user can mend."""
    found = attempt(make)
    if found.error is None:
        return Section(name=name, title=title, content=found.get())
    return Section(name=name, title=title, problem=sentence(found.error))


def sentence(error: UserError) -> str:
    """Return an error as a sentence of the page, its hint behind it."""
    message = brief(error.message).rstrip(".")
    return f"{message[:1].upper()}{message[1:]}." + (f" Hint: {brief(error.hint)}." if error.hint else "")
