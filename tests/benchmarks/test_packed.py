"""The benchmark of packs: what it trains, what its tables say, and that its part for a GPU needs PyTorch alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import packed, packed_gpu, packed_sweep
from benchmarks.flops import cost, products
from benchmarks.machine import Times
from benchmarks.packed import ALONE, NO_GPU
from benchmarks.packed_networks import Problem, mnist, noise, paper, sizes
from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file
from gansearch.errors import DataError
from gansearch.protocols import Protocol
from gansearch.search.executors import executor_of
from gansearch.yaml_files import find_file, load_yaml
from tests.test_layers import BLOCKED_IMPORT
from tests.trials import SMALL, digits

ROOT = Path(__file__).parents[2]
BLOCKED = (
    *("beartype", "jaxtyping", "matplotlib", "optuna", "pandas", "PIL", "psutil", "pyarrow", "ray", "safetensors"),
    *("scipy", "sklearn", "torchvision", "yaml"),
)
TINY = Problem(
    name="tiny",
    config=TrialConfig().replace(SMALL | {"algorithm.batch_size": 20}),
    images=noise(61, 10, 16, 3),
    levels=16,
    epochs=2,
)
CPU = torch.device("cpu")


def run_bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module where PyTorch and NumPy seem to be all that is installed, and no GPU is seen."""
    code = BLOCKED_IMPORT.format(modules=[], blocked=BLOCKED).replace(
        "print(*sorted(sys.modules))",
        f"import runpy\nsys.argv = {list(arguments)!r}\nrunpy.run_module(sys.argv[0], run_name='__main__')",
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def cells(text: str) -> list[list[str]]:
    """Return the cells of a table's rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_the_paper_s_networks_are_those_of_the_shipped_configuration() -> None:
    config = load_config_file("paper/mnist").config
    assert paper() == config
    assert paper("alternating") == config.replace({"algorithm.order": "alternating"})


def test_sizes_go_from_tiny_networks_over_the_quickstart_s_to_the_paper_s() -> None:
    problems = sizes()
    flops = [cost(one.config, one.images.shape[1]).flops for one in problems]
    assert flops == sorted(flops)
    assert flops[0] < 1e6
    assert flops[-1] > 3e9
    quickstart = TrialConfig.from_dict(load_yaml(find_file("quickstart"))["base"])
    assert (problems[2].config.generator, problems[2].config.discriminator) == (
        quickstart.generator,
        quickstart.discriminator,
    )
    assert (problems[-1].config.generator, problems[-1].config.discriminator) == (
        paper().generator,
        paper().discriminator,
    )
    for one in problems:
        assert one.images.max() <= one.levels
        assert one.steps >= 3


def test_random_bytes_stand_in_for_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise DataError("it is not there")

    monkeypatch.setattr("benchmarks.packed_networks.load", missing)
    name, data = mnist()
    assert name == "random bytes in the place of MNIST"
    assert data.test is not None
    assert (data.train.shape, data.valid.shape, data.test.shape) == ((50_000, 784), (10_000, 784), (10_000, 784))
    assert data.valid.tobytes() != data.test.tobytes()


def test_a_trial_s_time_is_its_share_and_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    found = packed.measure(TINY, 2, rounds=3, packs=(2, 3))
    assert torch.get_num_threads() == before
    assert list(found["times"]) == [ALONE, "pack of 2", "pack of 3"]
    assert {len(times.seconds) for times in found["times"].values()} == {3}
    assert found["steps"] == 2 * 3
    assert found["flops"] == cost(TINY.config, 10).flops


def test_training_that_moved_nothing_is_not_a_figure() -> None:
    config = TINY.config.replace({"momentum.lr_d": 1e30})
    problem = Problem(name="lost", config=config, images=TINY.images, levels=16, epochs=3)
    with pytest.raises(RuntimeError, match="lost: training diverged"):
        packed.measure(problem, 1, rounds=1, packs=(2,))


MEASURED: dict[str, Any] = {
    "problem": "tiny",
    "threads": 1,
    "steps": 6,
    "rounds": 2,
    "flops": 1_500_000,
    "times": {ALONE: Times((0.004, 0.004)), "pack of 4": Times((0.002, 0.001)), "pack of 16": Times((0.001, 0.0005))},
}


def test_gains_have_no_target_on_a_cpu() -> None:
    four, sixteen = packed.ratios(MEASURED)
    assert (four.name, four.value, four.target) == ("tiny, 1 thread: alone / pack of 4", 3.0, None)
    assert (sixteen.value, sixteen.note) == (6.0, "4.00 to 8.00")
    row = ["tiny", "1", "1.50", "4.000", "1.500", "0.750", "3.00 (2.00 to 4.00)", "6.00 (4.00 to 8.00)"]
    assert cells(packed.figures_table([MEASURED])) == [row]
    assert json.loads(json.dumps(packed.plain(MEASURED)))["times"][ALONE]["median"] == 0.004


def test_both_executors_are_asked_for_the_same_trials() -> None:
    tune, packs = (packed_sweep.study(name) for name in packed_sweep.EXECUTORS)
    assert [executor_of(one).name for one in (tune, packs)] == ["tune", "packed"]
    assert packs.executor.slots == packed_sweep.SLOTS
    different = {"executor", "max_concurrent"}
    plans = [{k: v for k, v in one.to_dict().items() if k not in different} for one in (tune, packs)]
    assert plans[0] == plans[1]
    assert (tune.num_trials, tune.epochs, tune.confirm.seeds) == (16, 20, 0)
    assert tune.num_trials == packed_sweep.ENGINES * packed_sweep.SLOTS


def test_sweeps_stand_beside_one_another() -> None:
    def sweeps(*seconds: float) -> list[dict[str, float]]:
        return [{"seconds": s, "before": 2.0, "train": 5.0, "score": 1.5} for s in seconds]

    measured = {
        "trials": 16,
        "epochs": 20,
        "rounds": 3,
        "sweeps": {"tune": sweeps(30, 33, 36), "packed": sweeps(10, 11, 9)},
    }
    whole, trials = packed_sweep.ratios(measured)
    assert (whole.value, whole.target) == (3.0, None)
    assert trials.value == 3.5
    tune, packs = cells(packed_sweep.figures_table(measured))
    assert tune[1:] == ["33.00", "30.00", "2.00 s", "5.00 s", "1.50 s", "1745"]
    assert packs[0] == "packed, 2 engines of 8 slots"


def test_a_gpu_is_asked_for_where_there_is_none_and_nothing_else_installed() -> None:
    done = run_bare("benchmarks.packed", "--device", "cuda")
    assert (done.returncode, done.stdout) == (NO_GPU, ""), done.stderr
    assert re.fullmatch(r"[A-Z][^.]*\.\n", done.stderr), done.stderr


def test_the_part_for_a_gpu_loads_with_torch_and_numpy_alone() -> None:
    modules = [f"benchmarks.{name}" for name in ("machine", "packed", "packed_gpu", "packed_search", "packed_trials")]
    code = BLOCKED_IMPORT.format(modules=modules, blocked=BLOCKED)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(modules) <= set(done.stdout.split())


def test_everything_of_the_part_for_a_gpu_is_measured() -> None:
    """On a CPU, for a moment."""
    config = TrialConfig().replace(SMALL | {"algorithm.k": 2, "algorithm.batch_size": 30})
    found = packed_gpu.measure(
        CPU,
        images=97,
        seconds=0.02,
        configs={"alternating": config},
        data=("digits", digits()),
        counts=((2,), (2, 3)),
        square=24,
        score=Protocol(name="small", num_samples=50, sigma_points=4),
    )
    one = found["orders"]["alternating"]
    assert set(found["rates"]) == {"float32", "batched", "tf32"}
    assert list(one["processes"]) == [2]
    assert 2 in one["packs"]
    assert all(each["iterations"] > 0 for each in (*one["processes"].values(), *one["packs"].values()))
    assert one["iterations"] == 5 * (1_197 // 30) / 2
    assert one["flops"] == cost(config, 64).flops
    assert (found["score"]["samples"], found["score"]["valid"], found["score"]["test"]) == (50, 300, 300)
    assert len(found["score"]["seconds"]) == 5
    json.dumps(found)
    names = [ratio.name for ratio in packed_gpu.ratios(found)]
    assert len(names) == 5
    rates, figures = packed_gpu.tables(found)
    assert len(cells(rates)) == 3
    assert [row[1] for row in cells(figures)][:2] == ["one trial alone", "2 processes, a trial each"]


def test_a_process_that_does_not_train_ends_the_others() -> None:
    config = TINY.config.replace({"algorithm.batch_size": 70})
    with pytest.raises(torch.OutOfMemoryError, match="of 2 processes, not all trained"):
        packed_gpu.processes(config, TINY.images, 16, CPU, 0.01, 2)


def test_batched_products_are_those_of_an_iteration() -> None:
    wanted = products(TINY.config, 10, together=True)
    with FlopCounterMode(display=False) as counted:
        packed_gpu._products(wanted, 3, CPU, 0.0)
    rounds = counted.get_total_flops() / (3 * cost(TINY.config, 10).flops)
    assert rounds == 3  # two that do not count, and one


def test_more_trials_are_tried_while_they_gain_and_memory_suffices() -> None:
    tried = []

    def one(n: int) -> dict[str, Any]:
        tried.append(n)
        if n == 64:
            raise torch.OutOfMemoryError("of the test")
        return {"iterations": {1: 10.0, 4: 30.0, 8: 30.2, 16: 99.0}.get(n, 200.0)}

    found = packed_gpu.until_no_growth(one, (1, 4, 8, 16))
    assert (tried, packed_gpu.best_of(found)) == ([1, 4, 8], 8)
    tried.clear()
    assert list(packed_gpu.until_no_growth(one, (32, 64, 128))) == [32]
    assert tried == [32, 64]


GPU: dict[str, Any] = {
    "images": "MNIST",
    "rates": {"float32": 40e12, "batched": 20e12, "tf32": 300e12},
    "orders": {
        "alternating": {
            "flops": 4_000_000_000,
            "alone": 300.0,
            "epochs": 250,
            "iterations": 125_000,
            "processes": {1: {"iterations": 290.0}, 4: {"iterations": 400.0}, 8: {"iterations": 250.0}},
            "packs": {8: {"iterations": 2_000.0, "bytes": 2**26}, 16: {"iterations": 5_000.0, "bytes": 2**25}},
        }
    },
    "score": {"seconds": [0.4, 0.2, 0.3]},
}


def test_packs_stand_beside_the_best_number_of_processes_and_the_rate_of_products() -> None:
    processes, alone, of_peak, of_batched, score = packed_gpu.ratios(GPU)
    assert (processes.value, processes.target, processes.reached) == (12.5, 15, False)
    assert processes.note == "16 in a pack, 4 processes"
    assert alone.value == pytest.approx(5_000 / 300)
    assert (of_peak.value, of_peak.target, of_peak.reached) == (0.5, 0.4, True)
    assert (of_batched.value, of_batched.target) == (1.0, None)
    assert (score.value, score.at_most, score.reached, score.note) == (0.3, True, True, "0.200 to 0.400")


def test_rates_become_configurations_an_hour() -> None:
    peak, figures = packed_gpu.tables(GPU)
    assert cells(peak)[0] == ["float32", "40.00"]
    rows = {row[1]: row[2:] for row in cells(figures)}
    assert rows["pack of 16"] == ["5000", "20000", "50.0%", "144.00", "32"]
    assert rows["4 processes, a trial each"] == ["400", "1600", "4.0%", "11.52", ""]
    assert "configurations of 250 epochs an hour" in figures
