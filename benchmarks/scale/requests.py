"""Count the requests that a sweep makes of an S3 store, by who makes them; print them as a table.

    python -m benchmarks.scale.requests

A server that speaks S3 runs on loopback and writes down what it is asked; the driver's callbacks and no-op
trials run in this process, one after the other. Needs `pip install '.[test]'`, which brings the server.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ray.tune.experiment import Trial as TuneTrial

from benchmarks.scale.stand_ins import stand_in
from benchmarks.scale.studies import stand_in_study
from gansearch import storage
from gansearch.compaction import BATCH, Compactor
from gansearch.core.datasets import load
from gansearch.paths import RunPaths
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.search.observer import Observer
from gansearch.search.progress import Progress
from gansearch.search.proposals import Proposal
from gansearch.search.searchers import SPEC
from gansearch.search.specs import search_spec
from gansearch.storage import Location
from tests.object_store import object_store

# Requests that fail are written in colour.
_REQUEST = re.compile(r'"(?:\x1b\[[\d;]*m)*(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP')

KINDS = ("HEAD", "GET", "LIST", "PUT", "POST", "DELETE")
START = "driver, when a trial starts"
WORKER = "worker, without training"
END = "driver, when a trial ends"
MERGE = "driver, merging parts"

Counts = collections.Counter[str]


def asked(log: Path) -> Counts:
    """Return how many requests of each kind a server has written down so far: LIST is a GET of the bucket."""
    found: Counts = collections.Counter()
    for method, path in _REQUEST.findall(log.read_text(encoding="utf-8", errors="replace")):
        found["LIST" if "list-type" in path else method] += 1
    return found


@contextlib.contextmanager
def counted(log: Path, into: Counts) -> Iterator[None]:
    """Add the requests of the block."""
    before = asked(log)
    yield
    into.update(asked(log) - before)


def measure(trials: int, folder: Path) -> dict[str, Counts]:
    """Run so many no-op trials one after the other on a store; return the requests by who made them.

    Args:
        trials: how many.
        folder: where the store writes down what it is asked.
    """
    log = folder / "requests.log"
    with object_store(log) as store:
        return _measure(trials, storage.location(f"{store.uri}/run"), log)


def _measure(trials: int, run: Location, log: Path) -> dict[str, Counts]:
    claim = "benchmark"
    storage.write_json(RunPaths(run).claim(claim), {})  # what every writer looks for
    study, data = stand_in_study(trials), load("digits", data_dir=None)
    recorder, compactor = Recorder(run, claim), Compactor(run, claim)
    progress = Progress(study=study.name, stage="search", planned=trials)
    observer = Observer(recorder, {0: data.digests}, progress, slots=1, searched=(), publish=lambda _: None)
    found: dict[str, Counts] = {name: collections.Counter() for name in (START, WORKER, END, MERGE)}
    for number in range(trials):
        spec = search_spec(study, Proposal(number=number, point=study.space.sample(number, study.seed)), 0)
        trial = TuneTrial("worker", config={SPEC: spec.to_dict()}, trial_id=str(number), stub=True)
        with counted(log, found[START]):
            observer.on_trial_start(0, [], trial)
        with counted(log, found[WORKER]):
            result = stand_in(spec, recorder, data, Placement(), lambda: None)
        trial.run_metadata.last_result = result
        with counted(log, found[END]):
            observer.on_trial_result(0, [], trial, result)
            observer.on_trial_complete(0, [], trial)
        with counted(log, found[MERGE]):  # in a thread of its own: part of it may fall to the next trial
            compactor.ended(spec.key, [p.id for p in spec.protocols])
    with counted(log, found[MERGE]):
        compactor.close()
    return found


def main() -> None:
    """Print the requests a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=BATCH, help="merged at the end, where they fill a batch")
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory(prefix="gansearch-requests-") as folder:
        found = measure(trials, Path(folder))
    print("| requests a trial | " + " | ".join(KINDS) + " | together |\n" + "|---" * (len(KINDS) + 2) + "|")
    for who, counts in found.items():
        cells = [f"{counts[kind] / trials:.2f}" for kind in KINDS]
        print(f"| {who} | " + " | ".join(cells) + f" | {counts.total() / trials:.2f} |")


if __name__ == "__main__":
    main()
