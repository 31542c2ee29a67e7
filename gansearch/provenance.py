"""Where and with what a trial ran: the machine, the device, the versions and the code's revision."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import socket
import subprocess
from pathlib import Path

import torch

from gansearch import __version__


def environment(device: torch.device, threads: int) -> dict[str, object]:
    """Return the `run_*` columns that say where a trial runs.

    Args:
        device: what it runs on.
        threads: CPU threads it was given.
    """
    return {
        "run_host": socket.gethostname(),
        "run_device": device.type,
        "run_device_name": device_name(device),
        "run_threads": threads,
        "run_code_revision": code_revision(),
        "run_gansearch_version": __version__,
        "run_torch_version": str(torch.__version__),
        "run_ray_version": _version("ray"),
        "run_python_version": platform.python_version(),
    }


def versions() -> dict[str, str | None]:
    """Return the versions a sweep runs with, and the code's revision."""
    packages = ("ray", "optuna", "numpy", "pandas", "pyarrow")
    return {
        "gansearch": __version__,
        "code_revision": code_revision(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # with its build, as in the trials' rows
        **{package: _version(package) for package in packages},
    }


def device_name(device: torch.device) -> str:
    """Return the model of the GPU or processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


@functools.cache
def _processor() -> str:
    # The capability is part of the name: kernels, hence the last bits of a result, depend on it.
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"


@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def code_revision() -> str | None:
    """Return the Git revision of the running code, `-dirty` where files differ from it; None outside Git."""
    package = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(package), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed copy may lie inside somebody else's checkout, whose revision says nothing about it.
    if not git("ls-files", __file__):
        return None
    revision = git("rev-parse", "--short=12", "HEAD")
    return f"{revision}-dirty" if revision and git("status", "--porcelain", "--", str(package)) else revision
