"""Parameters that make a small trial take another course, and interrupts amid its work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from gansearch.spec import TrialSpec

ADAM = {"update.rule": "adam", "adam.lr_g": 0.01, "adam.lr_d": 0.003}
ALTERNATING = ADAM | {"algorithm.order": "alternating", "algorithm.k": 2}
# Its samples leave collapse after the first epoch, with lower values, and fall back in the fifth and the eighth, in the
# end with the highest of all.
WAVERING = {
    "dataset.name": "gaussian_mixture",
    "update.rule": "adam",
    "adam.lr_g": 0.006,
    "adam.lr_d": 0.006,
    "algorithm.epochs": 8,
}


def diverging(trial: TrialSpec) -> TrialSpec:
    """Return the trial with a rate that no step can be taken at from its second epoch on."""
    return dataclasses.replace(trial, config=trial.config.changed(1, {"momentum.lr_d": 1e30}))


def call_raising(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: int) -> None:
    """Let the call number `at` (from 1) of a function raise KeyboardInterrupt after its work; others are untouched."""
    function: Callable[..., Any] = getattr(module, name)
    calls = iter(range(1, 1_000_000))

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        if next(calls) == at:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(module, name, wrapped)


# D learns and G hardly moves: D(x) passes 0.8 in the sixth epoch, while samples stay near the mean image.
COLLAPSING = {
    "update.rule": "adam",
    "adam.lr_g": 1e-6,
    "adam.lr_d": 0.015,
    "discriminator.dropout_input": 0.0,
    "discriminator.dropout_hidden": 0.0,
    "algorithm.epochs": 9,
}
