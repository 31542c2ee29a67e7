"""The coverage simulation, small: intervals hold what they say, and where they do not is not hidden."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from benchmarks.analysis import coverage
from benchmarks.analysis.coverage import LEVEL, Measured, World, measure, table

STUDIES = 600
N = 4
# Of a share of .95 of 600 studies, .0089; four of them.
TOLERANCE = 4 * math.sqrt(LEVEL * (1 - LEVEL) / STUDIES)
SMALL = {"images": 30, "replicates": 60}


@pytest.fixture(scope="module")
def calm() -> dict[str, Measured]:
    return {one.what: one for one in measure(World(**SMALL), N, STUDIES)}


@pytest.fixture(scope="module")
def collapsing() -> dict[str, Measured]:
    return {one.what: one for one in measure(World(collapse=0.2, **SMALL), N, STUDIES)}


def test_intervals_over_normal_seeds_hold_what_they_say(calm: dict[str, Measured]) -> None:
    for what in (coverage.MEAN, coverage.DIFFERENCE):
        assert calm[what].share == pytest.approx(LEVEL, abs=TOLERANCE)
        assert calm[what].studies == STUDIES
    assert calm[coverage.BOOTSTRAP].share >= LEVEL - TOLERANCE
    assert calm[coverage.UNEQUAL].share >= LEVEL - TOLERANCE - 0.025  # Welch's t with 2 seeds of the larger spread


def test_a_percentile_bootstrap_of_few_seeds_does_not(calm: dict[str, Measured]) -> None:
    """Its interval is at most that of a normal with (n - 1)/n of the variance: 1.96 sqrt(3/4) = 1.70 standard errors.

    A t with 3 degrees of freedom is within that with a probability of .81; the bootstrap's own ends are not far off.
    """
    within = 1 - 2 * scipy.stats.t.sf(1.96 * math.sqrt(3 / 4), 3)
    assert calm[coverage.PERCENTILE].share == pytest.approx(within, abs=TOLERANCE + 0.03)
    assert calm[coverage.PERCENTILE].share < LEVEL - TOLERANCE


def test_holm_keeps_the_share_of_false_findings(calm: dict[str, Measured]) -> None:
    assert calm[coverage.FAMILY].share <= 1 - LEVEL + TOLERANCE
    assert calm[coverage.UNCORRECTED].share > calm[coverage.FAMILY].share
    assert calm[coverage.FAMILY].nominal == pytest.approx(1 - LEVEL)


def test_collapse_takes_coverage_and_the_share_keeps_it(collapsing: dict[str, Measured]) -> None:
    """All 4 seeds are spared in .41 of the studies, and then the interval lies some 30 nats above the mean."""
    spared = 0.8**N
    assert collapsing[coverage.MEAN].share <= 1 - spared + TOLERANCE
    assert collapsing[coverage.ONE_SIDED].share <= 1 - spared + TOLERANCE
    exact = sum(
        scipy.stats.binom.pmf(k, N, 0.2)
        for k in range(N + 1)
        if scipy.stats.binomtest(k, N).proportion_ci(LEVEL, "exact").low
        <= 0.2
        <= scipy.stats.binomtest(k, N).proportion_ci(LEVEL, "exact").high
    )
    assert exact >= LEVEL
    assert collapsing[coverage.SHARE].share == pytest.approx(exact, abs=TOLERANCE)


def test_without_collapse_there_is_no_share(calm: dict[str, Measured], collapsing: dict[str, Measured]) -> None:
    assert set(collapsing) - set(calm) == {coverage.SHARE, coverage.ONE_SIDED}


def test_a_study_is_as_noisy_as_it_says() -> None:
    """Over 4,000 studies of 2 seeds and 50 images: the errors of its means are those that are asked for.

    A variance of 4,000 draws has a relative standard error of .022, so its root .011; five of them.
    """
    world, tolerance = World(images=50, collapse=0.2, depth=90.0), 5 * 0.011
    rng = np.random.default_rng(4)
    seeds, on_images, correlations = [], [], []
    for _ in range(4_000):
        (a, b), (mean_a, _), over_all = world.study(rng, (2, 3), (1.5, 1.0), (False, True))
        assert a.shape == (2, 50)
        assert b.shape == (3, 50)
        seeds.append(a.mean(axis=1) - mean_a)
        on_images.append(mean_a)
        correlations.append(np.corrcoef(a[0], b[0])[0, 1])
        assert over_all == [0.0, pytest.approx(-18.0)]
    noise = 1.92 * math.sqrt((1 - world.correlation) / 2)  # of a seed on the images
    assert np.std(seeds) == pytest.approx(math.hypot(1.5 * 4.0, noise), rel=tolerance)
    assert np.std(on_images) == pytest.approx(1.92 * math.sqrt((1 + world.correlation) / 2), rel=tolerance)
    assert np.mean(correlations) == pytest.approx(world.correlation, abs=0.01)


def test_the_draws_are_the_same_each_time() -> None:
    world = World(**SMALL)
    assert list(measure(world, 3, 20)) == list(measure(world, 3, 20))


def test_the_command_prints_the_table_and_writes_every_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "coverage.json"
    arguments = ["--studies", "7", "--seeds", "2", "3", "--json", str(target)]
    monkeypatch.setattr(sys, "argv", ["coverage", *arguments])
    coverage.main()
    out = capsys.readouterr().out
    measured = json.loads(target.read_text(encoding="utf-8"))
    assert {one["seeds"] for one in measured} == {2, 3}
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert lines[0] == "|  | should be | 2 seeds | 3 seeds |"
    assert {line.count("|") for line in lines} == {5}
    assert "**20% of the seeds collapse**" in out
    assert "7 simulated studies each" in out


def test_a_share_of_all_or_none_has_the_error_of_the_nominal_one() -> None:
    one = Measured(what=coverage.MEAN, seeds=3, collapse=0.0, nominal=0.95, count=400, studies=400)
    assert one.se == pytest.approx(math.sqrt(0.95 * 0.05 / 400))
    assert "| mean, t interval over seeds | 0.95 | 1.000 ± 0.011 |" in table([one])
