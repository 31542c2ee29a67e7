"""Section 4 of the paper in one dimension: a game whose densities are known, held against what the theory says.

The setting of the paper's Figure 1. Notation as there: p_data and p_g are densities on the line, and

    V(D, G) = E_{x ~ p_data} log D(x) + E_z log(1 - D(G(z)))                        (equation 1)
    D*(x)   = p_data(x) / (p_data(x) + p_g(x))                                      (Proposition 1)
    C(G)    = max_D V(D, G) = V(D*, G) = -log 4 + 2 JSD(p_data || p_g) >= -log 4    (Theorem 1)

The game is played by `core.algorithm1`, as every trial is, but for its examples: they are drawn from p_data without
end. What came of it is then measured without sampling noise: p_data, a normal density, has a known mass in each cell
of a partition of the line; p_g's mass there is counted over noise at midpoints of equal probability; integrals are sums
over cells, or over that noise. The Jensen-Shannon divergence is that of the cells' masses. It is at most that of the
densities, since it can only shrink where outcomes are put together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import torch
from torch.nn.functional import logsigmoid

from gansearch.config import TrialConfig
from gansearch.core import algorithm1, networks, updates
from gansearch.core.algorithm1 import Minibatch, Moves, Noise, Rules, State, Step
from gansearch.core.discriminator import discriminate
from gansearch.core.generator import generate
from gansearch.core.losses import OBJECTIVES
from gansearch.core.networks import Networks
from gansearch.core.shapes import Float64, Tensor
from gansearch.core.updates import Momentum
from gansearch.seeds import Draws

LEAST_VALUE = -math.log(4)
"""Value of the game where p_g = p_data and D = 1/2, in nats."""

DATA_MEAN, DATA_SD = 1.0, 0.5
"""Of p_data, a normal density."""

LOW, HIGH, CELLS = -3.0, 5.0, 400
"""The partition: equal cells from LOW to HIGH, eight standard deviations off on either side, the outer ones open."""

NOISE_POINTS = 2**16
"""Midpoints of equal probability in the noise's range that p_g is counted over."""

INNER_STEPS = 2_000
"""Updates of D alone before the first of G: the inner loop of Algorithm 1, nearly carried to its end."""

CONFIG = TrialConfig().replace(
    {
        "noise.dim": 1,
        "generator.hidden": [32, 32],
        "generator.output": "linear",
        "generator.output_bias": "zero",
        "generator.init_range": 0.5,
        "discriminator.hidden": [32, 32],
        "discriminator.pieces": 3,
        "discriminator.dropout_input": 0.0,
        "discriminator.dropout_hidden": 0.0,
        "discriminator.init_range": 0.5,
        "algorithm.batch_size": 256,
        "algorithm.k": 5,
        "algorithm.order": "alternating",
        "algorithm.loss_scale": 1.0,
        "momentum.lr_g": 0.02,
        "momentum.lr_d": 0.05,
        "momentum.initial": 0.5,
    }
)
"""What plays: noise on a line, rectifiers and a linear output in G, maxout in D, no dropout; the listing's order."""

SETTLING = 0.1
"""Share of the iterations after which both rates begin to fall, as 1 / iteration."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """The game at one moment of training.

    Attributes:
        title: what has just happened.
        d_updates: updates of D so far.
        g_updates: updates of G so far.
        x: middles of the cells, [cells].
        p_data: density of the data in each cell, its mass over its width.
        p_g: density of the generator there.
        d: the trained D(x) in the middle of each cell.
        d_star: the best D for this G there, p_data / (p_data + p_g); NaN where neither has any mass.
        z: some noise at equal distances, [n], for the arrows of Figure 1.
        g: the generator's G(z) for each.
        value: V(D, G), in nats.
        divergence: JSD(p_data || p_g), in nats, from 0 to log 2.
        distance: mean of |D - D*| over an equal mixture of p_data and p_g.
    """

    title: str
    d_updates: int
    g_updates: int
    x: Float64[Tensor, " cells"]
    p_data: Float64[Tensor, " cells"]
    p_g: Float64[Tensor, " cells"]
    d: Float64[Tensor, " cells"]
    d_star: Float64[Tensor, " cells"]
    z: Float64[Tensor, " n"]
    g: Float64[Tensor, " n"]
    value: float
    divergence: float
    distance: float

    @property
    def best_value(self) -> float:
        """C(G), the value of the game under the best discriminator for this G, in nats (Theorem 1)."""
        return LEAST_VALUE + 2 * self.divergence


@torch.inference_mode()  # spares each operation its share of autograd; left between two moments
def play(iterations: int, seed: int) -> Iterator[Moment]:
    """Play the game; yield its four moments: the start, D's inner loop, amid training, and the end.

    Args:
        iterations: of Algorithm 1, after D's inner loop: k updates of D and one of G each; 2 or more.
        seed: of all draws.

    Raises:
        ValueError: for fewer iterations.
    """
    if iterations < 2:
        raise ValueError(f"a game has 2 iterations or more, got {iterations}")
    nets = networks_of(CONFIG)
    draws = Draws(seed, torch.device("cpu"))
    state = _start(nets, draws)
    k, middle = CONFIG.algorithm.k, max(iterations // 100, 1)
    yield measure(state, nets, title="before training", d_updates=0, g_updates=0)
    _train(state, nets, (_step(draws, t, trains_g=False, fall=1.0) for t in range(INNER_STEPS)))
    yield measure(state, nets, title="D trained, G as before", d_updates=INNER_STEPS, g_updates=0)
    done = 0
    for until, title in ((middle, "G follows D"), (iterations, "the end")):
        steps = (_training_step(draws, t, iterations) for t in range(done * k, until * k))
        _train(state, nets, steps)
        done = until
        yield measure(state, nets, title=title, d_updates=INNER_STEPS + done * k, g_updates=done)


def networks_of(config: TrialConfig) -> Networks:
    """Return the configuration's networks, for points on a line."""
    return Networks.of(config, 1)


