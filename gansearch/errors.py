"""What users see when something they can mend is wrong.

Every error that a user can cause is a `UserError`: the command line prints its one sentence, then its
hint, and exits with code 2; nothing else prints a message without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user asked for, told in one sentence.

    Args:
        message: what is wrong and where, in one sentence.
        hint: what to do about it; printed after `hint:`.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


def _rebuild(cls: type[UserError], message: str, hint: str | None) -> UserError:
    return cls(message, hint=hint)


class ConfigError(UserError):
    """A configuration or search-space file that breaks a rule."""


class DataError(UserError):
    """A data set that is missing, corrupt, or does not fit the network."""


class ResultsError(UserError):
    """A run directory or table that cannot be read or written."""


class ResourceError(UserError):
    """A device or cluster that is asked for but not there."""


def nearest(name: str, legal: Iterable[str]) -> str:
    """Return a hint that offers the nearest legal name, or lists them all when none is near."""
    names = sorted(legal)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known names: {', '.join(names)}"
