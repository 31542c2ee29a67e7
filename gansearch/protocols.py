"""Score protocols: how samples become a Parzen log-likelihood.

Two scores can be ranked against each other only if they share a protocol; `Protocol.id` is part of every
row. Shipped are `full` (the score of record), `report` (cheap, what searchers and schedulers see),
`published-2014` (how the published rows of Table 1 were scored), and the first two once more for images of normalised
contrast, `full-contrast` and `report-contrast`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from gansearch.errors import ConfigError, nearest
from gansearch.seeds import digest

SIGMA_LOWEST, SIGMA_HIGHEST = 1e-6, 1e6
"""Bandwidths that can be asked for: far beyond any of use, and well within the range of float32."""

# Raise it when a choice of the estimator that is not a field changes: scores move, and so must ids.
_ESTIMATOR = 2

# The name is part of file names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a set of samples is scored.

    Attributes:
        name: what people call it: letters, digits, `.`, `_` and `-`, the first a letter or digit.
        num_samples: generator samples that carry the kernels, 2 or more (diagnostics take a variance).
        sigma_min: smallest bandwidth of the grid, in score-space units, 1e-6 or more.
        sigma_max: largest bandwidth of the grid, above `sigma_min`, 1e6 or less.
        sigma_points: grid points, equally spaced in log sigma, 2 or more.
        refine: whether sigma is refined around the grid's best point.
        valid_subset: which validation images choose sigma and give the validation score: `all`, `first`
            (the first `valid_count`) or `random` (a fixed random subset of `valid_count`).
        valid_count: images in the subset; ignored for `all`.
        space: `unit`, pixels in [0,1], or `contrast`, images after global contrast normalisation.
        dtype: precision of the distances, `float32` or `float64`; sums are always float64.
        estimator: version of the estimator's fixed choices: sampling blocks, subset hash, refinement; raised
            when one changes. This version scores under 2 only; rows under 1, whose refinement halved brackets on
            all points, can be read.
    """

    name: str
    num_samples: int
    sigma_min: float = 0.03
    sigma_max: float = 1.0
    sigma_points: int = 24
    refine: bool = True
    valid_subset: str = "all"
    valid_count: int = 0
    space: str = "unit"
    dtype: str = "float32"
    estimator: int = _ESTIMATOR

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"protocol name '{self.name}' must be letters, digits, '.', '_' and '-', the first a letter or digit"
            )
        where = f"protocol {self.name}"
        for field, least in (("num_samples", 2), ("sigma_points", 2)):
            if getattr(self, field) < least:
                raise ConfigError(f"{where}: {field} must be {least} or more, got {getattr(self, field)}")
        if not SIGMA_LOWEST <= self.sigma_min < self.sigma_max <= SIGMA_HIGHEST:
            raise ConfigError(
                f"{where}: {SIGMA_LOWEST:g} <= sigma_min < sigma_max <= {SIGMA_HIGHEST:g} must hold, "
                f"got {self.sigma_min} and {self.sigma_max}"
            )
        if not 1 <= self.estimator <= _ESTIMATOR:
            raise ConfigError(
                f"{where}: estimator must be from 1 to {_ESTIMATOR}, this version's, got {self.estimator}"
            )
        for field, legal in (
            ("valid_subset", ("all", "first", "random")),
            ("space", ("unit", "contrast")),
            ("dtype", ("float32", "float64")),
        ):
            value = getattr(self, field)
            if value not in legal:
                raise ConfigError(f"{where}: {field} is '{value}', which is not known", hint=nearest(value, legal))
        if self.valid_subset != "all" and self.valid_count < 1:
            raise ConfigError(
                f"{where}: valid_subset '{self.valid_subset}' needs valid_count of 1 or more, got {self.valid_count}"
            )

    @property
    def id(self) -> str:
        """The name and a digest of everything else: a changed protocol never keeps its id."""
        content = self.to_dict()
        del content["name"]
        return f"{self.name}-{digest(content, 4)}"

    def check_current(self) -> None:
        """Raise ConfigError unless this version can score under the protocol, rather than only read its rows."""
        if self.estimator != _ESTIMATOR:
            raise ConfigError(
                f"protocol {self.id} is of version {self.estimator} of the estimator, and this gansearch scores under "
                f"version {_ESTIMATOR}: scores of the two do not compare",
                hint="start a new run, or go on with the gansearch that made this one",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON-able values."""
        return dataclasses.asdict(self)

    def describe(self) -> str:
        """Return the protocol in one line, for the foot of a table."""
        images = {
            "all": "all validation images",
            "first": f"the first {self.valid_count:,} validation images",
            "random": f"a fixed random {self.valid_count:,} validation images",
        }[self.valid_subset]
        search = "refined" if self.refine else "not refined"
        where = "" if self.space == "unit" else " in the space of normalised contrast"
        return (
            f"{self.id}: {self.num_samples:,} samples{where}, sigma of {self.sigma_points} in "
            f"[{self.sigma_min:g}, {self.sigma_max:g}] ({search}) on {images}"
        )


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(name="full", num_samples=10_000),
        Protocol(name="report", num_samples=2_000, valid_subset="random", valid_count=1_000),
        Protocol(
            name="published-2014",
            num_samples=10_000,
            sigma_min=0.1,
            sigma_max=1.0,
            sigma_points=10,
            refine=False,
            valid_subset="first",
            valid_count=1_000,
        ),
        # Values of norm 55 vary by about 1 a pixel, where those in [0,1] vary by about .3.
        Protocol(name="full-contrast", num_samples=10_000, sigma_min=0.1, sigma_max=3.2, space="contrast"),
        Protocol(
            name="report-contrast",
            num_samples=2_000,
            sigma_min=0.1,
            sigma_max=3.2,
            valid_subset="random",
            valid_count=1_000,
            space="contrast",
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return a shipped protocol.

    Raises:
        ConfigError: when no protocol has that name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no score protocol is called '{name}'", hint=nearest(name, PROTOCOLS))
    return PROTOCOLS[name]
