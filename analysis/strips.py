"""Pictures out of the table `samples`: the finalists' sheets, and one trial's samples over its epochs.

No weights are read: what is shown was drawn while the trial ran, at every report from the same noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from gansearch import pictures, results, schema
from gansearch.errors import ResultsError
from gansearch.paths import TrialKey
from gansearch.storage import Location

REPORTS_SHOWN = 12
"""Reports in a strip, at most."""
_STAGES = ("confirm", "train", "reproduce", "search")
_HINT = "gansearch status shows how far the run is"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A finalist's sheet of samples.

    Attributes:
        config_id: hash of the configuration.
        seed: of the confirm trial.
        fold: fold of the data set that it was trained on.
        epoch: epoch of its scored weights.
        rows: rows of images.
        columns: images a row.
        png: the picture, its pixels not enlarged.
    """

    config_id: str
    seed: int
    fold: int
    epoch: int
    rows: int
    columns: int
    png: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One trial's samples over its epochs: a row of images a report, labelled with its epoch, the earliest first.

    All rows are of the same noise, so a column shows what becomes of one noise vector.

    Attributes:
        key: the trial.
        epochs: the epoch of each row.
        columns: images a row.
        zoom: how much each image is enlarged.
        png: the picture.
    """

    key: TrialKey
    epochs: tuple[int, ...]
    columns: int
    zoom: int
    png: bytes

    @property
    def caption(self) -> str:
        """What the picture shows, in a sentence."""
        first, last = self.epochs[0], self.epochs[-1]
        span = f"at epoch {first}" if len(self.epochs) == 1 else f"from epoch {first} to {last}"
        return (
            f"{self.columns} samples of configuration {self.key.config_id}, {self.key.stage} seed {self.key.seed}, "
            f"{span}: a row a report, a column a noise vector."
        )


def sheets(run: Location | str, *, config_id: str | None = None, skip_damaged: bool = False) -> tuple[Sheet, ...]:
    """Return the sheets of a run's confirm trials, by configuration, seed and fold; none where none has ended.

    Args:
        run: the run directory.
        config_id: those of this configuration only.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run has no table of samples, or a part is damaged.
    """
    where = pc.field("kind") == "sheet"
    if config_id is not None:
        where &= pc.field("config_id") == config_id
    names = ["config_id", "seed", "fold", "epoch", "rows", "columns", "png"]
    found, _ = results.read_arrow(run, schema.SAMPLES, columns=names, where=where, skip_damaged=skip_damaged)
    order = ("config_id", "seed", "fold")
    return tuple(Sheet(**row) for row in sorted(found.to_pylist(), key=lambda row: tuple(row[name] for name in order)))


def strip(
    run: Location | str,
    config_id: str,
    seed: int | None = None,
    *,
    reports: int = REPORTS_SHOWN,
    columns: int | None = None,
    zoom: int | None = None,
    skip_damaged: bool = False,
) -> Strip:
    """Return one trial's samples over its epochs.

    Args:
        run: the run directory.
        config_id: its configuration.
        seed: its seed; by default that of the configuration's first trial, confirm before train before search.
        reports: rows at most, 1 or more: of more reports, those at even distances, the first and the last included.
        columns: images a row; by default, and at most, all that a report keeps.
        zoom: how much images are enlarged; by default to about 56 pixels.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the table holds no samples of such a trial, or what it holds is damaged.
        ValueError: when there are to be no rows.
    """
    if reports < 1:
        raise ValueError(f"a strip has a row or more, got {reports}")
    rows = _reports(run, config_id, seed, skip_damaged)
    places = np.unique(np.linspace(0, len(rows) - 1, min(reports, len(rows))).round().astype(int))
    shown = [rows[i] for i in places.tolist()]
    tiles = [pictures.take_apart(pictures.decode(row["png"]), row["rows"], row["columns"]) for row in shown]
    if len({tile.shape for tile in tiles}) > 1:
        raise ResultsError(f"{run}: the pictures of configuration {config_id} are of different sizes")
    across = min(columns or len(tiles[0]), len(tiles[0]))
    height, width = tiles[0].shape[1:3]
    zoom = zoom or pictures.zoom_for((1, height, width))
    images = pictures.enlarge(np.concatenate([tile[:across] for tile in tiles]), zoom)
    epochs = tuple(row["epoch"] for row in shown)
    picture = pictures.lay_out(images, across, gap=pictures.SHOWN_GAP)
    labelled = pictures.label_rows(picture, [f"epoch {epoch}" for epoch in epochs])
    key = TrialKey(config_id, shown[0]["seed"], shown[0]["stage"], shown[0]["fold"])
    made = Strip(key=key, epochs=epochs, columns=across, zoom=zoom, png=b"")
    return dataclasses.replace(made, png=pictures.png(labelled, text={"Description": made.caption}))


def _reports(run: Location | str, config_id: str, seed: int | None, skip_damaged: bool) -> Sequence[dict[str, Any]]:
    """Return the reports of one trial in the order of epochs.

    Raises:
        ResultsError: when there is none.
    """
    where = (pc.field("kind") == "report") & (pc.field("config_id") == config_id)
    keys = ["config_id", "seed", "stage", "fold"]
    found, _ = results.read_arrow(run, schema.SAMPLES, columns=keys, where=where, skip_damaged=skip_damaged)
    trials = {TrialKey(**row) for row in found.to_pylist()}
    if not trials:
        raise ResultsError(f"{run} holds no samples of configuration {config_id}", hint=_HINT)
    replicates = _replicates(run, config_id, skip_damaged)
    own = [key for key in trials if seed is None or key.seed == seed]
    if not own:
        seeds = ", ".join(str(seed) for seed in sorted({key.seed for key in trials}))
        raise ResultsError(
            f"{run} holds no samples of configuration {config_id} with seed {seed}", hint=f"its seeds are {seeds}"
        )
    key = min(own, key=lambda key: (_STAGES.index(key.stage), replicates.get(key, 0), key.seed, key.fold))
    where &= (pc.field("seed") == key.seed) & (pc.field("stage") == key.stage) & (pc.field("fold") == key.fold)
    rows, _ = results.read_arrow(run, schema.SAMPLES, where=where, skip_damaged=skip_damaged)
    reports: list[dict[str, Any]] = sorted(rows.to_pylist(), key=lambda row: row["epoch"])
    return reports


def _replicates(run: Location | str, config_id: str, skip_damaged: bool) -> dict[TrialKey, int]:
    names = ["config_id", "seed", "stage", "fold", "replicate"]
    where = pc.field("config_id") == config_id
    rows, _ = results.read_arrow(run, schema.TRIALS, columns=names, where=where, skip_damaged=skip_damaged)
    return {
        TrialKey(row["config_id"], row["seed"], row["stage"], row["fold"]): row["replicate"] for row in rows.to_pylist()
    }


def configuration_of(run: Location | str, *, skip_damaged: bool = False) -> str:
    """Return the configuration that a run stands for: its leader, or the only one that was trained there.

    Raises:
        ResultsError: when validation chooses none, or several were trained outside a search.
    """
    from analysis.best import choice_of

    names = ["config_id", "stage"]
    rows, _ = results.read_arrow(run, schema.TRIALS, columns=names, skip_damaged=skip_damaged)
    found = sorted(set(rows["config_id"].to_pylist()))
    if len(found) == 1:
        only: str = found[0]
        return only
    if found and not {"search", "confirm"} & set(rows["stage"].to_pylist()):
        raise ResultsError(f"several configurations were trained there: {', '.join(found)}", hint="add --config-id")
    return choice_of(run, skip_damaged=skip_damaged).leader.config_id
