"""Guards: rules of a study that end a search trial from which nothing can be expected any more.

They save time in the search and nothing else: a confirm trial is scored however it went, or the mean over seeds
would be one over survivors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gansearch.errors import ConfigError


def _require(ok: bool, name: str, rule: str, value: object) -> None:
    if not ok:
        raise ConfigError(f"guards.{name} must be {rule}, got {value}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """Ends a trial whose discriminator has won while its samples cover next to nothing of the data.

    Both must hold at each of some reports in a row. D(x) alone is high early in many a trial that goes well, and
    samples near the mean image, where every generator starts, cover little.

    Attributes:
        d_real_above: a report is bad when the mean D(x) since the last one is above this, 0 or more and below 1; at 0
            coverage alone decides.
        relative_coverage_below: and when the samples cover less than this share of what as many real images
            cover (`coverage / coverage_real` of `curves`), above 0 and at most 1.
        reports: bad reports in a row that end the trial, 1 or more.
    """

    d_real_above: float = 0.95
    relative_coverage_below: float = 0.05
    reports: int = 3

    def __post_init__(self) -> None:
        d_real, share = self.d_real_above, self.relative_coverage_below
        _require(0 <= d_real < 1, "collapse.d_real_above", "0 or more and below 1", d_real)
        _require(0 < share <= 1, "collapse.relative_coverage_below", "above 0 and at most 1", share)
        _require(self.reports >= 1, "collapse.reports", "1 or more", self.reports)

    def verdict(self, curve: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why a trial ends after the last of its reports, or None where it goes on.

        Args:
            curve: the trial's rows of `curves` so far, in the order of their epochs.
        """
        last = curve[-self.reports :]
        if len(last) < self.reports or not all(self._bad(row) for row in last):
            return None
        now = last[-1]
        reports = "report" if self.reports == 1 else "reports in a row"
        return (
            f"guards.collapse: D(x) above {self.d_real_above:g} and coverage below "
            f"{self.relative_coverage_below:.3g} of that of real images at {self.reports} {reports}: "
            f"{now['d_real']:.4g} and {_relative_coverage(now):.3g} at epoch {now['epoch']}"
        )

    def _bad(self, row: Mapping[str, Any]) -> bool:
        # A NaN is neither above nor below: what is not finite is no collapse, and ends a trial as DIVERGED.
        return row["d_real"] > self.d_real_above and _relative_coverage(row) < self.relative_coverage_below


def _relative_coverage(row: Mapping[str, Any]) -> float:
    return float(row["coverage"] / row["coverage_real"])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """When a search trial is ended before its budget is.

    Attributes:
        collapse: when its samples have collapsed; None for never.
        trial_time_limit: seconds that it trains and scores its reports, over all its resumptions, above 0; the scoring
            of a trial that has reached its budget is not counted. None for no limit.
    """

    collapse: Collapse | None = None
    trial_time_limit: float | None = None

    def __post_init__(self) -> None:
        limit = self.trial_time_limit
        _require(limit is None or 0 < limit < math.inf, "trial_time_limit", "above 0", limit)

    def collapsed(self, curve: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why a trial with these rows of `curves` so far is ended as collapsed, or None."""
        return self.collapse.verdict(curve) if self.collapse is not None else None

    def out_of_time(self, seconds: float) -> str | None:
        """Return why a trial that has taken so many seconds is ended, or None."""
        limit = self.trial_time_limit
        if limit is None or seconds < limit:
            return None
        return f"guards.trial_time_limit: it has taken {seconds:.4g} s, of {limit:g} s at most"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON-able values."""
        return dataclasses.asdict(self)
