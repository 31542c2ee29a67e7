"""Which executor runs a study's trials: `auto` chooses, and what is asked for against the measurements is said."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from gansearch.core.cost import iteration_flops
from gansearch.core.datasets import describe
from gansearch.search.domains import Choice
from gansearch.search.pairings import PAUSING
from gansearch.search.space import Space
from gansearch.search.study import Study

GPU_UNITS = 2048
"""Widest layer of networks that leave a GPU almost idle one at a time: the paper's MNIST networks have 1,200."""
CPU_FLOPS = 50e6
"""Operations of an iteration up to which a CPU trains many trials at once faster than one after the other."""
_WIDTHS = ("generator.hidden", "discriminator.hidden")
_PAGE = "docs/performance.md"


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """The executor that runs a study.

    Attributes:
        name: `tune` or `packed`.
        notes: what a user should know of it.
    """

    name: str
    notes: tuple[str, ...] = ()


def executor_of(study: Study) -> Chosen:
    """Return the executor that runs a study's trials."""
    asked, gpu = study.executor.name, study.resources.gpu > 0
    if asked == "tune":
        return Chosen("tune")
    cost = iteration_flops(study.base, math.prod(describe(study.base.dataset.name).shape))
    small = cost <= CPU_FLOPS
    iteration = f"an iteration of the base configuration takes {cost / 1e6:,.3g} MFLOP"
    if asked == "packed":
        if gpu:
            return Chosen("packed")
        pays = "so little that packing pays without a GPU too" if small else f"and {_NOT_ON_A_CPU}"
        return Chosen("packed", (f"executor packed without a GPU: {iteration}, {pays} ({_PAGE})",))
    if study.scheduler.name in PAUSING:
        return Chosen("tune", (f"executor auto: tune, for scheduler '{study.scheduler.name}' lets trials wait",))
    if not gpu:
        name, why = ("packed", "so little that packing pays") if small else ("tune", f"and {_NOT_ON_A_CPU}")
        return Chosen(name, (f"executor auto: {name}; {iteration}, {why} ({_PAGE})",))
    widest = _widest(study.space)
    if widest > GPU_UNITS:
        return Chosen("tune", (f"executor auto: tune, for layers of {widest:,} units keep a GPU busy by themselves",))
    return Chosen("packed", (f"executor auto: packed, {study.executor.slots} trials at a time on each GPU",))


def _widest(space: Space) -> int:
    """Return the units of the widest layer of any network in a space."""
    values: list[object] = [space.base.generator.hidden, space.base.discriminator.hidden]
    for parameter in space.parameters:
        if parameter.name in _WIDTHS and isinstance(parameter.domain, Choice):
            values += parameter.domain.values
    return max(int(units) for value in values if isinstance(value, Sequence) for units in (*value, 1))


_NOT_ON_A_CPU = f"above {CPU_FLOPS / 1e6:g} a trial alone fills a core as well as many do, so tune is as fast or faster"
