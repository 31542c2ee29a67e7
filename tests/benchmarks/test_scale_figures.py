"""The figures that the scale benchmark makes of a run's rows and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import figures
from benchmarks.scale.usage import Sample, Usage


def test_marginal_time_is_that_of_the_trials_counted() -> None:
    slow_start = [0.0, 5.0, 9.0]
    then = [9.0 + 0.25 * i for i in range(1, 8)]
    started = [*reversed(then), *slow_start]
    assert figures.marginal_milliseconds(started, 4, 10) == pytest.approx(250.0)
    assert figures.marginal_milliseconds(started, 2, 3) == pytest.approx(4500.0)


@pytest.mark.parametrize(("first", "last"), [(1, 4), (5, 4), (2, 11)])
def test_marginal_time_of_trials_that_are_not_there_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="of 10"):
        figures.marginal_milliseconds([float(i) for i in range(10)], first, last)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (10_000, [(101, 1100), (9001, 10_000)]),
        (1000, [(101, 1000)]),
        (2100, [(101, 1100), (1101, 2100)]),
        (2099, [(101, 1100)]),
        (60, [(21, 60)]),
    ],
)
def test_windows_leave_the_start_out(trials: int, expected: list[tuple[int, int]]) -> None:
    assert figures.windows(trials) == expected


class TestWallOverCompute:
    def test_workers_that_never_wait_reach_one(self) -> None:
        started = [0.0, 1.5, 10.0, 11.5, 20.0, 21.5]
        seconds = [10.0, 10.0, 10.0, 10.0, 11.5, 10.0]
        assert figures.wall_over_compute(started, seconds, 2) == pytest.approx(1.0)

    def test_time_before_the_last_worker_began_does_not_count(self) -> None:
        alone = figures.wall_over_compute([0.0, 100.0, 108.0, 108.0], [108.0, 8.0, 4.0, 4.0], 2)
        assert alone == pytest.approx(1.0)

    def test_waits_between_trials_and_at_the_end_count(self) -> None:
        # Two workers from 0 to 24 s; one waits 2 s between its trials, and 4 s at the end.
        assert figures.wall_over_compute([0.0, 0.0, 12.0, 11.0], [10.0, 11.0, 8.0, 13.0], 2) == pytest.approx(48 / 42)

    def test_one_trial_a_worker_says_nothing(self) -> None:
        with pytest.raises(ValueError, match="3 trials say nothing about 3 workers"):
            figures.wall_over_compute([0.0, 1.0, 2.0], [5.0, 5.0, 5.0], 3)


def test_gap_is_from_an_end_to_the_start_that_takes_its_place() -> None:
    started = [0.0, 0.0, 10.2, 12.6, 20.4]
    seconds = [10.0, 12.0, 10.0, 9.0, 3.0]
    assert figures.gap_seconds(started, seconds, 2) == pytest.approx(0.2)


def test_files_of_tables_are_counted_whatever_their_names(tmp_path: Path) -> None:
    for name in ("trials/a.parquet", "trials/.b.tmp", "curves/c.parquet", "checkpoints/k/checkpoint.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    assert figures.table_files(tmp_path) == {"trials": 2, "curves": 1}
    assert figures.run_bytes(tmp_path) == 20


def test_use_of_the_processor_is_that_between_the_counts() -> None:
    usage = Usage(lambda: 0)
    usage.samples = [
        Sample(count=count, megabytes=megabytes, cpu_seconds=cpu)
        for count, megabytes, cpu in ((0, 90, 1.0), (7, 120, 3.0), (19, 100, 3.6), (31, 110, 9.0))
    ]
    assert usage.cpu_milliseconds(8, 19) == pytest.approx(50.0)
    assert usage.cpu_milliseconds(5, 18) == pytest.approx(50.0)  # heard of in the same steps
    assert (usage.at(8).megabytes, usage.at(99).megabytes, usage.most_megabytes) == (100, 110, 120)


def test_a_process_is_sampled_while_it_works() -> None:
    done = 0
    with Usage(lambda: done, seconds=0.01) as usage:
        while len(usage.samples) < 3:
            sum(range(1000))
        done = 5
    first, last = usage.samples[0], usage.samples[-1]
    assert (first.count, last.count) == (0, 5)
    assert last.cpu_seconds > first.cpu_seconds
    assert first.megabytes > 10
