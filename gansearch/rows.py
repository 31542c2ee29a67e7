"""The rows of `trials`: a draft that fills while a trial runs, then one row under each protocol."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gansearch import parsing, schema
from gansearch.config import TrialConfig, parameters
from gansearch.spec import TrialSpec

Row = dict[str, Any]


def identity(spec: TrialSpec) -> Row:
    """Return the columns that every table identifies a trial by."""
    key = spec.key
    return {"config_id": key.config_id, "seed": key.seed, "stage": key.stage, "fold": key.fold}


def draft_row(spec: TrialSpec, digests: Mapping[str, str]) -> Row:
    """Return what is known of a trial before it starts.

    Args:
        spec: what is asked for.
        digests: digest of each split, by its name.
    """
    return {
        "schema_version": schema.VERSION,
        "config_id": spec.config.config_id,
        "seed": spec.seed,
        "stage": spec.stage,
        "fold": spec.fold,
        "replicate": spec.replicate,
        "number": spec.number,
        "parent_id": spec.parent_id,
        "epochs": 0,
        "g_updates": 0,
        "d_updates": 0,
        "report_protocol_id": spec.report_protocol.id,
        "report_protocol_json": json.dumps(spec.report_protocol.to_dict(), sort_keys=True),
        **{f"data_{split}_digest": digests[split] for split in ("train", "valid", "test")},
        **cfg_columns(spec.config),
        "cfg_schedule": json.dumps(schedule) if (schedule := spec.config.to_dict().get("schedule")) else None,
        "cfg_json": spec.config.to_json(),
        "run_started": datetime.datetime.now(datetime.UTC),
    }


def cfg_columns(config: TrialConfig) -> Row:
    """Return the flattened configuration; lists become text such as `1200-1200`, what does not act null."""
    columns: Row = {}
    for name, hint in parameters():
        value = parsing.convert(hint, config.get(name), name) if config.acts(name) else None
        if isinstance(value, tuple):
            value = "-".join(map(str, value))
        columns[schema.cfg_column(name)] = value
    return columns


def final_rows(
    draft: Mapping[str, Any],
    spec: TrialSpec,
    status: str,
    *,
    error: str | None = None,
    scores: Sequence[Mapping[str, Any]] = (),
) -> list[Row]:
    """Return a trial's rows, one under each of its protocols.

    Args:
        draft: what is known whatever the protocol, from `draft_row` on.
        spec: what was asked for.
        status: how it ended.
        error: why, where it did not complete.
        scores: the protocols' own columns, in their order; nothing where the trial was not scored.
    """
    empty: Sequence[Mapping[str, Any]] = [{} for _ in spec.protocols]
    return [
        {
            **draft,
            "status": status,
            "error": error,
            "protocol_id": protocol.id,
            "protocol_json": json.dumps(protocol.to_dict(), sort_keys=True),
            "num_samples": protocol.num_samples,
            **score,
        }
        for protocol, score in zip(spec.protocols, scores or empty, strict=True)
    ]
