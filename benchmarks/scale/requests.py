"""Count the requests that a sweep makes of an S3 store, by who makes them; print them as a table.

    python -m benchmarks.scale.requests

A server that speaks S3 runs on loopback and writes down what it is asked; the driver's callbacks and no-op
trials run in this process, one after the other. Needs `pip install '.[test]'`, which brings the server.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

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

BUCKET = "results"
START_SECONDS = 90.0
# Requests that fail are written in colour.
_REQUEST = re.compile(r'"(?:\x1b\[[\d;]*m)*(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP')

KINDS = ("HEAD", "GET", "LIST", "PUT", "POST", "DELETE")
START = "driver, when a trial starts"
WORKER = "worker, without training"
END = "driver, when a trial ends"
MERGE = "driver, merging parts"

Counts = collections.Counter[str]


class Server:
    """A server that speaks S3 on loopback, for the time of a `with` block, and what it was asked.

    Args:
        log: where it writes down its requests.
    """

    def __init__(self, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._log = log
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Server:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        out = self._stack.enter_context(self._log.open("wb"))
        process = subprocess.Popen(command, stdout=out, stderr=out)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        where = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",  # the server takes whatever it is given
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._stack.enter_context(mock.patch.dict(os.environ, where))
        until = time.monotonic() + START_SECONDS
        while True:
            request = urllib.request.Request(f"{where['AWS_ENDPOINT_URL']}/{BUCKET}", method="PUT")  # noqa: S310  # on loopback
            try:
                urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  # as above
                return self
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    self._stack.close()
                    raise
                time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def asked(self) -> Counts:
        """Return how many requests of each kind there were so far: LIST is a GET of the bucket."""
        found: Counts = collections.Counter()
        for method, path in _REQUEST.findall(self._log.read_text(encoding="utf-8", errors="replace")):
            found["LIST" if "list-type" in path else method] += 1
        return found


@contextlib.contextmanager
def counted(server: Server, into: Counts) -> Iterator[None]:
    """Add the requests of the block."""
    before = server.asked()
    yield
    into.update(server.asked() - before)


def measure(trials: int, server: Server) -> dict[str, Counts]:
    """Run so many no-op trials one after the other on the store; return the requests by who made them."""
    run, claim = storage.location(f"s3://{BUCKET}/run"), "benchmark"
    storage.write_json(RunPaths(run).claim(claim), {})  # what every writer looks for
    study, data = stand_in_study(trials), load("digits", data_dir=None)
    recorder, compactor = Recorder(run, claim), Compactor(run, claim)
    progress = Progress(study=study.name, stage="search", planned=trials)
    observer = Observer(recorder, data.digests, progress, slots=1, searched=(), publish=lambda _: None)
    found: dict[str, Counts] = {name: collections.Counter() for name in (START, WORKER, END, MERGE)}
    for number in range(trials):
        spec = search_spec(study, Proposal(number=number, point=study.space.sample(number, study.seed)), 0)
        trial = TuneTrial("worker", config={SPEC: spec.to_dict()}, trial_id=str(number), stub=True)
        with counted(server, found[START]):
            observer.on_trial_start(0, [], trial)
        with counted(server, found[WORKER]):
            result = stand_in(spec, recorder, data, Placement(), lambda: None)
        trial.run_metadata.last_result = result
        with counted(server, found[END]):
            observer.on_trial_result(0, [], trial, result)
            observer.on_trial_complete(0, [], trial)
        with counted(server, found[MERGE]):  # in a thread of its own: part of it may fall to the next trial
            compactor.ended(spec.key, [p.id for p in spec.protocols])
    with counted(server, found[MERGE]):
        compactor.close()
    return found


def main() -> None:
    """Print the requests a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=BATCH, help="merged at the end, where they fill a batch")
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory(prefix="gansearch-requests-") as folder, Server(Path(folder) / "log") as server:
        found = measure(trials, server)
    print("| requests a trial | " + " | ".join(KINDS) + " | together |\n" + "|---" * (len(KINDS) + 2) + "|")
    for who, counts in found.items():
        cells = [f"{counts[kind] / trials:.2f}" for kind in KINDS]
        print(f"| {who} | " + " | ".join(cells) + f" | {counts.total() / trials:.2f} |")


if __name__ == "__main__":
    main()
