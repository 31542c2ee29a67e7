"""The least that a trial on Ray waits for: Ray's start and a worker's `import torch`. Run by `benchmarks.startup`."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from typing import Any

import ray


def imported() -> float:
    """Import torch in a worker; return when that was done, in seconds since 1970."""
    importlib.import_module("torch")
    return time.time()


def run(address: str) -> dict[str, float]:
    """Return when Ray was asked to start, and when a worker had imported torch."""
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    asked = time.time()
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
    return {"asked": asked, "imported": ray.get(ray.remote(num_cpus=1)(imported).remote())}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
