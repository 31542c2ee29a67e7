"""A stage of a sweep as its driver sees it: an observer, and the events that Tune sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from ray.tune.experiment import Trial as TuneTrial

from gansearch.core.datasets import load
from gansearch.recorder import Recorder
from gansearch.rows import draft_row
from gansearch.search.observer import Observer
from gansearch.search.progress import Progress
from gansearch.search.proposals import Proposal
from gansearch.search.searchers import METRIC, SPEC
from gansearch.search.specs import search_spec
from tests.search.small_studies import study

FOUND = study()
DIGESTS = load("digits", data_dir=None).digests


class Stage:
    """An observer, and the events of trials as Tune sends them."""

    def __init__(self, run: Path, planned: int = 7, slots: int = 2) -> None:
        self.said: list[Progress] = []
        self.recorder = Recorder(run)
        self.observer = Observer(
            self.recorder,
            {0: DIGESTS},
            Progress(study="small", stage="search", planned=planned),
            slots=slots,
            searched=("adam.lr_g", "algorithm.k"),
            publish=self.said.append,
        )

    def trial(self, index: int) -> TuneTrial:
        spec = search_spec(FOUND, Proposal(number=index, point=FOUND.space.sample(index, 5)), 0)
        return TuneTrial("worker", config={SPEC: spec.to_dict()}, trial_id=f"t{index}", stub=True)

    def start(self, index: int) -> TuneTrial:
        trial = self.trial(index)
        self.observer.on_trial_start(0, [], trial)
        return trial

    def report(
        self,
        trial: TuneTrial,
        epoch: int,
        value: float | None,
        status: str | None = None,
        report_epoch: int | None = None,
    ) -> None:
        spec = search_spec(FOUND, Proposal(number=1, point=FOUND.space.sample(int(trial.trial_id[1:]), 5)), 0)
        draft = draft_row(spec, DIGESTS) | {"epochs": epoch, "report_ll_mean": value, "report_epoch": report_epoch}
        result: dict[str, Any] = {"draft": [draft], "epoch": epoch, "done": status is not None}
        result |= {} if value is None else {METRIC: value}
        result |= {} if status is None else {"status": status}
        trial.run_metadata.last_result = result
        self.observer.on_trial_result(0, [], trial, result)

    def complete(self, trial: TuneTrial) -> None:
        self.observer.on_trial_complete(0, [], trial)

    def rows(self) -> pd.DataFrame:
        return pd.read_parquet(str(self.recorder.run / "trials"))
