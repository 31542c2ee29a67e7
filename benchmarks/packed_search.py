"""A search on one device with PyTorch and NumPy alone: a list of configurations, fixed rungs, packs, rows as JSON.

    python -m benchmarks.packed_search --device cuda --out found

Trials of one shape share a pack of so many slots, and the shapes follow one another. After each rung's epochs a trial
goes on if its report is among the best of those that have come to that rung so far, one of `reduction`; a place that
came free is given to the next configuration before the next epoch. It is the rule of ASHA (Li et al. 2020) that stops
and never pauses. The rows have the columns of the tables `trials` and `curves` (`gansearch/schema.py`) with times as
text; pictures, the test set and checkpoints are left to `gansearch sweep`.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.packed_networks import SEED, mnist, paper
from benchmarks.packed_trials import Bench, Run, Write, line
from gansearch import schema
from gansearch.config import TrialConfig
from gansearch.core.datasets import Dataset, load
from gansearch.core.pack import Pack, shape_of
from gansearch.rows import Row
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """Where trials are stopped.

    Attributes:
        epochs: after which epochs, ascending.
        reduction: of the reports of a rung, one in so many goes on; 2 or more.
    """

    epochs: tuple[int, ...] = ()
    reduction: int = 3

    def __post_init__(self) -> None:
        if list(self.epochs) != sorted(set(self.epochs)) or (self.epochs and self.epochs[0] < 1):
            raise ValueError(f"rungs must be ascending numbers of epochs, got {self.epochs}")
        if self.reduction < 2:
            raise ValueError(f"reduction must be 2 or more, got {self.reduction}")

    def keeps(self, value: float, seen: Sequence[float]) -> bool:
        """Return whether a trial goes on from a rung.

        Args:
            value: its report there; one that is not finite never does.
            seen: all reports there so far, its own among them.
        """
        place = sum(other > value for other in seen)
        return math.isfinite(value) and place < max(1, len(seen) // self.reduction)


def search(
    specs: Sequence[TrialSpec], data: Dataset, device: torch.device, *, rungs: Rungs, slots: int, write: Write
) -> list[Row]:
    """Train configurations in packs to their ends; return their rows of `trials`.

    Args:
        specs: what is asked for, in order; stage `search`.
        data: the images.
        device: what to train on.
        rungs: where trials are stopped; at a multiple of each configuration's `score.report_every`.
        slots: trials at a time, at most.
        write: takes rows as they are known.

    Raises:
        ValueError: when there are no slots, a trial is of another stage or a rung is not at a report.
    """
    if slots < 1:
        raise ValueError(f"slots must be 1 or more, got {slots}")
    for spec in specs:
        if spec.stage != "search":
            raise ValueError(f"the stage must be search, got {spec.stage}")
        if off := [epoch for epoch in rungs.epochs if epoch % spec.config.score.report_every]:
            raise ValueError(
                f"rungs {off} are at no report of a trial that reports every {spec.config.score.report_every}"
            )
    bench = Bench.of(data, device, specs)
    shares: dict[Any, list[TrialSpec]] = collections.defaultdict(list)
    for spec in specs:
        shares[shape_of(spec.config)].append(spec)
    seen: dict[int, list[float]] = collections.defaultdict(list)
    rows: list[Row] = []
    for group in shares.values():
        pack, waiting, running = Pack(bench.train, data.levels), collections.deque(group), list[Run]()
        while waiting or running:
            while waiting and len(running) < slots:
                spec = waiting.popleft()
                share = 1 / slots if device.type == "cuda" else 0.0
                running.append(Run(spec, pack.join(spec.config, spec.seed), bench, write, share))
            pack.train_epoch()
            values = {run: run.trained() for run in running}
            for run, value in values.items():  # all of an epoch first, lest the earlier be favoured
                epoch = run.row["epochs"]
                if value is not None and epoch in rungs.epochs and not run.slot.diverged():
                    seen[epoch].append(value)
            for run, value in values.items():
                ended = None if value is None else _decided(run, value, rungs, seen)
                if ended is not None:
                    rows += run.end(*ended)
                    pack.leave(run.slot)
                    running.remove(run)
    return rows


def _decided(run: Run, value: float, rungs: Rungs, seen: dict[int, list[float]]) -> tuple[str, str | None] | None:
    """Return a trial's status and why, where it ends with its report."""
    epoch = run.row["epochs"]
    if run.slot.diverged():
        return schema.DIVERGED, f"a loss or a step became non-finite by epoch {epoch}"
    if run.ended:
        return schema.COMPLETE, None
    if epoch in rungs.epochs and not rungs.keeps(value, seen[epoch]):
        return schema.STOPPED, f"stopped by the scheduler after {epoch} epochs"
    return None


