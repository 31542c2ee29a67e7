"""A real run for the commands: small trials on digits, trained here without Ray, once for all tests."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.best import best_document
from gansearch import storage
from gansearch.cli import main
from gansearch.config import TrialConfig
from gansearch.core.datasets import load
from gansearch.paths import RunPaths
from gansearch.placement import Placement
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.search.progress import Progress
from gansearch.spec import TrialSpec
from gansearch.trial import run
from gansearch.yaml_files import dump_yaml, load_yaml

FULL = Protocol(name="small", num_samples=230, sigma_points=9)
PUBLISHED = Protocol(name="smaller", num_samples=210, sigma_points=5, refine=False)
REPORT = Protocol(name="smallest", num_samples=120, sigma_points=4, valid_subset="random", valid_count=70)
CONFIG = TrialConfig().replace(
    {
        "noise.dim": 7,
        "generator.hidden": (19, 17),
        "generator.init_range": 0.2,
        "discriminator.hidden": (13,),
        "discriminator.pieces": 2,
        "discriminator.init_range": 0.1,
        "algorithm.epochs": 4,
        "algorithm.batch_size": 90,
        "score.report_every": 2,
    }
)
OTHER = CONFIG.replace({"algorithm.k": 5})
SEEDS = (41, 42, 43)

Gansearch = Callable[..., tuple[int, str, str]]


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder with a run in it.

    Attributes:
        folder: the current directory of the commands.
        run: the run directory.
    """

    folder: Path
    run: Path


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a folder that holds `runs/quickstart`: a finished run of real trials. Not to be written into."""
    folder = tmp_path_factory.mktemp("place")
    out = folder / "runs" / "quickstart"
    data, recorder = load("digits", data_dir=None, download=False), Recorder(out)
    for config, stage, seed in [
        (CONFIG, "search", 31),
        (OTHER, "search", 32),
        *((CONFIG, "confirm", seed) for seed in SEEDS),
    ]:
        protocols = (FULL, PUBLISHED) if stage == "confirm" else (FULL,)
        spec = TrialSpec(
            config=config,
            seed=seed,
            stage=stage,
            replicate=max(seed - SEEDS[0], 0),
            protocols=protocols,
            report_protocol=REPORT,
        )
        rows = run(spec, data, recorder, Placement())
        assert {row["status"] for row in rows} == {"COMPLETE"}, rows
    progress = Progress(
        study="quickstart",
        stage="done",
        planned=5,
        ended={"COMPLETE": 5},
        elapsed=12.0,
        host="here",
        pid=1,
        updated=1.0,
    )
    storage.write_json(RunPaths(out).progress, progress.to_dict())
    return Place(folder, out)


@pytest.fixture
def gansearch(capsys: pytest.CaptureFixture[str]) -> Gansearch:
    """Return what runs a command in this process and returns its exit code, stdout and stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([os.fspath(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def best(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the run's best.yaml in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.yaml"
    path.write_text(dump_yaml(best_document(place.run)), encoding="utf-8")
    return path


def edited(best: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Write a file in which something of best.yaml differs."""
    document = load_yaml(best)
    edit(document)
    path = best.with_name("edited.yaml")
    path.write_text(dump_yaml(document), encoding="utf-8")
    return path
