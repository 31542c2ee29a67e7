"""What is asked of each machine of a cluster.

The functions are sent there whole, so that they run even where gansearch is missing or old: they name nothing of
this module, and import inside what they need.
"""

from __future__ import annotations


def ask_versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the versions of Python, of packages (None where one is missing), and a digest of gansearch's code."""
    import hashlib
    import importlib.metadata
    import platform
    from pathlib import Path

    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    try:
        import gansearch
    except ImportError:
        return {**found, "gansearch": None, "gansearch's code": None}
    digest = hashlib.blake2b(digest_size=4)
    folder = Path(gansearch.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return {**found, "gansearch": gansearch.__version__, "gansearch's code": digest.hexdigest()}


def ask_token() -> bool:
    """Return whether Ray asks for a token there: a node hands its own setting on to its workers."""
    import os

    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def ask_clock() -> float:
    """Return the time there, in seconds since 1970."""
    import time

    return time.time()


def ask_gpus() -> int | str:
    """Return how many GPUs torch sees there, or why it cannot be asked."""
    import os

    # Ray hides the GPUs from what did not ask for any.
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        os.environ.pop(name, None)
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be imported: {error}"
    return torch.cuda.device_count()


def ask_disk(run: str | None) -> dict[str, tuple[int, int]]:
    """Return the free and all bytes of the disks of Ray's temporary files and of a run directory, by what it is for."""
    import shutil
    from pathlib import Path

    from ray._private import worker

    found = {}
    node = getattr(worker, "_global_node", None)
    places = {"Ray's temporary files": node.get_temp_dir_path() if node else None, "the run directory": run}
    for name, place in places.items():
        if place is None:
            continue
        there = next(folder for folder in (Path(place), *Path(place).parents) if folder.exists())
        usage = shutil.disk_usage(there)
        found[name] = (usage.free, usage.total)
    return found


def ask_run(run: str, seen: str, reply: str) -> str | None:
    """Read one file of a run directory and write another beside it; return what is wrong, or None.

    Nothing is made where the first is not there.
    """
    from gansearch import storage

    folder = storage.location(run)
    try:
        if not (folder / seen).is_file():
            return "missing"
        content = (folder / seen).read_bytes()
    except OSError as error:
        return f"cannot be read: {storage.reason(error)}"
    try:
        storage.write(folder / reply, lambda file: file.write(content))
    except OSError as error:
        return f"cannot be written: {storage.reason(error)}"
    return None


def ask_data(name: str, data_dir: str | None) -> dict[str, str] | str | None:
    """Return the digests of a data set's splits, None where it is not there, or what is wrong with it."""
    from pathlib import Path

    from gansearch.core.datasets import load
    from gansearch.errors import DataError

    try:
        return dict(load(name, data_dir=Path(data_dir) if data_dir else None, download=False).digests)
    except DataError as error:
        return None if "was not found" in error.message else error.message
