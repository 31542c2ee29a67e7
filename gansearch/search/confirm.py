"""The confirm stage: the configuration that validation chose, trained again from fresh seeds."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.selection import choose
from gansearch import results, schema
from gansearch.config import TrialConfig
from gansearch.search.study import Study
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec


def finalist(run: Path) -> TrialConfig:
    """Return the configuration that the search-stage rows of a run put first by validation.

    Raises:
        ResultsError: when no search trial completed.
    """
    trials = results.read(run, schema.TRIALS.name)
    search = trials[trials["stage"] == "search"]
    config_id = choose(search).leader.config_id
    return TrialConfig.from_dict(json.loads(search.loc[search["config_id"] == config_id, "cfg_json"].iloc[0]))


def confirm_spec(study: Study, config: TrialConfig, replicate: int) -> TrialSpec:
    """Return a confirm trial of a configuration: a seed that its search never used, all protocols at once."""
    return TrialSpec(
        config=config,
        seed=trial_seed(study.seed, "confirm", config.config_id, replicate),
        stage="confirm",
        replicate=replicate,
        protocols=study.confirm.protocols,
        report_protocol=study.protocols.report,
    )
