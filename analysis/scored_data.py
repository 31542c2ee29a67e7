"""What the trials of a run were scored on, and how: its data set, the digests of the splits, its protocols."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from gansearch import results, schema
from gansearch.errors import ConfigError, ResultsError
from gansearch.protocols import Protocol
from gansearch.storage import Location

DIGESTS = {split: f"data_{split}_digest" for split in ("train", "valid", "test")}
"""The column of each split's digest."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoredData:
    """What a run's trials were scored on.

    Attributes:
        dataset: name of the data set.
        digests: digest of each split: `train`, `valid` and `test`.
        protocols: the score protocols of its rows, by id.
    """

    dataset: str
    digests: Mapping[str, str]
    protocols: tuple[Protocol, ...]


def scored_data(run: Location | str, *, skip_damaged: bool = False) -> ScoredData:
    """Return what a run's trials were scored on.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read, has no trials, or those are of several data sets.
        ConfigError: when a protocol of it is of a later version of the estimator.
    """
    columns = ["cfg_dataset_name", *DIGESTS.values(), "protocol_id", "protocol_json"]
    rows, _ = results.read_arrow(run, schema.TRIALS, columns=columns, coded=columns, skip_damaged=skip_damaged)
    if not rows.num_rows:
        raise ResultsError(f"{run} has no trials yet, so it is not known what they are scored on")
    data = rows.group_by(columns[:-2]).aggregate([]).to_pylist()
    known = [one for one in data if None not in one.values()]
    if len(known) != 1:
        found = ", ".join(sorted({f"'{one['cfg_dataset_name']}'" for one in known})) or "none that is named in full"
        raise ResultsError(
            f"{run} holds trials on {len(known)} data sets, where one is needed: {found}",
            hint="give the name of a data set",
        )
    contents = rows.group_by(["protocol_id", "protocol_json"]).aggregate([]).to_pylist()
    texts = sorted((one["protocol_id"], one["protocol_json"]) for one in contents)
    return ScoredData(
        dataset=known[0]["cfg_dataset_name"],
        digests={split: known[0][column] for split, column in DIGESTS.items()},
        protocols=tuple(parse_protocol(text, f"{run}: protocol {name}") for name, text in texts),
    )


def parse_protocol(text: str | None, where: str) -> Protocol:
    """Return the protocol that a row holds as JSON.

    Args:
        text: the row's `protocol_json`.
        where: whose it is, for the error.

    Raises:
        ResultsError: when it is no protocol that this version knows.
        ConfigError: when it is of a later version of the estimator.
    """
    try:
        return Protocol(**json.loads(text or ""))
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ResultsError(f"{where} is not one that this version knows: {error}") from error
