"""The columns of `trials` that a configuration is chosen from, as arrays.

None of them is a test score: what is not read cannot be selected on.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.ranking import STATUSES, Seeds
from gansearch import parts, schema
from gansearch.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.ranking import Floats, Integers, Truths

COLUMNS = (
    *schema.TRIALS.key,
    "status",
    "valid_ll_mean",
    "collapsed",
    "sigma_at_edge",
    "data_valid_digest",
    "protocol_json",
)
CODED = ("stage", "protocol_id", "status", "data_valid_digest", "protocol_json")
"""Those of them that hold few texts many times."""


@dataclasses.dataclass(frozen=True, slots=True)
class Texts:
    """A column of text.

    Attributes:
        codes: of each row, the place in `values`; -1 for null, [rows].
        values: the texts, each once.
    """

    codes: Integers
    values: pa.StringArray

    def equal(self, value: str | None) -> Truths:
        """Return which rows hold a text; for None, no row."""
        place = -1 if value is None else pc.index(self.values, value).as_py()
        return np.zeros(len(self.codes), bool) if place < 0 else self.codes == place

    def at(self, row: int) -> str | None:
        """Return the text of a row."""
        code = int(self.codes[row])
        text: str | None = None if code < 0 else self.values[code].as_py()
        return text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialColumns:
    """Rows of `trials`, column by column; each array is [rows].

    Attributes:
        config: hashes of the configurations.
        seed: seeds.
        stage: stages.
        fold: folds.
        protocol: ids of the score protocols.
        protocol_json: the protocols.
        status: places in `ranking.STATUSES`.
        score: mean validation log-likelihoods in nats; NaN for null.
        collapsed: whether the scored samples collapsed; False for null.
        at_edge: whether sigma is an end point of the grid; False for null.
        digest: digests of the validation images.
    """

    config: Texts
    seed: Integers
    stage: Texts
    fold: Integers
    protocol: Texts
    protocol_json: Texts
    status: Integers
    score: Floats
    collapsed: Truths
    at_edge: Truths
    digest: Texts

    def by_key(self) -> Integers:
        """Return the places of all rows: a configuration's together, by seed, fold and the rest of the key."""
        config = self.config.codes
        order = np.argsort(config, kind="stable")
        several = np.flatnonzero(np.bincount(config)[config[order]] > 1) if len(order) else order
        own = order[several]  # most configurations have one row, and need no sorting
        keys = (self.protocol.codes, self.stage.codes, self.fold, self.seed, config)
        order[several] = own[np.lexsort([key[own] for key in keys])]
        return order

    def first_repeated(self, order: Integers) -> int | None:
        """Return a row whose key another row has too; None where there is none.

        Args:
            order: as `by_key` returns it.
        """
        config = self.config.codes[order]
        pairs = np.flatnonzero(config[1:] == config[:-1])
        for key in (self.seed, self.fold, self.stage.codes, self.protocol.codes):
            pairs = pairs[key[order[pairs]] == key[order[pairs + 1]]]
        return int(order[pairs[0]]) if len(pairs) else None

    def key(self, row: int) -> tuple[object, ...]:
        """Return the key of a row, as `schema.TRIALS.key` names it."""
        return (
            self.config.at(row),
            int(self.seed[row]),
            self.stage.at(row),
            int(self.fold[row]),
            self.protocol.at(row),
        )

    def protocols(self, rows: Truths) -> dict[str, str]:
        """Return the protocols of some rows as JSON, by their ids."""
        return described(self.protocol, self.protocol_json, rows)

    def seeds(self, rows: Integers) -> Seeds:
        """Return some rows as they are ranked; those of a configuration must stand together."""
        return Seeds(
            ids=self.config.values,
            config=self.config.codes[rows],
            status=self.status[rows],
            score=self.score[rows],
            collapsed=self.collapsed[rows],
            at_edge=self.at_edge[rows],
        )


def from_pandas(trials: pd.DataFrame) -> TrialColumns:
    """Return the columns of a frame; a nullable one that it lacks is null.

    Raises:
        ResultsError: when it lacks another one, or holds a status that is not known.
    """
    target = parts.arrow_schema(schema.TRIALS)
    lacking = [name for name in COLUMNS if name not in trials.columns and not target.field(name).nullable]
    if lacking:
        raise ResultsError(f"the trials table lacks the columns {', '.join(lacking)}", hint="read it with all columns")
    columns = {}
    for name in COLUMNS:
        kind = target.field(name).type
        found = pa.array(trials[name], from_pandas=True) if name in trials.columns else pa.nulls(len(trials), kind)
        columns[name] = found.cast(kind)
    return from_arrow(pa.table(columns))


def from_arrow(rows: pa.Table) -> TrialColumns:
    """Return the `COLUMNS` of a table, whose texts may be dictionaries.

    Raises:
        ResultsError: when it holds a status that is not known.
    """
    return TrialColumns(
        config=texts(rows["config_id"]),
        seed=_numbers(rows["seed"], 0),
        stage=texts(rows["stage"]),
        fold=_numbers(rows["fold"], 0),
        protocol=texts(rows["protocol_id"]),
        protocol_json=texts(rows["protocol_json"]),
        status=_statuses(texts(rows["status"])),
        score=_numbers(rows["valid_ll_mean"], float("nan")).astype(np.float64, copy=False),
        collapsed=_numbers(rows["collapsed"], False).astype(bool, copy=False),
        at_edge=_numbers(rows["sigma_at_edge"], False).astype(bool, copy=False),
        digest=texts(rows["data_valid_digest"]),
    )


def described(ids: Texts, contents: Texts, rows: Truths) -> dict[str, str]:
    """Return the content of each id in some rows.

    Args:
        ids: a column, such as that of the protocols' ids.
        contents: another of as many rows, which follows from it.
        rows: which rows, [rows].
    """
    pairs = ids.codes[rows] * len(contents.values) + contents.codes[rows]
    found = (divmod(pair, len(contents.values)) for pair in pc.unique(pa.array(pairs)).to_pylist())
    return {ids.values[one].as_py(): contents.values[content].as_py() for one, content in found}


def texts(column: pa.ChunkedArray) -> Texts:
    """Return a column of text, which may be a dictionary already."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries().combine_chunks()
    else:  # in one piece: to unify a dictionary of each chunk takes ten times as long
        column = column.combine_chunks().dictionary_encode()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Texts(codes.astype(np.int64, copy=False), column.dictionary)


def _numbers(column: pa.ChunkedArray, null: object) -> Integers:
    numbers: Integers = column.fill_null(null).to_numpy()
    return numbers


def _statuses(status: Texts) -> Integers:
    known = [STATUSES.index(text) if text in STATUSES else -1 for text in status.values.to_pylist()]
    places = np.array([*known, -1])[status.codes]
    if (places < 0).any():
        unknown = status.at(int((places < 0).argmax()))
        raise ResultsError(
            f"the trials table holds the status {unknown}, which this version does not know",
            hint="read it with the version of gansearch that wrote it",
        )
    return places
