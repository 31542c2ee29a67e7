"""Conditional models from end to end: planned, swept, confirmed, drawn, shown in Table 1, trained again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gansearch import pictures
from gansearch.yaml_files import dump_yaml
from tests.cli.conftest import Gansearch
from tests.search.small_studies import plan


def study(folder: Path) -> Path:
    path = folder / "conditional.yaml"
    data = plan(num_trials=2, confirm={"top": 1, "seeds": 2, "protocols": ["full"]}, protocols={})
    data["base"] |= {"condition": {"on": "labels"}}
    path.write_text(dump_yaml(data), encoding="utf-8")
    return path


def test_the_plan_of_a_conditional_study_is_told(
    tmp_path: Path, gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = gansearch("sweep", study(tmp_path), "--out", "run", "--dry-run")
    assert code == 0
    assert "measured  " in out


@pytest.mark.slow
def test_a_conditional_model_has_its_own_row_and_a_class_a_column(
    tmp_path: Path, gansearch: Gansearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, _ = gansearch("sweep", study(tmp_path), "--out", "run")
    assert code == 0
    assert set(pd.read_parquet("run/trials").cfg_condition_on) == {"labels"}
    code, out, _ = gansearch("table1", "run")
    assert code == 0
    assert "Conditional adversarial nets, run" in out
    samples = pd.read_parquet("run/samples")
    sheet = samples[samples.kind == "sheet"].iloc[0]
    assert (sheet["rows"], sheet["columns"]) == (10, 10)
    assert np.asarray(Image.open(io.BytesIO(sheet.png))).ndim == 2
    gansearch("best", "run", "-o", "best.yaml")
    code, out, _ = gansearch("reproduce", "best.yaml", "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "identical"
    assert gansearch("figure", "run", "--kind", "interpolation", "-o", "lines.png")[0] == 0
    assert pictures.decode(Path("lines.png").read_bytes()).ndim == 2
