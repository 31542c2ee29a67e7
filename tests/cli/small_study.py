"""A small study on digits, of the same protocols as the commands' run."""

from __future__ import annotations

from pathlib import Path

from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import CONFIG

STUDY = {
    "description": "Small nets on digits",
    "base": CONFIG.to_dict(),
    "space": {"algorithm.k": {"int": [1, 3]}, "momentum.lr_g": {"loguniform": [0.02, 0.4]}},
    "num_trials": 6,
    "protocols": {
        "final": {"name": "small", "num_samples": 230, "sigma_points": 9},
        "report": {"name": "smallest", "num_samples": 120, "sigma_points": 4},
    },
    "confirm": {"seeds": 2, "protocols": [{"name": "small", "num_samples": 230, "sigma_points": 9}]},
    "seed": 11,
}


def write_study(folder: Path) -> Path:
    """Write the study to a folder; return its file."""
    path = folder / "small.yaml"
    path.write_text(dump_yaml(STUDY), encoding="utf-8")
    return path