def _start(nets: Networks, draws: Draws) -> State:
    g = networks.init_generator(nets, torch.zeros(1), draws)
    d = networks.init_discriminator(nets, draws)
    rule = CONFIG.update.rule
    moments = [updates.init_moments(params, rule) for params in (g, d)]
    return State(g=g, d=d, g_moments=moments[0], d_moments=moments[1], alive=torch.tensor(True))


def _train(state: State, nets: Networks, steps: Iterator[Step]) -> None:
    rules = Rules(
        objective=OBJECTIVES[CONFIG.algorithm.objective],
        loss_scale=CONFIG.algorithm.loss_scale,
        g_max_norm=None,
        d_max_norm=None,
    )
    for step in steps:  # one at a time, so that what D said is not kept
        algorithm1.train(state, [step], nets, rules)


def _training_step(draws: Draws, t: int, iterations: int) -> Step:
    """Return the discriminator step number t of Algorithm 1's own, and G's behind every k-th."""
    iteration, place = divmod(t, CONFIG.algorithm.k)
    fall = min(1.0, SETTLING * iterations / (iteration + 1))
    return _step(draws, INNER_STEPS + t, trains_g=place == CONFIG.algorithm.k - 1, fall=fall)


def _step(draws: Draws, t: int, *, trains_g: bool, fall: float) -> Step:
    """Return the discriminator step number t, and G's behind it where G trains.

    Args:
        draws: of the game.
        t: updates of D before it.
        trains_g: whether G moves too.
        fall: factor on both rates.
    """
    m, rates = CONFIG.algorithm.batch_size, CONFIG.momentum
    x = draws.normal("examples", t, (m, 1)).mul_(DATA_SD).add_(DATA_MEAN)
    z = networks.draw_noise(CONFIG.noise, draws, "noise/discriminator", t, m)
    fresh = None
    if trains_g:
        fresh = Noise(z=networks.draw_noise(CONFIG.noise, draws, "noise/generator", t, m), masks=None)
    moves = Moves(
        g=Momentum(lr=rates.lr_g * fall, momentum=rates.initial),
        d=Momentum(lr=rates.lr_d * fall, momentum=rates.initial),
    )
    return Step(batch=Minibatch(x=x, z=z, masks=None), fresh=fresh, moves=moves, joint=False)


def measure(state: State, nets: Networks, *, title: str, d_updates: int, g_updates: int) -> Moment:
    """Return the game as it stands, by sums instead of samples.

    Args:
        state: both networks' parameters.
        nets: their shapes; D without dropout.
        title: what has just happened.
        d_updates: updates of D so far.
        g_updates: updates of G so far.
    """
    g, d = ({name: p.double() for name, p in params.items()} for params in (state.g, state.d))
    edges = torch.linspace(LOW, HIGH, CELLS + 1, dtype=torch.float64)
    width, x = (HIGH - LOW) / CELLS, (edges[1:] + edges[:-1]) / 2
    below = torch.special.ndtr((edges[1:-1] - DATA_MEAN) / DATA_SD)
    mass = torch.cat([below, below.new_ones(1)]) - torch.cat([below.new_zeros(1), below])

    bound = math.sqrt(3)  # of uniform noise, which has unit variance
    z = bound * (2 * (torch.arange(NOISE_POINTS, dtype=torch.float64) + 0.5) / NOISE_POINTS - 1)
    drawn = generate(nets, g, z[:, None])[:, 0]
    cells = torch.bucketize(drawn, edges[1:-1])
    mass_g = torch.bincount(cells, minlength=CELLS).double() / NOISE_POINTS

    logits = discriminate(nets, d, x[:, None], None)
    both = mass + mass_g
    d_star = mass / both
    on_samples = discriminate(nets, d, drawn[:, None], None)
    value = (mass * logsigmoid(logits)).sum() + logsigmoid(-on_samples).mean()
    apart = (logits.sigmoid() - d_star).abs().where(both > 0, 0)
    shown = z[NOISE_POINTS // 32 :: NOISE_POINTS // 16]
    return Moment(
        title=title,
        d_updates=d_updates,
        g_updates=g_updates,
        x=x,
        p_data=mass / width,
        p_g=mass_g / width,
        d=logits.sigmoid(),
        d_star=d_star,
        z=shown,
        g=generate(nets, g, shown[:, None])[:, 0],
        value=value.item(),
        divergence=jensen_shannon(mass, mass_g),
        distance=(both / 2 * apart).sum().item(),
    )


def jensen_shannon(p: Float64[Tensor, " cells"], q: Float64[Tensor, " cells"]) -> float:
    """Return JSD(p || q) of two distributions over cells, in nats: 0 where they are equal, at most log 2."""
    middle = (p + q) / 2
    terms = [torch.special.xlogy(one, one / middle).where(one > 0, 0) for one in (p, q)]
    return float(torch.cat(terms).sum() / 2)
