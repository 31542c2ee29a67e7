"""The scoring benchmark: its peers give the same log-likelihoods, its tables say what was measured."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import parzen
from benchmarks.machine import Times
from benchmarks.parzen import BROADCAST, KDE, LIMIT, OURS, PEERS, Problem, bare, difference, unequal
from benchmarks.parzen_peers import GridScore, broadcast, by_grid, kernel_density
from gansearch.core.parzen import fit_sigma, log_likelihood
from gansearch.protocols import Protocol
from tests.core.densities import enlarged_digits, normal, protocol, reference

# Float32 throughout: 784 differences of relative error 2^-23, of a distance over 2 sigma^2 of some 1,000 nats.
SINGLE_NATS = 1e-2
DOUBLE_NATS = 1e-8
GRID = (0.1, 0.17, 0.3)


def tiny(num_samples: int = 40) -> Problem:
    generator = torch.Generator().manual_seed(3)
    train, valid, test = (
        torch.randint(0, 256, (n, 784), dtype=torch.uint8, generator=generator) for n in (200, 33, 27)
    )
    return Problem(
        name="tiny", samples=train[:num_samples] / 255 * 0.9, train=train, valid=valid, test=test, levels=255
    )


@pytest.mark.parametrize("sigma", GRID)
def test_peers_give_the_defined_log_likelihoods(sigma: float) -> None:
    samples, points = enlarged_digits()
    expected = torch.from_numpy(reference(samples, points, sigma))
    torch.testing.assert_close(kernel_density(samples)(points, sigma), expected, rtol=0, atol=DOUBLE_NATS)
    for block in (1, 7):
        found = broadcast(samples, block=block)(points, sigma)
        torch.testing.assert_close(found, expected, rtol=0, atol=SINGLE_NATS)


def test_a_peer_takes_the_grids_best_sigma_to_the_test_points() -> None:
    samples, points = enlarged_digits()
    valid, test = points[:90], points[90:]
    fit = fit_sigma(samples, valid, plain())
    found = by_grid(broadcast(samples), valid, test, fit.grid_sigmas)
    assert found.valid_ll.shape == (3, 90)
    assert found.sigma == fit.sigma == fit.grid_sigmas[1]
    torch.testing.assert_close(found.test_ll, log_likelihood(samples, test, fit.sigma), rtol=0, atol=SINGLE_NATS)


def plain() -> Protocol:
    return protocol(sigma_min=0.03, sigma_max=0.3, sigma_points=3, refine=False)


def test_answers_that_differ_are_told() -> None:
    samples, points = enlarged_digits()
    few = points[:20], points[20:31]
    grid = fit_sigma(samples, few[0], plain()).grid_sigmas
    answer = by_grid(kernel_density(samples), *few, grid)
    equal = difference(samples, few, answer, plain())
    off = difference(samples, few, GridScore(answer.sigma, answer.valid_ll, answer.test_ll + 0.02), plain())
    assert equal["test_nats"] < SINGLE_NATS
    assert equal["grid"] < 1e-4
    assert off["test_nats"] == pytest.approx(0.02, abs=SINGLE_NATS)
    lost = {"test_nats": math.nan, "grid": 0.0}
    assert unequal({"differences": {BROADCAST: equal, KDE: equal}}) == []
    assert unequal({"differences": {BROADCAST: equal, KDE: off}}) == [KDE]
    assert unequal({"differences": {BROADCAST: lost, KDE: equal}}) == [BROADCAST]


def test_the_limit_is_the_products_of_both_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    mm = torch.mm

    def watched(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        made.append((*a.shape, b.shape[1]))
        result = mm(a, b, out=out)
        torch.testing.assert_close(out, a @ b)
        return result

    compute = bare(normal(0, 11, 5), normal(1, 7, 5), normal(2, 6, 5))
    monkeypatch.setattr(torch, "mm", watched)
    compute()
    assert made == [(7, 5, 11), (6, 5, 11)]


def test_times_of_peers_are_scaled_to_all_points() -> None:
    found = parzen.measure(tiny(), protocol(num_samples=40, sigma_points=4), 1, 1, share=9)
    assert found["shape"] == [40, 33, 27, 784]
    assert found["flops"] == 2 * 40 * (33 + 27) * 784
    assert set(found["times"]) == {LIMIT, OURS, *PEERS}
    assert max(d["test_nats"] for d in found["differences"].values()) < SINGLE_NATS


def fixed(threads: int) -> tuple[dict[str, Any], dict[str, Any]]:
    same = {"protocol": "p", "threads": threads}
    seconds = {LIMIT: (2.0, 4.0), OURS: (3.0, 6.0), BROADCAST: (60.0, 90.0), KDE: (300.0, 480.0)}
    score = {"flops": 6e9, "share": 10, "sigma": 0.17, **same}
    score["times"] = {name: Times(of) for name, of in seconds.items()}
    score["differences"] = {name: {"test_nats": 3e-4, "grid": 2e-5} for name in PEERS}
    times = {parzen.EPOCH: Times((20.0, 30.0)), parzen.REPORT: Times((0.2, 0.3))}
    return score, {"steps": 50, "times": times, **same}


def test_ratios_and_figures() -> None:
    limit, of_broadcast, of_kde, report = parzen.ratios(*fixed(2))
    assert (limit.value, limit.reached) == (1.5, True)
    assert (of_broadcast.value, of_broadcast.reached) == (17.5, False)
    assert (of_kde.value, of_kde.reached) == (90, True)
    assert (report.value, report.reached) == (1, True)
    assert "peer on 1 of 10 points, scaled" in of_kde.note
    text = parzen.figures_table([fixed(2)])
    for said in ("2 GFLOP/s", "sigma 0.1700", "differs by 3e-04 nats, 2e-05", "50.0 ms a step", "75.00"):
        assert said in text


@pytest.mark.parametrize("nats", [0.001, 0.5])
def test_the_command_prints_its_tables_and_keeps_its_figures(
    nats: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def score(of: Problem, how: Protocol, threads: int, rounds: int, share: int) -> dict[str, Any]:
        assert (how.num_samples, rounds, share) == (10_000, 3, 1_000)
        found = fixed(threads)[0]
        found["differences"][KDE]["test_nats"] = nats
        return found

    monkeypatch.setattr(parzen, "problem", lambda num_samples: tiny())
    monkeypatch.setattr(parzen, "measure", score)
    monkeypatch.setattr(parzen, "measure_report", lambda of, how, threads, rounds, steps: fixed(threads)[1])
    out = tmp_path / "figures" / "parzen.json"
    monkeypatch.setattr(sys, "argv", ["parzen", "--threads", "1", "2", "--json", str(out)])
    if nats < parzen.EQUAL_NATS:
        parzen.main()
    else:
        with pytest.raises(SystemExit, match="answers are not equal: KernelDensity differs"):
            parzen.main()
    printed = capsys.readouterr().out
    assert "1 thread: full protocol / matrix products" in printed
    assert "2 threads: KernelDensity / full protocol" in printed
    content = json.loads(out.read_text())
    assert [one["value"] for one in content["ratios"]] == [1.5, 17.5, 90, 1] * 2
    assert len(content["measured"]) == 4


def test_a_report_is_timed_beside_an_epoch() -> None:
    found = parzen.measure_report(tiny(), protocol(num_samples=60, sigma_points=3), 1, 1, steps=2)
    assert (found["steps"], found["threads"]) == (2, 1)
    assert set(found["times"]) == {parzen.EPOCH, parzen.REPORT}
