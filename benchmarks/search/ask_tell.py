"""What a searcher costs a trial: milliseconds of a suggest and a tell, beside those of `random`.

    python -m benchmarks.search.ask_tell [--repeats 20]

The space is that of `quickstart`. Each searcher is given as many finished trials as the row says, then asked and
told `--repeats` times; the mean is of the process's own CPU time, which a busy machine does not stretch. A searcher
that took more than STOP_MS is left out of the larger sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time

from gansearch.search.pairings import INDEXED
from gansearch.search.proposals import Known, Outcome, Point, Strategy, make_strategy
from gansearch.search.strategies import SEARCHERS, Scheduler, Searcher
from gansearch.search.study import Study, load_study

SIZES = (256, 1_000, 2_000)
STOP_MS = 2_000.0
FLOOR = "random"


def outcome(point: Point) -> Outcome:
    """Return a smooth value with one optimum in the middle of the space, and a cost that grows with k."""
    values = {name: float(str(value)) for name, value in point.items()}
    rates = math.fsum(math.log(values[f"momentum.lr_{net}"] / 0.1) ** 2 for net in "gd")
    others = (values["momentum.final"] - 0.7) ** 2 + (values["discriminator.dropout_hidden"] - 0.3) ** 2
    return Outcome(value=-rates - 10 * others, flops=1e9 * values["algorithm.k"])


def study(searcher: str, num_trials: int) -> Study:
    """Return quickstart with another searcher."""
    given = load_study("quickstart")
    return dataclasses.replace(
        given, searcher=Searcher(name=searcher), scheduler=Scheduler(name="none"), num_trials=num_trials
    )


def ask_tell(strategy: Strategy, repeats: int) -> float:
    """Return the mean milliseconds of CPU time of a suggest and a tell."""
    start = time.process_time()
    for _ in range(repeats):
        proposal = strategy.suggest()
        if proposal is None:
            raise RuntimeError("the space is exhausted")
        strategy.tell(proposal.number, outcome(proposal.point))
    return 1000 * (time.process_time() - start) / repeats


def measure(searcher: str, finished: int, repeats: int) -> float:
    """Return the mean milliseconds of a searcher that knows so many finished trials."""
    given = study(searcher, finished + repeats + 1)
    points = [given.space.base_point(), *(given.space.sample(i, given.seed) for i in range(1, finished))]
    known = [Known(number=i, point=point, outcome=outcome(point)) for i, point in enumerate(points)]
    strategy = make_strategy(given, known)
    ask_tell(strategy, 1)  # what is done once, such as skipping the known points, is no cost of a trial
    return ask_tell(strategy, repeats)


def main() -> None:
    """Print a row a searcher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="suggests and tells that are averaged")
    repeats = parser.parse_args().repeats
    names = [FLOOR, *(name for name in SEARCHERS if name not in (FLOOR, "grid"))]  # the space has no grid
    print("ms of CPU a suggest + tell (times random's), with so many finished trials")
    print(f"{'':8}" + "".join(f"{size:>20,}" for size in SIZES))
    floor: dict[int, float] = {}
    for name in names:
        cells = []
        for size in SIZES:
            found = measure(name, size, repeats if name not in INDEXED else 50 * repeats)
            floor.setdefault(size, found)
            cells.append(f"{found:.3f} ({found / floor[size]:,.0f})")
            if found > STOP_MS:
                break
        print(f"{name:8}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
