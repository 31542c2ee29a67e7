"""The training benchmark: its peer is the same networks and arithmetic, its tables say what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import training
from benchmarks.common_loop import CommonLoop, Discriminator, Generator
from benchmarks.flops import cost, products
from benchmarks.machine import Times
from benchmarks.training import COMMON, LIMITS, OURS, REUSING, Problem, bare, cost_table, figures_table, limit
from gansearch.config import TrialConfig
from gansearch.core import networks
from gansearch.core.adversarial import Adversarial
from gansearch.core.discriminator import discriminate
from gansearch.core.generator import generate
from gansearch.core.networks import Networks, Params
from gansearch.seeds import Draws

CONFIG = TrialConfig.from_dict(
    {
        "noise": {"dim": 7},
        "generator": {"hidden": [13, 11], "init_range": 0.5},
        "discriminator": {"hidden": [5, 3], "pieces": 4, "dropout_input": 0.2, "dropout_hidden": 0.5, "init_range": 1},
        "algorithm": {"batch_size": 6},
    }
)
DIM, STEPS = 17, 4
IMAGES = torch.randint(0, 256, (6 * STEPS, DIM), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
PROBLEM = Problem(
    name="tiny", config=CONFIG, images=IMAGES, levels=255, epochs=2, of_limit={1: 0.85, 2: 0.75}, of_common=1.3
)
TIGHT = 1e-6
"""Of single-precision sums of at most 17 terms below 1: 17 roundings of 6e-8 each."""


def moved(params: Params, module: nn.Module) -> None:
    """Give a module of the peer our weights, layer by layer, after drawing biases that are not 0."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert 2 * len(linear) == len(params)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for i, layer in enumerate(linear):
            layer.weight.copy_(params[f"{i}.weight"].T)
            layer.bias.copy_(params[f"{i}.bias"].uniform_(-0.5, 0.5, generator=generator))


@pytest.mark.parametrize("pieces", [1, 4])
def test_peer_has_our_networks(pieces: int) -> None:
    config = CONFIG.replace({"discriminator.pieces": pieces})
    nets = Networks.of(config, DIM)
    draws = Draws(3, torch.device("cpu"))
    g = networks.init_generator(nets, torch.full((DIM,), 0.5), draws)
    d = networks.init_discriminator(nets, draws)
    generator, discriminator = Generator(config, DIM), Discriminator(config.discriminator, DIM)
    moved(g, generator)
    moved(d, discriminator)
    z, x = draws.normal("z", 0, (9, 7)), draws.uniform("x", 0, (9, DIM), 0, 1)
    assert generator(z).shape == (9, DIM)
    torch.testing.assert_close(generator(z), generate(nets, g, z), rtol=TIGHT, atol=TIGHT)
    own = discriminate(nets, d, x, None)
    torch.testing.assert_close(discriminator.eval()(x).squeeze(-1), own, rtol=10 * TIGHT, atol=10 * TIGHT)
    assert own.std() > 0.1


def test_peer_drops_what_ours_drops() -> None:
    rates = [layer.p for layer in Discriminator(CONFIG.discriminator, DIM).modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, 0.5, 0.5]


def test_peer_computes_our_iteration_and_the_gradients_of_d_that_g_does_not_need() -> None:
    config = CONFIG.replace({"algorithm.order": "alternating"})
    g = 2 * 6 * (7 * 13 + 13 * 11 + 11 * DIM)
    d = 2 * 6 * (DIM * 20 + 5 * 12 + 3)
    for reuse, less in ((False, 0), (True, g)):
        loop = CommonLoop(config, IMAGES / 255, 4, reuse=reuse)
        with FlopCounterMode(display=False) as counted:
            losses = loop.train_epoch()
        assert counted.get_total_flops() == STEPS * (cost(config, DIM).flops + d - less)
        assert len(losses) == STEPS


def test_peer_takes_our_step() -> None:
    """Samples of a G whose first weights are 0 do not depend on the noise; where these weights go does."""
    off = {"discriminator.dropout_input": 0.0, "discriminator.dropout_hidden": 0.0}
    config, batch = CONFIG.replace({"algorithm.order": "alternating", **off}), IMAGES[:6]
    trainer = Adversarial(config, batch, 255, seed=8)
    before = {name: p.clone() for name, p in trainer.save().items()}
    before["g/0.weight"].zero_()
    loop = CommonLoop(config, batch / 255, 9)
    modules = {"g": loop.generator, "d": loop.discriminator}
    for network, module in modules.items():
        moved({name[2:]: p for name, p in before.items() if name.startswith(f"{network}/")}, module)
    trainer.load(before, epochs=0)
    trainer.train_epoch()
    loop.train_epoch()
    after = trainer.save()
    for network, module in modules.items():
        for i, layer in enumerate(layer for layer in module.modules() if isinstance(layer, nn.Linear)):
            for name, p in ((f"{network}/{i}.weight", layer.weight.T), (f"{network}/{i}.bias", layer.bias)):
                if name != "g/0.weight":
                    torch.testing.assert_close(p, after[name], rtol=10 * TIGHT, atol=10 * TIGHT)
                    assert (after[name] - before[name]).abs().max() > 100 * TIGHT


def test_peer_moves_both_networks() -> None:
    loop = CommonLoop(CONFIG, IMAGES / 255, 5)
    modules = (loop.generator, loop.discriminator)
    before = [[p.clone() for p in module.parameters()] for module in modules]
    loop.train_epoch()
    for module, old in zip(modules, before, strict=True):
        assert all(not torch.equal(p, q) for p, q in zip(module.parameters(), old, strict=True))


