"""The start-up benchmark: what it reads of a process's memory, and what its tables say."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

import pytest

from benchmarks.startup import BARE, STUDIES, bare, figures_table, ratios
from benchmarks.startup_memory import STORE, in_store, pss
from gansearch.search.study import load_study

SIZE = 8_388_608


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="PSS is Linux's own")
def test_memory_counts_what_is_touched(tmp_path: Path) -> None:
    before, (store_before, _) = pss(os.getpid()), in_store(os.getpid())
    path = tmp_path / STORE
    path.write_bytes(bytes(SIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as mapped:
        assert sum(mapped[::4096]) == 0
        rss, part = in_store(os.getpid())
        assert rss - store_before == pytest.approx(SIZE / 1e6)
        assert part == pytest.approx(rss)
        assert pss(os.getpid()) - before > 0.5 * SIZE / 1e6


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="PSS is Linux's own")
def test_bare_processes_are_of_the_modules_asked_for() -> None:
    assert 1 < bare(("json",)) < bare(("json", "numpy", "numpy.random"))
    with pytest.raises(RuntimeError, match="did not import no_such_module"):
        bare(("no_such_module",))


def test_a_trial_of_the_studies_takes_one_core() -> None:
    assert {load_study(name).resources.cpu for name in STUDIES.values()} == {1}
    assert {load_study(name).base.dataset.name for name in STUDIES.values()} == {"digits", "mnist"}
    assert BARE == ("torch", "ray")


def test_ratios_and_tables_say_what_was_measured() -> None:
    found = {
        "times": {
            "first training step": [6.0, 8.0, 7.0],
            "peer": [4.0, 5.0, 5.0],
            "peer, once it has imported ray": [3.0, 5.0, 4.0],
        },
        "memory": {"a worker": [300.0] * 3, "bare": [200.0] * 3, "bare, with ray.tune": [240.0] * 3},
        "sweeps": [{"store_rss": [46.0, 47.0], "store_pss": [15.0, 16.0]}] * 3,
    }
    one, strict, memory, tune = ratios("digits, own Ray", found)
    assert (one.value, one.target, one.reached) == (1.5, 1.3, False)
    assert strict.value == pytest.approx(1.75)
    assert (memory.value, memory.target, tune.value, tune.target) == (1.5, 1.2, 1.25, None)
    cells = re.sub(" +", " ", figures_table({"digits": found}))
    assert "| digits | first training step | 7.00 s | 6.00 s |" in cells
    assert "| digits | PSS of that, two workers together | 31.0 MB | 31.0 MB |" in cells
