"""Values that replace others while a trial runs: a configuration's schedule.

In YAML, beside the sections of a configuration:

    schedule:
      - {after: 5, values: {momentum.lr_g: 0.12, discriminator.dropout_input: 0.1}}
      - {after: 15, values: {momentum.lr_g: 0.05}}

Epochs 1 to 5 are trained with the sections' values, 6 to 15 with the first change, the rest with both. The
recipe's own schedules go on with the new values: `momentum.lr_decay` divides a new rate by as much as it
would have divided the old one, and the ramp of momentum runs from the new `initial` to the new `final`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gansearch.errors import ConfigError, nearest

CHANGEABLE = (
    *("momentum.lr_g", "momentum.lr_d", "momentum.initial", "momentum.final"),
    *("adam.lr_g", "adam.lr_d", "adam.beta1"),
    *("discriminator.dropout_input", "discriminator.dropout_hidden"),
)
"""Parameters that may change while a trial runs: they leave every tensor's shape and every count as it is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Values that replace others from some epoch on.

    Attributes:
        after: epochs done before they act, 1 or more.
        values: (name in `CHANGEABLE`, new value) pairs, sorted; a mapping in YAML.
    """

    after: int
    values: tuple[tuple[str, float], ...]


def check_schedule(schedule: Sequence[Change], epochs: int, rule: str) -> None:
    """Check a schedule's epochs and names; the values belong to the sections that they are for.

    Args:
        schedule: the changes.
        epochs: the configuration's budget.
        rule: its update rule.

    Raises:
        ConfigError: unless epochs rise and end before the budget does, and every name may change and acts.
    """
    done = 0
    for i, change in enumerate(schedule):
        where = f"schedule[{i}]"
        if not done < change.after < epochs:
            raise ConfigError(
                f"{where}.after must be above {done} and below algorithm.epochs, {epochs}, got {change.after}"
            )
        if not change.values:
            raise ConfigError(f"{where}.values is empty", hint="give a new value, or remove the change")
        for name, _ in change.values:
            if name not in CHANGEABLE:
                raise ConfigError(f"{where}: '{name}' cannot change while a trial runs", hint=nearest(name, CHANGEABLE))
            if name.startswith(("momentum.", "adam.")) and not name.startswith(f"{rule}."):
                raise ConfigError(f"{where}: {name} has no effect: update.rule is {rule}")
        done = change.after
