"""One trial: a spec in; reports while it trains, and its rows at the end, on any executor.

A `Trial` is advanced from report to report by whoever runs it: the loop of `run` in this process, or a
worker elsewhere, which it does not know. Whatever happens, it ends as one row under each of its score
protocols.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

from gansearch import schema
from gansearch.core.datasets import Dataset
from gansearch.errors import ResultsError, UserError
from gansearch.faults import FaultError, fault_of
from gansearch.placement import Placement
from gansearch.recorder import Recorder
from gansearch.rows import Row, draft_row, final_rows
from gansearch.spec import TrialSpec
from gansearch.tracking.following import Following
from gansearch.training import LearnerMaker, Training, make_learner


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a trial says after each report.

    Attributes:
        epoch: epochs done.
        objective: what searchers and displays see, in nats under the report protocol: where `score.at` is
            `best` the value of the weights that would be scored now, which are the best so far of samples
            that have not collapsed, or the latest while all have; else the current value. None where that is
            not finite, and at the end of a trial that failed or diverged. Schedulers see the draft's current
            value.
        status: the trial's status once it has ended, else None.
        draft: the trial's row as far as it is known, whatever the protocol.
    """

    epoch: int
    objective: float | None
    status: str | None
    draft: Row


class Trial:
    """One trial, advanced from report to report.

    Making one is cheap: data are moved, networks initialised and a checkpoint read by the first `advance`.

    Args:
        spec: what is asked for.
        data: the data set; its test split may be locked away unless the spec reads it.
        recorder: where its outcome goes.
        placement: what it runs on.
        make_learner: makes the model that is trained.
    """

    def __init__(
        self,
        spec: TrialSpec,
        data: Dataset,
        recorder: Recorder,
        placement: Placement,
        make_learner: LearnerMaker = make_learner,
    ) -> None:
        self.spec = spec
        self._data, self._recorder, self._placement, self._make_learner = data, recorder, placement, make_learner
        self._row = draft_row(spec, data.digests)
        self._training: Training | None = None
        self._status: str | None = None
        self._following = Following(recorder.track)

    def advance(self, *, repeat: bool = False) -> Report:
        """Train to the next report; at the budget's end, score the trial and write its rows.

        An error ends the trial as FAILED and is not raised: `error` in its row says what it was. A fault that is
        not the trial's own ends nothing: the trial goes on from its checkpoint in another process, or is ended by
        `fail`. An outcome that is already in the table is returned and nothing runs again.

        Args:
            repeat: where the first call finds a checkpoint to go on from, return the report that it was made after
                instead: whoever decides by reports may have been killed before it decided on that one.

        Raises:
            FaultError: when memory is short or the GPU fails.
            ResultsError: when the table cannot be read or written.
        """
        if self._training is None and (report := self.start(repeat=repeat)) is not None:
            return report
        if self._status is not None or self._training is None:
            return self._report()
        with self._errors_as_a_row():
            ending = self._training.to_next_report()
            self._following.reports(self._row, self._training.curve)
            if ending is not None and ending.status == schema.COMPLETE:
                self._complete(self._training.scores())
            elif ending is not None:
                self._write(ending.status, error=ending.error)
        return self._report()

    def start(self, *, repeat: bool = False) -> Report | None:
        """Set the trial up, from its checkpoint where there is one; `advance` does it by itself.

        Args:
            repeat: as in `advance`.

        Returns:
            A report where there is one without training: an outcome that is already in the table, an error in
            setting up, or the report that is repeated.

        Raises:
            FaultError: when memory is short or the GPU fails.
            ResultsError: when the table cannot be read or written.
        """
        if self._status is None and (outcome := self.outcome()) is not None:
            self._row, self._status = outcome, outcome["status"]
        if self._status is not None:
            return self._report()
        with self._errors_as_a_row():
            self._training = Training(
                self.spec, self._data, self._recorder, self._placement, self._row, self._make_learner
            )
            self._following.reports(self._row, self._training.curve)
            if not (repeat and self._training.goes_on):
                return None
        return self._report()

    @property
    def epochs_to_report(self) -> int:
        """Epochs that are to be trained until the next report; 0 where the trial has ended or was not started."""
        return 0 if self._training is None or self._status is not None else self._training.epochs_to_report

    def out_of_time(self, seconds: float) -> bool:
        """Return whether its guards end it so many seconds of training after its last report."""
        return self._training is not None and self._training.out_of_time(seconds) is not None

    def outcome(self) -> Row | None:
        """Return the row of the trial's first protocol if the trial has already ended, else None."""
        rows = self._rows()
        ended = len(rows) == len(self.spec.protocols) and all(r["status"] not in schema.UNFINISHED for r in rows)
        return rows[0] if ended else None

    def checkpoint(self) -> None:
        """Keep what the trial needs to go on from its last report, in whatever process."""
        if self._training is not None and self._status is None:
            self._training.checkpoint()

    def interrupt(self, reason: str, *, amid_epochs: bool = False) -> None:
        """Write a checkpoint and the row of a trial that is stopped before its end; nothing after its end.

        Amid the epochs between two reports the last checkpoint stands. Where nothing has been trained here,
        the rows of an earlier run stand too.

        Args:
            reason: why, for the column `error`.
            amid_epochs: whether its model was trained elsewhere since its last report.
        """
        if self._status is not None:
            return
        if self._training is not None:
            if not amid_epochs:
                self._training.checkpoint()
        elif self._rows():
            return
        self._write(schema.INTERRUPTED, error=reason)

    def fail(self, reason: str) -> None:
        """End a trial as FAILED, unless it has ended.

        Args:
            reason: why, for the column `error`.
        """
        if self._status is None:
            self._write(schema.FAILED, error=reason)

    @contextlib.contextmanager
    def _errors_as_a_row(self) -> Iterator[None]:
        """End the trial as FAILED by an error in the block; raise a fault that is not the trial's own."""
        try:
            yield
        except Exception as error:  # whatever went wrong, the trial ends as a row
            if (fault := fault_of(error)) is not None:
                raise fault from error
            self._write(schema.FAILED, error=describe(error))

    def leave(self) -> None:
        """Tell those who follow the trial how it stands: for an executor that does not advance it any further."""
        if self._status is None and self._following.started:
            with contextlib.suppress(ResultsError):
                self._following.end(self._rows())

    def _rows(self) -> list[Row]:
        return self._recorder.rows(self.spec.key, [p.id for p in self.spec.protocols])

    def _complete(self, scores: list[Row]) -> None:
        if all(math.isfinite(score["valid_ll_mean"]) for score in scores):
            self._write(schema.COMPLETE, scores=scores)
        else:
            self._write(schema.DIVERGED, error="the samples have no finite log-likelihood")

    def _write(self, status: str, *, error: str | None = None, scores: list[Row] | None = None) -> None:
        rows = final_rows(self._row, self.spec, status, error=error, scores=scores or ())
        for row in rows:
            self._recorder.trial(self.spec.key, row)
        if status != schema.INTERRUPTED:
            self._recorder.drop_checkpoint(self.spec.key)
        self._status = status
        self._following.end(rows)

    def _report(self) -> Report:
        name = "report_ll_mean" if self.spec.config.score.at == "best" else "report_last_ll_mean"
        objective: float | None = self._row.get(name)
        unscored = self._status in (schema.FAILED, schema.DIVERGED)
        if unscored or objective is None or not math.isfinite(objective):
            objective = None
        return Report(epoch=self._row["epochs"], objective=objective, status=self._status, draft=dict(self._row))


def describe(error: BaseException) -> str:
    """Return an error in one line, for the column `error`."""
    name, text = type(error).__name__, str(error)
    if not isinstance(error, UserError | FaultError):
        text = f"{name}: {text}" if text else name
    return " ".join(text.split())[:500]


def run(
    spec: TrialSpec,
    data: Dataset,
    recorder: Recorder,
    placement: Placement,
    on_report: Callable[[Report], None] = lambda _: None,
) -> list[Row]:
    """Run a trial to its end in this process; return its rows, one under each protocol.

    Ctrl-C, and whatever `on_report` raises, interrupts the trial and is raised again.

    Args:
        spec: what is asked for.
        data: the data set.
        recorder: where its outcome goes.
        placement: what it runs on.
        on_report: called after each report.
    """
    trial = Trial(spec, data, recorder, placement)
    try:
        while True:
            report = trial.advance()
            on_report(report)
            if report.status is not None:
                break
    except FaultError as fault:
        trial.fail(describe(fault))
    except BaseException as error:
        trial.interrupt(describe(error))
        raise
    return recorder.rows(spec.key, [p.id for p in spec.protocols])