def specs_of(configs: Sequence[TrialConfig], seed: int, **protocols: Any) -> list[TrialSpec]:
    """Return a search's trials, with the seeds that a sweep of this seed gives them."""
    return [
        TrialSpec(config=one, seed=trial_seed(seed, "search", one.config_id, 0), stage="search", number=i, **protocols)
        for i, one in enumerate(configs)
    ]


def drawn(base: TrialConfig, count: int, seed: int) -> list[TrialConfig]:
    """Return configurations of one shape: random rates, momentum and dropout around a base."""
    source = np.random.default_rng(seed)
    return [
        base.replace(
            {
                "momentum.lr_g": float(np.exp(source.uniform(np.log(0.02), np.log(0.4)))),
                "momentum.lr_d": float(np.exp(source.uniform(np.log(0.02), np.log(0.4)))),
                "momentum.final": float(source.uniform(0.5, 0.9)),
                "discriminator.dropout_hidden": float(source.uniform(0.0, 0.6)),
            }
        )
        for _ in range(count)
    ]


def main() -> int:
    """Search, write `trials.jsonl` and `curves.jsonl`, and print what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.packed_search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the rows go")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="(default: cuda)")
    parser.add_argument("--configurations", type=Path, metavar="FILE", help="as lines of JSON; random ones by default")
    parser.add_argument("--trials", type=int, default=64, metavar="N", help="random configurations (default: 64)")
    parser.add_argument("--epochs", type=int, default=50, metavar="N", help="of the random ones (default: 50)")
    parser.add_argument("--rungs", type=int, nargs="*", default=[5, 15], metavar="N", help="(default: 5 15)")
    parser.add_argument("--reduction", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--slots", type=int, default=64, metavar="N", help="trials at a time (default: 64)")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="of the search (default: 2014)")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no GPU here; --device cpu searches on the processor.", file=sys.stderr)
        return 2
    if given.configurations:
        lines = given.configurations.read_text(encoding="utf-8").splitlines()
        configs = [TrialConfig.from_dict(json.loads(text)) for text in lines if text.strip()]
    else:
        base = paper().replace(
            {"algorithm.epochs": given.epochs, "score.report_every": 5, "momentum.ramp_unit": "auto"}
        )
        configs = drawn(base, given.trials, given.seed)
    name = configs[0].dataset.name
    called, data = mnist() if name == "mnist" else (name, load(name, data_dir=None, download=False))
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with (given.out / "trials.jsonl").open("w") as trials, (given.out / "curves.jsonl").open("w") as curves:
        files = {schema.TRIALS.name: trials, schema.CURVES.name: curves}
        rows = search(
            specs_of(configs, given.seed),
            data.without_test(),
            torch.device(given.device),
            rungs=Rungs(epochs=tuple(given.rungs), reduction=given.reduction),
            slots=given.slots,
            write=lambda table, row: print(line(row), file=files[table.name], flush=True),
        )
    seconds = time.perf_counter() - began
    counts = collections.Counter(row["status"] for row in rows)
    best = max((row["valid_ll_mean"] for row in rows if row["status"] == schema.COMPLETE), default=math.nan)
    rate = 3600 * len(rows) / seconds
    print(f"{called}: {len(rows)} configurations in {seconds:.0f} s, {rate:.0f} an hour; {dict(counts)}")
    print(f"best validation score: {best:.1f} nats; rows in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