@pytest.mark.parametrize(
    "values",
    [{"algorithm.k": 2}, {"update.rule": "adam"}, {"noise.distribution": "gaussian"}, {"generator.output": "tanh"}],
)
def test_peer_refuses_what_it_does_not_do(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"sigmoid|k = 1"):
        CommonLoop(CONFIG.replace(values), IMAGES / 255, 6)


def test_limit_computes_the_products_of_an_iteration_and_nothing_else() -> None:
    wanted = products(CONFIG, DIM)
    compute = bare(wanted)
    with FlopCounterMode(display=False) as counted:
        compute()
    assert counted.get_total_flops() == cost(CONFIG, DIM).flops
    with torch.profiler.profile() as seen:
        compute()
    assert {event.key: event.count for event in seen.key_averages() if event.key == "aten::mm"} == {
        "aten::mm": len(wanted)
    }
    assert not any(event.key in {"aten::empty", "aten::copy_"} for event in seen.key_averages())


def test_limit_is_the_faster_arrangement() -> None:
    slow, fast = Times((2.0, 3.0, 2.0)), Times((9.0, 1.0, 1.0))
    assert limit({"times": dict(zip(LIMITS, (slow, fast), strict=True))}) is fast


def test_every_order_is_measured_and_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    alternating = training.measure(PROBLEM, "alternating", 2, rounds=3)
    simultaneous = training.measure(PROBLEM, "simultaneous", 1, rounds=1)
    assert torch.get_num_threads() == before
    assert list(alternating["times"]) == [*LIMITS, OURS, COMMON, REUSING]
    assert list(simultaneous["times"]) == [*LIMITS, OURS]
    assert {len(times.seconds) for times in alternating["times"].values()} == {3}
    assert alternating["steps"] == 2 * STEPS
    assert alternating["flops"] > simultaneous["flops"]


MEASURED: dict[str, Any] = {
    "problem": "tiny",
    "order": "alternating",
    "threads": 1,
    "flops": 4_000_000,
    "products": 33,
    "product_bytes": 4_000_000,
    "activation_bytes": 3_000_000,
    "draw_bytes": 200_000,
    "update_bytes": 1_000_000,
    "times": {
        **dict(zip(LIMITS, (Times((0.002, 0.002)), Times((0.001, 0.001))), strict=True)),
        OURS: Times((0.002, 0.002)),
        COMMON: Times((0.002, 0.003)),
        REUSING: Times((0.001, 0.002)),
    },
}


def test_rates_stand_beside_the_limit_and_the_peer() -> None:
    of_limit, of_common, of_reusing = training.ratios(PROBLEM, MEASURED)
    assert (of_limit.value, of_limit.target, of_limit.reached) == (0.5, 0.85, False)
    assert (of_common.value, of_common.target, of_common.reached) == (1.25, 1.3, False)
    assert (of_reusing.value, of_reusing.target) == (0.75, None)
    assert of_limit.name == "tiny, alternating, 1 thread: rate / matrix products"


def test_another_order_has_no_peer() -> None:
    one = MEASURED | {"order": "simultaneous", "threads": 2}
    one["times"] = {name: times for name, times in MEASURED["times"].items() if name not in {COMMON, REUSING}}
    (found,) = training.ratios(PROBLEM, one)
    assert (found.target, found.name) == (0.75, "tiny, simultaneous, 2 threads: rate / matrix products")


def cells(text: str) -> list[list[str]]:
    """Return the cells of a table's rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_tables_show_what_was_measured() -> None:
    rows = cells(figures_table([MEASURED]))
    assert rows[2] == ["tiny", "alternating", "1", OURS, "500.0", "2.000", "2.000", "2.0"]
    assert rows[4] == ["tiny", "alternating", "1", REUSING, "666.7", "1.500", "1.000", ""]
    expected = ["tiny", "alternating", "4.0", "33", "8.2", "4.0", "3.0", "0.2", "1.0"]
    assert cells(cost_table([MEASURED, MEASURED | {"threads": 2}])) == [expected]


def test_command_prints_tables_and_writes_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "problems", lambda images: [PROBLEM])
    path = tmp_path / "training.json"
    monkeypatch.setattr(sys, "argv", ["training", "--quick", "--threads", "1", "--json", str(path)])
    training.main()
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [one["order"] for one in content["measured"]] == ["alternating", "simultaneous"]
    assert len(content["measured"][0]["times"][OURS]["seconds"]) == 2
    assert len(content["ratios"]) == 3 + 1
    printed = capsys.readouterr()
    assert f"{content['machine']['cores']} core" in printed.out.splitlines()[0]
    assert all(one["name"] in printed.out for one in content["ratios"])
    assert "tiny, simultaneous" in printed.err


def test_problems_are_the_papers_networks_and_the_quickstarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSEARCH_DATA", str(tmp_path))
    mnist, digits = training.problems(150)
    assert mnist.name == "MNIST (random bytes in its place)"
    assert (mnist.images.shape, mnist.config.generator.hidden, mnist.steps) == ((150, 784), (1200, 1200), 1)
    assert digits.name == "digits"
    assert (digits.images.shape, digits.config.generator.hidden, digits.steps) == ((150, 64), (128, 128), 15)
    assert int(digits.images.max()) <= digits.levels == 16


@pytest.mark.data
def test_mnist_is_read_where_it_is(mnist_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSEARCH_DATA", str(mnist_dir))
    assert training.problems(150)[0].name == "MNIST"
