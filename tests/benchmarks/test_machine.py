"""What the benchmarks share: the machine, the order of timing, the tables and the files."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import Ratio, Times, headline, interleave, machine, options, ratio_table, table, write_json

ROOT = Path(__file__).parents[2]
WITHOUT = ("ray", "optuna", "pandas", "pyarrow", "scipy", "sklearn", "torchvision")


def test_module_loads_with_torch_and_numpy_alone() -> None:
    code = f"import sys\nfor name in {WITHOUT}: sys.modules[name] = None\nimport benchmarks.machine as m\nm.machine()\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_headline_names_the_machine_and_leaves_out_what_is_not_installed() -> None:
    where = {
        "processor": "Abacus 7",
        "cores": 1,
        "memory_gigabytes": 15.6,
        "gpu": "Loom 3",
        "system": "Linux-9",
        "load": 0.24,
        "versions": {"gansearch": "1.2", "torch": "2.11.0", "ray": None},
    }
    assert headline(where) == (
        "1 core of Abacus 7; 16 GiB; Loom 3; Linux-9; gansearch 1.2, torch 2.11.0; load 0.2 at the start."
    )
    own = machine()
    assert f"{own['cores']} core" in headline(own)
    assert own["processor"] in headline(own)
    assert own["memory_gigabytes"] > 0.1


def test_contestants_take_turns_and_nobody_always_begins() -> None:
    calls: list[str] = []
    contestants = {name: lambda name=name: calls.append(name) for name in "abc"}
    found = interleave(contestants, 3, warmups=2, clock=itertools.count().__next__)
    assert "".join(calls) == "abcbcacababcbca"
    assert {name: times.seconds for name, times in found.items()} == dict.fromkeys("abc", (1, 1, 1))


def test_times_tell_median_and_fastest() -> None:
    times = Times((3.0, 1.0, 7.0, 2.0))
    assert (times.median, times.fastest) == (2.5, 1.0)
    assert times.to_dict() == {"median": 2.5, "fastest": 1.0, "seconds": [3.0, 1.0, 7.0, 2.0]}


def test_times_of_several_in_a_row_are_shared_out() -> None:
    assert Times((3.0, 1.0)).each(4) == Times((0.75, 0.25))


def test_ratio_of_times_is_the_median_over_rounds() -> None:
    found = Ratio.of("a / b", Times((2.0, 9.0, 40.0)), Times((1.0, 3.0, 10.0)), 3.5)
    assert (found.value, found.note, found.reached) == (3.0, "2.00 to 4.00", False)
    with pytest.raises(ValueError, match="shorter"):
        Ratio.of("a / b", Times((2.0, 9.0)), Times((1.0,)))


@pytest.mark.parametrize(
    ("value", "target", "at_most", "reached"),
    [(1.3, 1.3, False, True), (1.29, 1.3, False, False), (2.5, 2.5, True, True), (2.6, 2.5, True, False)],
)
def test_target_is_a_floor_or_a_ceiling(value: float, target: float, at_most: bool, reached: bool) -> None:
    assert Ratio(name="a / b", value=value, target=target, at_most=at_most).reached is reached


def test_ratio_without_a_target_is_neither_reached_nor_not() -> None:
    text = ratio_table(
        [
            Ratio(name="a / b", value=1.234),
            Ratio(name="c / d", value=0.5, target=0.85, note="a tenth"),
            Ratio(name="e / f", value=2, target=2.5, at_most=True),
        ]
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert cells[2:] == [
        ["a / b", "1.23", "", "", ""],
        ["c / d", "0.50", "at least 0.85", "not reached", "a tenth"],
        ["e / f", "2.00", "at most 2.5", "reached", ""],
    ]


def test_table_pads_its_columns() -> None:
    assert table(["", "seconds"], [["one", "1"]]) == "|     | seconds |\n| --- | ------- |\n| one | 1       |"
    with pytest.raises(ValueError, match="2 cells"):
        table(["", "seconds"], [["one"]])


def test_figures_are_kept_as_json(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    write_json(path, {"cores": 3}, [{"seconds": 0.125}], [Ratio(name="a / b", value=0.5, target=0.25)])
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "machine": {"cores": 3},
        "ratios": [
            {"name": "a / b", "value": 0.5, "target": 0.25, "at_most": False, "note": "", "reached": True},
        ],
        "measured": [{"seconds": 0.125}],
    }


def test_every_benchmark_has_the_same_options() -> None:
    given = options("benchmarks.some", "What it is.").parse_args(["--json", "x.json", "--quick"])
    assert (given.json, given.quick) == (Path("x.json"), True)
