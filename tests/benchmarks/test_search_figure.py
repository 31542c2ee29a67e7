"""The figure of the replayed searches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib", reason="needs the extra `bench`")

from benchmarks.search import figure


def test_labels_that_would_overlap_are_moved_apart_in_their_order() -> None:
    places = figure.spread({"a": 1.0, "b": 1.01, "c": 0.99, "d": 5.0}, 0.5)
    assert places["d"] == 5.0
    assert [places["c"], places["a"], places["b"]] == pytest.approx([0.5, 1.0, 1.5])


def test_labels_that_are_moved_push_their_neighbours() -> None:
    wanted = dict(zip("abcdef", np.random.default_rng(3).random(6), strict=True))
    places = figure.spread(wanted, 0.4)
    order = sorted(places, key=lambda name: places[name])
    assert order == sorted(wanted, key=lambda name: wanted[name])
    assert np.diff([places[name] for name in order]).min() >= 0.4 - 1e-9


def test_every_strategy_is_drawn_and_named_but_for_variants(tmp_path: Path) -> None:
    epochs = np.arange(18, 2593, 18)
    frame = pd.DataFrame(
        {"world": world, "workers": 4, "strategy": name, "epochs": e, "mean": top * e / 2592, "half": 0.2}
        for world in ("nearest", "surrogate")
        for name, top in (("random", 8.0), ("tpe + asha", 9.0), ("tpe + asha, grace 2", 9.5))
        for e in epochs
    )
    drawn = figure.draw(frame, 4)
    assert len(drawn.axes) == 2
    for axes in drawn.axes:
        texts = {text.get_text() for text in axes.texts}
        assert {"random", "tpe + asha"} <= texts
        assert "tpe + asha, grace 2" not in texts
    path = tmp_path / "figure.png"
    drawn.savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")
