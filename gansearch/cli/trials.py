"""In the making."""

from __future__ import annotations

from gansearch.cli.parser import Command

COMMANDS: tuple[Command, ...] = ()
