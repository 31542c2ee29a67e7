"""The game in one dimension: its numbers against numerical integration, and what the paper proves of them."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm

from gansearch import theory
from gansearch.config import TrialConfig
from gansearch.core import networks, updates
from gansearch.core.algorithm1 import State
from gansearch.core.networks import Networks, Params
from gansearch.seeds import Draws
from gansearch.theory import CELLS, DATA_MEAN, DATA_SD, HIGH, LEAST_VALUE, LOW, Moment, jensen_shannon, measure, play
from gansearch.theory_figure import draw

CELL = (HIGH - LOW) / CELLS
# The middle of a cell of width h stands for its mean with an error of h^2 f''/24 (and of less than the change of slope
# times h^2 / 8 where D has a kink): over the line h^2 / 24 times the integral of |f''|, which stays below 50 here.
INTEGRAL = 2 * CELL**2
ITERATIONS = 200
"""Of a short game; the end is near after a hundred."""

AFFINE = theory.CONFIG.replace({"generator.hidden": [], "discriminator.hidden": [5], "discriminator.pieces": 2})


def random_state(seed: int, config: TrialConfig = theory.CONFIG) -> tuple[State, Networks]:
    """Return an untrained game whose networks are far from flat."""
    nets, draws = theory.networks_of(config), Draws(seed, torch.device("cpu"))
    g = networks.init_generator(nets, torch.zeros(1), draws)
    d = networks.init_discriminator(nets, draws)
    for i, params in enumerate((g, d)):
        for name, p in params.items():
            if name.endswith("bias"):
                p.copy_(draws.uniform(f"bias/{i}/{name}", 0, tuple(p.shape), -0.5, 0.5))
    moments = [updates.init_moments(params, config.update.rule) for params in (g, d)]
    return State(g=g, d=d, g_moments=moments[0], d_moments=moments[1], alive=torch.tensor(True)), nets


def look(state: State, nets: Networks) -> Moment:
    return measure(state, nets, title="", d_updates=0, g_updates=0)


def discriminator(d: Params, units: int, pieces: int) -> Callable[[float], float]:
    """Return D(x) written out in NumPy."""
    w0, b0, w1, b1 = (d[name].double().numpy() for name in ("0.weight", "0.bias", "1.weight", "1.bias"))

    def at(x: float) -> float:
        h = (x * w0[0] + b0).reshape(pieces, units).max(0)
        return float(1 / (1 + np.exp(-(h @ w1[:, 0] + b1[0]))))

    return at


def integral(f: Callable[[float], float], ends: Sequence[float]) -> float:
    """Return the integral over neighbouring intervals, in which f has no jumps."""
    return float(sum(quad(f, a, b, limit=500, epsabs=1e-10)[0] for a, b in itertools.pairwise(ends)))


def test_the_numbers_are_those_of_numerical_integration() -> None:
    """With an affine G on uniform noise p_g is a box, whose ends are laid on ends of cells."""
    state, nets = random_state(3, AFFINE)
    low, high = LOW + 150 * CELL, LOW + 230 * CELL
    state.g["0.weight"][:] = (high - low) / 2 / math.sqrt(3)
    state.g["0.bias"][:] = (low + high) / 2
    moment = look(state, nets)
    height, d = 1 / (high - low), discriminator(state.d, units=5, pieces=2)

    def p_data(x: float) -> float:
        return float(norm.pdf(x, DATA_MEAN, DATA_SD))

    def p_g(x: float) -> float:
        return height if low < x < high else 0.0

    def log_ratio(p: float, q: float) -> float:
        return p * math.log(2 * p / (p + q)) if p > 0 else 0.0

    ends = [LOW, low, high, HIGH]
    value = integral(lambda x: p_data(x) * math.log(d(x)), ends) + integral(
        lambda x: p_g(x) * math.log(1 - d(x)), [low, high]
    )
    divergence = integral(lambda x: (log_ratio(p_data(x), p_g(x)) + log_ratio(p_g(x), p_data(x))) / 2, ends)
    both = [integral(lambda x: abs((p_data(x) + p_g(x)) * d(x) - p_data(x)) / 2, ends)]
    assert moment.value == pytest.approx(value, abs=INTEGRAL)
    assert moment.divergence == pytest.approx(divergence, abs=INTEGRAL)
    assert moment.best_value == pytest.approx(-math.log(4) + 2 * divergence, abs=2 * INTEGRAL)
    assert moment.distance == pytest.approx(both[0], abs=INTEGRAL)
    assert moment.p_g.sum().item() * CELL == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(moment.p_g[150:230].numpy(), height, rtol=2 / 819)  # of 819 points a cell, one or two
    np.testing.assert_allclose(moment.d.numpy(), [d(x) for x in moment.x.tolist()], rtol=1e-9)
    np.testing.assert_allclose(moment.p_data.numpy(), norm.pdf(moment.x.numpy(), DATA_MEAN, DATA_SD), atol=INTEGRAL)
    best = moment.p_data / (moment.p_data + moment.p_g)
    np.testing.assert_allclose(moment.d_star.numpy(), best.numpy(), rtol=1e-12)


def test_a_discriminator_that_guesses_gives_minus_log_4_whatever_the_generator() -> None:
    """With D = 1/2 everywhere V = -log 4; only where p_g = p_data is that the best D (section 4.1)."""
    state, nets = random_state(5)
    for p in state.d.values():
        p.zero_()
    moment = look(state, nets)
    assert moment.value == pytest.approx(LEAST_VALUE, abs=1e-12)
    assert moment.best_value > LEAST_VALUE


@pytest.mark.parametrize("seed", range(6))
def test_no_discriminator_beats_the_best_one_and_no_generator_the_bound(seed: int) -> None:
    """Proposition 1 and Theorem 1, for networks that were not trained."""
    moment = look(*random_state(seed))
    assert LEAST_VALUE <= moment.best_value <= 0
    assert moment.value <= moment.best_value + INTEGRAL
    mass, mass_g = (density * CELL for density in (moment.p_data, moment.p_g))
    log_d, log_not_d = moment.d_star.log(), (1 - moment.d_star).log()
    best = sum((p * logs)[p > 0].sum().item() for p, logs in ((mass, log_d), (mass_g, log_not_d)))
    assert best == pytest.approx(moment.best_value, abs=1e-9)


def test_jensen_shannon_is_scipys_and_lies_between_its_bounds() -> None:
    source = torch.Generator().manual_seed(7)
    p, q = (torch.rand(13, generator=source, dtype=torch.float64) for _ in range(2))
    p[3] = q[5] = 0
    p, q = p / p.sum(), q / q.sum()
    assert jensen_shannon(p, q) == pytest.approx(float(jensenshannon(p.numpy(), q.numpy())) ** 2, rel=1e-12)
    assert jensen_shannon(p, p) == 0
    apart = torch.eye(2, dtype=torch.float64)
    assert jensen_shannon(apart[0], apart[1]) == pytest.approx(math.log(2), rel=1e-15)


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    """Return a short game."""
    return list(play(ITERATIONS, seed=1))


def test_a_game_goes_as_the_theory_says(moments: list[Moment]) -> None:
    start, inner, amid, end = moments
    k = theory.CONFIG.algorithm.k
    assert [(m.d_updates, m.g_updates) for m in moments] == [
        (0, 0),
        (theory.INNER_STEPS, 0),
        (theory.INNER_STEPS + k * (ITERATIONS // 100), ITERATIONS // 100),
        (theory.INNER_STEPS + k * ITERATIONS, ITERATIONS),
    ]
    # The inner loop: G stays, D comes close to the best one, and the value close to its maximum.
    assert torch.equal(inner.p_g, start.p_g)
    assert inner.divergence == start.divergence
    assert start.value < inner.value <= inner.best_value + INTEGRAL
    assert inner.best_value - inner.value < 0.1
    assert inner.distance < 0.06 < start.distance
    # Then G: the divergence falls, and the value with it, towards -log 4.
    assert amid.divergence < inner.divergence
    assert inner.divergence > 0.3
    assert end.divergence < 0.05
    assert abs(end.value - LEAST_VALUE) < 0.06 < abs(inner.value - LEAST_VALUE)
    assert all(m.value <= m.best_value + INTEGRAL for m in moments)


def test_a_seed_gives_its_game_and_another_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "INNER_STEPS", 30)
    numbers = [[(m.value, m.divergence, m.distance) for m in list(play(2, seed=seed))] for seed in (1, 1, 2)]
    assert numbers[0] == numbers[1]
    assert not set(numbers[0]) & set(numbers[2])


def test_a_game_leaves_the_callers_mode_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "INNER_STEPS", 1)
    for moment in play(2, seed=1):
        assert not torch.is_inference_mode_enabled()
        assert moment.d.is_inference()


def test_a_game_of_one_iteration_is_refused() -> None:
    with pytest.raises(ValueError, match="2 iterations or more, got 1"):
        next(play(1, seed=0))


def test_the_figure_shows_its_moments(moments: list[Moment]) -> None:
    pictures = [Image.open(io.BytesIO(draw(shown))) for shown in (moments, moments[:2])]
    wide, narrow = pictures
    assert wide.size[0] == 2 * narrow.size[0]
    assert str(wide.info["Title"]).startswith("Figure 1")
    pixels = np.asarray(wide.convert("RGB")).reshape(-1, 3)
    for colour in ((0x11, 0x77, 0x33), (0x00, 0x55, 0xCC), (0, 0, 0)):  # p_g, D, p_data
        assert (pixels == colour).all(1).sum() > 100
    moved = dataclasses.replace(moments[0], d=1 - moments[0].d)
    assert draw([moved]) != draw(moments[:1])
