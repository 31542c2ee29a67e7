"""The rows of `trials`: flattened configurations, and one row a protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gansearch import schema
from gansearch.config import TrialConfig, parameters
from gansearch.protocols import Protocol
from gansearch.recorder import Recorder
from gansearch.rows import cfg_columns, draft_row, final_rows
from tests.trials import FULL, PUBLISHED, REPORT, digits, spec


def test_lists_become_text_and_sections_that_do_not_act_null() -> None:
    config = TrialConfig().replace(
        {"generator.hidden": [1200, 7], "discriminator.hidden": [], "update.rule": "adam", "adam.beta1": 0.25}
    )
    columns = cfg_columns(config)
    assert columns["cfg_generator_hidden"] == "1200-7"
    assert columns["cfg_discriminator_hidden"] == ""
    assert columns["cfg_adam_beta1"] == 0.25
    assert columns["cfg_generator_max_col_norm"] is None
    assert {name for name, value in columns.items() if name.startswith("cfg_momentum_") and value is not None} == set()
    assert cfg_columns(TrialConfig())["cfg_adam_beta1"] is None


def test_each_parameter_has_its_column() -> None:
    columns = cfg_columns(TrialConfig())
    assert list(columns) == [schema.cfg_column(name) for name, _ in parameters()]
    assert len(columns) == len(set(columns))
    documented = [c.name for c in schema.TRIALS.columns if c.name.startswith("cfg_")]
    assert documented == [*columns, "cfg_schedule", "cfg_json"]


@pytest.mark.parametrize("status", schema.STATUSES)
def test_a_draft_becomes_rows_that_pandas_reads(tmp_path: Path, status: str) -> None:
    trial = spec("confirm", seed=2**63 - 1, protocols=(FULL, PUBLISHED), fold=3, replicate=2)
    scores = [{"valid_ll_mean": -1.5}, {"valid_ll_mean": 2.5}] if status == schema.COMPLETE else []
    for row in final_rows(draft_row(trial, digits().digests), trial, status, error="why", scores=scores):
        Recorder(tmp_path).trial(trial.key, row)
    frame = pd.read_parquet(tmp_path / "trials").set_index("protocol_id")
    assert frame.index.tolist() == sorted([FULL.id, PUBLISHED.id])
    found = {str(name): row for name, row in frame.to_dict("index").items()}
    for protocol in (FULL, PUBLISHED):
        written = found[protocol.id]
        assert (written["status"], written["error"], written["epochs"]) == (status, "why", 0)
        identity = [written[name] for name in ("seed", "stage", "fold", "replicate")]
        assert identity == [2**63 - 1, "confirm", 3, 2]
        assert written["num_samples"] == protocol.num_samples
        assert Protocol(**json.loads(written["protocol_json"])) == protocol
        assert Protocol(**json.loads(written["report_protocol_json"])) == REPORT
        assert TrialConfig.from_dict(json.loads(written["cfg_json"])) == trial.config
        assert written["config_id"] == trial.config.config_id
        assert written["data_valid_digest"] == digits().digests["valid"]
    if status == schema.COMPLETE:
        assert frame.loc[[FULL.id, PUBLISHED.id], "valid_ll_mean"].tolist() == [-1.5, 2.5]


def test_scores_that_do_not_match_the_protocols_are_refused() -> None:
    trial = spec(protocols=(FULL, PUBLISHED))
    draft = draft_row(trial, digits().digests)
    with pytest.raises(ValueError, match="zip"):
        final_rows(draft, trial, schema.COMPLETE, scores=[{"valid_ll_mean": 1.0}])
