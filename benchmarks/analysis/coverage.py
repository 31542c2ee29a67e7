"""How often the intervals of `analysis` hold what they say, in simulated studies whose truth is known.

    python -m benchmarks.analysis.coverage

A simulated study has two configurations, of n seeds each, scored on the same images. The value of image i under seed s
of a configuration is its mean, plus what makes the image hard for every model, plus what makes it hard for this
configuration, plus what is the seed's, plus what is the seed's on this image. All of these are normal. Their sizes are
those of MNIST under the full protocol: the values of 10,000 images have a standard deviation of 192 nats, those of two
models correlate .9, and the means of two seeds lie a few nats apart. Fewer images are drawn here, with as much less
noise each, so that the standard error over images is that of 10,000.

A second world is the same, but for a fifth of the seeds, which collapse and score 150 nats less.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import statistics
from analysis.comparison import Array, bootstrap, holm, resample, welch
from analysis.finalists import SIGNIFICANT
from analysis.statistics import Interval

LEVEL = 0.95
SEED = 20_140_610
PERCENTILE = "mean, percentile bootstrap of the seeds (for comparison)"
MEAN = "mean, t interval over seeds"
DIFFERENCE = "difference, Welch's t over seeds"
UNEQUAL = "difference, Welch's t, one with three times the spread and half the seeds"
ONE_SIDED = "difference, Welch's t, where one of the two never collapses"
BOOTSTRAP = "difference, bootstrap over seeds x images"
SHARE = "share of collapsed seeds, exact interval"
FAMILY = "any of 5 equal ones told apart from the reference, Holm"
UNCORRECTED = "the same, without a correction"
CHOSEN = "any of 5 equal ones told apart from the highest of the 6, Holm"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What studies are drawn from.

    Attributes:
        collapse: probability that a seed collapses, in [0, 1).
        depth: by how much a collapsed seed scores less, in nats.
        seeds_sd: standard deviation over seeds of a configuration's mean, in nats.
        examples_se: standard error over images of one seed's mean, in nats: 192 / sqrt(10,000).
        correlation: of two models' values over the images, in [0, 1].
        images: images of a study, 2 or more.
        replicates: of the bootstrap, 2 or more.
    """

    collapse: float = 0.0
    depth: float = 150.0
    seeds_sd: float = 4.0
    examples_se: float = 1.92
    correlation: float = 0.9
    images: int = 400
    replicates: int = 400

    def collapsed(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Return what collapse takes from seeds, in nats: 0 or `-depth`."""
        return -self.depth * (rng.random(shape) < self.collapse).astype(np.float64)

    def study(
        self, rng: np.random.Generator, seeds: Sequence[int], spreads: Sequence[float], collapses: Sequence[bool]
    ) -> tuple[list[Array], list[float], list[float]]:
        """Return each configuration's log-likelihoods [seeds, images], and its true means, all in nats.

        The first true means are over all seeds, on the study's images; the second over all images too.

        Args:
            rng: what draws.
            seeds: of each configuration.
            spreads: each one's standard deviation over seeds, as a multiple of `seeds_sd`.
            collapses: whether its seeds may collapse.
        """
        m, sd = self.images, self.examples_se * math.sqrt(self.images)
        own_sd = sd * math.sqrt((1 - self.correlation) / 2)  # one half the configuration's, one half the seed's
        hard = sd * math.sqrt(self.correlation) * rng.normal(size=m)
        scores, on_images, over_all = [], [], []
        for n, spread, may in zip(seeds, spreads, collapses, strict=True):
            expected = hard + own_sd * rng.normal(size=m)
            of_seeds = spread * self.seeds_sd * rng.normal(size=(n, 1)) + may * self.collapsed(rng, (n, 1))
            scores.append(expected + of_seeds + own_sd * rng.normal(size=(n, m)))
            over_all.append(-self.depth * self.collapse * may)
            on_images.append(over_all[-1] + float(expected.mean()))
        return scores, on_images, over_all


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How often something was so.

    Attributes:
        what: one of this module's names.
        seeds: of each configuration.
        collapse: probability that a seed collapses.
        nominal: how often it should be, at least or at most.
        count: how often it was.
        studies: of so many.
    """

    what: str
    seeds: int
    collapse: float
    nominal: float
    count: int
    studies: int

    @property
    def share(self) -> float:
        """How often it was, as a share."""
        return self.count / self.studies

    @property
    def se(self) -> float:
        """The simulation's own standard error of that share; that of the nominal one where it never or always was."""
        share = self.share if 0 < self.count < self.studies else self.nominal
        return math.sqrt(share * (1 - share) / self.studies)


def measure(world: World, n: int, studies: int) -> Iterator[Measured]:
    """Yield how often each interval holds the truth, and how often equal configurations are told apart.

    Args:
        world: what studies are drawn from.
        n: seeds of each configuration, 2 or more.
        studies: how many are drawn.
    """
    parts: tuple[tuple[Callable[[World, int, np.random.Generator], dict[str, bool]], float], ...] = (
        (_pair, LEVEL),
        (_unlike, LEVEL),
        (_share, LEVEL),
        (_family, 1 - LEVEL),
    )
    for i, (part, nominal) in enumerate(parts):
        rng = np.random.default_rng((SEED, n, i, round(1000 * world.collapse)))
        counts: collections.Counter[str] = collections.Counter()
        for _ in range(studies):
            for what, holds in part(world, n, rng).items():
                counts[what] += holds
        for what, count in counts.items():
            yield Measured(what=what, seeds=n, collapse=world.collapse, nominal=nominal, count=count, studies=studies)


def _pair(world: World, n: int, rng: np.random.Generator) -> dict[str, bool]:
    """Two configurations with the same mean over all images: on those of the study their means differ."""
    (a, b), on_images, over_all = world.study(rng, (n, n), (1.0, 1.0), (True, True))
    means_a, means_b = a.mean(axis=1).tolist(), b.mean(axis=1).tolist()
    drawn = resample({"a": a, "b": b}, str(rng.integers(2**62)), world.replicates)
    again = rng.choice(means_a, size=(world.replicates, n)).mean(axis=1)
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        MEAN: _holds(statistics.t_interval(means_a, LEVEL), on_images[0]),
        PERCENTILE: _holds(Interval(float(low), float(high)), on_images[0]),
        DIFFERENCE: _holds(welch(means_a, means_b).interval, on_images[0] - on_images[1]),
        BOOTSTRAP: _holds(bootstrap(drawn["a"], drawn["b"]).interval, over_all[0] - over_all[1]),
    }


