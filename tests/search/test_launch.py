"""A sweep's start: what is imported when, by whom, and what Ray Tune is spared."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Any

import pytest
import ray
from ray import tune
from ray.air._internal import usage
from ray.tune.execution import class_cache

from gansearch.search.cluster import connected, started_here
from gansearch.search.imports import cores, import_all
from gansearch.search.launch import launched, trials_here
from gansearch.search.study import Study, load_study
from gansearch.search.tune_start import started_at_once

NOT_FOR_WORKERS = ("optuna", "scipy.stats", "sklearn", "matplotlib", "torchvision", "plotly", "mlflow", "wandb")


def quickstart(**changes: object) -> Study:
    return Study.parse({**load_study("quickstart").to_dict(), **changes}, "quickstart")


def test_worker_imports_what_a_trial_needs_and_no_more() -> None:
    code = "import sys, gansearch.search.preloaded; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "ray.tune", "gansearch.training", "gansearch.search.worker"} <= set(loaded)
    assert not set(NOT_FOR_WORKERS) & set(loaded)


def test_command_connects_before_it_imports_what_takes_long() -> None:
    code = "import sys, gansearch.search.launch, gansearch.search.run_directory; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "ray" in loaded
    assert not {"torch", "ray.tune", "pandas"} & set(loaded)


def test_what_cannot_be_imported_ahead_is_left_and_garbage_is_collected_again() -> None:
    assert gc.isenabled()
    import_all("no_such_module", "json.tool")
    assert "json.tool" in sys.modules
    assert gc.isenabled()


def test_trials_that_run_here_at_a_time() -> None:
    assert not ray.is_initialized()
    assert trials_here(quickstart()) == min(cores(), 16)
    assert trials_here(quickstart(num_trials=1)) == 1
    assert trials_here(quickstart(resources={"cpu": 1, "gpu": 0.25})) == 0


def test_tune_neither_counts_callbacks_nor_asks_for_processes_of_its_own() -> None:
    count, variables = usage.tag_callbacks, class_cache.DEFAULT_ENV_VARS
    assert variables
    with started_at_once():
        usage.tag_callbacks([tune.Callback()])
        assert class_cache._ActorClassCache().get(type("Any", (), {}))._default_options["runtime_env"] == {}
    assert usage.tag_callbacks is count
    assert class_cache.DEFAULT_ENV_VARS is variables


@pytest.mark.slow
def test_processes_that_ray_holds_ready_have_imported_what_a_trial_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded:
        def has(self, name: str) -> bool:
            return name in sys.modules

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with connected(None, trials=cores()):
        assert started_here()
        assert "RAY_preload_python_modules" not in os.environ
        actor: Any = ray.remote(Loaded).remote()
        assert ray.get(actor.has.remote("gansearch.search.worker"))
    assert not started_here()


@pytest.mark.slow
def test_launched_connects_and_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with launched(quickstart(), None):
        assert started_here()
        assert "gansearch.search.sweep" in sys.modules
    assert not ray.is_initialized()
