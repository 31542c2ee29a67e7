"""What each stage of a sweep asks of its trials."""

from __future__ import annotations

from gansearch.config import TrialConfig
from gansearch.search.proposals import Proposal
from gansearch.search.study import Study
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec


def search_spec(study: Study, proposal: Proposal, replicate: int) -> TrialSpec:
    """Return a search trial of a point of the study's space."""
    config = study.space.config(proposal.point)
    return TrialSpec(
        config=config,
        seed=trial_seed(study.seed, "search", config.config_id, replicate),
        stage="search",
        replicate=replicate,
        protocols=(study.protocols.final,),
        report_protocol=study.protocols.report,
        guards=study.guards,
        number=proposal.number,
    )


def confirm_specs(study: Study, config: TrialConfig) -> list[TrialSpec]:
    """Return all confirm trials of a configuration: each of its seeds on each fold."""
    replicates = range(study.confirm.seeds)
    return [confirm_spec(study, config, replicate, fold) for replicate in replicates for fold in study.confirm_folds]


def confirm_spec(study: Study, config: TrialConfig, replicate: int, fold: int = 0) -> TrialSpec:
    """Return a confirm trial of a configuration: a seed that its search never used, all protocols at once."""
    return TrialSpec(
        config=config,
        seed=trial_seed(study.seed, "confirm", config.config_id, replicate),
        stage="confirm",
        fold=fold,
        replicate=replicate,
        protocols=study.confirm.protocols,
        report_protocol=study.protocols.report,
    )
