"""Models whose weights a run keeps: found, loaded and sampled.

Weights are kept of confirm trials and of whatever `gansearch train` and `gansearch reproduce` trained.
"""

from __future__ import annotations

import dataclasses

import pyarrow.compute as pc
import torch

from analysis.best import choice_of
from gansearch import results, schema
from gansearch.core.datasets import describe
from gansearch.core.shapes import Float, Tensor
from gansearch.errors import ResultsError
from gansearch.paths import RunPaths, TrialKey
from gansearch.recorder import load
from gansearch.rows import Row
from gansearch.spec import TrialSpec
from gansearch.storage import Location
from gansearch.training import make_learner, weights_digest

_STAGES = ("confirm", "train", "reproduce")
"""Stages whose trials keep their weights, in the order in which they stand for a run."""
_CHOSEN = ("search", "confirm")
"""Stages that validation chooses from."""
_COLUMNS = ("config_id", "seed", "stage", "fold", "replicate", "status")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """One trained model.

    Attributes:
        path: its weights' file.
        spec: the trial that trained it.
        weights: what a sample needs, by name.
        scored_epoch: the epoch of the weights.
        digest: digest of the weights.
    """

    path: Location
    spec: TrialSpec
    weights: dict[str, Tensor]
    scored_epoch: int
    digest: str

    def describe(self) -> str:
        """Return which model this is, in words."""
        key = self.spec.key
        return f"configuration {key.config_id}, {key.stage} seed {key.seed}, epoch {self.scored_epoch}"


def find_weights(run: Location, config_id: str | None = None, *, skip_damaged: bool = False) -> Location:
    """Return the weights that stand for a run: of the leader's first confirm seed, never of the best-looking one.

    Where validation cannot choose a leader, as in a directory of trained configurations, there must be only
    one configuration. Of its trials, confirm comes before train and reproduce, and earlier replicates first.

    Args:
        run: the run directory.
        config_id: another configuration than the leader.
        skip_damaged: choose among the other rows where a part is damaged, instead of refusing.

    Raises:
        ResultsError: when no such weights are kept, or it is not clear which are meant.
    """
    rows, _ = results.read_arrow(
        run, schema.TRIALS, columns=_COLUMNS, where=pc.field("stage").isin(_STAGES), skip_damaged=skip_damaged
    )
    complete = [row for row in rows.to_pylist() if row["status"] == schema.COMPLETE]
    kept = {_key(row): row for row in complete if RunPaths(run).weights(_key(row)).is_file()}
    meant = config_id or _leader(run, kept, skip_damaged)
    own = {key: row for key, row in kept.items() if key.config_id == meant}
    if not own:
        held = ", ".join(sorted({key.config_id for key in kept})) or "none"
        raise ResultsError(
            f"{run} keeps no weights of {f'configuration {meant}' if meant else 'any configuration'} "
            f"(weights are kept of: {held})",
            hint=f"train it there: gansearch best {run} -o best.yaml, then gansearch train best.yaml --out {run}",
        )
    first = min(own, key=lambda key: (_STAGES.index(key.stage), own[key]["replicate"], key.seed, key.fold))
    return RunPaths(run).weights(first)


def _leader(run: Location, kept: dict[TrialKey, Row], skip_damaged: bool) -> str | None:
    """Return the configuration that a run stands for; None where it has none."""
    searched, _ = results.read_arrow(
        run, schema.TRIALS, columns=("stage",), where=pc.field("stage").isin(_CHOSEN), skip_damaged=skip_damaged
    )
    if len(searched):
        return choice_of(run, skip_damaged=skip_damaged).leader.config_id
    found = sorted({key.config_id for key in kept})
    if len(found) > 1:
        raise ResultsError(f"several configurations were trained there: {', '.join(found)}", hint="add --config-id")
    return next(iter(found), None)


def _key(row: Row) -> TrialKey:
    return TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"])


def load_model(path: Location) -> KeptModel:
    """Return the model of a weights' file.

    Raises:
        ResultsError: when the file is missing, damaged, or not of a finished trial.
    """
    saved = load(path)
    if "spec" not in saved.state:
        raise ResultsError(f"{path} holds no finished model", hint="give a weights.safetensors")
    digest = weights_digest(saved.tensors)
    if digest != saved.state["weights_digest"]:
        raise ResultsError(f"{path} is damaged: its weights have another digest than it states")
    return KeptModel(
        path=path,
        spec=TrialSpec.from_dict(saved.state["spec"]),
        weights=saved.tensors,
        scored_epoch=saved.state["scored_epoch"],
        digest=digest,
    )


def draw(model: KeptModel, n: int, seed: int | None = None) -> Float[Tensor, "n d"]:
    """Return samples of a kept model, images in [0,1], [n, d].

    Args:
        model: what to sample.
        n: how many.
        seed: decides the noise; by default the trial's own, which gives the images of the sheet in its
            `samples` table where they are drawn on the kind of device that the trial ran on: samples are drawn
            on the CPU, whose arithmetic rounds otherwise than a GPU's.
    """
    config, info = model.spec.config, describe(model.spec.config.dataset.name)
    # A learner wants images to train on; what it samples depends on the given weights alone.
    blank = torch.zeros(config.algorithm.batch_size, info.dim, dtype=torch.uint8)
    learner = make_learner(config, blank, info.levels, model.spec.seed if seed is None else seed)
    return learner.sample(model.weights, n, "sheet")
