"""What is asked of one trial: a configuration, a seed, and how the result is scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gansearch import parsing
from gansearch.config import TrialConfig
from gansearch.errors import ConfigError
from gansearch.guards import Guards
from gansearch.paths import TrialKey
from gansearch.protocols import Protocol, protocol
from gansearch.schema import STAGES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One trial, whichever executor runs it.

    Attributes:
        config: what is trained.
        seed: where all its randomness comes from, 0 or more and below 2**63.
        stage: search, confirm, train or reproduce. Only confirm trials read the test set.
        fold: fold of the data set, 0 or more.
        replicate: which of the configuration's seeds this is, from 0.
        protocols: score protocols; the trial becomes one row under each, and the first is the one it is
            judged by.
        report_protocol: the cheap protocol of reports.
        number: place in the order in which a search tries its configurations, from 0; None outside a search.
        parent_id: configuration of the population's member that it goes on from; None where it starts anew.
        guards: what ends the trial before its budget does. Of search trials only: a finalist is scored however it
            went.
    """

    config: TrialConfig
    seed: int
    stage: str
    fold: int = 0
    replicate: int = 0
    protocols: tuple[Protocol, ...] = (protocol("full"),)
    report_protocol: Protocol = protocol("report")
    number: int | None = None
    parent_id: str | None = None
    guards: Guards = dataclasses.field(default_factory=Guards)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be 0 or more and below 2**63, got {self.seed}")
        for name in ("fold", "replicate"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.stage not in STAGES:
            raise ConfigError(f"stage must be one of {', '.join(STAGES)}, got '{self.stage}'")
        if not self.protocols or len({p.id for p in self.protocols}) < len(self.protocols):
            raise ConfigError("a trial needs one or more score protocols, each once")
        if self.stage != "search" and self.guards != Guards():
            raise ConfigError(f"guards end search trials only, and this one's stage is {self.stage}")

    @property
    def key(self) -> TrialKey:
        """What identifies the trial."""
        return TrialKey(self.config.config_id, self.seed, self.stage, self.fold)

    @property
    def scores_test(self) -> bool:
        """Whether the trial reads the test set."""
        return self.stage == "confirm"

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON-able values."""
        return {
            "config": self.config.to_dict(),
            "seed": self.seed,
            "stage": self.stage,
            "fold": self.fold,
            "replicate": self.replicate,
            "protocols": [p.to_dict() for p in self.protocols],
            "report_protocol": self.report_protocol.to_dict(),
            "guards": self.guards.to_dict(),
            "number": self.number,
            "parent_id": self.parent_id,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialSpec:
        """Return the spec that `to_dict` wrote."""
        return parsing.build(cls, data, "spec")