def _unlike(world: World, n: int, rng: np.random.Generator) -> dict[str, bool]:
    """Two configurations that differ in their spread and number of seeds, or in that one of them never collapses."""

    def holds(seeds: Sequence[int], spreads: Sequence[float], collapses: Sequence[bool]) -> bool:
        scores, on_images, _ = world.study(rng, seeds, spreads, collapses)
        found = welch(*(own.mean(axis=1).tolist() for own in scores))
        return _holds(found.interval, on_images[0] - on_images[1])

    out = {UNEQUAL: holds((max(2, n // 2), n), (3.0, 1.0), (True, True))}
    return out | ({ONE_SIDED: holds((n, n), (1.0, 1.0), (True, False))} if world.collapse else {})


def _share(world: World, n: int, rng: np.random.Generator) -> dict[str, bool]:
    collapsed = int((world.collapsed(rng, (n,)) < 0).sum())
    return {SHARE: _holds(statistics.share_interval(collapsed, n, LEVEL), world.collapse)} if world.collapse else {}


def _family(world: World, n: int, rng: np.random.Generator) -> dict[str, bool]:
    """Six configurations with one mean on these images: none should be told apart."""
    scores = world.seeds_sd * rng.normal(size=(6, n)) + world.collapsed(rng, (6, n))
    named, highest = _p_values(scores, 0), _p_values(scores, int(scores.mean(axis=1).argmax()))
    return {
        FAMILY: _any_small(holm(named)),
        UNCORRECTED: _any_small(named),
        CHOSEN: _any_small(holm(highest)),
    }


def _p_values(scores: Array, reference: int) -> list[float | None]:
    return [welch(own.tolist(), scores[reference].tolist()).p for i, own in enumerate(scores) if i != reference]


def _any_small(p_values: Sequence[float | None]) -> bool:
    return any(p is not None and p < SIGNIFICANT for p in p_values)


def _holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.low <= truth <= interval.high


def table(measured: Sequence[Measured]) -> str:
    """Return the shares as a Markdown table, each with the simulation's standard error."""
    sizes = sorted({one.seeds for one in measured})
    lines = [
        ["", "should be", *(f"{n} seeds" for n in sizes)],
        ["---"] * (2 + len(sizes)),
    ]
    for collapse in sorted({one.collapse for one in measured}):
        title = f"**{collapse:.0%} of the seeds collapse**" if collapse else "**no seed collapses**"
        lines.append([title, *[""] * (1 + len(sizes))])
        rows = [one for one in measured if one.collapse == collapse]
        for what in dict.fromkeys(one.what for one in rows):
            cells = {one.seeds: f"{one.share:.3f} ± {one.se:.3f}" for one in rows if one.what == what}
            nominal = next(one.nominal for one in rows if one.what == what)
            bound = "at least " if what == SHARE else "at most " if nominal < 0.5 else ""
            lines.append([what, f"{bound}{nominal:.2f}", *(cells.get(n, "") for n in sizes)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_plain(one: Measured) -> dict[str, Any]:
    """Return a measurement as JSON-able values."""
    return dataclasses.asdict(one) | {"share": one.share, "se": one.se}


def main() -> None:
    """Draw the studies and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analysis.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--studies", type=int, default=2_000, metavar="N", help="of each kind (default: 2000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10], metavar="N", help="(default: 3 5 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the shares there, with every digit")
    given = parser.parse_args()
    found = [
        one
        for collapse in (0.0, 0.2)
        for n in given.seeds
        for one in measure(World(collapse=collapse), n, given.studies)
    ]
    print(table(found))
    print(f"\n{given.studies:,} simulated studies each; ±: the simulation's own standard error")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([as_plain(one) for one in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
