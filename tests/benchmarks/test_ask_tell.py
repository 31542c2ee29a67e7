"""The benchmark of what a searcher costs a trial."""

from __future__ import annotations

import sys

import pytest

from benchmarks.search import ask_tell


def test_it_prints_a_row_a_searcher_beside_random(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ask_tell, "SIZES", (7, 12))
    monkeypatch.setattr(sys, "argv", ["ask_tell", "--repeats", "2"])
    ask_tell.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["7", "12"]
    assert [line.split()[0] for line in lines[2:]] == ["random", "sobol", "tpe", "gp", "cmaes", "nsga2"]
    for line in lines[2:]:
        mean, ratio = line.split()[1:3]
        assert float(mean) > 0
        assert ratio.startswith("(")
    assert lines[2].split()[2] == "(1)"


def test_its_value_is_best_in_the_middle_of_the_space() -> None:
    given = ask_tell.study("tpe", 4)
    points = [given.space.sample(i, 3) for i in range(40)]
    best = {**points[0], "momentum.lr_g": 0.1, "momentum.lr_d": 0.1, "momentum.final": 0.7}
    best["discriminator.dropout_hidden"] = 0.3
    assert ask_tell.outcome(best).value == 0.0
    assert all(value is not None and value < 0.0 for value in (ask_tell.outcome(p).value for p in points))
    assert given.space.contains(best)
