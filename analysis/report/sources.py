"""What the sections of the page are made from, each read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.best import Best, best
from analysis.finalists import Funnel
from analysis.funnel import funnel
from analysis.plan import searched_parameters
from analysis.records import Row, records
from analysis.report.section import Outcome, attempt
from gansearch import results, schema
from gansearch.config import parameters
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths
from gansearch.storage import Location, location
from gansearch.yaml_files import load_yaml

if TYPE_CHECKING:
    from analysis.calibration import Calibration
    from analysis.costs import Costs
    from analysis.plots import Plot

_SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What there is of a run.

    Attributes:
        run: the run directory.
        given: the run directory as the user named it, for commands.
        name: its folder's name.
        skip_damaged: whether damaged parts are left out.
        trials: every row of `trials`, 1 or more.
        searched: dotted names of the parameters that the search varies.
        plan: the plan file; empty where there is none.
        best: what validation chose.
        funnel: the confirmed configurations, compared.
        costs: what the run cost.
        plots: the figures, each by its name.
        calibrations: what real images score, by data set, protocol and digests; None where it was not computed.
        skipped: damaged parts of `trials` that were left out.
    """

    run: Location
    given: str
    name: str
    skip_damaged: bool
    trials: tuple[Row, ...]
    searched: tuple[str, ...]
    plan: Mapping[str, Any]
    best: Outcome[Best]
    funnel: Outcome[Funnel]
    costs: Outcome[Costs]
    plots: Outcome[Mapping[str, Plot]]
    calibrations: Mapping[tuple[str, ...], Calibration | None]
    skipped: tuple[str, ...]

    @property
    def study(self) -> Mapping[str, Any]:
        """The plan's study; empty where the plan does not say."""
        found = self.plan.get("study")
        return found if isinstance(found, Mapping) else {}

    def calibration(self, row: Row) -> Calibration | None:
        """Return what real images score on the data of a row, under its protocol; None where it is not known."""
        return self.calibrations.get(_data_of(row))


def gather(run: Location | str, *, skip_damaged: bool = False) -> Sources:
    """Read what the page is made from.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read or has no trial.
        ConfigError: when its plan file cannot be read.
    """
    from analysis.costs import costs
    from analysis.flags import find_ceiling
    from analysis.plots import search_plots

    place = location(run)
    frame = results.read(place, schema.TRIALS.name, skip_damaged=skip_damaged)
    trials = tuple(records(frame, schema.TRIALS))
    if not trials:
        raise ResultsError(
            f"{run} has no trials yet, so there is nothing to report", hint="a sweep writes a row when a trial starts"
        )
    scored = {_data_of(row): row for row in trials if row["status"] == schema.COMPLETE}
    plan = RunPaths(place).plan
    return Sources(
        run=place,
        given=str(run),
        name=place.resolve().name,
        skip_damaged=skip_damaged,
        trials=trials,
        searched=_searched(place, trials),
        plan=load_yaml(plan) if plan.exists() else {},
        best=attempt(lambda: best(place, skip_damaged=skip_damaged)),
        funnel=attempt(lambda: funnel(place, skip_damaged=skip_damaged)),
        costs=attempt(lambda: costs(place, skip_damaged=skip_damaged)),
        plots=attempt(lambda: {plot.name: plot for plot in search_plots(place, skip_damaged=skip_damaged)}),
        calibrations={key: find_ceiling(row) for key, row in scored.items()},
        skipped=tuple(frame.attrs["skipped"]),
    )


def _searched(run: Location, trials: tuple[Row, ...]) -> tuple[str, ...]:
    """Return what the plan varies, and without a plan what varies among the trials."""
    columns = {name: schema.cfg_column(name) for name, _ in parameters()}
    planned = searched_parameters(run)
    if planned is not None:
        return tuple(name for name in planned if name in columns)
    return tuple(name for name, column in columns.items() if len({row.get(column) for row in trials}) > 1)


def _data_of(row: Row) -> tuple[str, ...]:
    digests = (str(row.get(f"data_{split}_digest")) for split in _SPLITS)
    return (str(row["cfg_dataset_name"]), str(row["protocol_id"]), *digests)
