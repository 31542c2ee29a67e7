"""What every test stands on: shapes checked, one thread, nothing written outside the temporary folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import jaxtyping
import pytest

if TYPE_CHECKING:
    from tests.object_store import ObjectStore

# Before anything imports the core: its annotations are checked at every call, shapes included.
jaxtyping.install_import_hook("gansearch.core", "beartype.beartype")
# An example that is slow on a busy machine is no wrong one.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums are split over threads, so their last bits depend on the thread count; tests share few cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep Ray's token and the libraries' caches out of the home folder, and report nothing to anybody."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # Ray makes a token in its own place only, so one is made here.
        (home / "ray_auth_token").write_text(secrets.token_hex(32))
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "ray_auth_token"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TORCH_HOME", str(home / "torch"))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        yield


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Return the data folder that holds MNIST; use it in tests marked `data`."""
    folder = os.environ.get("GANSEARCH_DATA", "")
    if not folder or not (Path(folder) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip("GANSEARCH_DATA names no folder that holds MNIST/raw")
    return Path(folder)


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    """Run an object store for the test, its environment set in this process."""
    from tests.object_store import object_store

    with object_store() as running:
        yield running
