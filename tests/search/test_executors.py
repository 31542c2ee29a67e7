"""Which executor runs a study, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from gansearch.core.cost import flops, iteration_flops
from gansearch.errors import ConfigError
from gansearch.search.executors import CPU_FLOPS, GPU_UNITS, executor_of
from gansearch.search.plan_files import read_plan, write_plan
from gansearch.search.sweep import sweep
from tests.search.small_studies import study
from tests.trials import digits

GPU = {"gpu": 1}


def test_tune_is_the_default_and_says_nothing() -> None:
    assert study().executor.to_dict() == {"name": "tune"}
    assert executor_of(study()).name == "tune"
    assert executor_of(study()).notes == ()


LARGE = {"override": {"generator.hidden": [1200, 1200]}}


def test_packed_without_a_gpu_is_allowed_and_says_whether_it_pays() -> None:
    small, large = executor_of(study(executor="packed")), executor_of(study(executor="packed", **LARGE))
    assert small.name == large.name == "packed"
    assert small.notes[0].startswith("executor packed without a GPU: an iteration of the base configuration takes ")
    assert small.notes[0].endswith(" MFLOP, so little that packing pays without a GPU too (docs/performance.md)")
    assert large.notes[0].endswith(
        "fills a core as well as many do, so tune is as fast or faster (docs/performance.md)"
    )
    assert executor_of(study(executor="packed", resources=GPU)).notes == ()


def test_the_limit_on_a_cpu_is_that_of_the_base_configurations_iteration() -> None:
    """By hand, the multiply-adds of one update of each network, as `core.cost` counts them for the rows."""
    found = study(executor="auto")
    cost = iteration_flops(found.base, 64)
    assert cost == flops(found.base, 64, g_updates=1, d_updates=found.base.algorithm.k)
    assert 0 < cost < CPU_FLOPS
    assert iteration_flops(study(**LARGE).base, 64) > CPU_FLOPS


@pytest.mark.parametrize(
    ("changes", "name", "note"),
    [
        ({}, "packed", "executor auto: packed; an iteration of the base configuration takes "),
        (LARGE, "tune", "executor auto: tune; an iteration of the base configuration takes "),
        ({"resources": GPU}, "packed", "executor auto: packed, 32 trials at a time on each GPU"),
        (
            {"resources": GPU, "executor": {"name": "auto", "slots": 7}},
            "packed",
            "executor auto: packed, 7 trials at a time on each GPU",
        ),
        (
            {"resources": GPU, "scheduler": "hyperband"},
            "tune",
            "executor auto: tune, for scheduler 'hyperband' lets trials wait",
        ),
        (
            {"resources": GPU, "override": {"generator.hidden": [23, GPU_UNITS]}},
            "packed",
            "executor auto: packed, 32 trials",
        ),
        (
            {"resources": GPU, "override": {"discriminator.hidden": [GPU_UNITS + 1]}},
            "tune",
            "executor auto: tune, for layers of 2,049 units keep a GPU busy by themselves",
        ),
    ],
    ids=["small", "large", "gpu", "slots", "pausing", "widest", "wide"],
)
def test_auto_chooses_and_says_what_and_why(changes: dict[str, Any], name: str, note: str) -> None:
    chosen = executor_of(study(**{"executor": "auto", **changes}))
    assert chosen.name == name
    assert len(chosen.notes) == 1
    assert chosen.notes[0].startswith(note)


def test_widths_that_are_searched_count() -> None:
    """The base alone says nothing of the networks that the space holds."""
    space = {"generator.hidden": {"choice": [[23], [GPU_UNITS + 1]]}, "algorithm.k": {"int": [1, 3]}}
    assert executor_of(study(executor="auto", resources=GPU, space=space)).name == "tune"


def test_the_executor_is_in_the_plan_and_not_in_its_digest(tmp_path: Path) -> None:
    """Two runs of one study are the same search, whatever ran their trials."""
    packed = study(executor={"name": "packed", "slots": 5})
    assert packed.digest == study().digest
    write_plan(packed, digits(), tmp_path / "run")
    assert read_plan(tmp_path / "run").study == packed


def test_a_sweep_that_the_packed_executor_cannot_drive_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the packed executor cannot drive scheduler 'hyperband'"):
        sweep(study(executor="packed", scheduler="hyperband"), tmp_path / "run")
    assert not ray.is_initialized()
    assert not (tmp_path / "run").exists()
